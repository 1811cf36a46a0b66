//! Refresh keys: may the query of a template be left out, because a cheap one says that nothing has changed?
//!
//! The refresh query runs in the transaction of the build, before the heavy statements. What it answers is remembered
//! in the head, together with all else that decides the documents (the template's file, its domains, its header policy,
//! the tintype and the database that were asked), and only with the rows of the same complete read. As long as all of
//! that is as it was and the release still has these rows, reading them again would give the same documents.
//!
//! An answer is evidence, not a read. It never makes rows newer than they are, it can't see a transaction that began
//! with an older `updated_at` and commits later, and so it counts only until the last whole read is `at_least` old.
//! Whatever is in doubt (a failure, a rollback, documents that an editor has changed since) is a reason to read.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::head::{Checked, Failed};
use super::manifest::policy_hash;
use super::row::Row;
use crate::snapshot::{Digest, Digesting};
use crate::template::Template;
use crate::template::domain::Domains;

mod answer;
mod consult;

pub use answer::{Answer, ask, check};
pub use consult::{Consulted, LeftOut, Records};

/// What decides the documents of a template, but for the rows that its query reads: the answer stands for those.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Digest of what the refresh query answered.
    pub answer: Digest,
    /// The answer for people, cut off after some forty characters.
    pub shown: String,
    /// Digest of the template's file.
    pub file: Digest,
    /// Digest of the values that its key columns may take.
    pub domains: Digest,
    /// Hash of its header policy, whose defaults are tintype's.
    pub policy: Arc<str>,
    /// Digest of the names of the tintype and the database that read it, and of the database's settings.
    pub reader: Digest,
}

/// The evidence of the last whole read, and the rows that the release had after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// What was found before the read.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// See [`digest_of_rows`].
    pub rows: Digest,
}

impl Evidence {
    /// What an answer says together with all else that decides the documents.
    pub fn new(answer: Answer, template: &Template, domains: &Domains, reader: Digest) -> Evidence {
        Evidence {
            answer: answer.digest,
            shown: answer.shown,
            file: Digest::of(template.source().as_bytes()),
            domains: digest_of_domains(domains),
            policy: policy_hash(&template.policy),
            reader,
        }
    }
}

/// Who reads: another tintype may write the same rows in other bytes, and another database, role or search path may
/// find other rows. `database` is what it is told from others by, `settings` are those of the transaction.
pub fn digest_of_reader(database: &str, settings: &[(String, String)]) -> Digest {
    let mut reader = Digesting::default();
    for part in [env!("CARGO_PKG_VERSION"), database] {
        reader.part(part.as_bytes());
    }
    for (name, value) in settings {
        reader.part(name.as_bytes());
        reader.part(value.as_bytes());
    }
    reader.finish()
}

/// The digest of a template's documents in a release: their paths, contents and headers, not when they were seen.
pub fn digest_of_rows(rows: &[Arc<Row>]) -> Digest {
    let mut digesting = Digesting::default();
    for row in rows {
        if let Some(document) = row.document {
            digesting.part(row.path.as_bytes());
            digesting.part(row.origin.policy.as_bytes());
            digesting.part(document.digest.bytes());
        }
    }
    digesting.finish()
}

/// The digest of what the domains say: values, slugs, labels and the hot set, all in their order.
fn digest_of_domains(domains: &Domains) -> Digest {
    let mut digesting = Digesting::default();
    for (at, column) in domains.columns().iter().enumerate() {
        digesting.part(format!("column {at} with {:?}, open {}", column.with, column.open).as_bytes());
        let entries = column.entries.iter().filter(|_| !column.open);
        for entry in entries {
            let mut text = Vec::new();
            // Values of texts, numbers and flags can always be written.
            let _ = serde_json::to_writer(&mut text, &(&entry.value, &*entry.slug, &entry.label, entry.published));
            for (_, slug) in domains.parent_slugs(at, entry) {
                let _ = write!(text, " {slug}");
            }
            digesting.part(&text);
        }
    }
    digesting.finish()
}

/// What a run wants of a template that it reads whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// True if it is to be read whatever the answer is.
    pub is_forced: bool,
    /// The instant that the run sees.
    pub as_of: DateTime<Utc>,
    /// See [`crate::template::Refresh::at_least`].
    pub at_least: Duration,
}

/// What the head and the release know of a template.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Its last whole read.
    pub checked: Option<&'a Checked>,
    /// Its last failure, if no whole read came after it.
    pub failed: Option<&'a Failed>,
    /// Its rows; none if the release hasn't the template.
    pub rows: Option<&'a [Arc<Row>]>,
}

/// Whether the query of a template runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It does.
    Read(Why),
    /// It doesn't, and its documents stay as they are.
    Skip {
        /// The instant of the last whole read.
        since: DateTime<Utc>,
        /// The answer, then as now.
        shown: String,
    },
}

/// Why the query of a template runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It has no refresh query.
    NoRefresh,
    /// Only some keys are wanted.
    SomeKeys,
    /// It is to be read whatever the answer is.
    Forced,
    /// The release hasn't the template, or it was never read whole.
    NeverRead,
    /// The last run failed on it.
    Failed(DateTime<Utc>),
    /// No answer is on record for the last whole read.
    NoAnswer(DateTime<Utc>),
    /// Its file isn't as it was.
    File,
    /// Another tintype or another database was asked.
    Reader,
    /// Its headers aren't as they were.
    Policy,
    /// The values of its keys aren't as they were.
    Domains,
    /// The answer isn't as it was.
    Answer {
        /// At the last whole read.
        before: String,
        /// Now.
        now: String,
    },
    /// The last whole read is so old that the answer alone doesn't count any more.
    Old {
        /// The instant of the last whole read.
        since: DateTime<Utc>,
        /// The longest that its answer counts.
        at_least: Duration,
    },
    /// Other runs have changed its documents since.
    Rows(DateTime<Utc>),
}

/// Decides whether the query of a template runs; `found` is what its refresh query answers now.
pub fn decide(asked: Asked, found: &Evidence, known: &Known) -> Decision {
    match doubt(asked, found, known) {
        Ok(since) => Decision::Skip { since, shown: found.shown.clone() },
        Err(why) => Decision::Read(why),
    }
}

/// The instant since which nothing speaks for another read; or what does.
fn doubt(asked: Asked, found: &Evidence, known: &Known) -> Result<DateTime<Utc>, Why> {
    let unless = |fits: bool, why: Why| if fits { Ok(()) } else { Err(why) };
    unless(!asked.is_forced, Why::Forced)?;
    let (checked, rows) = known.checked.zip(known.rows).ok_or(Why::NeverRead)?;
    known.failed.map_or(Ok(()), |failed| Err(Why::Failed(failed.at)))?;
    let since = checked.as_of;
    let Refreshed { evidence: before, rows: rows_then } = checked.refresh.as_ref().ok_or(Why::NoAnswer(since))?;
    unless(before.file == found.file, Why::File)?;
    unless(before.reader == found.reader, Why::Reader)?;
    unless(before.policy == found.policy, Why::Policy)?;
    unless(before.domains == found.domains, Why::Domains)?;
    let answers = Why::Answer { before: before.shown.clone(), now: found.shown.clone() };
    unless(before.answer == found.answer, answers)?;
    // An instant before the last read can't add anything to it. Both are the database's own, so no other clock counts.
    let age = (asked.as_of - since).to_std().unwrap_or_default();
    unless(age < asked.at_least, Why::Old { since, at_least: asked.at_least })?;
    unless(*rows_then == digest_of_rows(rows), Why::Rows(since))?;
    Ok(since)
}

impl Decision {
    /// What happens, in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Decision::Read(_) => "read",
            Decision::Skip { .. } => "skipped",
        }
    }

    /// The instant of the last whole read, if the answer stands in for another.
    pub fn since(&self) -> Option<DateTime<Utc>> {
        match self {
            Decision::Skip { since, .. } => Some(*since),
            Decision::Read(_) => None,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Read(why) => write!(f, "{why}"),
            Decision::Skip { since, shown } => {
                write!(f, "the refresh query answers as it did at {}: {shown}", instant(*since))
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoRefresh => f.write_str("it has no [refresh]"),
            Why::SomeKeys => f.write_str("some of its keys were asked for"),
            Why::Forced => f.write_str("it was to be read whatever the refresh query answers"),
            Why::NeverRead => f.write_str("it was never read whole before"),
            Why::Failed(at) => write!(f, "it failed at {}", instant(*at)),
            Why::NoAnswer(since) => {
                write!(f, "no answer of the refresh query is on record for the last whole read, of {}", instant(*since))
            }
            Why::File => f.write_str("its file has changed"),
            Why::Domains => f.write_str("the values of its keys have changed"),
            Why::Policy => f.write_str("its headers have changed"),
            Why::Reader => f.write_str("another tintype, another database or other settings of it read it last"),
            Why::Answer { before, now } => write!(f, "the refresh query answered {before}, and now {now}"),
            Why::Rows(since) => {
                write!(f, "its documents aren't those of the last whole read, of {}, any more", instant(*since))
            }
            Why::Old { since, at_least } => write!(
                f,
                "its last whole read, of {}, is older than at_least = \"{}\"",
                instant(*since),
                humantime::format_duration(*at_least)
            ),
        }
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests;
