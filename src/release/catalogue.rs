//! The catalogue, `index.json`: what a frontend asks first. Which templates there are, where their documents lie,
//! which values their keys may take, and how old they are.
//!
//! It is a document like any other, in the manifest under the reserved name `index`. What changes with every run
//! (serial, instants) doesn't count as a change of it, or an unchanged night would write it again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::id::ReleaseId;
use super::manifest::TemplateEntry;
use super::row::Row;
use crate::key::KeyValue;
use crate::snapshot::Digest;
use crate::template::Template;
use crate::template::domain::{Column, Domains, Entry};

/// The reserved template name under which the catalogue stands in the manifest.
pub const NAME: &str = "index";
/// Its object path.
pub const PATH: &str = "index.json";
/// The folder of its further files.
pub const FOLDER: &str = "index/";
/// A column with more values than this gets a file of its own, so that the catalogue stays small.
const MAX_INLINE_VALUES: usize = 1_000;

/// The catalogue's document, as far as tintype reads it back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Catalogue {
    format: u32,
    serial: u64,
    release: String,
    as_of: Option<String>,
    changed_at: String,
    templates: BTreeMap<String, Value>,
}

/// The values of a template's keys, and the files for those that are too many.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keys {
    /// The entries of `keys`, in the order of the path.
    pub columns: Vec<Value>,
    /// Object path and body of each further file.
    pub files: Vec<(String, Arc<Vec<u8>>)>,
}

/// What the catalogue is to say of a template's keys.
#[derive(Debug)]
pub enum Described {
    /// This, whatever rows there are: every column has a domain.
    Closed(Keys),
    /// What the rows tell of columns without one.
    Open(Box<Domains>),
}

impl Described {
    /// Describes what can be described without the rows. A domain may have a million values, so it is let go then.
    pub fn new(template: &Template, domains: Domains) -> Described {
        match domains.has_open() {
            true => Described::Open(Box::new(domains)),
            false => Described::Closed(keys(template, &domains, &[])),
        }
    }

    /// The keys of a template that has these rows.
    pub fn keys(&self, template: &Template, rows: &[Arc<Row>]) -> Keys {
        match self {
            Described::Closed(keys) => keys.clone(),
            Described::Open(domains) => keys(template, domains, rows),
        }
    }
}

/// Describes the keys of a template. A column without a domain has the values of the documents that there are, in the
/// order of their slugs: which of them one run saw, and in which order, must not show.
fn keys(template: &Template, domains: &Domains, rows: &[Arc<Row>]) -> Keys {
    let mut keys = Keys::default();
    for (at, (name, column)) in template.columns().iter().zip(domains.columns()).enumerate() {
        let mut entry = Map::new();
        entry.insert("name".to_owned(), json!(name));
        if !column.with.is_empty() {
            let with: Vec<&String> = column.with.iter().map(|other| &template.columns()[*other]).collect();
            entry.insert("with".to_owned(), json!(with));
        }
        let entries = entries(at, column, rows);
        let values = entries.iter().map(|value| described(template, domains, at, column, value));
        if entries.len() > MAX_INLINE_VALUES {
            let path = format!("{FOLDER}{}/{name}.json", template.name);
            entry.insert("count".to_owned(), json!(entries.len()));
            let mut file = entry.clone();
            entry.insert("url".to_owned(), json!(path));
            file.insert("template".to_owned(), json!(template.name));
            keys.files.push((path, Arc::new(file_body(&file, values))));
        } else {
            entry.insert("values".to_owned(), Value::Array(values.collect()));
        }
        keys.columns.push(Value::Object(entry));
    }
    keys
}

/// A file of values, written value by value: there may be very many.
fn file_body(head: &Map<String, Value>, values: impl Iterator<Item = Value>) -> Vec<u8> {
    let mut body = serde_json::to_vec(head).unwrap_or_default();
    body.pop();
    body.extend_from_slice(b",\"values\":[");
    for (at, value) in values.enumerate() {
        if at > 0 {
            body.push(b',');
        }
        // Values of texts, numbers and flags can always be written.
        let _ = serde_json::to_writer(&mut body, &value);
    }
    body.extend_from_slice(b"]}");
    body
}

fn entries<'a>(at: usize, column: &'a Column, rows: &[Arc<Row>]) -> Vec<&'a Entry> {
    let mut entries: Vec<&Entry> = column.entries.iter().collect();
    if column.open {
        let documents = rows.iter().filter(|row| row.document.is_some());
        let used: HashSet<&KeyValue> = documents.filter_map(|row| row.key.0.get(at)).collect();
        entries.retain(|entry| used.contains(&entry.value));
        entries.sort_by(|a, b| a.slug.cmp(&b.slug));
    }
    entries
}

/// A value of a key column; what equals the slug is left out.
fn described(template: &Template, domains: &Domains, at: usize, column: &Column, entry: &Entry) -> Value {
    let mut object = Map::new();
    object.insert("slug".to_owned(), json!(entry.slug));
    if !matches!(&entry.value, KeyValue::Text(text) if **text == *entry.slug) {
        object.insert("value".to_owned(), json!(entry.value));
    }
    let label = entry.label.clone().unwrap_or_else(|| entry.value.to_string());
    if *label != *entry.slug {
        object.insert("label".to_owned(), json!(label));
    }
    if !entry.published {
        object.insert("published".to_owned(), json!(false));
    }
    if !column.with.is_empty() {
        let parents = domains.parent_slugs(at, entry);
        let with: Map<String, Value> =
            parents.into_iter().map(|(other, slug)| (template.columns()[other].clone(), json!(slug))).collect();
        object.insert("with".to_owned(), Value::Object(with));
    }
    Value::Object(object)
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Catalogue {
    /// The catalogue of a release, given its templates and the `keys` of each.
    pub fn new(
        id: &ReleaseId,
        as_of: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        templates: &BTreeMap<String, TemplateEntry>,
        keys: &BTreeMap<String, Vec<Value>>,
    ) -> Catalogue {
        let mut described = BTreeMap::new();
        for (name, entry) in templates.iter().filter(|(name, _)| *name != NAME) {
            let entry = json!({
                "path": entry.path,
                "shape": entry.shape,
                "count": entry.count,
                "status": entry.status,
                "as_of": instant(entry.as_of),
                "changed_at": instant(entry.changed_at),
                "columns": entry.columns,
                "keys": keys.get(name).cloned().unwrap_or_default(),
            });
            described.insert(name.clone(), entry);
        }
        Catalogue {
            format: super::head::FORMAT,
            serial: id.serial,
            release: id.to_string(),
            as_of: as_of.map(instant),
            changed_at: instant(now),
            templates: described,
        }
    }

    /// Reads a catalogue back.
    pub fn parse(body: &[u8]) -> Option<Catalogue> {
        serde_json::from_slice(body).ok()
    }

    /// The `keys` of a template, as the catalogue holds them.
    pub fn keys(&self, template: &str) -> Option<Vec<Value>> {
        self.templates.get(template)?.get("keys")?.as_array().cloned()
    }

    /// The document's bytes.
    pub fn body(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The digest of what it says apart from serial and instants.
    pub fn timeless(&self) -> Digest {
        let mut templates = self.templates.clone();
        for entry in templates.values_mut().filter_map(Value::as_object_mut) {
            entry.remove("as_of");
            entry.remove("changed_at");
        }
        Digest::of(&serde_json::to_vec(&templates).unwrap_or_default())
    }
}
