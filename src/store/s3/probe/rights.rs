//! What the credentials may do, and what has to be granted where they may not.
//!
//! The records and the documents lie under two prefixes, and a policy may well name only one of them.

use super::super::S3;
use super::super::failure::{Class, Failure};
use super::trial::{Trial, body};
use crate::store::StoreError;
use crate::store::probe::{Check, Subject, Verdict};

const WRITE_RECORDS: Subject =
    Subject { name: "write-records", means: "blobs, manifests and head.json can be written" };
const READ_RECORDS: Subject = Subject { name: "read-records", means: "releases can be read" };
const LIST_RECORDS: Subject =
    Subject { name: "list-records", means: "releases are found, and what is absent isn't taken for forbidden" };
const REMOVE_RECORDS: Subject = Subject { name: "remove-records", means: "old releases can be pruned" };
const WRITE_DOCUMENTS: Subject = Subject { name: "write-documents", means: "releases can be activated" };
const READ_DOCUMENTS: Subject = Subject { name: "read-documents", means: "`get` and `verify` see what readers see" };
const REMOVE_DOCUMENTS: Subject =
    Subject { name: "remove-documents", means: "a document that is gone from the data goes from the site" };

/// The rights that everything else needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Records can be written and read, so that the rest can be looked at.
    pub to_probe: bool,
    /// Records can be removed.
    pub to_remove: bool,
}

/// Uses each right once.
pub async fn rights(trial: &Trial<'_>) -> (Vec<Check>, Rights) {
    let mut checks = records(trial).await;
    let is_ok = |name: &str| checks.iter().any(|check| check.name == name && check.outcome == Verdict::Ok);
    let rights = Rights {
        to_probe: is_ok(WRITE_RECORDS.name) && is_ok(READ_RECORDS.name),
        to_remove: is_ok(REMOVE_RECORDS.name),
    };
    checks.extend(documents(trial).await);
    (checks, rights)
}

async fn records(trial: &Trial<'_>) -> Vec<Check> {
    let (s3, bytes, key) = (trial.s3, body("rights"), trial.key("rights.json"));
    let folder = trial.folder();
    let place = format!("{}*", s3.settings.control.prefix);
    let written = trial.put(&key, &bytes, None).await.map(drop);
    let is_written = written.is_ok();
    let mut checks = vec![judged(s3, &WRITE_RECORDS, "s3:PutObject", &place, written)];
    checks.push(match is_written {
        true => judged(s3, &READ_RECORDS, "s3:GetObject", &place, trial.bytes(&key).await.and_then(seen)),
        false => skipped(&READ_RECORDS),
    });
    let listed = trial.list(&folder).await;
    if checks.iter().all(|check| check.outcome == Verdict::Ok) && listed.as_ref().is_err_and(Failure::is_denied) {
        trial.expect_hidden_absence();
    }
    checks.push(match listed {
        Ok(listed) if is_written && !listed.iter().any(|one| one.key == key) => LIST_RECORDS
            .check(Verdict::Warning, "an object that was just written isn't listed")
            .hint("the newest releases may be missing from `tintype releases` for a while"),
        listed => judged(s3, &LIST_RECORDS, "s3:ListBucket", "", listed.map(drop)),
    });
    // To delete what isn't there takes the same right.
    checks.push(judged(s3, &REMOVE_RECORDS, "s3:DeleteObject", &place, trial.delete(&key).await));
    checks
}

async fn documents(trial: &Trial<'_>) -> Vec<Check> {
    let s3 = trial.s3;
    let key = match trial.public_key() {
        Ok(key) => key,
        Err(StoreError { reason, .. }) => return vec![WRITE_DOCUMENTS.broken(reason)],
    };
    let place = format!("{}*", s3.settings.public.prefix);
    let written = trial.put(&key, &body("rights"), None).await.map(drop);
    let is_written = written.is_ok();
    let mut checks = vec![judged(s3, &WRITE_DOCUMENTS, "s3:PutObject", &place, written)];
    checks.push(match is_written {
        true => judged(s3, &READ_DOCUMENTS, "s3:GetObject", &place, trial.bytes(&key).await.and_then(seen)),
        false => skipped(&READ_DOCUMENTS),
    });
    checks.push(judged(s3, &REMOVE_DOCUMENTS, "s3:DeleteObject", &place, trial.delete(&key).await));
    checks
}

fn seen(bytes: Option<Vec<u8>>) -> Result<(), Failure> {
    let gone = || Failure::new(Class::NotFound, "an object that was just written isn't there");
    bytes.map(drop).ok_or_else(gone)
}

fn skipped(subject: &Subject) -> Check {
    subject.check(Verdict::Skipped, "nothing could be written")
}

/// The right that an answer tells of; without a place it is one on the bucket as a whole.
fn judged(s3: &S3, subject: &Subject, right: &str, place: &str, answer: Result<(), Failure>) -> Check {
    let bucket = s3.bucket();
    let place = if place.is_empty() { bucket.to_owned() } else { format!("{bucket}/{place}") };
    match answer {
        Ok(()) => subject.ok(format!("{right} on {place}")),
        Err(failure) if failure.is_denied() && failure.class == Class::Refused => {
            let hint = format!("grant {right} on arn:aws:s3:::{place} to these credentials");
            subject.broken(failure.reason).hint(hint)
        }
        Err(failure) => super::failed(subject, failure),
    }
}
