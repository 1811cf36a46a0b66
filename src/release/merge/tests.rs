use super::*;
use crate::key::{Key, KeyValue};
use crate::release::id::RunId;
use crate::release::row::DocumentRow;
use crate::snapshot::Digest;
use crate::template::scope::KeyFilter;
use proptest::prelude::*;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

fn key(name: &str) -> Key {
    Key(vec![KeyValue::Text(name.into())])
}

fn origin(second: i64) -> Arc<Origin> {
    let run = RunId::new(at(second), 0);
    Arc::new(Origin { as_of: at(second), changed_at: at(second), run, policy: "p".into(), held: false })
}

fn row(name: &str, body: Option<&str>, second: i64) -> Arc<Row> {
    let digest = |body: &str| Digest::of(body.as_bytes());
    let document = body.map(|body| DocumentRow { digest: digest(body), size_bytes: 1, gzip_bytes: 1, rows: 1 });
    Arc::new(Row { path: name.into(), key: key(name), document, origin: origin(second) })
}

fn some(names: &[&str]) -> Scope {
    let values = names.iter().map(|name| KeyValue::Text((*name).into())).collect();
    Scope::Some(vec![KeyFilter(vec![Some(values)])])
}

fn changes(merged: &Merged) -> Vec<(&str, ChangeKind)> {
    merged.changes.iter().map(|change| (change.path.as_ref(), change.change)).collect()
}

fn all(rows: &[Arc<Row>], second: i64) -> Observation<'_> {
    Observation {
        scope: &Scope::All,
        rows,
        origin: origin(second),
        rewrite: false,
        unhold: false,
        not_after: at(1 << 30),
    }
}

#[test]
fn only_what_differs_is_a_change() {
    let committed = [row("a", Some("1"), 1), row("b", Some("1"), 1), row("c", Some("1"), 1)];
    let seen = [row("a", Some("1"), 2), row("b", Some("2"), 2), row("d", Some("1"), 2)];
    let merged = merge(&committed, Some(at(1)), &all(&seen, 2));
    assert_eq!(changes(&merged), [("b", ChangeKind::Changed), ("c", ChangeKind::Removed), ("d", ChangeKind::Added)]);
    assert_eq!(merged.unchanged, 1);
    assert_eq!(
        merged.rows,
        [committed[0].clone(), seen[1].clone(), seen[2].clone()],
        "an unchanged row stays as it was"
    );
}

#[test]
fn an_editors_newer_value_outlives_the_nightly_build() {
    // The build read at 10, the editor republished at 20 and committed first.
    let committed = [row("a", Some("editor"), 20), row("b", Some("old"), 1)];
    let seen = [row("a", Some("stale"), 10), row("b", Some("new"), 10)];
    let merged = merge(&committed, Some(at(1)), &all(&seen, 10));
    assert_eq!(changes(&merged), [("b", ChangeKind::Changed)]);
    assert_eq!(merged.rows[0], committed[0]);
}

#[test]
fn a_row_seen_again_counts_as_observed_then() {
    // The editor read at 10; a whole build at 20 saw the old value and committed first, which leaves the row's own as_of at 1.
    let committed = [row("a", Some("old"), 1)];
    let seen = [row("a", Some("stale"), 10)];
    let scope = some(&["a"]);
    let observation = Observation {
        scope: &scope,
        rows: &seen,
        origin: origin(10),
        rewrite: true,
        unhold: false,
        not_after: at(1 << 30),
    };
    assert!(merge(&committed, Some(at(20)), &observation).changes.is_empty());
}

#[test]
fn absence_is_remembered_by_a_tombstone_until_a_whole_read() {
    let committed = [row("a", Some("1"), 1), row("b", Some("1"), 1)];
    let scope = some(&["a"]);
    let gone = merge(
        &committed,
        Some(at(1)),
        &Observation {
            scope: &scope,
            rows: &[],
            origin: origin(20),
            rewrite: false,
            unhold: false,
            not_after: at(1 << 30),
        },
    );
    assert_eq!(changes(&gone), [("a", ChangeKind::Removed)]);
    assert_eq!(gone.rows[0], row("a", None, 20));
    // An older build that still saw it doesn't bring it back …
    let stale = [row("a", Some("1"), 10), row("b", Some("1"), 10)];
    let merged = merge(&gone.rows, Some(at(1)), &all(&stale, 10));
    assert!(merged.changes.is_empty(), "{:?}", merged.changes);
    // … and a newer one that doesn't see it drops the tombstone.
    let newer = [row("b", Some("1"), 30)];
    let merged = merge(&merged.rows, Some(at(10)), &all(&newer, 30));
    assert!(merged.changes.is_empty());
    assert_eq!(merged.rows.len(), 1);
}

#[test]
fn keys_outside_the_scope_are_left_alone() {
    let committed = [row("a", Some("1"), 1), row("b", Some("1"), 1)];
    let scope = some(&["a"]);
    let seen = [row("a", Some("1"), 2)];
    let merged = merge(
        &committed,
        Some(at(1)),
        &Observation {
            scope: &scope,
            rows: &seen,
            origin: origin(2),
            rewrite: true,
            unhold: false,
            not_after: at(1 << 30),
        },
    );
    assert_eq!(changes(&merged), [("a", ChangeKind::Rewritten)]);
    assert_eq!(merged.rows[1], committed[1]);
}

#[test]
fn a_document_found_unchanged_keeps_its_blob_under_new_headers() {
    let committed_origin = origin(1);
    let committed = [row("a", Some("1"), 1), row("b", Some("1"), 1)];
    let committed = committed.map(|row| Arc::new(row.from(&committed_origin)));
    let headers = Arc::new(Origin { policy: "q".into(), ..origin(2).as_ref().clone() });
    let seen = Observation {
        scope: &Scope::All,
        rows: &committed,
        origin: headers,
        rewrite: false,
        unhold: false,
        not_after: at(1 << 30),
    };
    let merged = merge(&committed, Some(at(1)), &seen);
    assert_eq!(changes(&merged), [("a", ChangeKind::Changed), ("b", ChangeKind::Changed)]);
    for (old, new) in committed.iter().zip(&merged.rows) {
        assert_eq!((new.blob(), new.as_of(), &*new.origin.policy), (old.blob(), at(2), "q"));
    }
    assert!(Arc::ptr_eq(&merged.rows[0].origin, &merged.rows[1].origin));
}

prop_compose! {
    /// Rows named by small letters, with bodies from a small set, so that they meet.
    fn rows_at(second: i64)(bodies in prop::collection::btree_map("[a-f]", "[xyz]", 0..6)) -> Vec<Arc<Row>> {
        bodies.iter().map(|(name, body)| row(name, Some(body), second)).collect()
    }
}

proptest! {
    #[test]
    fn merging_twice_changes_nothing_more(committed in rows_at(1), seen in rows_at(2)) {
        let once = merge(&committed, None, &all(&seen, 2));
        let twice = merge(&once.rows, Some(at(2)), &all(&seen, 2));
        prop_assert!(twice.changes.is_empty());
        prop_assert_eq!(twice.rows, once.rows);
    }

    #[test]
    fn a_whole_newer_read_decides_every_document(committed in rows_at(1), seen in rows_at(2)) {
        let merged = merge(&committed, Some(at(1)), &all(&seen, 2));
        let digests = |rows: &[Arc<Row>]| rows.iter().map(|row| (row.path.clone(), row.digest())).collect::<Vec<_>>();
        prop_assert_eq!(digests(&merged.rows), digests(&seen));
    }

    #[test]
    fn two_runs_give_the_newer_value_whichever_commits_first(base in rows_at(1), older in rows_at(2), newer in rows_at(3)) {
        let one = |first: (&[Arc<Row>], i64), second: (&[Arc<Row>], i64)| {
            let merged = merge(&base, Some(at(1)), &all(first.0, first.1));
            merge(&merged.rows, Some(at(first.1)), &all(second.0, second.1)).rows
        };
        let forth = one((&older, 2), (&newer, 3));
        let back = one((&newer, 3), (&older, 2));
        let digests = |rows: &[Arc<Row>]| rows.iter().map(|row| (row.path.clone(), row.digest())).collect::<Vec<_>>();
        prop_assert_eq!(digests(&forth), digests(&back));
        prop_assert_eq!(digests(&forth), digests(&newer));
    }
}

fn held(name: &str, body: Option<&str>, second: i64) -> Arc<Row> {
    let row = row(name, body, second);
    Arc::new(row.from(&Arc::new(Origin { held: true, ..row.origin.as_ref().clone() })))
}

#[test]
fn what_a_rollback_holds_stays_until_it_is_let_go() {
    let committed = [held("a", Some("old"), 1), held("b", None, 1), held("c", Some("same"), 1)];
    let seen = [row("a", Some("new"), 9), row("b", Some("new"), 9), row("c", Some("same"), 9)];
    let merged = merge(&committed, Some(at(5)), &all(&seen, 9));
    assert_eq!((changes(&merged), merged.held), (vec![], 2));
    assert_eq!(merged.rows, committed);

    let merged = merge(&committed, Some(at(5)), &Observation { unhold: true, ..all(&seen, 9) });
    assert_eq!(changes(&merged), [("a", ChangeKind::Changed), ("b", ChangeKind::Added)]);
    assert!(merged.rows.iter().all(|row| !row.origin.held));
    let read_whole = merge(&[held("a", None, 1)], Some(at(5)), &all(&[], 9));
    assert_eq!(read_whole.rows.len(), 1, "the memory of a removed document that is held outlives a whole read");
}

#[test]
fn an_instant_that_no_clock_can_have_reached_keeps_nothing_out() {
    let committed = [row("a", Some("old"), 900), row("b", Some("old"), 50)];
    let seen = [row("a", Some("new"), 10), row("b", Some("new"), 10)];
    let merged = merge(&committed, Some(at(900)), &Observation { not_after: at(100), ..all(&seen, 10) });
    assert_eq!(
        changes(&merged),
        [("a", ChangeKind::Changed)],
        "b was observed later, and by a clock that may be right"
    );
    assert_eq!(merged.older, 1);
}
