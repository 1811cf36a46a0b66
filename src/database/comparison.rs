//! How the values of key columns are compared in SQL.
//!
//! A key holds what a document shows: by the column's type, and by the rules of the front matter (`text`, `bool`,
//! `decimals`). The table holds what it was before, so every value goes the way back to all that would be shown like
//! it. Rows too many are dropped as they arrive; rows too few would empty a document, so where there is no way back
//! SQL isn't asked.

use super::value::Rule;
use super::{ColumnType, ResultColumn, postgres};
use crate::key::KeyValue;
use crate::template::Template;
use crate::template::scope::{Bind, Parameters};

/// The texts that `bool` shows as `true`, and those that it shows as `false`.
const SPELLINGS: [[&str; 3]; 2] = [["f", "false", "0"], ["t", "true", "1"]];

/// The key columns of a template as its query returns them, in the order of the path.
#[derive(Debug, Clone)]
pub struct KeyColumns(Vec<(ColumnType, Rule)>);

/// The families of types whose values are compared in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Integer,
    /// Numbers that may have a fraction.
    Number,
    Bool,
    Text,
    /// Shown as text: dates, uuid, addresses …
    Other,
}

impl KeyColumns {
    /// Finds the key columns in a result; the error names one that isn't there.
    pub fn new<'a>(template: &'a Template, result: &[ResultColumn]) -> Result<KeyColumns, &'a str> {
        let of = |name: &'a String| {
            let found = result.iter().find(|column| column.name == *name).ok_or(name.as_str())?;
            Ok((found.kind.clone(), Rule::of_key(template, name)))
        };
        template.columns().iter().map(of).collect::<Result<_, _>>().map(KeyColumns)
    }

    /// The type of a column whose query can never return the value, as far as the type tells.
    pub fn refuses(&self, column: usize, value: &KeyValue) -> Option<&str> {
        let (ColumnType::Postgres { oid, name }, rule) = &self.0[column] else { return None };
        let fits = match (rule, family(*oid), value) {
            (Rule::Bool, _, value) => matches!(value, KeyValue::Bool(_)),
            (Rule::Text, _, value) => matches!(value, KeyValue::Text(_)),
            (_, Family::Integer | Family::Number, value) => matches!(value, KeyValue::Integer(_)),
            (_, Family::Bool, value) => matches!(value, KeyValue::Bool(_)),
            // `oid` and its like are numbers as well.
            (_, Family::Other, value) => !matches!(value, KeyValue::Bool(_)),
            (Rule::Decimals(_), Family::Text, _) => true,
            (_, Family::Text, value) => matches!(value, KeyValue::Text(_)),
        };
        (!fits).then_some(name)
    }
}

impl Parameters for KeyColumns {
    fn binds(&self, column: usize, value: &KeyValue) -> Option<Vec<Bind>> {
        let (kind, rule) = &self.0[column];
        match kind {
            ColumnType::Postgres { oid, .. } => postgres_binds(family(*oid), *rule, value),
            ColumnType::Sqlite => sqlite_binds(*rule, value),
        }
    }

    fn parameter(&self, column: usize, number: usize) -> String {
        match &self.0[column].0 {
            ColumnType::Sqlite => format!("${number}"),
            ColumnType::Postgres { oid, name } => postgres::parameter(*oid, name, number),
        }
    }
}

/// The family of a PostgreSQL type; of a domain the OID is its base type's.
fn family(oid: u32) -> Family {
    match oid {
        20 | 21 | 23 => Family::Integer,
        700 | 701 | 1700 => Family::Number,
        16 => Family::Bool,
        18 | 19 | 25 | 1042 | 1043 => Family::Text,
        _ => Family::Other,
    }
}

fn postgres_binds(family: Family, rule: Rule, value: &KeyValue) -> Option<Vec<Bind>> {
    let only = |bind: Option<Bind>| Some(bind.into_iter().collect());
    match (rule, family, value) {
        // Rounding has no way back, except where there is nothing to round; nor has what isn't a number or text.
        (Rule::Decimals(_), Family::Number | Family::Text, _) | (Rule::Bool, Family::Other, _) => None,
        (Rule::Bool, Family::Integer | Family::Number, KeyValue::Bool(value)) => {
            only(Some(Bind::Integer(i64::from(*value))))
        }
        (Rule::Bool, Family::Text, KeyValue::Bool(value)) => Some(spelled(*value)),
        (Rule::Text, Family::Integer, KeyValue::Text(text)) => only(text.parse().ok().map(Bind::Integer)),
        // A numeric has more digits than a float, so the server reads the text; what it can't read is no number.
        (Rule::Text, Family::Number, KeyValue::Text(text)) => only(real(text).map(|_| Bind::Text(text.to_string()))),
        (Rule::Text, Family::Bool, KeyValue::Text(text)) => only(text.parse().ok().map(Bind::Bool)),
        _ => only(Some(as_it_is(value))),
    }
}

/// SQLite types each value, and compares a number and a text by the columns that they come from or not at all.
fn sqlite_binds(rule: Rule, value: &KeyValue) -> Option<Vec<Bind>> {
    match (rule, value) {
        (Rule::Decimals(_), _) => None,
        (Rule::Bool, KeyValue::Bool(value)) => {
            let mut binds = spelled(*value);
            binds.push(Bind::Integer(i64::from(*value)));
            Some(binds)
        }
        (_, KeyValue::Bool(value)) => Some(vec![Bind::Integer(i64::from(*value))]),
        // Without `text` the other class of a value is another key, which must be seen to be refused.
        (_, KeyValue::Integer(number)) => Some(vec![Bind::Integer(*number), Bind::Text(number.to_string())]),
        (_, KeyValue::Text(text)) => {
            let number = text.parse().map(Bind::Integer).ok().or_else(|| real(text).map(Bind::Real));
            Some([Bind::Text(text.to_string())].into_iter().chain(number).collect())
        }
    }
}

fn spelled(value: bool) -> Vec<Bind> {
    SPELLINGS[usize::from(value)].iter().map(|text| Bind::Text((*text).to_owned())).collect()
}

fn real(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn as_it_is(value: &KeyValue) -> Bind {
    match value {
        KeyValue::Text(text) => Bind::Text(text.to_string()),
        KeyValue::Integer(number) => Bind::Integer(*number),
        KeyValue::Bool(value) => Bind::Bool(*value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> KeyValue {
        KeyValue::Text(value.into())
    }

    #[test]
    fn a_value_goes_back_to_what_the_table_holds() {
        let texts = |texts: &[&str]| Some(texts.iter().map(|text| Bind::Text((*text).to_owned())).collect::<Vec<_>>());
        let integer = |number| Some(vec![Bind::Integer(number)]);
        for (family, rule, value, binds) in [
            (Family::Integer, Rule::Text, text("9007199254740993"), integer(9_007_199_254_740_993)),
            (Family::Integer, Rule::Text, text("x"), Some(Vec::new())),
            (Family::Number, Rule::Text, text("2.50"), texts(&["2.50"])),
            (Family::Number, Rule::Decimals(0), KeyValue::Integer(1), None),
            (Family::Integer, Rule::Decimals(0), KeyValue::Integer(1), integer(1)),
            (Family::Integer, Rule::Bool, KeyValue::Bool(true), integer(1)),
            (Family::Text, Rule::Bool, KeyValue::Bool(false), texts(&["f", "false", "0"])),
            (Family::Bool, Rule::Bool, KeyValue::Bool(true), Some(vec![Bind::Bool(true)])),
            (Family::Bool, Rule::Text, text("true"), Some(vec![Bind::Bool(true)])),
            (Family::Other, Rule::Text, text("2024-01-01"), texts(&["2024-01-01"])),
        ] {
            assert_eq!(postgres_binds(family, rule, &value), binds, "{family:?} {rule:?} {value}");
        }
        assert_eq!(sqlite_binds(Rule::Text, &text("1.5")).unwrap().last(), Some(&Bind::Real(1.5)));
        assert_eq!(sqlite_binds(Rule::Plain, &text("007")).unwrap().len(), 2);
        assert_eq!(sqlite_binds(Rule::Bool, &KeyValue::Bool(true)).unwrap().len(), 4);
        assert_eq!(sqlite_binds(Rule::Decimals(1), &KeyValue::Integer(1)), None);
    }
}
