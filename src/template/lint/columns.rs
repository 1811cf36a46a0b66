//! Are the result's columns those that the front matter speaks of?

use std::ops::Range;

use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::template::{ColumnRule, Shape, Template};

/// Lints the columns that the query returns.
pub fn lint_columns(template: &Template, columns: &[String]) -> Vec<Diagnostic> {
    let mut findings = repeated(template, columns);
    findings.extend(missing_keys(template, columns));
    findings.extend(unknown_rules(template, columns));
    findings.extend(shape(template, columns));
    findings
}

/// Columns that have a name in common, of which a document could hold only one. Names that differ only in case count
/// too: SQLite renames the second of them as soon as the query stands inside another.
fn repeated(template: &Template, columns: &[String]) -> Vec<Diagnostic> {
    let same = |at: usize, other: &&String| other.eq_ignore_ascii_case(&columns[at]);
    let is_second = |at: &usize| columns[..*at].iter().filter(|other| same(*at, other)).count() == 1;
    (0..columns.len())
        .filter(is_second)
        .map(|at| {
            template
                .error(format!("the query returns two columns `{}`", columns[at]))
                .at(template.span_of_column(&columns[at]))
                .hint("give each column a name of its own with AS")
        })
        .collect()
}

fn missing_keys(template: &Template, columns: &[String]) -> Vec<Diagnostic> {
    let missing = template.columns().iter().filter(|key| !columns.contains(key));
    missing
        .map(|key| {
            template
                .error(format!("the query doesn't return the key column `{key}`, which the path names"))
                .hint(near_or_returned(key, columns))
        })
        .collect()
}

fn unknown_rules(template: &Template, columns: &[String]) -> Vec<Diagnostic> {
    let unknown = template.rules.iter().filter(|(name, _)| !columns.contains(name));
    unknown
        .map(|(name, rule)| {
            let word = match rule {
                ColumnRule::Decimals(_) => "decimals",
                ColumnRule::Text => "text",
                ColumnRule::Bool => "bool",
                ColumnRule::Json => "json",
            };
            let finding = template
                .error(format!("`{word}` names the column `{name}`, which the query doesn't return"))
                .hint(near_or_returned(name, columns));
            match span_of_rule(template, word, name) {
                Some(span) => finding.at(span),
                None => finding,
            }
        })
        .collect()
}

fn shape(template: &Template, columns: &[String]) -> Option<Diagnostic> {
    let data: Vec<&String> = columns.iter().filter(|column| !template.columns().contains(column)).collect();
    let has = |name: &str| data.iter().any(|column| column.eq_ignore_ascii_case(name));
    match template.shape {
        Shape::Json if data.len() != 1 => Some(
            template
                .error(format!(
                    "the query returns {} columns besides the key columns, and shape \"json\" takes exactly one",
                    data.len()
                ))
                .hint(match data.is_empty() {
                    true => "return the document as one more column: json_agg(…) AS data".to_owned(),
                    false => format!("put them into one value, or use shape = \"rows\"; {}", returned(columns)),
                }),
        ),
        Shape::Geojson if !(has("geometry") || has("lon") && has("lat")) => Some(
            template
                .error(
                    "the query returns neither a column `geometry` nor `lon` and `lat`, which shape \"geojson\" takes",
                )
                .hint(near_place(&data).unwrap_or_else(|| returned(columns))),
        ),
        _ => None,
    }
}

/// The usual other names of a place's columns.
fn near_place(data: &[&String]) -> Option<String> {
    let known = [
        ("longitude", "lon"),
        ("lng", "lon"),
        ("long", "lon"),
        ("latitude", "lat"),
        ("geom", "geometry"),
        ("the_geom", "geometry"),
    ];
    let renames: Vec<String> = known
        .iter()
        .filter(|(other, _)| data.iter().any(|column| column.eq_ignore_ascii_case(other)))
        .map(|(other, name)| format!("{other} AS {name}"))
        .collect();
    (!renames.is_empty()).then(|| format!("write {}", renames.join(", ")))
}

fn near_or_returned(name: &str, columns: &[String]) -> String {
    match did_you_mean(name, columns.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? {}", returned(columns)),
        None => returned(columns),
    }
}

fn returned(columns: &[String]) -> String {
    format!("the query returns {}", columns.join(", "))
}

/// Where the front matter names a column in a rule.
fn span_of_rule(template: &Template, word: &str, name: &str) -> Option<Range<usize>> {
    let front = &template.source()[..template.sql.start];
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let whole =
        |start: usize, len: usize| !front[..start].ends_with(is_name) && !front[start + len..].starts_with(is_name);
    let rule = front.match_indices(word).map(|(at, _)| at).find(|at| {
        let line = front[..*at].rsplit('\n').next().unwrap_or_default();
        matches!(line.trim(), "" | "[") && whole(*at, word.len())
    })?;
    let (at, _) = front[rule + word.len()..]
        .match_indices(name)
        .map(|(at, found)| (rule + word.len() + at, found))
        .find(|(at, _)| whole(*at, name.len()))?;
    Some(at..at + name.len())
}
