//! Can the statement of one key be answered without reading everything, and with the same rows?

use super::outline::{Outline, Query};
use crate::diagnostic::Diagnostic;
use crate::template::Template;

/// Lints what keeps a database from pushing a key's condition down into the query.
pub fn lint(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    let template = outline.template;
    if template.columns().is_empty() {
        return;
    }
    limits(outline, findings);
    windows(outline, findings);
    if template.markers.is_empty() {
        grouping_sets(outline, findings);
        shared_ctes(outline, findings);
    }
}

/// The marker to write, with the expressions that the select list gives for the key columns.
pub fn marker(template: &Template) -> String {
    let outline = Outline::of_template(template);
    let items = outline.items(&outline.outermost());
    let filter = |column: &String| {
        let item = items.iter().find(|item| item.name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(column)));
        // What is computed in the outermost query can't be compared further inside.
        let plain = item.filter(|item| outline.plain_column(item.expression.clone()).is_some());
        plain.map(|item| format!("{column}={}", outline.plain(item.expression.clone())))
    };
    let filters: Vec<String> = template.columns().iter().filter_map(filter).collect();
    match filters.as_slice() {
        [] => format!("/*:keys {}=… */", template.columns().first().map_or("column", String::as_str)),
        filters => format!("/*:keys {} */", filters.join(", ")),
    }
}

fn marker_hint(template: &Template) -> String {
    format!(
        "add the marker {} behind a WHERE condition inside it, with the expressions that are known there",
        marker(template)
    )
}

/// LIMIT counts over all keys at once: a marker under it would let a single key have more rows than the full build gives it.
fn limits(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    let template = outline.template;
    for query in outline.queries().into_iter().filter(|query| reads_whole(outline, query)) {
        let words = ["limit", "offset", "fetch"];
        let Some(at) = words.iter().find_map(|word| outline.behind(&query, &[word])) else { continue };
        let span = outline.span(query.body.clone());
        let is_marked = template.markers.iter().any(|marker| span.contains(&marker.span.start));
        let message = if is_marked {
            "LIMIT counts the rows of all keys in a full build, but those of one key where the marker filters: the same key gets other rows"
        } else {
            "LIMIT counts the rows of all keys, so the statement of one key must still read everything"
        };
        findings.push(
            template
                .warning(message)
                .at(outline.span(at - 1..at))
                .hint("count by key: row_number() OVER (PARTITION BY key columns ORDER BY …) AS n in a subquery, and WHERE n <= 10 around it"),
        );
    }
}

/// True for queries that stand for a table; not for those that run once for each row of another.
fn reads_whole(outline: &Outline, query: &Query) -> bool {
    let Some(before) = query.whole.start.checked_sub(2) else { return true };
    if query.whole == outline.outermost().whole {
        return true;
    }
    let is_cte = outline.is_one_of(before, &["as", "materialized"]);
    is_cte || outline.is_one_of(before, &["from", "join"])
}

/// A window over all keys counts other rows where a marker has filtered.
fn windows(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    if outline.template.markers.is_empty() {
        return;
    }
    for at in (0..outline.len()).filter(|at| outline.is_word(*at, "over") && outline.is_symbol(at + 1, "(")) {
        let names_window =
            outline.is_name(at + 2) && !outline.is_one_of(at + 2, &["partition", "order", "rows", "range", "groups"]);
        if !names_window && !outline.is_word(at + 2, "partition") {
            findings.push(
                outline
                    .template
                    .warning("the window counts over all keys in a full build, but over those of the marker where keys are read alone")
                    .at(outline.span(at..at + 1))
                    .hint("begin it with the key columns: OVER (PARTITION BY topic, … ORDER BY …)"),
            );
        }
    }
}

fn grouping_sets(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    let template = outline.template;
    for at in 0..outline.len() {
        let is_sets = outline.is_word(at, "grouping") && outline.is_word(at + 1, "sets");
        let is_call = outline.is_one_of(at, &["rollup", "cube"]) && outline.is_symbol(at + 1, "(");
        if is_sets || is_call {
            findings.push(
                template
                    .warning(format!(
                        "no condition gets through {}, so the statement of one key reads everything",
                        outline.text(at).to_ascii_uppercase() + if is_sets { " SETS" } else { "" }
                    ))
                    .at(outline.span(at..at + 1))
                    .hint(marker_hint(template)),
            );
        }
    }
}

/// PostgreSQL computes a name of WITH once for all if it is used twice, and then no condition gets into it.
fn shared_ctes(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    let template = outline.template;
    let sources = outline.sources(None);
    let ctes = outline.queries().into_iter().flat_map(|query| outline.ctes(&query));
    for cte in ctes.filter(|cte| cte.materialized != Some(false)) {
        let reads_table = cte.inside.clone().any(|at| outline.is_word(at, "from"));
        let uses = sources
            .iter()
            .filter(|source| source.name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(&cte.name)))
            .filter(|source| !cte.inside.contains(&source.at))
            .count();
        let why = match cte.materialized {
            Some(true) => "is MATERIALIZED",
            _ if uses >= 2 => "is used more than once",
            _ => continue,
        };
        if reads_table {
            findings.push(
                template
                    .warning(format!(
                        "`{}` {why}, so no condition gets into it and the statement of one key reads everything",
                        cte.name
                    ))
                    .at(outline.span(cte.name_at..cte.name_at + 1))
                    .hint(marker_hint(template)),
            );
        }
    }
}
