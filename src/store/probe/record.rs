//! `probe.json`: what the last probe of a bucket found.
//!
//! It is about one bucket at one address. A bucket that is copied or moved elsewhere takes the record along, and it says
//! nothing about the store that it lies in then.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Check, Verdict};

/// The name of the record.
pub const NAME: &str = "probe.json";
/// The version of the record that this tintype writes and reads.
const FORMAT: u32 = 1;

/// What was found, where and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    /// The bucket.
    pub bucket: String,
    /// The server's address; none for AWS's own.
    pub endpoint: Option<String>,
    /// The version of tintype that looked.
    pub tintype: String,
    /// When.
    pub probed_at: DateTime<Utc>,
    /// True if conditional writes keep two publishers apart.
    pub conditions: bool,
    checks: Vec<Found>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    name: String,
    outcome: Verdict,
    detail: String,
}

impl Record {
    /// The record of these checks. `conditions` tells which of them are the ones that keep publishers apart.
    pub fn new(bucket: &str, endpoint: Option<&str>, checks: &[Check], conditions: &[&str]) -> Record {
        let is_ok = |name: &&str| checks.iter().any(|check| check.name == *name && check.outcome == Verdict::Ok);
        let found =
            |check: &Check| Found { name: check.name.to_owned(), outcome: check.outcome, detail: check.detail.clone() };
        Record {
            format: FORMAT,
            bucket: bucket.to_owned(),
            endpoint: endpoint.map(str::to_owned),
            tintype: env!("CARGO_PKG_VERSION").to_owned(),
            probed_at: Utc::now(),
            conditions: conditions.iter().all(is_ok),
            checks: checks.iter().map(found).collect(),
        }
    }

    /// Reads a record; one that isn't understood is none, since probing again costs less than refusing.
    pub fn parse(bytes: &[u8]) -> Option<Record> {
        serde_json::from_slice::<Record>(bytes).ok().filter(|record| record.format == FORMAT)
    }

    /// The record's text.
    pub fn text(&self) -> String {
        // A struct of texts and numbers always has one.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::super::Subject;
    use super::*;

    const SUBJECT: Subject = Subject { name: "if-match", means: "" };

    #[test]
    fn there_and_back() {
        let record = Record::new("b", Some("http://h"), &[SUBJECT.ok("fine")], &["if-match"]);
        assert_eq!(Record::parse(record.text().as_bytes()), Some(record.clone()));
        assert!(record.conditions);
        let newer = Record { format: 2, ..record };
        assert_eq!(Record::parse(newer.text().as_bytes()), None);
        assert_eq!(Record::parse(b"{}"), None);
    }

    #[test]
    fn a_condition_that_was_not_looked_at_does_not_hold() {
        let checks = [SUBJECT.ok("fine")];
        assert!(!Record::new("b", None, &checks, &["if-match", "if-none-match"]).conditions);
        let checks = [SUBJECT.check(Verdict::Skipped, "")];
        assert!(!Record::new("b", None, &checks, &["if-match"]).conditions);
    }
}
