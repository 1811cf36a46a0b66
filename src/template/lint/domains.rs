//! Do the domains say which keys exist, and do they agree with each other?

use std::collections::HashSet;

use super::outline::Outline;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::template::{DomainSource, DomainValues, Template};

/// Columns of a domain's query that aren't key columns.
const EXTRAS: [&str; 2] = ["label", "slug"];

/// Lints a domain by itself, without a database; says whether its query can be looked at further.
pub fn lint_source(template: &Template, domain: &DomainSource, findings: &mut Vec<Diagnostic>) {
    let column = &domain.column;
    let mut add = |finding: Diagnostic, hint: String| findings.push(finding.at(domain.span.clone()).hint(hint));
    if domain.publish == Some(0) {
        add(
            template.warning(format!("[keys.{column}] publishes none of its values, so no document is pre-built")),
            "give the size of the hot set, or leave `publish` out to pre-build all".to_owned(),
        );
    }
    match &domain.values {
        DomainValues::Listed(values) => {
            if values.is_empty() {
                add(
                    template.error(format!("[keys.{column}] lists no values, so no key can exist")),
                    format!("list them, or leave [keys.{column}] out to take those that the query returns"),
                );
            }
            if domain.publish.is_some_and(|publish| publish > values.len()) {
                add(
                    template.warning(format!(
                        "[keys.{column}] publishes the first {} of {} values",
                        domain.publish.unwrap_or_default(),
                        values.len()
                    )),
                    "all of them are pre-built; leave `publish` out, or list more values".to_owned(),
                );
            }
            let mut seen = HashSet::new();
            for value in values.iter().filter(|value| !seen.insert(*value)) {
                add(
                    template.warning(format!("[keys.{column}] lists `{value}` twice")),
                    "list each value once".to_owned(),
                );
            }
        }
        DomainValues::Sql(sql) => lint_query(template, domain, sql, findings),
    }
}

fn lint_query(template: &Template, domain: &DomainSource, sql: &str, findings: &mut Vec<Diagnostic>) {
    let outline = Outline::of_domain(template, domain, sql);
    let first = (0..outline.len()).find(|at| !outline.is_symbol(*at, "("));
    if !first.is_some_and(|first| outline.is_one_of(first, &["select", "with", "values", "table"])) {
        findings.push(
            template
                .error(format!("the `sql` of [keys.{}] isn't a query", domain.column))
                .at(domain.span.clone())
                .hint(format!("write for example SELECT name AS {} FROM … ORDER BY …", domain.column)),
        );
        return;
    }
    let end = (0..outline.len()).rev().find(|at| !outline.is_symbol(*at, ";")).unwrap_or_default();
    if let Some(semicolon) = (0..end).find(|at| outline.is_symbol(*at, ";")) {
        findings.push(
            template
                .error(format!("the `sql` of [keys.{}] holds more than one statement", domain.column))
                .at(outline.span(semicolon..semicolon + 1))
                .hint("a domain is one SELECT"),
        );
    }
}

/// Lints the columns that the domains' queries return: each domain with its columns' names in their order.
pub fn lint_domains(template: &Template, domains: &[(&DomainSource, Vec<String>)]) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for (domain, columns) in domains {
        if matches!(domain.values, DomainValues::Sql(_)) {
            findings.extend(own_columns(template, domain, columns));
        }
    }
    let parents: Vec<(&DomainSource, Vec<&String>)> = domains
        .iter()
        .map(|(domain, columns)| {
            (
                *domain,
                columns.iter().filter(|name| template.columns().contains(name) && **name != domain.column).collect(),
            )
        })
        .collect();
    findings.extend(circle(template, &parents));
    if findings.is_empty() {
        findings.extend(parents.iter().filter_map(|(domain, with)| missing_parents(template, domain, with, &parents)));
    }
    findings
}

/// Lints the columns of one domain's query by themselves.
pub fn own_columns(template: &Template, domain: &DomainSource, columns: &[String]) -> Vec<Diagnostic> {
    let known: Vec<&str> = template.columns().iter().map(String::as_str).chain(EXTRAS).collect();
    let mut findings = Vec::new();
    let mut add =
        |message: String, hint: String| findings.push(template.error(message).at(domain.span.clone()).hint(hint));
    for (at, name) in columns.iter().enumerate() {
        if columns[..at].contains(name) {
            add(
                format!("the query of [keys.{}] returns two columns `{name}`", domain.column),
                "give each column a name of its own with AS".to_owned(),
            );
        } else if !known.contains(&name.as_str()) {
            let hint = match did_you_mean(name, known.iter().copied()) {
                Some(near) => {
                    format!("did you mean `{near}`? A domain's columns go by name: key columns, `label` and `slug`")
                }
                None => format!("name it with AS, or leave it out; known here are {}", known.join(", ")),
            };
            add(
                format!(
                    "the query of [keys.{}] returns the column `{name}`, which is neither a key column nor `label` or `slug`",
                    domain.column
                ),
                hint,
            );
        }
    }
    if !columns.contains(&domain.column) {
        add(
            format!("the query of [keys.{0}] doesn't return the column `{0}`", domain.column),
            format!("name it: SELECT … AS {}; the query returns {}", domain.column, columns.join(", ")),
        );
    }
    findings
}

/// Two domains that each belong to the other: neither can be read first.
fn circle(template: &Template, domains: &[(&DomainSource, Vec<&String>)]) -> Option<Diagnostic> {
    let mut rest: Vec<&(&DomainSource, Vec<&String>)> = domains.iter().collect();
    loop {
        let names: Vec<&String> = rest.iter().map(|(domain, _)| &domain.column).collect();
        let before = rest.len();
        rest.retain(|(_, with)| with.iter().any(|parent| names.contains(parent)));
        if rest.is_empty() {
            return None;
        }
        if rest.len() == before {
            break;
        }
    }
    let (first, _) = rest.first()?;
    let names: Vec<String> = rest.iter().map(|(domain, _)| format!("[keys.{}]", domain.column)).collect();
    Some(
        template
            .error(format!("the domains {} belong to each other in a circle", names.join(" and ")))
            .at(first.span.clone())
            .hint(format!(
                "let one query return the columns that belong together, and leave the other domain without them, or out: {} already says which combinations exist",
                names.first().map_or("", String::as_str)
            )),
    )
}

/// A city belongs to a region, so a street that names its city must name the region too: there are many Cambridges.
fn missing_parents(
    template: &Template,
    domain: &DomainSource,
    with: &[&String],
    domains: &[(&DomainSource, Vec<&String>)],
) -> Option<Diagnostic> {
    for parent in with {
        let Some((_, grandparents)) = domains.iter().find(|(other, _)| other.column == **parent) else { continue };
        let missing = grandparents.iter().find(|name| !with.contains(name) && ***name != domain.column);
        if let Some(missing) = missing {
            return Some(
                template
                    .error(format!(
                        "the query of [keys.{}] returns `{parent}` without `{missing}`, to which `{parent}` belongs: none of its values would be found",
                        domain.column
                    ))
                    .at(domain.span.clone())
                    .hint(format!("return `{missing}` as well")),
            );
        }
    }
    None
}
