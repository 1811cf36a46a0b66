use super::*;
use crate::key::{Key, KeyValue};
use crate::release::id::RunId;
use crate::release::row::{DocumentRow, Origin};

fn at(hour: u32) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::from_secs(u64::from(hour) * 3600)
}

fn evidence() -> Evidence {
    Evidence {
        answer: Digest::of(b"answer"),
        shown: "42".to_owned(),
        file: Digest::of(b"file"),
        domains: Digest::of(b"domains"),
        policy: "policy".into(),
        reader: Digest::of(b"reader"),
    }
}

fn row(path: &str, body: &[u8], policy: &str, hour: u32) -> Arc<Row> {
    let document = DocumentRow { digest: Digest::of(body), size_bytes: 1, gzip_bytes: 1, rows: 1 };
    let run = RunId::new(at(hour), 1);
    let origin = Origin { as_of: at(hour), changed_at: at(hour), run, policy: policy.into(), held: false };
    let key = Key(vec![KeyValue::Text(path.into())]);
    Arc::new(Row { path: path.into(), key, document: Some(document), origin: Arc::new(origin) })
}

/// A template that was read whole at one o'clock, when it had one document.
fn checked() -> Checked {
    let refresh = Some(Refreshed { evidence: evidence(), rows: digest_of_rows(&[row("a", b"1", "p", 1)]) });
    Checked { as_of: at(1), at: at(1), looked_at: None, refresh }
}

/// A publish at two o'clock.
fn asked() -> Asked {
    Asked { is_forced: false, as_of: at(2), at_least: Duration::from_hours(24) }
}

/// What is decided about it while the release has the document as it was.
fn decided(asked: Asked, found: &Evidence, checked: &Checked) -> Decision {
    decide(asked, found, &Known { checked: Some(checked), failed: None, rows: Some(&[row("a", b"1", "p", 1)]) })
}

#[track_caller]
fn reads(decision: &Decision, why: Why, says: &str) {
    assert_eq!(*decision, Decision::Read(why));
    assert_eq!(decision.to_string(), says);
    assert_eq!(decision.since(), None);
}

#[test]
fn nothing_has_changed() {
    let decision = decided(asked(), &evidence(), &checked());
    assert_eq!(decision, Decision::Skip { since: at(1), shown: "42".to_owned() });
    assert_eq!(decision.to_string(), "the refresh query answers as it did at 1970-01-01T01:00:00Z: 42");
    assert_eq!(decision.since(), Some(at(1)));
}

#[test]
fn forcing_reads_whatever_the_answer() {
    let forced = decided(Asked { is_forced: true, ..asked() }, &evidence(), &checked());
    reads(&forced, Why::Forced, "it was to be read whatever the refresh query answers");
}

#[test]
fn each_part_of_the_evidence_counts() {
    let other = Digest::of(b"other");
    let found = |found: Evidence| decided(asked(), &found, &checked());
    reads(&found(Evidence { file: other, ..evidence() }), Why::File, "its file has changed");
    reads(&found(Evidence { domains: other, ..evidence() }), Why::Domains, "the values of its keys have changed");
    reads(&found(Evidence { policy: "other".into(), ..evidence() }), Why::Policy, "its headers have changed");
    let says = "another tintype, another database or other settings of it read it last";
    reads(&found(Evidence { reader: other, ..evidence() }), Why::Reader, says);
    let answer = Evidence { answer: other, shown: "43".to_owned(), ..evidence() };
    let why = Why::Answer { before: "42".to_owned(), now: "43".to_owned() };
    reads(&found(answer), why, "the refresh query answered 42, and now 43");
}

#[test]
fn an_answer_shown_alike_is_told_by_its_digest() {
    let answer = Evidence { answer: Digest::of(b"other"), ..evidence() };
    assert!(matches!(decided(asked(), &answer, &checked()), Decision::Read(Why::Answer { .. })));
}

#[test]
fn what_the_head_doesnt_know_is_read() {
    let (checked, rows) = (checked(), [row("a", b"1", "p", 1)]);
    let known = Known { checked: Some(&checked), failed: None, rows: Some(&rows) };
    let none = "it was never read whole before";
    for known in [Known::default(), Known { rows: None, ..known }, Known { checked: None, ..known }] {
        reads(&decide(asked(), &evidence(), &known), Why::NeverRead, none);
    }
    let failed = Failed { at: at(2), as_of: None, reason: "it did".to_owned(), staged: None };
    let decision = decide(asked(), &evidence(), &Known { failed: Some(&failed), ..known });
    reads(&decision, Why::Failed(at(2)), "it failed at 1970-01-01T02:00:00Z");
    let says = "no answer of the refresh query is on record for the last whole read, of 1970-01-01T01:00:00Z";
    let cleared = decided(asked(), &evidence(), &Checked { refresh: None, ..checked });
    reads(&cleared, Why::NoAnswer(at(1)), says);
}

#[test]
fn documents_that_others_have_changed_are_read_again() {
    let checked = checked();
    let decided = |rows: &[Arc<Row>]| {
        decide(asked(), &evidence(), &Known { checked: Some(&checked), failed: None, rows: Some(rows) })
    };
    let says = "its documents aren't those of the last whole read, of 1970-01-01T01:00:00Z, any more";
    for rows in [
        &[row("a", b"2", "p", 2)][..],
        &[row("a", b"1", "q", 2)],
        &[],
        &[row("a", b"1", "p", 1), row("b", b"1", "p", 2)],
    ] {
        reads(&decided(rows), Why::Rows(at(1)), says);
    }
    // Written again as it was, by an editor.
    assert_eq!(decided(&[row("a", b"1", "p", 2)]).since(), Some(at(1)));
    // A key that was found absent, as the last whole read found it.
    let gone = Arc::new(Row { document: None, ..row("b", b"", "p", 2).as_ref().clone() });
    assert_eq!(decided(&[row("a", b"1", "p", 1), gone]).since(), Some(at(1)));
}

#[test]
fn an_answer_counts_for_so_long() {
    let decided_at = |as_of| decided(Asked { as_of, ..asked() }, &evidence(), &checked());
    assert_eq!(decided_at(at(25) - Duration::from_micros(1)).since(), Some(at(1)));
    let why = Why::Old { since: at(1), at_least: Duration::from_hours(24) };
    let says = "its last whole read, of 1970-01-01T01:00:00Z, is older than at_least = \"1day\"";
    reads(&decided_at(at(25)), why, says);
    // A replica may show an instant before the last read; then a read adds nothing.
    assert_eq!(decided_at(at(0)).since(), Some(at(1)));
}

#[test]
fn a_record_survives_the_head() {
    let record = Refreshed { evidence: evidence(), rows: Digest::of(b"rows") };
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Refreshed>(&text).unwrap(), record);
    // One that an earlier tintype wrote has no such record, and is read all the same.
    let old = r#"{"as_of":"2026-01-01T00:00:00Z","at":"2026-01-01T00:00:01Z"}"#;
    let old: Checked = serde_json::from_str(old).unwrap();
    assert_eq!((old.looked_at, old.refresh), (None, None));
}

#[test]
fn another_database_or_search_path_is_another_reader() {
    let settings = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let digest = digest_of_reader("db-1/site", &settings(&[("search_path", "a")]));
    assert_eq!(digest_of_reader("db-1/site", &settings(&[("search_path", "a")])), digest);
    assert_ne!(digest_of_reader("db-2/site", &settings(&[("search_path", "a")])), digest);
    assert_ne!(digest_of_reader("db-1/site", &settings(&[("search_path", "b")])), digest);
    assert_ne!(digest_of_reader("db-1/site", &[]), digest);
}
