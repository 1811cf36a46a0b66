//! The SQL behind the front matter: one statement, where it ends, and the markers in it.

use std::ops::Range;

use super::Reader;
use crate::diagnostic::Diagnostic;
use crate::template::Marker;
use crate::template::tokens::{self, Kind};

/// The SQL's span without what ends it; one statement, and one that reads.
pub fn span(reader: &Reader<'_>, sql: Range<usize>) -> Result<Range<usize>, Diagnostic> {
    let text = &reader.source[sql.clone()];
    let tokens: Vec<_> = tokens::tokens(text).into_iter().filter(|token| !token.is_comment()).collect();
    let at = |span: Range<usize>| sql.start + span.start..sql.start + span.end;
    let fail = |span, message: &str, hint: &str| Err(reader.error(span, message).hint(hint));
    let Some(first) = tokens.iter().find(|token| !token.is_symbol(text, "(")) else {
        return fail(
            sql,
            "there is no SQL behind the front matter",
            "write the SELECT that yields the rows of every key",
        );
    };
    if !["select", "with", "values", "table"].iter().any(|word| first.is_word(text, word)) {
        return fail(
            at(first.span.clone()),
            "the statement isn't a query",
            "a template is one SELECT (or WITH … SELECT)",
        );
    }
    let end = tokens.iter().rposition(|token| !token.is_symbol(text, ";")).map_or(0, |last| last + 1);
    if let Some(semicolon) = tokens[..end].iter().find(|token| token.is_symbol(text, ";")) {
        return fail(
            at(semicolon.span.clone()),
            "the file holds more than one statement",
            "a template is one statement; put the others into templates of their own",
        );
    }
    // Comments behind the last token stay: they may be a marker.
    let last = tokens.get(end).map_or(text.len(), |semicolon| semicolon.span.start);
    Ok(sql.start..sql.start + text[..last].trim_end().len())
}

/// The markers in the SQL; what is wrong with them goes to `findings`.
pub fn markers(
    reader: &Reader<'_>,
    sql: &Range<usize>,
    columns: &[String],
    findings: &mut Vec<Diagnostic>,
) -> Vec<Marker> {
    let text = &reader.source[sql.clone()];
    let mut markers = Vec::new();
    for token in tokens::tokens(text).iter().filter(|token| token.kind == Kind::BlockComment) {
        let span = sql.start + token.span.start..sql.start + token.span.end;
        let Some(inside) = token.text(text).strip_prefix("/*:keys") else { continue };
        let mut filters = Vec::new();
        for part in split_at_commas(inside.trim_end_matches("*/")) {
            let (column, expression) =
                part.split_once('=').map_or((part, ""), |(column, expression)| (column.trim(), expression.trim()));
            match columns.iter().position(|known| known == column.trim()) {
                Some(column) if !expression.is_empty() => filters.push((column, expression.to_owned())),
                Some(_) => findings.push(
                    reader
                        .error(span.clone(), format!("the marker says nothing to compare `{column}` with"))
                        .hint("write /*:keys region=c.name */"),
                ),
                None => findings.push(
                    reader
                        .error(span.clone(), format!("the marker names `{}`, which isn't a key column", column.trim()))
                        .hint(format!("key columns are {}", columns.join(", "))),
                ),
            }
        }
        markers.push(Marker { span, filters });
    }
    markers
}

/// Splits at the commas that stand outside parentheses and strings.
fn split_at_commas(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for token in tokens::tokens(text) {
        match token.text(text) {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            "," if depth == 0 => {
                parts.push(&text[start..token.span.start]);
                start = token.span.end;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}
