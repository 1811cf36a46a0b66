//! Lists as gzipped lines of JSON: the rows of a template, and the changed paths of a release.
//!
//! The first line says the format. In a list of rows it also names each origin once, and every further line is an
//! array: path, key, the number of its origin, and for a document its digest, bytes, bytes of the blob and rows. An
//! array of the path alone means that the row is gone.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::{BufWriter, IntoInnerError, Write as _};
use std::mem;
use std::panic::resume_unwind;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::head::{FORMAT, parse};
use super::id::RunId;
use super::row::{DocumentRow, Origin, Row, Rows};
use super::unpack::{self, is_long};
use crate::error::Error;
use crate::key::{Key, KeyValue};
use crate::snapshot::Digest;
use crate::store::Store;

/// The first level with Huffman codes of its own, which halve what digests in hexadecimal take.
const LEVEL: Compression = Compression::new(2);
/// About what a line takes when it is compressed.
const EXPECTED_BYTES: usize = 64;

/// A line of a list of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A row.
    Row(Arc<Row>),
    /// The path whose row is gone.
    Gone(Arc<str>),
}

impl Line {
    fn row(&self) -> Option<&Arc<Row>> {
        match self {
            Line::Row(row) => Some(row),
            Line::Gone(_) => None,
        }
    }

    /// The path that it is about.
    pub fn path(&self) -> &Arc<str> {
        match self {
            Line::Row(row) => &row.path,
            Line::Gone(path) => path,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    origins: Vec<OriginLine>,
}

#[derive(Serialize, Deserialize)]
struct OriginLine {
    as_of: DateTime<Utc>,
    changed_at: DateTime<Utc>,
    run: RunId,
    policy: Arc<str>,
    #[serde(default, skip_serializing_if = "is_false")]
    held: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(held: &bool) -> bool {
    !held
}

type Document = (Digest, u32, u32, u32);

#[derive(Serialize)]
#[serde(untagged)]
enum Written<'a> {
    Document(&'a str, &'a Key, usize, Document),
    Tombstone(&'a str, &'a Key, usize),
    Gone((&'a str,)),
}

/// A line as it is read: what comes after the path may be missing.
#[derive(Deserialize)]
struct Read<'a>(
    #[serde(borrow)] Cow<'a, str>,
    #[serde(default)] Option<Key>,
    #[serde(default)] usize,
    #[serde(default)] Option<Document>,
);

fn corrupt(name: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Corrupt { object: name.to_owned(), reason: format!("can't be read: {error}") }
}

/// What is written: rows as they are shared already, or lines of their own.
pub enum Lines {
    /// Every row of a template.
    All(Rows),
    /// These.
    Some(Vec<Line>),
}

impl Lines {
    fn rows(&self) -> impl Iterator<Item = &Arc<Row>> {
        let (all, some): (&[Arc<Row>], &[Line]) = match self {
            Lines::All(rows) => (rows, &[]),
            Lines::Some(lines) => (&[], lines),
        };
        all.iter().chain(some.iter().filter_map(Line::row))
    }

    fn written(&self) -> impl Iterator<Item = Written<'_>> {
        let numbers = numbers(self.rows());
        let (all, some): (&[Arc<Row>], &[Line]) = match self {
            Lines::All(rows) => (rows, &[]),
            Lines::Some(lines) => (&[], lines),
        };
        let numbered = numbers.clone();
        let all = all.iter().map(move |row| written(row, &numbered));
        all.chain(some.iter().map(move |line| match line {
            Line::Row(row) => written(row, &numbers),
            Line::Gone(path) => Written::Gone((path,)),
        }))
    }
}

/// Writes a list of rows.
pub async fn write_rows(store: &Store, name: &str, lines: &Lines) -> Result<(), Error> {
    write(store, name, &header(lines.rows()), lines.written()).await
}

/// A short list of rows as values, to be part of another document.
pub fn rows_inline(lines: &Lines) -> Vec<Value> {
    let values = lines.written().map(serde_json::to_value);
    std::iter::once(serde_json::to_value(header(lines.rows()))).chain(values).filter_map(Result::ok).collect()
}

/// Writes a list of values, one a line.
pub async fn write_list<T: Serialize>(store: &Store, name: &str, values: &[T]) -> Result<(), Error> {
    write(store, name, &Header { format: FORMAT, origins: Vec::new() }, values.iter()).await
}

async fn write<T: Serialize>(
    store: &Store,
    name: &str,
    header: &Header,
    values: impl Iterator<Item = T>,
) -> Result<(), Error> {
    let gzip = || {
        // The encoder clears what is left of its output with every call, so it isn't called for every word.
        // Room that isn't used is never touched, and a list that is moved while it grows is there twice.
        let room = Vec::with_capacity(values.size_hint().0.saturating_mul(EXPECTED_BYTES));
        let mut gzip = BufWriter::with_capacity(64 * 1024, GzEncoder::new(room, LEVEL));
        serde_json::to_writer(&mut gzip, header)?;
        for value in values {
            gzip.write_all(b"\n")?;
            serde_json::to_writer(&mut gzip, &value)?;
        }
        gzip.write_all(b"\n")?;
        gzip.into_inner().map_err(IntoInnerError::into_error)?.finish()
    };
    let bytes = gzip().map_err(|error| corrupt(name, &error))?;
    Ok(store.create(name, bytes.into()).await?)
}

/// The first line of a list of rows: every origin once.
fn header<'a>(rows: impl Iterator<Item = &'a Arc<Row>>) -> Header {
    let mut known = HashSet::new();
    let mut origins = Vec::new();
    for row in rows {
        if known.insert(Arc::as_ptr(&row.origin)) {
            let Origin { as_of, changed_at, run, policy, held } = row.origin.as_ref().clone();
            origins.push(OriginLine { as_of, changed_at, run, policy, held });
        }
    }
    Header { format: FORMAT, origins }
}

/// The number of each origin among those of the first line, by its address.
fn numbers<'a>(rows: impl Iterator<Item = &'a Arc<Row>>) -> HashMap<*const Origin, usize> {
    let mut numbers = HashMap::new();
    for row in rows {
        let next = numbers.len();
        numbers.entry(Arc::as_ptr(&row.origin)).or_insert(next);
    }
    numbers
}

fn written<'a>(row: &'a Row, numbers: &HashMap<*const Origin, usize>) -> Written<'a> {
    let origin = numbers.get(&Arc::as_ptr(&row.origin)).copied().unwrap_or_default();
    match row.document {
        Some(DocumentRow { digest, size_bytes, gzip_bytes, rows }) => {
            Written::Document(&row.path, &row.key, origin, (digest, size_bytes, gzip_bytes, rows))
        }
        None => Written::Tombstone(&row.path, &row.key, origin),
    }
}

/// Reads what [`write_rows`] wrote; what many rows have in common is shared among them.
#[derive(Default)]
pub struct RowReader {
    origins: Vec<Arc<Origin>>,
    texts: HashSet<Arc<str>>,
}

impl RowReader {
    /// Reads a list of rows; a long one on a thread where no other task waits.
    pub async fn read(&mut self, store: &Store, name: &str) -> Result<Vec<Line>, Error> {
        let bytes = bytes_of(store, name).await?;
        if !is_long(&bytes) {
            return self.lines(name, bytes);
        }
        let (mut reader, name) = (mem::take(self), name.to_owned());
        let reading = tokio::task::spawn_blocking(move || (reader.lines(&name, bytes), reader));
        let (lines, reader) = reading.await.unwrap_or_else(|ended| resume_unwind(ended.into_panic()));
        *self = reader;
        lines
    }

    fn lines(&mut self, name: &str, bytes: Vec<u8>) -> Result<Vec<Line>, Error> {
        let mut lines = Object::new(name, bytes);
        self.header(parse(name, lines.next()?.unwrap_or_default().as_bytes())?);
        let mut rows = Vec::new();
        while let Some(line) = lines.next()? {
            let read = serde_json::from_str(line).map_err(|error| corrupt(name, &error))?;
            rows.push(self.line(name, read)?);
        }
        Ok(rows)
    }

    /// Reads what [`rows_inline`] made.
    pub fn inline(&mut self, name: &str, values: &[Value]) -> Result<Vec<Line>, Error> {
        let Some((first, rest)) = values.split_first() else { return Ok(Vec::new()) };
        self.header(serde_json::from_value(first.clone()).map_err(|error| corrupt(name, &error))?);
        let line = |value: &Value| {
            let read = Read::deserialize(value).map_err(|error| corrupt(name, &error))?;
            self.line(name, read)
        };
        rest.iter().map(line).collect()
    }

    fn header(&mut self, header: Header) {
        let origin = |OriginLine { as_of, changed_at, run, policy, held }| {
            Arc::new(Origin { as_of, changed_at, run, policy, held })
        };
        self.origins = header.origins.into_iter().map(origin).collect();
    }

    fn line(&mut self, name: &str, Read(path, key, origin, document): Read<'_>) -> Result<Line, Error> {
        let Some(mut key) = key else { return Ok(Line::Gone(path.into())) };
        for value in &mut key.0 {
            if let KeyValue::Text(text) = value {
                *text = self.shared(text);
            }
        }
        let origin = self.origins.get(origin).cloned();
        let origin = origin.ok_or_else(|| no_origin(name, &path))?;
        let document =
            document.map(|(digest, size_bytes, gzip_bytes, rows)| DocumentRow { digest, size_bytes, gzip_bytes, rows });
        Ok(Line::Row(Arc::new(Row { path: path.into(), key, document, origin })))
    }

    fn shared(&mut self, text: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        self.texts.insert(Arc::clone(text));
        Arc::clone(text)
    }
}

/// Of a row, what its blob is called after; none if it isn't about a document.
pub type Glimpse<'a> = Option<(&'a Digest, &'a RunId)>;

/// A line as it is glimpsed at.
#[derive(Deserialize)]
struct Glimpsed<'a>(
    #[serde(borrow)] Cow<'a, str>,
    #[serde(default)] IgnoredAny,
    #[serde(default)] usize,
    #[serde(default)] Option<(Digest, IgnoredAny, IgnoredAny, IgnoredAny)>,
);

/// Reads a list of rows without keeping any; false if there is no such list. Each line's path is handed over, with what
/// its blob is called after.
pub async fn glimpse(store: &Store, name: &str, mut visit: impl FnMut(&str, Glimpse<'_>)) -> Result<bool, Error> {
    let Some(bytes) = store.read(name).await? else { return Ok(false) };
    let mut lines = Object::new(name, bytes);
    let header: Header = parse(name, lines.next()?.unwrap_or_default().as_bytes())?;
    while let Some(line) = lines.next()? {
        let Glimpsed(path, _, origin, document) = serde_json::from_str(line).map_err(|error| corrupt(name, &error))?;
        let Some((digest, ..)) = document else {
            visit(&path, None);
            continue;
        };
        let origin = header.origins.get(origin).ok_or_else(|| no_origin(name, &path))?;
        visit(&path, Some((&digest, &origin.run)));
    }
    Ok(true)
}

fn no_origin(name: &str, path: &str) -> Error {
    corrupt(name, &format!("the row of {path} names an origin that isn't there"))
}

/// Reads what [`write_list`] wrote.
pub async fn read_list<T: serde::de::DeserializeOwned>(store: &Store, name: &str) -> Result<Vec<T>, Error> {
    let mut lines = Object::new(name, bytes_of(store, name).await?);
    let _: Header = parse(name, lines.next()?.unwrap_or_default().as_bytes())?;
    let mut values = Vec::new();
    while let Some(line) = lines.next()? {
        values.push(serde_json::from_str(line).map_err(|error| corrupt(name, &error))?);
    }
    Ok(values)
}

async fn bytes_of(store: &Store, name: &str) -> Result<Vec<u8>, Error> {
    let missing = || Error::Corrupt { object: name.to_owned(), reason: "is missing".to_owned() };
    store.read(name).await?.ok_or_else(missing)
}

/// An object that is read line by line.
struct Object<'a> {
    name: &'a str,
    lines: unpack::Lines,
}

impl Object<'_> {
    fn new(name: &str, bytes: Vec<u8>) -> Object<'_> {
        Object { name, lines: unpack::Lines::of(bytes) }
    }

    fn next(&mut self) -> Result<Option<&str>, Error> {
        self.lines.next().map_err(|error| corrupt(self.name, &error))
    }
}
