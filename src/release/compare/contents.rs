//! What has changed within a document: the rows that came and went, each as one piece of text.
//!
//! A row has no name, so that a changed one is one that went and one that came.

use std::collections::HashMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::super::row::Row;
use super::Differing;
use crate::error::Error;
use crate::snapshot::unpacked;
use crate::store::Store;
use crate::template::Shape;

/// The difference between the contents of two documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Rows that only the later document has, in its order, as JSON; at most so many as were asked for.
    pub added: Vec<String>,
    /// Rows that only the earlier document has.
    pub removed: Vec<String>,
    /// How many more rows were added than are told.
    pub added_more: u64,
    /// How many more rows were removed than are told.
    pub removed_more: u64,
    /// True if both have the same rows in another order.
    pub is_reordered: bool,
}

/// Reads both documents and compares their rows; at most `limit` of each kind are told.
pub async fn contents(store: &Store, differing: &Differing, shape: Shape, limit: usize) -> Result<Contents, Error> {
    let before = rows_of(store, differing.before.as_deref(), shape).await?;
    let after = rows_of(store, differing.after.as_deref(), shape).await?;
    let mut contents = Contents::default();
    (contents.added, contents.added_more) = without(&after, &before, limit);
    (contents.removed, contents.removed_more) = without(&before, &after, limit);
    contents.is_reordered = contents.added.is_empty() && contents.removed.is_empty() && before != after;
    Ok(contents)
}

/// The rows that `some` has more often than `others`, and how many of them are left out.
fn without(some: &[String], others: &[String], limit: usize) -> (Vec<String>, u64) {
    let mut there: HashMap<&str, u64> = HashMap::new();
    for row in others {
        *there.entry(row).or_default() += 1;
    }
    let mut found = Vec::new();
    let mut more = 0;
    for row in some {
        match there.get_mut(row.as_str()) {
            Some(count @ 1..) => *count -= 1,
            _ if found.len() < limit => found.push(row.clone()),
            _ => more += 1,
        }
    }
    (found, more)
}

async fn rows_of(store: &Store, row: Option<&Row>, shape: Shape) -> Result<Vec<String>, Error> {
    let Some((blob, digest)) = row.and_then(|row| Some((row.blob()?, row.digest()?))) else { return Ok(Vec::new()) };
    let corrupt = |reason: String| Error::Corrupt { object: blob.clone(), reason };
    let bytes = store.read(&blob).await?.ok_or_else(|| corrupt("is missing".to_owned()))?;
    let body = unpacked(&bytes, Some(&digest)).map_err(corrupt)?;
    rows(&body, shape).map_err(|error| corrupt(format!("isn't a document: {error}")))
}

/// The rows of a document as they are written in it: a parser's numbers would round. One that has none of its shape,
/// because the shape has changed, is one row as a whole.
fn rows(body: &[u8], shape: Shape) -> serde_json::Result<Vec<String>> {
    let Object(members) = serde_json::from_slice(body)?;
    let member = |name: &str| members.iter().find(|(member, _)| member == name).map(|(_, value)| value.get());
    let texts = |rows: Vec<&RawValue>| rows.into_iter().map(|row| row.get().to_owned()).collect();
    let taken = match shape {
        Shape::Rows => member("rows").map(serde_json::from_str).transpose()?.map(texts),
        Shape::Geojson => member("features").map(serde_json::from_str).transpose()?.map(texts),
        Shape::Columns => member("columns").map(across).transpose()?,
        Shape::Json => member("data").map(|data| vec![data.to_owned()]),
    };
    Ok(taken.unwrap_or_else(|| vec![String::from_utf8_lossy(body).into_owned()]))
}

/// Rows from columns.
fn across(columns: &str) -> serde_json::Result<Vec<String>> {
    let Object(columns) = serde_json::from_str(columns)?;
    let mut rows: Vec<String> = Vec::new();
    for (name, values) in columns {
        let values: Vec<&RawValue> = serde_json::from_str(values.get())?;
        let name = serde_json::to_string(&name)?;
        for (at, value) in values.into_iter().enumerate() {
            match rows.get_mut(at) {
                Some(row) => row.push_str(&format!(",{name}:{}", value.get())),
                None => rows.push(format!("{{{name}:{}", value.get())),
            }
        }
    }
    for row in &mut rows {
        row.push('}');
    }
    Ok(rows)
}

/// The members of an object in their order, as they are written.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<'de>, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn texts(document: &Value, shape: Shape) -> Vec<String> {
        rows(document.to_string().as_bytes(), shape).unwrap()
    }

    #[test]
    fn every_shape_has_rows() {
        let expected = [r#"{"city":"Boston","n":2}"#, r#"{"city":"Austin","n":1}"#];
        let rows = json!([{"city": "Boston", "n": 2}, {"city": "Austin", "n": 1}]);
        assert_eq!(texts(&json!({"key": {}, "rows": rows}), Shape::Rows), expected);
        assert_eq!(texts(&json!({"type": "FeatureCollection", "features": rows}), Shape::Geojson), expected);
        let columns = json!({"city": ["Boston", "Austin"], "n": [2, 1]});
        assert_eq!(texts(&json!({"count": 2, "columns": columns}), Shape::Columns), expected);
        assert_eq!(texts(&json!({"data": {"b": 1}}), Shape::Json), [r#"{"b":1}"#]);
        assert_eq!(texts(&json!({"count": 0, "columns": {"city": []}}), Shape::Columns), Vec::<String>::new());
        // A document of another shape than the template has by now.
        assert_eq!(texts(&json!({"data": 1}), Shape::Rows), [r#"{"data":1}"#]);
    }

    #[test]
    fn no_digit_is_lost() {
        let body = r#"{"rows":[{"n":0.12345678901234567890123},{"n":0.12345678901234567890124}]}"#;
        let rows = rows(body.as_bytes(), Shape::Rows).unwrap();
        assert_eq!(rows[1], r#"{"n":0.12345678901234567890124}"#);
        let across = across(r#"{"a \"b\"":[1.10,2],"c":["x",null]}"#).unwrap();
        assert_eq!(across, [r#"{"a \"b\"":1.10,"c":"x"}"#, r#"{"a \"b\"":2,"c":null}"#]);
    }

    #[test]
    fn a_row_that_is_there_twice_counts_twice() {
        let texts = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
        let (before, after) = (texts(&["a", "b", "a"]), texts(&["a", "c", "d", "e"]));
        assert_eq!(without(&before, &after, 10), (texts(&["b", "a"]), 0));
        assert_eq!(without(&after, &before, 2), (texts(&["c", "d"]), 1));
        assert_eq!(without(&before, &before, 0), (Vec::new(), 0));
    }
}
