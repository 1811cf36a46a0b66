//! What a run did, or would do: plain data that the command line shows.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::activate::Activated;
use super::build::Cost;
use super::guard::{Verdict, refusal};
use super::id::{ReleaseId, RunId};
use super::manifest::{Change, ChangeKind};
use super::merge::Merged;
use super::purge::Purged;
use super::refresh::Decision;
use super::row::{Row, find};
use super::table::Tabled;
use super::verify::Settled;
use crate::database::Source;
use crate::diagnostic::Diagnostic;
use crate::error::Error;

/// What a run did, or a plan would do.
#[derive(Debug)]
pub struct Report {
    /// The release that is desired now; none before the first.
    pub release: Option<ReleaseId>,
    /// True if the run committed it.
    pub committed: bool,
    /// The release that the run staged without committing it: because it was to do only that, or with what guards refused.
    pub staged: Option<ReleaseId>,
    /// The instant whose data the run saw; none where it needed no database.
    pub as_of: Option<DateTime<Utc>>,
    /// The server that the run read; none where it needed no database.
    pub source: Option<Source>,
    /// What became of each template that was asked for.
    pub templates: Vec<TemplateReport>,
    /// Documents of the release that the run found committed.
    pub documents_before: u64,
    /// Templates of the release whose files are gone.
    pub orphans: Vec<String>,
    /// The release that an earlier run had committed but not finished, and that this one finished first.
    pub rolled_forward: Option<ReleaseId>,
    /// What came of a look at paths that a late request may have changed, if one was due.
    pub settled: Option<Settled>,
    /// True if there is something to commit, or to finish.
    pub is_pending: bool,
    /// What activation did, if there was anything to activate.
    pub activated: Activated,
    /// What came of telling the edges.
    pub purge: Purged,
    /// What became of the fallback table.
    pub table: Tabled,
    /// What went wrong after the commit and before the purge; the next run goes on from there.
    pub unfinished: Option<Error>,
    /// Where the time went, in seconds.
    pub seconds: Seconds,
}

/// Where the time went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seconds {
    /// Statements.
    pub query: f64,
    /// From asking for the connection to its first answer.
    pub wait: f64,
    /// From then to closing it.
    pub hold: f64,
    /// Splitting rows into documents, which decodes and encodes their cells.
    pub encode: f64,
    /// Digesting and compressing; summed over the threads.
    pub compress: f64,
    /// Writing blobs; summed over the requests, of which many may be on their way at once.
    pub write: f64,
    /// Waiting for the lock, merging and committing.
    pub commit: f64,
    /// Changing stable paths.
    pub activate: f64,
    /// Telling the edges.
    pub purge: f64,
    /// Writing the fallback table.
    pub table: f64,
    /// Everything.
    pub total: f64,
}

/// What became of a template.
#[derive(Debug)]
pub struct TemplateReport {
    /// Its name.
    pub name: String,
    /// Why it failed; its last good documents stay.
    pub failure: Option<Diagnostic>,
    /// The keys it has now, and what changes.
    pub counts: Counts,
    /// Rows read.
    pub rows: u64,
    /// Rows of keys that aren't published, or that belong to another scope.
    pub rows_skipped: u64,
    /// More published combinations than `max_keys`: no empty documents.
    pub over_max_keys: bool,
    /// Documents that stay as committed because they were observed later than this run's `as_of`.
    pub older: u64,
    /// Documents that stay as committed because a rollback holds them; of a rollback, those that it holds from now on.
    pub held: u64,
    /// What its guards say; none where nothing was built.
    pub verdicts: Vec<Verdict>,
    /// What it cost.
    pub cost: Cost,
    /// Whether its query ran, and why; none for what didn't get so far, and for runs without a database.
    pub decision: Option<Decision>,
    /// The changes, with the documents before and after; a publish of very many leaves them to `releases ID`.
    pub changes: Vec<Difference>,
}

/// Documents of a template by what happens to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that it has afterwards.
    pub keys: u64,
    /// New ones.
    pub added: u64,
    /// With other bytes or headers.
    pub changed: u64,
    /// Gone.
    pub removed: u64,
    /// Written again as they were.
    pub rewritten: u64,
    /// As they were, and not touched.
    pub unchanged: u64,
}

/// A changed document, before and after.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The object path.
    pub path: Arc<str>,
    /// What happens to it.
    pub change: ChangeKind,
    /// Rows before, if it was there.
    pub rows_before: Option<u64>,
    /// Rows after, if it will be there.
    pub rows_after: Option<u64>,
    /// Bytes of the blob to write.
    pub gzip_bytes: u64,
}

impl TemplateReport {
    /// A template that has these documents, and nothing else to be said of.
    pub fn of(name: &str, counts: Counts) -> TemplateReport {
        TemplateReport {
            name: name.to_owned(),
            failure: None,
            counts,
            rows: 0,
            rows_skipped: 0,
            over_max_keys: false,
            older: 0,
            held: 0,
            verdicts: Vec::new(),
            cost: Cost::default(),
            decision: None,
            changes: Vec::new(),
        }
    }

    /// True if a guard refuses it, so that its last good documents stay; its counts say what would have become of them.
    pub fn is_refused(&self) -> bool {
        self.verdicts.iter().any(Verdict::refuses)
    }

    /// True if the committed release has documents of it.
    pub fn has_documents(&self) -> bool {
        let Counts { changed, removed, rewritten, unchanged, .. } = self.counts;
        changed + removed + rewritten + unchanged > 0
    }

    /// Why a guard refuses it, in a line.
    pub fn refusal(&self) -> Option<String> {
        refusal(&self.verdicts)
    }
}

impl Report {
    /// What the run couldn't finish, the worst of it.
    pub fn setback(&self) -> Option<&Error> {
        self.unfinished.as_ref().or(self.purge.error.as_ref())
    }

    /// True if a guard refuses at least one template.
    pub fn has_refused(&self) -> bool {
        self.templates.iter().any(TemplateReport::is_refused)
    }
}

/// A run without a query lists this many changes and no more; `releases ID` lists them all.
const MAX_LISTED: usize = 10_000;

/// The first of many changes.
pub fn listed(changes: &[Change]) -> &[Change] {
    &changes[..changes.len().min(MAX_LISTED)]
}

/// Counts what a merge did.
pub fn counts(merged: &Merged) -> Counts {
    let count = |kind| merged.changes.iter().filter(|change| change.change == kind).count() as u64;
    Counts {
        keys: merged.rows.iter().filter(|row| row.document.is_some()).count() as u64,
        added: count(ChangeKind::Added),
        changed: count(ChangeKind::Changed),
        removed: count(ChangeKind::Removed),
        rewritten: count(ChangeKind::Rewritten),
        unchanged: merged.unchanged,
    }
}

/// The changed documents of a merge, before and after; the blobs that the run has written count.
pub fn differences(
    changes: &[Change],
    before: &[Arc<Row>],
    after: &[Arc<Row>],
    run: Option<&RunId>,
) -> Vec<Difference> {
    let of = |change: &Change| {
        let (old, row) = (find(before, &change.path), find(after, &change.path));
        let (old, new) = (old.and_then(|row| row.document), row.and_then(|row| row.document));
        let written = new.filter(|_| row.is_some_and(|row| run == Some(&row.origin.run)));
        Difference {
            path: change.path.clone(),
            change: change.change,
            rows_before: old.map(|old| old.rows.into()),
            gzip_bytes: written.map_or(0, |new| new.gzip_bytes.into()),
            rows_after: new.map(|new| new.rows.into()),
        }
    };
    changes.iter().map(of).collect()
}
