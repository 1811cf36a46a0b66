//! The database of the test, and what a build makes of it: one template with three keys, each of which has a value or
//! is absent. A build looks at all of it in one instant, and compresses and stages what differs from its base, as the
//! real one does.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::Error;
use crate::key::{Key, KeyValue};
use crate::release::build::{Built, Cost};
use crate::release::catalogue::Described;
use crate::release::guard::Answers;
use crate::release::id::RunId;
use crate::release::manifest::{Manifest, policy_hash};
use crate::release::refresh::{Consulted, Why};
use crate::release::row::{DocumentRow, Origin, Row, blob_name, find};
use crate::snapshot::{Digest, Gzip};
use crate::store::Store;
use crate::template::Template;
use crate::template::domain::Domains;
use crate::template::scope::Scope;

/// The keys, in the order of their paths.
pub const KEYS: [&str; 3] = ["x", "y", "z"];

/// The key that the editor republishes.
pub const EDITED: &str = "x";

/// The values of the keys, one letter for each; `-` means that the key is absent: `"AB-"`.
pub type Data = &'static str;

/// The only template. Its guard refuses every removal from those who accept none.
pub static TEMPLATE: LazyLock<Arc<Template>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("make a folder");
    let file = folder.path().join("doc.sql");
    let text = "/*---\npath = \"doc/{k}.json\"\ncache_tags = [\"doc\", \"k:{k}\"]\n[guard]\nmax_delete = \"0\"\n---*/\nSELECT k, v FROM t ORDER BY k\n";
    std::fs::write(&file, text).expect("write the template");
    Arc::new(Template::load(&file, Path::new("doc.sql")).expect("a template that can be read"))
});

/// A database with a clock of its own, which moves on with everything that happens to it.
#[derive(Debug, Clone)]
pub struct Database {
    data: Data,
    now: DateTime<Utc>,
}

/// What a run saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// When.
    pub as_of: DateTime<Utc>,
    /// What.
    pub data: Data,
}

impl Database {
    /// A database with this in it.
    pub fn new(data: Data) -> Database {
        Database { data, now: DateTime::UNIX_EPOCH + TimeDelta::days(20_000) }
    }

    /// Changes everything in one transaction.
    pub fn set(&mut self, data: Data) {
        self.data = data;
        self.tick();
    }

    /// Reads everything in one transaction.
    pub fn observe(&mut self) -> Observation {
        Observation { as_of: self.tick(), data: self.data }
    }

    /// What is in it.
    pub fn data(&self) -> Data {
        self.data
    }

    /// The next instant.
    pub fn tick(&mut self) -> DateTime<Utc> {
        self.now += TimeDelta::seconds(1);
        self.now
    }
}

/// The object path of a key.
pub fn path(key: &str) -> String {
    format!("doc/{key}.json")
}

/// The value of a key, if it has one.
pub fn value(data: &str, key: &str) -> Option<char> {
    let at = KEYS.iter().position(|known| *known == key)?;
    data.chars().nth(at).filter(|value| *value != '-')
}

/// The digest of the document of a key, if it has one.
pub fn digest(data: &str, key: &str) -> Option<Digest> {
    value(data, key).map(|value| Digest::of(&body(key, value)))
}

fn body(key: &str, value: char) -> Vec<u8> {
    format!("{{\"template\":\"doc\",\"key\":{{\"k\":\"{key}\"}},\"rows\":[{{\"v\":\"{value}\"}}]}}").into_bytes()
}

fn key(name: &str) -> Key {
    Key(vec![KeyValue::Text(name.into())])
}

/// The scope of these keys.
pub fn scope(keys: &[&str]) -> Scope {
    let keys: Vec<Key> = keys.iter().map(|name| key(name)).collect();
    Scope::of_keys(&keys)
}

/// What a build is made with.
pub struct Building<'a> {
    pub store: &'a Store,
    pub base: Option<&'a Manifest>,
    pub run: &'a RunId,
    pub now: DateTime<Utc>,
    pub scope: Scope,
    pub rewrite: bool,
}

impl Building<'_> {
    /// Stages what differs from the base.
    pub async fn build(self, seen: Observation) -> Result<Built, Error> {
        let template = &*TEMPLATE;
        let committed = self.base.and_then(|base| base.rows.get(&template.name)).map_or(&[][..], |rows| rows);
        let policy = policy_hash(&template.policy);
        let origin = Origin { as_of: seen.as_of, changed_at: self.now, run: self.run.clone(), policy, held: false };
        let origin = Arc::new(origin);
        let mut rows = Vec::new();
        for name in KEYS.iter().filter(|name| self.scope.contains(&key(name))) {
            let Some(value) = value(seen.data, name) else { continue };
            let (path, body) = (path(name), body(name, value));
            let digest = Digest::of(&body);
            let same = find(committed, &path).filter(|row| row.digest() == Some(digest) && !self.rewrite);
            if let Some(same) = same {
                rows.push(Arc::clone(same));
                continue;
            }
            let bytes = Gzip::default().compress(&body);
            let (size_bytes, gzip_bytes) = (u32::try_from(body.len()).unwrap(), u32::try_from(bytes.len()).unwrap());
            self.store.create(&blob_name(&digest, self.run), bytes.into()).await?;
            let document = DocumentRow { digest, size_bytes, gzip_bytes, rows: 1 };
            let row = Row { path: path.into(), key: key(name), document: Some(document), origin: Arc::clone(&origin) };
            rows.push(Arc::new(row));
        }
        let mut domains = Domains::new(template, &[]).expect("an open column has no domain that could be wrong");
        for row in committed.iter().filter(|row| row.document.is_some()).chain(&rows) {
            domains.locate(&row.key).expect("a key with a slug of its own");
        }
        Ok(Built {
            scope: self.scope,
            rows_read: rows.len() as u64,
            rows,
            origin,
            keys: Described::new(template, domains),
            columns: vec!["v".to_owned()],
            rows_skipped: 0,
            over_max_keys: false,
            answers: Answers::default(),
            cost: Cost::default(),
            consulted: Consulted::unasked(Why::NoRefresh),
        })
    }
}
