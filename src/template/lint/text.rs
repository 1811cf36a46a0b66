//! Texts that mean something elsewhere: placeholders of other tools, and columns that nobody names.

use super::outline::{Outline, Query};
use crate::diagnostic::Diagnostic;
use crate::template::Template;
use crate::template::tokens::{self, Kind};

const BINDS: &str =
    "binds only come from key scopes: write the SQL for every key, and tintype adds the conditions for some of them";

/// Finds placeholders; a database would refuse them, or bind NULL.
pub fn placeholders(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    let mut brackets = 0_usize;
    let mut last_brace = None;
    for at in 0..outline.len() {
        match outline.text(at) {
            "[" => brackets += 1,
            "]" => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        let Some(end) = placeholder(outline, at, brackets > 0) else { continue };
        // `{{` is one placeholder.
        if outline.is_symbol(at, "{") && last_brace.replace(at) == at.checked_sub(1) && at > 0 {
            continue;
        }
        let shown = outline.plain(at..end);
        findings
            .push(outline.template.error(format!("`{shown}` is a placeholder")).at(outline.span(at..end)).hint(BINDS));
    }
    for at in (0..outline.len()).filter(|at| outline.kind(*at) == Kind::Text && holds_braces(outline.text(*at))) {
        findings.push(
            outline
                .template
                .warning(format!(
                    "{} looks like a placeholder of a template engine, and stays as it is",
                    outline.text(at)
                ))
                .at(outline.span(at..at + 1))
                .hint(BINDS),
        );
    }
}

/// Finds placeholders in the expressions of markers.
pub fn marker_placeholders(template: &Template, findings: &mut Vec<Diagnostic>) {
    for marker in &template.markers {
        for (_, expression) in &marker.filters {
            let tokens = tokens::tokens(expression);
            let holds = tokens.iter().any(|token| matches!(token.text(expression), "$" | "{" | "?"));
            if holds {
                findings.push(
                    template
                        .error(format!("the marker's expression `{expression}` holds a placeholder"))
                        .at(marker.span.clone())
                        .hint("name only what is to be compared: /*:keys topic=t.slug */"),
                );
            }
        }
    }
}

/// The end of a placeholder that begins here.
fn placeholder(outline: &Outline, at: usize, in_brackets: bool) -> Option<usize> {
    if outline.kind(at) != Kind::Symbol || at >= outline.len() {
        return None;
    }
    let next_touches = outline.touches(at + 1);
    let before = at.checked_sub(1);
    // After an operand `%` is the remainder and `?` an operator of jsonb.
    let begins = before.is_none_or(|before| match outline.kind(before) {
        Kind::Symbol => !outline.is_symbol(before, ")") && !outline.is_symbol(before, "]"),
        Kind::Word => outline.is_one_of(
            before,
            &[
                "where", "and", "or", "in", "like", "ilike", "limit", "offset", "between", "select", "not", "then",
                "else",
            ],
        ),
        _ => false,
    });
    match outline.text(at) {
        "{" => {
            Some((at + 1..outline.len().min(at + 40)).find(|end| outline.is_symbol(*end, "}")).map_or(at + 1, |end| {
                end + 1 + usize::from(outline.is_symbol(end + 1, "}") && outline.touches(end + 1))
            }))
        }
        "$" if next_touches && outline.kind(at + 1) == Kind::Number => Some(at + 2),
        ":" if next_touches && outline.kind(at + 1) == Kind::Word && !in_brackets => {
            let is_cast = outline.touches(at) && before.is_some_and(|before| outline.is_symbol(before, ":"));
            (!is_cast).then_some(at + 2)
        }
        "%" if begins && next_touches && outline.is_one_of(at + 1, &["s", "d"]) => Some(at + 2),
        "%" if begins && next_touches && outline.is_symbol(at + 1, "(") => {
            let end = outline.inside(at + 1).end + 1;
            (outline.is_word(end, "s") && outline.touches(end)).then_some(end + 1)
        }
        "?" if begins && !next_touches_operator(outline, at) => Some(at + 1),
        _ => None,
    }
}

/// `?|` and `?&` are operators of jsonb.
fn next_touches_operator(outline: &Outline, at: usize) -> bool {
    outline.touches(at + 1) && (outline.is_symbol(at + 1, "|") || outline.is_symbol(at + 1, "&"))
}

/// `{{ name }}` in a string; PostgreSQL's arrays of arrays have a comma or a number in theirs.
fn holds_braces(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("{{") else { return false };
    let Some((inside, _)) = rest.split_once("}}") else { return false };
    let inside = inside.trim();
    inside.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && inside.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '|' | ' '))
}

/// Finds `SELECT *` where its columns are those of a table.
pub fn stars(outline: &Outline, findings: &mut Vec<Diagnostic>) {
    let query = outline.outermost();
    let Some(star) = star(outline, &query) else { return };
    let sources = outline.sources(Some(&query));
    let ctes = outline.ctes(&query);
    // The columns of a subquery are written down in it.
    let is_written = !sources.is_empty()
        && sources.iter().all(|source| match &source.name {
            None => inside_is_written(outline, source.at),
            Some(name) => ctes
                .iter()
                .any(|cte| cte.name.eq_ignore_ascii_case(name) && inside_is_written(outline, cte.inside.start - 1)),
        });
    if is_written {
        return;
    }
    let (whose, hint) = match outline.domain {
        Some(_) => ("of the domain", "name the key columns, and `label` and `slug` where there are any"),
        None => ("of the documents", "name each column; pages rely on them, and publishing can't be undone"),
    };
    findings.push(
        outline
            .template
            .warning(format!("with `*` the columns {whose} change when the table's do"))
            .at(outline.span(star..star + 1))
            .hint(hint),
    );
}

fn star(outline: &Outline, query: &Query) -> Option<usize> {
    outline.items(query).into_iter().find_map(|item| {
        let last = item.expression.end.checked_sub(1)?;
        let alone = item.expression.len() == 1 || outline.is_symbol(last.checked_sub(1)?, ".");
        (alone && outline.is_symbol(last, "*")).then_some(last)
    })
}

fn inside_is_written(outline: &Outline, open: usize) -> bool {
    let inside = outline.inside(open);
    let query = outline.queries().into_iter().find(|query| query.whole == inside);
    query.is_some_and(|query| star(outline, &query).is_none())
}
