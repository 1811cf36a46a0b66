//! Scopes: the same SQL text as a statement over every key, or over some of them.
//!
//! *Every key* is the text as it was written. *Some keys* wraps the text, `SELECT * FROM (…) AS t WHERE …`, which is
//! always right; where a database can't push that condition down, the author's markers repeat it inside. A marker can
//! therefore lose speed, never rows.

use std::fmt::Write as _;

use super::Template;
use crate::key::{Key, KeyValue};

/// More values of one column than this are not listed in SQL; the rows of other keys are dropped as they arrive.
const MAX_LISTED_VALUES: usize = 2_000;

/// Which keys a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every key.
    All,
    /// The keys that at least one of the filters lets through.
    Some(Vec<KeyFilter>),
}

/// For every key column in the order of the path, the values it may have; `None` means any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFilter(pub Vec<Option<Vec<KeyValue>>>);

impl KeyFilter {
    /// Says whether a key passes.
    pub fn passes(&self, key: &Key) -> bool {
        self.0.iter().zip(&key.0).all(|(allowed, value)| allowed.as_ref().is_none_or(|allowed| allowed.contains(value)))
    }
}

impl Scope {
    /// Says whether a key belongs to the scope.
    pub fn contains(&self, key: &Key) -> bool {
        match self {
            Scope::All => true,
            Scope::Some(filters) => filters.iter().any(|filter| filter.passes(key)),
        }
    }

    /// The values of a column that SQL may be asked for; `None` where any value may belong to the scope.
    fn listed(&self, column: usize) -> Option<Vec<&KeyValue>> {
        let Scope::Some(filters) = self else { return None };
        let mut listed = Vec::new();
        for filter in filters {
            listed.extend(filter.0[column].as_ref()?);
        }
        listed.sort();
        listed.dedup();
        (listed.len() <= MAX_LISTED_VALUES).then_some(listed)
    }
}

/// A statement, its parameters, and the way back from a position in it to one in the template's file.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The SQL text, with parameters as `$1`, `$2` … on both engines.
    pub text: String,
    /// The parameters in order: the key column and the value.
    pub binds: Vec<(usize, KeyValue)>,
    /// Pieces of the text that stand in the file: start in the text, start in the file, length.
    pieces: Vec<(usize, usize, usize)>,
}

impl Statement {
    /// A statement that stands in the file as a whole, or nowhere in it.
    pub fn verbatim(text: &str) -> Statement {
        Statement { text: text.to_owned(), binds: Vec::new(), pieces: Vec::new() }
    }

    /// The byte of the file that a byte of the statement came from.
    pub fn file_offset(&self, at: usize) -> Option<usize> {
        self.pieces
            .iter()
            .find(|(start, _, len)| (*start..=start + len).contains(&at))
            .map(|(start, file, _)| file + at - start)
    }

    /// The same statement inside `head` and `tail`.
    #[must_use]
    pub fn wrapped(&self, head: &str, tail: &str) -> Statement {
        Statement {
            text: format!("{head}{}{tail}", self.text),
            binds: self.binds.clone(),
            pieces: self.pieces.iter().map(|(start, file, len)| (start + head.len(), *file, *len)).collect(),
        }
    }
}

/// Writes the statement of a scope.
///
/// `parameter` writes a parameter with the cast that the column's type needs, given its number (from 1) and column.
pub fn statement(template: &Template, scope: &Scope, parameter: &dyn Fn(usize, usize) -> String) -> Statement {
    let mut statement = Statement { text: String::new(), binds: Vec::new(), pieces: Vec::new() };
    if matches!(scope, Scope::All) {
        statement.pieces.push((0, template.sql.start, template.sql.len()));
        template.sql_text().clone_into(&mut statement.text);
        return statement;
    }
    let mut conditions: Vec<Option<String>> = Vec::new();
    for column in 0..template.columns().len() {
        let listed = scope.listed(column);
        conditions.push(listed.map(|values| {
            let parameters: Vec<String> = values
                .into_iter()
                .map(|value| {
                    statement.binds.push((column, value.clone()));
                    parameter(statement.binds.len(), column)
                })
                .collect();
            match parameters.as_slice() {
                [] => "IN (NULL)".to_owned(),
                [one] => format!("= {one}"),
                many => format!("IN ({})", many.join(", ")),
            }
        }));
    }
    statement.text.push_str("SELECT * FROM (\n");
    push_inner(template, &conditions, &mut statement);
    // The line break ends a `--` comment that the template may end with.
    statement.text.push_str("\n) AS t");
    let mut word = " WHERE";
    for (name, condition) in template.columns().iter().zip(&conditions) {
        if let Some(condition) = condition {
            let _ = write!(statement.text, "{word} t.\"{}\" {condition}", name.replace('"', "\"\""));
            word = " AND";
        }
    }
    statement
}

/// The template's own text, each marker replaced by its conditions.
fn push_inner(template: &Template, conditions: &[Option<String>], statement: &mut Statement) {
    let mut at = template.sql.start;
    let mut copy = |statement: &mut Statement, upto: usize| {
        statement.pieces.push((statement.text.len(), at, upto - at));
        statement.text.push_str(&template.source()[at..upto]);
        at = upto;
    };
    for marker in &template.markers {
        copy(statement, marker.span.start);
        for (column, expression) in &marker.filters {
            if let Some(condition) = &conditions[*column] {
                let _ = write!(statement.text, " AND ({expression} {condition})");
            }
        }
        copy(statement, marker.span.end);
    }
    copy(statement, template.sql.end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn template(text: &str) -> Template {
        super::super::parse::parse(Path::new("m.sql"), &text.into())
            .map_err(|findings| format!("{findings:?}"))
            .unwrap()
    }

    fn text(value: &str) -> KeyValue {
        KeyValue::Text(value.to_owned())
    }

    const SQL: &str = "/*---\npath = \"m/{region}/{topic}.json\"\n---*/\nSELECT 1 AS region, 2 AS topic, ';' AS x FROM c WHERE true /*:keys region=c.name, topic=lower(t.a, t.b) */ -- end\n;\n";

    #[test]
    fn every_key_is_the_text_as_written() {
        let template = template(SQL);
        let all = statement(&template, &Scope::All, &|n, _| format!("${n}"));
        assert!(all.text.starts_with("SELECT 1") && all.text.ends_with("-- end"), "{:?}", all.text);
        assert!(all.binds.is_empty());
        let at = all.text.find("FROM").unwrap();
        assert_eq!(&SQL[all.file_offset(at).unwrap()..][..4], "FROM");
    }

    #[test]
    fn some_keys_wrap_and_fill_the_markers() {
        let template = template(SQL);
        let scope = Scope::Some(vec![
            KeyFilter(vec![None, Some(vec![text("b")])]),
            KeyFilter(vec![Some(vec![text("x")]), Some(vec![text("a")])]),
        ]);
        let some = statement(&template, &scope, &|n, _| format!("${n}"));
        assert!(some.text.contains("WHERE true  AND (lower(t.a, t.b) IN ($1, $2))"), "{}", some.text);
        assert!(some.text.ends_with("\n) AS t WHERE t.\"topic\" IN ($1, $2)"), "{}", some.text);
        assert_eq!(some.binds, vec![(1, text("a")), (1, text("b"))]);
        let at = some.text.find("-- end").unwrap();
        assert_eq!(&SQL[some.file_offset(at).unwrap()..][..6], "-- end");
        assert!(scope.contains(&Key(vec![text("y"), text("b")])));
        assert!(!scope.contains(&Key(vec![text("y"), text("a")])));
    }
}
