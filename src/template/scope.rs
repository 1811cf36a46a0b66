//! Scopes: the same SQL text as a statement over every key, or over some of them.
//!
//! *Every key* is the text as it was written. *Some keys* wraps the text, `SELECT * FROM (…) AS t WHERE …`, which is
//! always right; where a database can't push that condition down, the author's markers repeat it inside. A marker that
//! compares with the wrong expression loses rows; `check` reads a few keys with and without markers to find it.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::{Marker, Template};
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

/// For every key column in the order of the path, what it may be; `None` means anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFilter(pub Vec<Option<Allowed>>);

/// What a key column may be: values, each together with those of the columns that it belongs to.
///
/// SQL is asked for the values alone, which may bring rows of more keys; what is in scope is decided here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// The columns that this one belongs to.
    with: Vec<usize>,
    /// Values of those columns, and behind them this one's.
    values: HashSet<Vec<KeyValue>>,
}

impl Allowed {
    /// These values, each behind the values of the columns in `with`.
    pub fn new(with: Vec<usize>, values: impl IntoIterator<Item = Vec<KeyValue>>) -> Allowed {
        Allowed { with, values: values.into_iter().collect() }
    }

    /// The column's own values.
    pub fn own(&self) -> impl Iterator<Item = &KeyValue> {
        self.values.iter().filter_map(|values| values.last())
    }

    fn passes(&self, key: &Key, column: usize) -> bool {
        if self.with.is_empty() {
            return self.values.contains(&key.0[column..=column]);
        }
        let values: Vec<KeyValue> = self.with.iter().chain([&column]).map(|at| key.0[*at].clone()).collect();
        self.values.contains(&values)
    }
}

impl FromIterator<KeyValue> for Allowed {
    /// These values, whatever stands beside them.
    fn from_iter<I: IntoIterator<Item = KeyValue>>(values: I) -> Allowed {
        Allowed::new(Vec::new(), values.into_iter().map(|value| vec![value]))
    }
}

impl KeyFilter {
    /// Says whether a key passes.
    pub fn passes(&self, key: &Key) -> bool {
        (0..).zip(&self.0).all(|(column, allowed)| allowed.as_ref().is_none_or(|allowed| allowed.passes(key, column)))
    }
}

impl Scope {
    /// The scope of these keys and no others.
    pub fn of_keys(keys: &[Key]) -> Scope {
        let filter =
            |key: &Key| KeyFilter(key.0.iter().map(|value| Some(Allowed::from_iter([value.clone()]))).collect());
        Scope::Some(keys.iter().map(filter).collect())
    }

    /// The same in one look-up a key, for very many keys of so many columns. SQL would be asked for the last column only.
    pub fn only(columns: usize, keys: impl IntoIterator<Item = Key>) -> Scope {
        let Some(last) = columns.checked_sub(1) else { return Scope::All };
        let mut filter = vec![None; last];
        filter.push(Some(Allowed::new((0..last).collect(), keys.into_iter().map(|key| key.0))));
        Scope::Some(vec![KeyFilter(filter)])
    }

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
            listed.extend(filter.0[column].as_ref()?.own());
        }
        listed.sort();
        listed.dedup();
        (listed.len() <= MAX_LISTED_VALUES).then_some(listed)
    }
}

/// A parameter's value, as the database is to compare it.
#[derive(Debug, Clone, PartialEq)]
pub enum Bind {
    /// A text, or anything that the parameter's cast reads from one.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Real(f64),
    /// A boolean.
    Bool(bool),
}

/// Writes values of key columns as parameters.
///
/// A document shows what the rules of the front matter make of a value; a table holds what it was before.
pub trait Parameters {
    /// What the database may hold for a value of a column; `None` if that can't be said, so that SQL can't be asked.
    fn binds(&self, column: usize, value: &KeyValue) -> Option<Vec<Bind>>;
    /// Parameter `number` (from 1) with the cast that comparing it with the column needs.
    fn parameter(&self, column: usize, number: usize) -> String;
}

/// A statement, its parameters, and the way back from a position in it to one in the template's file.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The SQL text, with parameters as `$1`, `$2` … on both engines.
    pub text: String,
    /// The parameters in order.
    pub binds: Vec<Bind>,
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

/// The statement over every key: the text as it was written.
pub fn whole(template: &Template) -> Statement {
    Statement {
        text: template.sql_text().to_owned(),
        binds: Vec::new(),
        pieces: vec![(0, template.sql.start, template.sql.len())],
    }
}

/// The statement of a scope; of the template's markers those that `uses` names are filled.
pub fn keyed(
    template: &Template,
    scope: &Scope,
    parameters: &dyn Parameters,
    uses: &dyn Fn(&Marker) -> bool,
) -> Statement {
    if matches!(scope, Scope::All) {
        return whole(template);
    }
    let mut statement = Statement { text: String::new(), binds: Vec::new(), pieces: Vec::new() };
    let conditions: Vec<Option<String>> = (0..template.columns().len())
        .map(|column| condition(column, &scope.listed(column)?, parameters, &mut statement.binds))
        .collect();
    statement.text.push_str("SELECT * FROM (\n");
    push_inner(template, &conditions, uses, &mut statement);
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

/// What stands behind a column in a condition; `None` if SQL can't be asked for one of the values.
fn condition(
    column: usize,
    values: &[&KeyValue],
    parameters: &dyn Parameters,
    binds: &mut Vec<Bind>,
) -> Option<String> {
    let found: Option<Vec<Vec<Bind>>> = values.iter().map(|value| parameters.binds(column, value)).collect();
    let mut written = Vec::new();
    for bind in found?.into_iter().flatten() {
        binds.push(bind);
        written.push(parameters.parameter(column, binds.len()));
    }
    Some(match written.as_slice() {
        [] => "IN (NULL)".to_owned(),
        [one] => format!("= {one}"),
        many => format!("IN ({})", many.join(", ")),
    })
}

/// The template's own text, each used marker replaced by its conditions.
fn push_inner(
    template: &Template,
    conditions: &[Option<String>],
    uses: &dyn Fn(&Marker) -> bool,
    statement: &mut Statement,
) {
    let mut at = template.sql.start;
    let mut copy = |statement: &mut Statement, upto: usize| {
        statement.pieces.push((statement.text.len(), at, upto - at));
        statement.text.push_str(&template.source()[at..upto]);
        at = upto;
    };
    for marker in template.markers.iter().filter(|marker| uses(marker)) {
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
        KeyValue::Text(value.into())
    }

    /// Every value as it is.
    struct Plain;

    impl Parameters for Plain {
        fn binds(&self, _: usize, value: &KeyValue) -> Option<Vec<Bind>> {
            Some(vec![Bind::Text(value.to_string())])
        }

        fn parameter(&self, _: usize, number: usize) -> String {
            format!("${number}")
        }
    }

    fn some(values: &[&str]) -> Allowed {
        values.iter().map(|value| text(value)).collect()
    }

    const SQL: &str = "/*---\npath = \"m/{region}/{topic}.json\"\n---*/\nSELECT 1 AS region, 2 AS topic, ';' AS x FROM c WHERE true /*:keys region=c.name, topic=lower(t.a, t.b) */ -- end\n;\n";

    #[test]
    fn every_key_is_the_text_as_written() {
        let template = template(SQL);
        let all = whole(&template);
        assert!(all.text.starts_with("SELECT 1") && all.text.ends_with("-- end"), "{:?}", all.text);
        assert!(all.binds.is_empty());
        let at = all.text.find("FROM").unwrap();
        assert_eq!(&SQL[all.file_offset(at).unwrap()..][..4], "FROM");
    }

    #[test]
    fn some_keys_wrap_and_fill_the_markers() {
        let template = template(SQL);
        let scope = Scope::Some(vec![
            KeyFilter(vec![None, Some(some(&["b"]))]),
            KeyFilter(vec![Some(some(&["x"])), Some(some(&["a"]))]),
        ]);
        let some = keyed(&template, &scope, &Plain, &|_| true);
        assert!(some.text.contains("WHERE true  AND (lower(t.a, t.b) IN ($1, $2))"), "{}", some.text);
        assert!(some.text.ends_with("\n) AS t WHERE t.\"topic\" IN ($1, $2)"), "{}", some.text);
        assert_eq!(some.binds, [Bind::Text("a".to_owned()), Bind::Text("b".to_owned())]);
        let unmarked = keyed(&template, &scope, &Plain, &|_| false);
        assert!(unmarked.text.contains("true /*:keys") && unmarked.text.ends_with("IN ($1, $2)"), "{}", unmarked.text);
        let at = some.text.find("-- end").unwrap();
        assert_eq!(&SQL[some.file_offset(at).unwrap()..][..6], "-- end");
        assert!(scope.contains(&Key(vec![text("y"), text("b")])));
        assert!(!scope.contains(&Key(vec![text("y"), text("a")])));
    }

    #[test]
    fn very_many_keys_are_one_filter() {
        let key = |names: [&str; 2]| Key(names.iter().map(|name| text(name)).collect());
        let keys = [key(["UK", "Boston"]), key(["US", "Austin"])];
        let scope = Scope::only(2, keys.clone());
        let others = [key(["UK", "Austin"]), key(["US", "Boston"])];
        assert!(keys.iter().all(|key| scope.contains(key)) && !others.iter().any(|key| scope.contains(key)));
        assert!(Scope::only(1, [Key(vec![text("a")])]).contains(&Key(vec![text("a")])));
    }

    #[test]
    fn a_value_counts_only_beside_those_that_it_belongs_to() {
        let pairs = [["UK", "Boston"], ["US", "Austin"]].map(|pair| pair.iter().map(|name| text(name)).collect());
        let scope = Scope::Some(vec![KeyFilter(vec![None, Some(Allowed::new(vec![0], pairs))])]);
        assert!(scope.contains(&Key(vec![text("UK"), text("Boston")])));
        assert!(!scope.contains(&Key(vec![text("US"), text("Boston")])));
        let template = template(SQL);
        let some = keyed(&template, &scope, &Plain, &|_| true);
        assert!(some.text.ends_with("WHERE t.\"topic\" IN ($1, $2)"), "{}", some.text);
    }
}
