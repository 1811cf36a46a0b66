use std::collections::BTreeSet;
use std::path::Path;

use chrono::DateTime;
use proptest::prelude::*;

use super::super::id::RunId;
use super::super::manifest::{RowsAt, Status};
use super::super::row::{DocumentRow, Origin};
use super::*;
use crate::key::{Key, KeyValue};
use crate::snapshot::Digest;
use crate::template::Shape;

/// Rows and bytes of a document; none for a tombstone.
type Size = Option<(u32, u32)>;

fn row(number: usize, document: Size, body: &str) -> Arc<Row> {
    let origin = Origin {
        as_of: DateTime::default(),
        changed_at: DateTime::default(),
        run: RunId::new(DateTime::default(), 0),
        policy: "p".into(),
        held: false,
    };
    let of = |(rows, size_bytes)| {
        let digest = Digest::of(format!("{number} {rows} {size_bytes} {body}").as_bytes());
        DocumentRow { digest, size_bytes, gzip_bytes: 1, rows }
    };
    let key = Key(vec![KeyValue::Text(format!("k{number:03}").into())]);
    Arc::new(Row {
        path: format!("t/k{number:03}.json").into(),
        key,
        document: document.map(of),
        origin: Arc::new(origin),
    })
}

/// Documents of so many rows and ten bytes a row.
fn rows(counts: &[u32]) -> Vec<Arc<Row>> {
    counts.iter().enumerate().map(|(number, count)| row(number, Some((*count, count * 10)), "")).collect()
}

/// The same documents with other bytes.
fn with_body(counts: &[u32], body: &str) -> Vec<Arc<Row>> {
    counts.iter().enumerate().map(|(number, count)| row(number, Some((*count, count * 10)), body)).collect()
}

fn template(guard: &str) -> Template {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.sql");
    let text = format!("/*---\npath = \"t/{{k}}.json\"\n[guard]\n{guard}\n---*/\nSELECT 1 AS k, 2 AS a, 3 AS b");
    std::fs::write(&file, text).unwrap();
    Template::load(&file, Path::new("t.sql")).unwrap()
}

fn columns(names: &str) -> Vec<String> {
    names.split(' ').map(str::to_owned).collect()
}

fn entry(path: &str, shape: Shape, names: &str) -> TemplateEntry {
    TemplateEntry {
        rows: RowsAt::default(),
        path: path.to_owned(),
        shape,
        on_miss: crate::template::OnMiss::Live,
        key_columns: columns("k"),
        columns: columns(names),
        policies: BTreeSet::new(),
        count: 0,
        held: 0,
        as_of: DateTime::default(),
        changed_at: DateTime::default(),
        status: Status::Ok,
    }
}

/// Judges with nothing asked of the database, against a release with the template's own path and columns.
fn judged(guard: &str, before: &[Arc<Row>], after: &[Arc<Row>], scope: &Scope) -> Vec<Verdict> {
    let template = template(guard);
    let entry = entry("t/{k}.json", Shape::Rows, "a b");
    let (columns, answers) = (columns("a b"), Answers::default());
    judge(&Case {
        template: &template,
        entry: Some(&entry),
        before,
        after,
        columns: &columns,
        scope,
        answers: &answers,
    })
}

fn level_of(verdicts: &[Verdict], guard: &str) -> Option<Level> {
    verdicts.iter().find(|verdict| verdict.guard == guard).map(|verdict| verdict.level)
}

fn said(verdicts: &[Verdict], guard: &str) -> String {
    verdicts.iter().find(|verdict| verdict.guard == guard).map(|verdict| verdict.message.clone()).unwrap_or_default()
}

/// The guards that aren't fine, with their levels.
fn tripped(verdicts: &[Verdict]) -> Vec<(&str, Level)> {
    let not_fine = verdicts.iter().filter(|verdict| verdict.level != Level::Ok);
    not_fine.map(|verdict| (verdict.guard.as_str(), verdict.level)).collect()
}

#[test]
fn a_truncated_table_trips_the_defaults() {
    let before = rows(&[50; 30]);
    let empty = rows(&[0; 30]);
    let verdicts = judged("", &before, &empty, &Scope::All);
    let expected = ["rows_drop", "keys_drop", "empty", "size_drop"].map(|name| (name, Level::Error));
    assert!(expected.iter().all(|one| tripped(&verdicts).contains(one)), "{verdicts:?}");
    assert_eq!(said(&verdicts, "rows_drop"), "rows fell from 1,500 to 0, by 100%; the limit is 30%");
    assert_eq!(said(&verdicts, "empty"), "there were 1,500 rows, and there are none: is a table empty?");
    let refusal = refusal(&verdicts).unwrap();
    assert!(refusal.starts_with("guard rows_drop: rows fell from 1,500 to 0"), "{refusal}");
    // And where the keys went with the rows.
    let verdicts = judged("", &before, &[], &Scope::All);
    assert!(expected.iter().all(|one| tripped(&verdicts).contains(one)), "{verdicts:?}");
    // A template of two documents is as empty as one of thousands.
    assert_eq!(tripped(&judged("", &rows(&[3, 4]), &rows(&[0, 0]), &Scope::All)), [("empty", Level::Error)]);
}

#[test]
fn a_query_that_is_not_deterministic_is_named() {
    let (before, after) = (with_body(&[5; 40], "a"), with_body(&[5; 40], "b"));
    let verdicts = judged("", &before, &after, &Scope::All);
    assert_eq!(tripped(&verdicts), [("changed", Level::Warn)]);
    let message = said(&verdicts, "changed");
    for part in
        ["40 of 40 documents changed, 100%", "all of them with as many rows", "200 to 200", "ORDER BY", "random()"]
    {
        assert!(message.contains(part), "{message}");
    }
    let verdicts = judged("changed = \"60%\"", &before, &after, &Scope::All);
    assert_eq!(tripped(&verdicts), [("changed", Level::Error)]);
    assert_eq!(verdicts.iter().find(|verdict| verdict.guard == "changed").unwrap().keys.len(), 10);
}

#[test]
fn each_guard_warns_and_refuses() {
    let before = rows(&[10; 40]);
    let mut grown = rows(&[10; 40]);
    grown[0] = row(0, Some((10, 900)), "");
    let cases: [(&str, Vec<Arc<Row>>, &str); 6] = [
        // 400 rows become 340, by 15 %.
        ("rows_drop", rows(&[vec![10; 34], vec![0; 6]].concat()), "warn LOW%, error HIGH%"),
        ("keys_drop", rows(&[10; 34]), "warn LOW%, error HIGH%"),
        ("changed", [with_body(&[10; 6], "x"), rows(&[10; 40])[6..].to_vec()].concat(), "warn LOW%, error HIGH%"),
        ("size_drop", rows(&[vec![10; 34], vec![0; 6]].concat()), "warn LOW%, error HIGH%"),
        ("size_growth", grown, "warn LOW%, error HIGH%"),
        ("max_delete", rows(&[10; 25]), "warn LOW, error HIGH"),
    ];
    for (guard, after, levels) in cases {
        for (low, high, expected) in [("1", "10", Level::Error), ("5", "90", Level::Warn), ("91", "92", Level::Ok)] {
            let written = format!("{guard} = \"{}\"", levels.replace("LOW", low).replace("HIGH", high));
            let verdicts = judged(&written, &before, &after, &Scope::All);
            assert_eq!(level_of(&verdicts, guard), Some(expected), "{written}: {verdicts:?}");
        }
        let verdicts = judged(&format!("{guard} = \"off\""), &before, &after, &Scope::All);
        assert_eq!(level_of(&verdicts, guard), None, "{guard}");
    }
}

#[test]
fn columns_path_and_shape() {
    let (before, scope) = (rows(&[1; 3]), Scope::All);
    let of = |guard: &str, entry: &TemplateEntry, names: &str| {
        let (template, answers, columns) = (template(guard), Answers::default(), columns(names));
        let case = Case {
            template: &template,
            entry: Some(entry),
            before: &before,
            after: &before,
            columns: &columns,
            scope: &scope,
            answers: &answers,
        };
        judge(&case)
    };
    let same = entry("t/{k}.json", Shape::Rows, "a b");
    assert_eq!(tripped(&of("", &same, "a b")), []);
    let verdicts = of("", &same, "a c");
    assert_eq!(tripped(&verdicts), [("columns", Level::Error)]);
    assert_eq!(said(&verdicts, "columns"), "columns are gone: b; columns are new: c");
    assert_eq!(tripped(&of("columns = \"warn\"", &same, "a c")), [("columns", Level::Warn)]);
    assert_eq!(tripped(&of("columns = \"off\"", &same, "a c")), []);
    assert_eq!(tripped(&of("", &same, "a b c")), [("columns", Level::Warn)]);
    let verdicts = of("", &same, "b a");
    assert_eq!(tripped(&verdicts), [("columns", Level::Warn)]);
    assert!(said(&verdicts, "columns").contains("another order"), "{verdicts:?}");
    let moved = entry("other/{k}.json", Shape::Rows, "a b");
    assert_eq!(tripped(&of("", &moved, "a b")), [("path", Level::Error)]);
    assert_eq!(tripped(&of("path = \"warn\"", &moved, "a b")), [("path", Level::Warn)]);
    let shaped = entry("t/{k}.json", Shape::Columns, "a b");
    assert!(said(&of("", &shaped, "a b"), "path").contains("the shape was columns and is rows"));
}

#[test]
fn a_share_of_little_means_little() {
    // Two of ten documents, and twenty of forty rows.
    let (before, after) = (rows(&[4; 10]), rows(&[vec![2; 8], vec![0; 2]].concat()));
    assert_eq!(tripped(&judged("", &before, &after, &Scope::All)), []);
    // The template's author knows better.
    let verdicts = judged("rows_drop = \"30%\"\nkeys_drop = \"10%\"", &before, &after, &Scope::All);
    assert_eq!(tripped(&verdicts), [("rows_drop", Level::Error), ("keys_drop", Level::Error)]);
    // One document of the least that counts is no alarm.
    let least = usize::try_from(MIN_DOCUMENTS).unwrap();
    let verdicts = judged("", &rows(&vec![1; least]), &rows(&vec![1; least - 1]), &Scope::All);
    assert_eq!((level_of(&verdicts, "keys_drop"), tripped(&verdicts)), (Some(Level::Ok), vec![]));
}

#[test]
fn before_the_first_release_only_answers_count() {
    let template = template("rows_drop = \"0%\"\nempty = \"error\"");
    let asserts = vec![answers::Asserted {
        name: "none".to_owned(),
        level: Level::Error,
        rows: vec!["id = 7".to_owned()],
        has_more: true,
    }];
    let answers = Answers { source: None, asserts };
    let (rows, columns) = (rows(&[0; 50]), columns("a b"));
    let case = Case {
        template: &template,
        entry: None,
        before: &[],
        after: &rows,
        columns: &columns,
        scope: &Scope::All,
        answers: &answers,
    };
    let mut verdicts = judge(&case);
    assert_eq!(tripped(&verdicts), [("none", Level::Error)]);
    assert_eq!(verdicts.len(), 1);
    assert_eq!(refusal(&verdicts).unwrap(), "guard none: rows were returned: id = 7 … and more");
    for (name, passes) in [("none", true), ("t/none", true), ("all", true), ("u/none", false), ("empty", false)] {
        accept(&mut verdicts, "t", &[name.to_owned()]);
        assert_eq!(refusal(&verdicts).is_none(), passes, "{name}");
    }
}

#[test]
fn some_keys_are_measured_within_their_scope() {
    let key = |number: usize| Key(vec![KeyValue::Text(format!("k{number:03}").into())]);
    let scope = |count: usize| Scope::of_keys(&(0..count).map(key).collect::<Vec<_>>());
    let before = rows(&[10; 100]);
    let after = |count: usize| rows(&[vec![0; count], vec![10; 100 - count]].concat());
    // One document that an editor empties, and nineteen.
    for count in [1, 19] {
        let all = "rows_drop = \"1%\"\nkeys_drop = \"1%\"\nempty = \"error\"\nsize_drop = \"off\"";
        let verdicts = judged(all, &before, &after(count), &scope(count));
        let expected: &[(&str, Level)] = if count == 1 { &[] } else { &[("rows_drop", Level::Error)] };
        assert_eq!(tripped(&verdicts), expected, "{count}");
    }
    // Fifty at once are worth a question, although half the template stays.
    let verdicts = judged("", &before, &after(50), &scope(50));
    assert_eq!(level_of(&verdicts, "empty"), Some(Level::Error), "{verdicts:?}");
    assert!(said(&verdicts, "rows_drop").starts_with("rows fell from 500 to 0"), "{verdicts:?}");
    // That documents changed is why the run was ordered.
    let verdicts = judged("changed = \"1%\"", &with_body(&[10; 40], "a"), &with_body(&[10; 40], "b"), &scope(40));
    assert_eq!(tripped(&verdicts), []);
    // How many documents go is a number, which counts for any run.
    let verdicts = judged("max_delete = \"3\"", &before, &before[5..], &scope(5));
    assert_eq!(tripped(&verdicts), [("max_delete", Level::Error)]);
}

#[test]
fn the_documents_that_moved_most_come_first() {
    let before = rows(&[100, 5, 50, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
    let verdicts = judged("rows_drop = \"1%\"", &before, &rows(&[90, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), &Scope::All);
    let moved = &verdicts[0].keys;
    assert_eq!(moved.len(), 10);
    let first: Vec<(&str, u64, u64)> =
        moved[..3].iter().map(|moved| (moved.path.as_ref(), moved.before, moved.after)).collect();
    assert_eq!(first, [("t/k002.json", 50, 0), ("t/k000.json", 100, 90), ("t/k004.json", 9, 0)]);
}

prop_compose! {
    fn any_rows()(sizes in prop::collection::vec(prop::option::weighted(0.9, (0_u32..50, 1_u32..2000)), 0..60)) -> Vec<Arc<Row>> {
        sizes.iter().enumerate().map(|(number, size)| row(number, *size, "")).collect()
    }
}

const STRICT: &str = "rows_drop = \"0%\"\nkeys_drop = \"0%\"\nchanged = \"0%\"\nsize_drop = \"0%\"\nsize_growth = \"0%\"\n\
                      max_delete = \"0\"";

proptest! {
    #[test]
    fn the_same_rows_never_trip(rows in any_rows(), whole in any::<bool>()) {
        let scope = if whole { Scope::All } else { Scope::of_keys(&rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>()) };
        let verdicts = judged(STRICT, &rows, &rows, &scope);
        prop_assert_eq!(tripped(&verdicts), vec![]);
    }

    #[test]
    fn what_loses_more_is_judged_no_milder(rows in any_rows(), less in 0_usize..60, more in 0_usize..60) {
        // The last documents go; more of them in the second case.
        let keep = |gone: usize| rows[..rows.len().saturating_sub(gone)].to_vec();
        let guards = "rows_drop = \"warn 10%, error 30%\"\nkeys_drop = \"warn 10%, error 30%\"\n\
                      size_drop = \"warn 10%, error 30%\"\nmax_delete = \"warn 5, error 20\"";
        let mild = judged(guards, &rows, &keep(less), &Scope::All);
        let grave = judged(guards, &rows, &keep(less + more), &Scope::All);
        for guard in ["rows_drop", "keys_drop", "size_drop", "max_delete", "empty"] {
            prop_assert!(level_of(&mild, guard) <= level_of(&grave, guard), "{}", guard);
        }
    }
}
