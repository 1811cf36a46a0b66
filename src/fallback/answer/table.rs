//! A document from the fallback table.

use std::time::Duration;

use super::super::Fallback;
use super::super::live::LiveError;
use super::super::memory::Entry;
use super::super::table::{Found, Table};
use super::failures::TOLD;
use super::{Landed, Source, Tried, Wanted};

/// How long a document of the table stands, while the store that knows better is away.
pub const TTL: Duration = Duration::from_secs(30);
/// How long a table that failed isn't asked again.
const REST: Duration = Duration::from_secs(5);
/// How long one that hadn't what is published is asked only by who has a share left.
const DOUBT: Duration = Duration::from_secs(5);

impl Fallback {
    /// The table, once it was made.
    pub(in super::super) async fn made_table(&self) -> Option<&Table> {
        let table = self.table.as_ref()?;
        let is_there = match &table.file {
            Some(file) => self.presence.of(file, &self.aside).await,
            None => true,
        };
        is_there.then_some(table)
    }

    /// The same, unless it failed a moment ago.
    pub(super) async fn table(&self) -> Option<&Table> {
        if self.table_trial.rests() { None } else { self.made_table().await }
    }

    /// Asks the table for what it may have.
    pub(super) async fn ask_table(&self, wanted: &Wanted) -> Tried {
        // It has what is published, and nothing else; without a release any path may be.
        let may_have = wanted.is_published() || wanted.site.is_none();
        let table = if may_have { self.table().await } else { None };
        // One that was locked takes a lease for as long as it may take: one finds out whether it still is.
        let Some(table) = table.filter(|_| self.table_trial.may_try(REST)) else {
            return Tried::at_no_cost(Landed::Missing);
        };
        let active = wanted.site.as_ref().map(|site| site.manifest.root.id.to_string());
        let published = wanted.site.as_ref().and_then(|site| site.digest(&wanted.path));
        let found = table.find(&wanted.path, active.as_deref(), published).await;
        if found.is_ok() {
            self.table_trial.went_well();
        }
        match found {
            Ok(Found::Row(row)) => {
                let digest = row.fetched.digest;
                let gzip = self.bodies.hold(digest, row.fetched.gzip);
                let entry = Entry::new(gzip, digest, &row.attributes, Some(TTL), wanted.site.as_deref());
                let landed = self.landed(wanted, entry.published(true), Source::Table);
                // What is published costs its readers nothing.
                Tried { landed, is_due: !wanted.is_published() }
            }
            Ok(Found::Nothing) => self.table_misses(wanted),
            Ok(Found::Broken(reason)) => {
                // One line says it for all of this moment.
                if self.table_told.begin(TOLD) {
                    let hint = "`tintype verify --table --deep --repair` mends it; where the site is another one, let [store] \
                                url and endpoint be written as they are where it is published";
                    tracing::error!(path = wanted.path, reason, hint, "a row of the fallback table can't be shown");
                }
                self.table_misses(wanted)
            }
            Err(error) => {
                // A crowd, and a server that is away, say nothing of the table: it has what is published when they are over.
                match error {
                    LiveError::Pool(_) => self.table_trial.untried(),
                    _ if error.is_of_statement() => self.table_trial.failed(REST),
                    _ => {}
                }
                Tried { landed: self.failed(&wanted.path, &error), is_due: error.had_lease() }
            }
        }
    }

    /// The table was asked for something that it hasn't. If that is published, so may all of it be: without this nothing
    /// would bound what somebody whose share is used up can have looked up in vain.
    fn table_misses(&self, wanted: &Wanted) -> Tried {
        if wanted.is_published() {
            self.table_doubt.begin(DOUBT);
        }
        Tried::over_a_lease(Landed::Missing)
    }
}
