//! The fallback table, as runs and `status` tell of it.

use serde_json::{Value, json};

use super::context::Project;
use super::print::{self, counted, grouped, styled};
use crate::config::TablePlace;
use crate::database::DatabaseError;
use crate::error::Error;
use crate::release::{Report, TableOutcome, Tabled};

/// What became of the table, for programs.
pub fn table_json(table: &Tabled) -> Value {
    json!({
        "outcome": match table.outcome {
            TableOutcome::None => "none",
            TableOutcome::Done => "done",
            TableOutcome::Pending => "pending",
        },
        "written": table.written,
        "removed": table.removed,
        "error": table.error.as_ref().map(ToString::to_string),
    })
}

/// That the table is behind, and what to do.
pub fn warn(table: &Tabled) {
    let Some(error) = &table.error else { return };
    let warning = styled(print::YELLOW, "warning");
    // What is wrong with the table itself has a hint of its own, and no publish mends it.
    let left = match error {
        Error::Table { .. } => "the site is live",
        _ => "the site is live; the next publish or `tintype resume` writes it",
    };
    print::note(&format!("{warning}: the fallback table isn't up to date: {error}; {left}"));
    if let Some(hint) = hint(error) {
        print::note(&format!("  {}: {hint}", styled(print::CYAN, "hint")));
    }
}

/// What to do about a table that can't be used. Of a build, a lost connection means that nothing was published; here
/// everything was.
pub fn hint(error: &Error) -> Option<String> {
    match error {
        Error::Database(DatabaseError::Lost { .. }) => Some("see the server's log".to_owned()),
        error => error.hint(),
    }
}

/// How much was written.
pub fn written(table: &Tabled) {
    if table.written + table.removed > 0 {
        let (written, removed) = (counted(table.written, "document"), grouped(table.removed));
        print::note(&format!("Left in the fallback table: {written} written, {removed} removed"));
    }
}

/// What was written, after a publish; of the first one also that there is no table.
pub fn tell(report: &Report, project: &Project) {
    written(&report.table);
    let is_first = report.committed && report.documents_before == 0;
    if is_first && project.config.fallback.table == TablePlace::None {
        let words =
            "No fallback table is left behind for when the store is down: [fallback] table_url names a place for it";
        print::note(&styled(print::DIM, words));
    }
}

/// A line of `status`; none where nothing has to be said.
pub fn line(table: &Tabled) -> Option<String> {
    let said = |word, what: &str| Some(format!("{}: {what}", styled(print::YELLOW, word)));
    match (&table.error, table.is_pending()) {
        // What it shows isn't known then, and may well be what it should be.
        (Some(error @ Error::Database(_)), _) => said("fallback table out of reach", &error.to_string()),
        (Some(error), _) => said("fallback table unfit", &error.to_string()),
        (None, true) => said(
            "fallback table behind",
            "it shows an older release, or isn't there yet. `tintype resume` or the next publish writes it",
        ),
        (None, false) => None,
    }
}
