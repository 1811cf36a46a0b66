//! Guards that are written and can't have an effect.

use crate::diagnostic::Diagnostic;
use crate::template::Template;
use crate::template::guard::Guard;

/// A query for the newest data whose age nobody limits.
pub fn lint(template: &Template) -> Option<Diagnostic> {
    let guards = &template.guards;
    let is_unused = guards.own.source_age_sql.is_some() && guards.levels(Guard::SourceAge).is_off();
    is_unused.then(|| {
        template
            .warning("[guard] source_age_sql has no effect, because source_age is off")
            .hint(format!("say how old the newest data may be: {}", Guard::SourceAge.example()))
    })
}
