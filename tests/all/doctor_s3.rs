//! What the doctor finds in buckets: nothing wrong with a good one, and each fault of a bad one by its name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tintype::store::Store;
use tintype::store::probe::{Check, Verdict, examine};

use crate::support::bucket::{BUCKET, Bucket};
use crate::support::postgres::runtime;
use crate::support::s3_server::{Asked, Fault, Kind, Part, What};

/// A name that no other probe of this process has.
fn run() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("run-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

type Checks = BTreeMap<&'static str, Check>;

fn checks_of(store: &Store) -> Checks {
    let checks = runtime().block_on(examine(store, &run()));
    checks.into_iter().map(|check| (check.name, check)).collect()
}

/// Those that aren't as they should be, with their outcome.
fn faulty(checks: &Checks) -> BTreeMap<&'static str, Verdict> {
    let faulty = checks.values().filter(|check| check.outcome != Verdict::Ok);
    faulty.map(|check| (check.name, check.outcome)).collect()
}

/// What is said of those.
fn told(checks: &Checks) -> String {
    let faulty = checks.values().filter(|check| check.outcome != Verdict::Ok);
    faulty.map(|check| format!("\n{}: {}; {:?}", check.name, check.detail, check.hint)).collect()
}

#[test]
fn a_good_store_has_every_check_ok_and_nothing_is_left() {
    let bucket = Bucket::new();
    let checks = checks_of(&bucket.store());
    assert_eq!(faulty(&checks), BTreeMap::new(), "{}", told(&checks));
    assert_eq!(checks.len(), 25, "{:?}", checks.keys());
    assert_eq!(bucket.probes_left(), Vec::<String>::new());
    // A store that is a whole bucket, where documents and records have one prefix.
    assert_eq!(faulty(&checks_of(&bucket.store_at(""))), BTreeMap::new());
    assert_eq!(bucket.probes_left(), Vec::<String>::new());
}

#[test]
fn a_store_that_looks_and_then_writes_fails_the_races() {
    // One probe may be lucky; a store that passes several isn't what this test thinks it is.
    let caught = |name: &str| {
        (0..5).any(|_| {
            let checks = checks_of(&Bucket::racy().store());
            let check = &checks[name];
            let is_caught = check.outcome == Verdict::Broken;
            assert!(!is_caught || check.detail.contains("8 writers at a time"), "{check:?}");
            assert!(!is_caught || check.hint.as_ref().is_some_and(|hint| hint.contains("unsafe_single_publisher")));
            is_caught
        })
    };
    assert!(caught("race-if-none-match"));
    assert!(caught("race-if-match"));
}

fn is_conditional(asked: &Asked) -> bool {
    asked.kind == Kind::Put && asked.conditional
}

/// A store with these faults, and what is wrong with it.
#[track_caller]
fn finds(faults: Vec<Fault>, expected: &[(&'static str, Verdict, &str)]) {
    let bucket = Bucket::new();
    for fault in faults {
        bucket.server.play(fault);
    }
    let checks = checks_of(&bucket.store());
    let names: BTreeMap<_, _> = expected.iter().map(|(name, verdict, _)| (*name, *verdict)).collect();
    assert_eq!(faulty(&checks), names, "{}", told(&checks));
    for (name, _, words) in expected {
        let check = &checks[name];
        let said = format!("{}; {}", check.detail, check.hint.as_deref().unwrap_or_default());
        assert!(said.contains(words), "{name}: {said}");
    }
    bucket.server.heal();
    // What couldn't be removed then is removed by the next probe, but for what is younger than an hour.
    let may_be_left = expected.iter().any(|(name, ..)| name.starts_with("remove-"));
    assert!(may_be_left || bucket.probes_left().is_empty(), "{:?}", bucket.probes_left());
}

#[test]
fn conditions_that_are_ignored() {
    use Verdict::Broken;
    finds(
        vec![Fault::new(What::Ignore(Part::Conditions), is_conditional)],
        &[
            ("if-none-match", Broken, "answered 200 to the second write"),
            ("if-match", Broken, "[store] head = \"database\""),
            ("race-if-none-match", Broken, "8 of 8 writers"),
            ("race-if-match", Broken, "8 of 8 writers"),
        ],
    );
}

#[test]
fn conditions_that_are_refused() {
    use Verdict::Broken;
    for (status, code) in [(501, "NotImplemented"), (400, "InvalidArgument")] {
        finds(
            vec![Fault::answer(
                status,
                code,
                "A header you provided implies functionality that is not here",
                is_conditional,
            )],
            &[
                ("if-none-match", Broken, "the store refuses such writes"),
                ("if-match", Broken, code),
                ("race-if-none-match", Broken, code),
                ("race-if-match", Broken, "unsafe_single_publisher"),
            ],
        );
    }
}

#[test]
fn a_store_that_refuses_every_conditional_write() {
    let refused = Fault::answer(412, "PreconditionFailed", "never", is_conditional);
    finds(
        vec![refused],
        &[
            ("if-none-match", Verdict::Broken, "isn't there yet was refused"),
            ("if-match", Verdict::Broken, "the object's own ETag was refused"),
            ("race-if-none-match", Verdict::Broken, "all of 8 writers were refused"),
            ("race-if-match", Verdict::Broken, "all of 8 writers were refused"),
        ],
    );
}

#[test]
fn a_store_that_asks_for_fewer_writes_passes() {
    // As R2 does: one write a second of one key.
    let slow = Fault::answer(429, "TooManyRequests", "one write a second", is_conditional);
    finds(vec![slow.every(3)], &[]);
}

#[test]
fn headers_that_change_on_the_way() {
    let is_answer = |asked: &Asked| matches!(asked.kind, Kind::Get | Kind::Head);
    let encoding = |headers: &mut hyper::HeaderMap| {
        if headers.contains_key("content-encoding") {
            headers.insert("content-encoding", "aws-chunked,gzip".parse().expect("a value"));
        }
    };
    // A copy that comes back so is told as one that doesn't keep its headers.
    let copy = ("copy", Verdict::Missing, "doesn't get the headers");
    finds(
        vec![Fault::new(What::Headers(encoding), is_answer)],
        &[("content-encoding", Verdict::Broken, "aws-chunked,gzip"), copy],
    );
    finds(
        vec![Fault::new(What::Headers(|headers| drop(headers.remove("cache-control"))), is_answer)],
        &[("cache-control", Verdict::Missing, "set the times at the CDN"), copy],
    );
    finds(
        vec![Fault::new(What::Headers(|headers| drop(headers.remove("x-amz-meta-digest"))), is_answer)],
        &[("metadata", Verdict::Missing, "x-amz-meta-digest"), copy],
    );
    let other = |headers: &mut hyper::HeaderMap| drop(headers.insert("etag", "\"other\"".parse().expect("a value")));
    finds(
        vec![Fault::new(What::Headers(other), |asked| asked.kind == Kind::Get)],
        &[("etag", Verdict::Broken, "GET \"other\"")],
    );
}

#[test]
fn a_listing_with_other_etags() {
    let other = Fault::new(What::Say(OTHER_TAG), |asked| asked.kind == Kind::List);
    let bucket = Bucket::new();
    bucket.server.play(other);
    let run = "the-only-run";
    let checks = runtime().block_on(examine(&bucket.store(), run));
    let check = checks.iter().find(|check| check.name == "etag").expect("it is checked");
    assert_eq!(check.outcome, Verdict::Warning, "{check:?}");
    assert!(check.detail.contains("LIST \"other\""), "{check:?}");
}

const OTHER_TAG: &str = "<ListBucketResult><Contents><Key>_tintype/site/probe/the-only-run/document.json</Key>\
                         <ETag>\"other\"</ETag></Contents></ListBucketResult>";

#[test]
fn bytes_that_change_on_the_way() {
    let is_document = |asked: &Asked| asked.kind == Kind::Get && asked.key.ends_with("/document.json");
    finds(
        vec![Fault::new(What::Body(b"{\"unpacked\":true}"), is_document)],
        &[("same-bytes", Verdict::Broken, "unpack")],
    );
}

#[test]
fn copies_that_are_none() {
    const DONE: &str = "<CopyObjectResult><ETag>\"x\"</ETag></CopyObjectResult>";
    let is_copy = |asked: &Asked| asked.kind == Kind::Copy;
    finds(
        vec![Fault::answer(501, "NotImplemented", "no copies", is_copy)],
        &[("copy", Verdict::Missing, "written twice instead")],
    );
    finds(
        vec![Fault::new(What::Ignore(Part::Headers), is_copy)],
        &[("copy", Verdict::Missing, "doesn't get the headers")],
    );
    finds(vec![Fault::new(What::Say(DONE), is_copy)], &[("copy", Verdict::Broken, "its old bytes")]);
    finds(
        vec![Fault::answer(403, "AccessDenied", "no copies for you", is_copy)],
        &[("copy", Verdict::Broken, "AccessDenied")],
    );
}

#[test]
fn deletions_that_fail() {
    const HELD: &str = "<DeleteResult><Error><Key>x</Key><Code>InvalidObjectState</Code><Message>held</Message></Error>\
                        </DeleteResult>";
    const DONE: &str = "<DeleteResult></DeleteResult>";
    let is_bulk = |asked: &Asked| asked.kind == Kind::Delete && asked.key.is_empty();
    finds(
        vec![Fault::answer(501, "NotImplemented", "one by one", is_bulk)],
        &[("bulk-delete", Verdict::Missing, "one by one")],
    );
    finds(
        vec![Fault::new(What::Say(HELD), is_bulk).times(1)],
        &[("bulk-delete", Verdict::Broken, "InvalidObjectState")],
    );
    finds(vec![Fault::new(What::Say(DONE), is_bulk).times(1)], &[("bulk-delete", Verdict::Broken, "still there")]);
    let absent = |asked: &Asked| asked.kind == Kind::Delete && asked.key.ends_with("delete-absent.json");
    finds(
        vec![Fault::answer(409, "InvalidRequest", "it isn't there", absent)],
        &[("delete-absent", Verdict::Broken, "it isn't there")],
    );
    finds(vec![Fault::answer(404, "NoSuchKey", "it isn't there", absent)], &[]);
}

#[test]
fn leftovers_are_told_and_removed_by_a_later_probe() {
    const DENIED: &str = "<DeleteResult><Error><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>";
    let bucket = Bucket::new();
    let is_bulk = |asked: &Asked| asked.kind == Kind::Delete && asked.key.is_empty();
    // The check itself deletes in bulk once; then comes the cleaning up.
    bucket.server.play(Fault::new(What::Say("<DeleteResult></DeleteResult>"), is_bulk).times(1));
    bucket.server.play(Fault::new(What::Say(DENIED), is_bulk));
    let checks = checks_of(&bucket.store());
    assert_eq!(checks["clean-up"].outcome, Verdict::Warning, "{:?}", checks["clean-up"]);
    assert!(!bucket.probes_left().is_empty());
    bucket.server.heal();
    checks_of(&bucket.store());
    let young = bucket.probes_left();
    assert!(!young.is_empty(), "what is young may be another doctor's");
    let before = std::time::SystemTime::now() - Duration::from_hours(2);
    for file in young {
        let file = std::fs::File::options().write(true).open(bucket.server.file(&format!("{BUCKET}/{file}")));
        file.and_then(|file| file.set_modified(before)).expect("date the object");
    }
    assert_eq!(faulty(&checks_of(&bucket.store())), BTreeMap::new());
    assert_eq!(bucket.probes_left(), Vec::<String>::new());
}

#[test]
fn each_right_that_is_lacking_is_named() {
    use Verdict::{Broken, Skipped};
    fn denied(kind: Kind, place: &'static str) -> Fault {
        let is_there = move |asked: &Asked| {
            let is_bulk = asked.key.is_empty() && place == "_tintype/";
            asked.kind == kind && (asked.key.starts_with(place) || is_bulk)
        };
        Fault::answer(403, "AccessDenied", "Access Denied", is_there)
    }
    let arn = |right: &str, place: &str| format!("grant {right} on arn:aws:s3:::{BUCKET}{place}");
    let remaining = ("remaining", Skipped, "rights");
    finds(
        vec![denied(Kind::Put, "_tintype/")],
        &[
            ("write-records", Broken, &arn("s3:PutObject", "/_tintype/site/*")),
            ("read-records", Skipped, "nothing could be written"),
            remaining,
        ],
    );
    finds(
        vec![denied(Kind::Get, "_tintype/")],
        &[("read-records", Broken, &arn("s3:GetObject", "/_tintype/site/*")), remaining],
    );
    finds(vec![denied(Kind::List, "")], &[("list-records", Broken, &arn("s3:ListBucket", " "))]);
    finds(
        vec![denied(Kind::Put, "site/")],
        &[
            ("write-documents", Broken, &arn("s3:PutObject", "/site/*")),
            ("read-documents", Skipped, "nothing could be written"),
        ],
    );
    finds(vec![denied(Kind::Get, "site/")], &[("read-documents", Broken, &arn("s3:GetObject", "/site/*"))]);
    finds(
        vec![denied(Kind::Delete, "_tintype/")],
        &[
            ("remove-records", Broken, &arn("s3:DeleteObject", "/_tintype/site/*")),
            ("clean-up", Verdict::Warning, "by hand"),
        ],
    );
    finds(vec![denied(Kind::Delete, "site/")], &[("remove-documents", Broken, &arn("s3:DeleteObject", "/site/*"))]);
}

#[test]
fn a_listing_that_lags() {
    const EMPTY: &str = "<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";
    finds(
        vec![Fault::new(What::Say(EMPTY), |asked| asked.kind == Kind::List)],
        &[
            ("list-records", Verdict::Warning, "isn't listed"),
            ("odd-keys", Verdict::Warning, "listed under another name"),
        ],
    );
}

#[test]
fn a_cache_in_front_of_the_store() {
    let is_cycle = |asked: &Asked| asked.kind == Kind::Get && asked.key.contains("cycle-");
    finds(
        vec![Fault::new(What::Stale, is_cycle)],
        &[("read-after-write", Verdict::Broken, "[store] endpoint must name the store itself")],
    );
}

#[test]
fn names_that_a_store_takes_for_others() {
    let is_odd = |asked: &Asked| asked.kind == Kind::Put && asked.key.contains('+');
    finds(
        vec![Fault::answer(400, "InvalidURI", "Couldn't parse the specified URI", is_odd)],
        &[("odd-keys", Verdict::Warning, "`a+b.json`")],
    );
}

#[test]
fn clocks_that_are_off() {
    let minutes = |asked: &Asked| asked.key.ends_with("absent");
    let off = |headers: &mut hyper::HeaderMap| {
        let then = std::time::SystemTime::now() - Duration::from_mins(5);
        let date = aws_smithy_types::DateTime::from(then).fmt(aws_smithy_types::date_time::Format::HttpDate);
        headers.insert("date", date.expect("a date").parse().expect("a value"));
    };
    finds(vec![Fault::new(What::Headers(off), minutes)], &[("clock", Verdict::Warning, "5m ahead of the store's")]);
    let undated = |headers: &mut hyper::HeaderMap| drop(headers.remove("last-modified"));
    finds(
        vec![Fault::new(What::Headers(undated), |asked| asked.kind == Kind::Get)],
        &[("lease-age", Verdict::Broken, "Last-Modified")],
    );
    finds(
        vec![Fault::new(What::Headers(off), |asked| asked.kind == Kind::Get && asked.key.ends_with("/document.json"))],
        &[("lease-age", Verdict::Broken, "off by the store's clock")],
    );
}
