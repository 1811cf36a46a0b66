//! Shards and patches: which rows of a template have to be written for a release, and where.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::id::RunId;
use super::lines::{Line, Lines, rows_inline, write_rows};
use super::manifest::{Manifest, RowsAt};
use super::row::{Row, Rows, find};
use crate::error::Error;
use crate::store::Store;

/// As many rows stand in the root itself: an object of their own would cost a request with every run.
const MAX_INLINE: usize = 16;
/// A shard is written anew once its patch has grown to this part of it, so that reading costs little more than the shard.
const PATCH_PART: usize = 8;

/// The rows of a template that a release writes.
pub struct Writing {
    /// Where all its rows are then.
    pub at: RowsAt,
    /// The object to write and its lines, unless the rows stand in the root.
    object: Option<(String, Lines)>,
    /// The paths that the patch speaks of.
    pub patched: BTreeSet<Arc<str>>,
}

impl Writing {
    /// Decides how the rows of a template are written, given the release before.
    pub fn plan(name: &str, rows: &Rows, base: Option<&Manifest>, run: &RunId) -> Writing {
        let whole = || Lines::All(Arc::clone(rows));
        if rows.len() <= MAX_INLINE {
            let at = RowsAt { inline: rows_inline(&whole()), ..RowsAt::default() };
            return Writing { at, object: None, patched: BTreeSet::new() };
        }
        let object = shard_name(run, name);
        if let Some((shard, lines)) = base.and_then(|base| patch(name, rows, base)) {
            let at = RowsAt { shard: Some(shard), patch: Some(object.clone()), inline: Vec::new() };
            let patched = lines.iter().map(|line| Arc::clone(line.path())).collect();
            return Writing { at, object: Some((object, Lines::Some(lines))), patched };
        }
        let at = RowsAt { shard: Some(object.clone()), ..RowsAt::default() };
        Writing { at, object: Some((object, whole())), patched: BTreeSet::new() }
    }

    /// Writes them.
    pub async fn write(&self, store: &Store) -> Result<(), Error> {
        match &self.object {
            Some((object, lines)) => write_rows(store, object, lines).await,
            None => Ok(()),
        }
    }
}

/// The object name of a list that a run writes.
pub fn shard_name(run: &RunId, name: &str) -> String {
    format!("shard/{run}/{name}.jsonl.gz")
}

/// The shard of the base and the lines that make it say what `rows` say; none if writing the shard anew is cheaper.
fn patch(name: &str, rows: &[Arc<Row>], base: &Manifest) -> Option<(String, Vec<Line>)> {
    let shard = base.root.templates.get(name)?.rows.shard.clone()?;
    let mut paths = base.patched.get(name).cloned().unwrap_or_default();
    let limit = rows.len() / PATCH_PART;
    let (mut old, mut new) = (base.rows.get(name)?.iter().peekable(), rows.iter().peekable());
    while let Some(next) = old.peek().map(|row| &row.path).into_iter().chain(new.peek().map(|row| &row.path)).min() {
        let next = Arc::clone(next);
        let (before, after) = (old.next_if(|row| row.path == next), new.next_if(|row| row.path == next));
        if before != after {
            paths.insert(next);
        }
        if paths.len() > limit {
            return None;
        }
    }
    let line = |path: Arc<str>| find(rows, &path).map_or(Line::Gone(path), |row| Line::Row(Arc::clone(row)));
    Some((shard, paths.into_iter().map(line).collect()))
}

#[cfg(test)]
mod tests {
    use super::super::lines::{RowReader, write_rows};
    use super::super::manifest::patched;
    use super::super::row::{DocumentRow, Origin};
    use super::*;
    use crate::key::{Key, KeyValue};
    use crate::snapshot::Digest;
    use crate::store::{Directory, Store};
    use chrono::DateTime;
    use proptest::prelude::*;

    fn row(name: &str, body: &str) -> Arc<Row> {
        let origin = Origin {
            as_of: DateTime::default(),
            changed_at: DateTime::default(),
            run: RunId::new(DateTime::default(), 0),
            policy: "p".into(),
            held: false,
        };
        let document = DocumentRow { digest: Digest::of(body.as_bytes()), size_bytes: 1, gzip_bytes: 2, rows: 3 };
        let key = Key(vec![KeyValue::Text(name.into()), KeyValue::Integer(-7), KeyValue::Bool(true)]);
        Arc::new(Row {
            path: name.into(),
            key,
            document: Some(document).filter(|_| body != "-"),
            origin: Arc::new(origin),
        })
    }

    prop_compose! {
        fn rows()(bodies in prop::collection::btree_map("[a-z]{1,2}", "[xy-]", 0..60)) -> Rows {
            Arc::new(bodies.iter().map(|(name, body)| row(name, body)).collect())
        }
    }

    fn lines(rows: &Rows) -> Vec<Line> {
        rows.iter().map(|row| Line::Row(Arc::clone(row))).collect()
    }

    proptest! {
        #[test]
        fn a_shard_and_its_patch_say_what_the_rows_say(old in rows(), new in rows()) {
            let mut paths = BTreeSet::new();
            for row in old.iter().chain(new.iter()) {
                if find(&old, &row.path) != find(&new, &row.path) {
                    paths.insert(Arc::clone(&row.path));
                }
            }
            let patch = paths.into_iter().map(|path| find(&new, &path).map_or(Line::Gone(path), |row| Line::Row(row.clone())));
            prop_assert_eq!(patched(lines(&old), patch.collect()), new.as_ref().clone());
        }

        #[test]
        fn rows_in_the_root_are_read_as_they_were(rows in rows()) {
            let mut lines = lines(&rows);
            lines.push(Line::Gone("zzz".into()));
            let read = RowReader::default().inline("root", &rows_inline(&Lines::Some(lines.clone()))).unwrap();
            prop_assert_eq!(read, lines);
        }
    }

    #[tokio::test]
    async fn other_tasks_go_on_while_a_long_list_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::Directory(Directory::new(folder.path().join("public"), folder.path().join("control")));
        let rows: Rows = (0..10_000).map(|at| row(&format!("{at:05}"), &at.to_string())).collect::<Vec<_>>().into();
        write_rows(&store, "manifest/long.gz", &Lines::All(Arc::clone(&rows))).await.unwrap();
        let mut reader = RowReader::default();
        let mut reading = std::pin::pin!(reader.read(&store, "manifest/long.gz"));
        let mut turns = 0;
        let read = loop {
            // Read on this thread, it would be ready at the first look.
            tokio::select! {
                biased;
                read = &mut reading => break read.unwrap(),
                () = tokio::task::yield_now() => turns += 1,
            }
        };
        assert!(turns > 0);
        assert_eq!(patched(read, Vec::new()), *rows);
    }
}
