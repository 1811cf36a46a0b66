//! Lints: what is wrong with a template, or will be, as far as its text shows it.
//!
//! They look at tokens, not at a syntax tree of either dialect, and are tuned to stay silent when in doubt: a lint that
//! cries wolf is switched off in people's heads. What only the database knows, its plans and types, is asked by
//! `database::explain`.

use crate::diagnostic::Diagnostic;
use crate::template::{DomainValues, Refresh, Template};

mod columns;
mod domains;
mod guards;
mod keyed;
mod order;
mod outline;
mod overlap;
mod refresh;
mod sources;
mod stability;
mod text;

#[cfg(test)]
mod tests;

pub use columns::lint_columns;
pub use domains::{lint_domains, own_columns};
pub use keyed::marker;
pub use overlap::lint_overlaps;
pub use refresh::volatile_refresh;

use outline::Outline;

/// Lints one template without a database; errors are what surely breaks.
pub fn lint(template: &Template) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let outline = Outline::of_template(template);
    lint_sql(&outline, &mut findings);
    keyed::lint(&outline, &mut findings);
    findings.extend(guards::lint(template));
    text::marker_placeholders(template, &mut findings);
    refresh::lint(template, &mut findings);
    for domain in &template.domains {
        domains::lint_source(template, domain, &mut findings);
        if let DomainValues::Sql(sql) = &domain.values {
            lint_sql(&Outline::of_domain(template, domain, sql), &mut findings);
        }
    }
    findings
}

/// The lints that a domain's query has in common with the template's.
fn lint_sql(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    text::placeholders(outline, findings);
    text::stars(outline, findings);
    order::lint(outline, findings);
    stability::lint(outline, findings);
}

/// Lints the columns that PostgreSQL types as floats: those that are sums of them, without `decimals`.
///
/// The text alone can't tell a sum of floats from one of integers.
pub fn lint_float_sums(template: &Template, float_columns: &[&str]) -> Vec<Diagnostic> {
    let outline = Outline::of_template(template);
    let is_sum = |at: usize| outline.is_word(at, "sum") && !stability::is_float_call(&outline, at);
    stability::aggregated_columns(&outline, &is_sum)
        .into_iter()
        .filter(|(column, _)| float_columns.contains(&column.as_str()))
        .map(|(column, at)| stability::float_finding(&outline, &column, at))
        .collect()
}

/// The names that a template's SQL gives to tables, each with the table's own name. Names of WITH map to nothing.
pub fn table_names(template: &Template) -> Vec<(String, Option<String>)> {
    tables_of(&Outline::of_template(template))
}

/// The same of its refresh query.
pub fn refresh_table_names(template: &Template, refresh: &Refresh) -> Vec<(String, Option<String>)> {
    tables_of(&Outline::of_refresh(template, refresh))
}

fn tables_of(outline: &Outline) -> Vec<(String, Option<String>)> {
    let ctes: Vec<String> =
        outline.queries().iter().flat_map(|query| outline.ctes(query)).map(|cte| cte.name).collect();
    let is_table = |name: &String| !ctes.iter().any(|cte| cte.eq_ignore_ascii_case(name));
    let mut names: Vec<(String, Option<String>)> = ctes.iter().map(|cte| (cte.clone(), None)).collect();
    for source in outline.sources(None) {
        let Some(alias) = source.alias.clone() else { continue };
        names.push((alias, source.name.filter(is_table)));
    }
    names
}

/// Words of the SQL that call a function, in lower case, each once.
pub fn function_names(template: &Template) -> Vec<String> {
    functions_of(&Outline::of_template(template))
}

/// The same of its refresh query.
pub fn refresh_function_names(template: &Template, refresh: &Refresh) -> Vec<String> {
    functions_of(&Outline::of_refresh(template, refresh))
}

fn functions_of(outline: &Outline) -> Vec<String> {
    let mut names: Vec<String> = outline.calls(0..outline.len()).map(|at| outline.name(at).to_lowercase()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// True for the functions that [`lint`] calls volatile without asking a database.
pub fn is_known_volatile(name: &str) -> bool {
    stability::VOLATILE.contains(&name)
}
