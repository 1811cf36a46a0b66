//! Paths that two templates may make: whose document it is can be told once it is published, and not before.

use crate::diagnostic::Diagnostic;
use crate::template::{DomainValues, Template};

/// Warns of templates whose patterns some path may fit both. Values that only a query knows may be anything.
pub fn lint_overlaps(templates: &[&Template]) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for (at, template) in templates.iter().enumerate() {
        for first in &templates[..at] {
            let may_be = |column: usize, slug: &str| is_value(template, column, slug);
            let may_first_be = |column: usize, slug: &str| is_value(first, column, slug);
            if template.pattern.meets(&first.pattern, &may_be, &may_first_be) {
                findings.push(
                    template
                        .warning(format!(
                            "a path may be of this template and of `{}`, whose path is `{}`",
                            first.name,
                            first.pattern.as_str()
                        ))
                        .hint("begin each template's path with a name of its own: two documents can't have one path"),
                );
            }
        }
    }
    findings
}

/// Says whether a column may have a value with this slug.
fn is_value(template: &Template, column: usize, slug: &str) -> bool {
    let name = &template.columns()[column];
    template.domains.iter().find(|domain| domain.column == *name).is_none_or(|domain| match &domain.values {
        DomainValues::Listed(values) => values.iter().any(|value| value.slug() == slug),
        DomainValues::Sql(_) => true,
    })
}
