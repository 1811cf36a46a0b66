//! A document from the fallback table.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::Fallback;
use super::super::figures::Shed;
use super::super::live::LiveError;
use super::super::memory::Entry;
use super::super::rest::{Trial, Turn};
use super::super::table::{Found, Table};
use super::failures::TOLD;
use super::{COME_BACK, Landed, Source, Tried, Wanted};

/// How long a document of the table stands, while the store that knows better is away.
pub const TTL: Duration = Duration::from_secs(30);
/// How long a table that failed isn't asked again.
const REST: Duration = Duration::from_secs(5);

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

    /// Asks the table for what it may have, for somebody who has been waiting `since` an instant.
    pub(super) async fn ask_table(&self, wanted: &Wanted, since: Instant) -> Tried {
        let table = if wanted.may_be_in_table() { self.table().await } else { None };
        let Some(table) = table else { return Tried::at_no_cost(Landed::Missing) };
        let later = wanted.later.as_ref().map(|later| later.release.clone());
        let active = later.or_else(|| wanted.site.as_ref().map(|site| site.manifest.root.id.to_string()));
        let published = wanted.digest();
        match self.table_trial.turn(REST) {
            Turn::Everybodys => {}
            // One that is still locked takes as long as a look may take: nobody waits for that once more.
            Turn::OnTrial => {
                let (table, trial, path) = (table.clone(), Arc::clone(&self.table_trial), wanted.path.clone());
                tokio::spawn(async move { note(&trial, table.find(&path, active.as_deref(), published, since).await) });
                return Tried::at_no_cost(Landed::Missing);
            }
            Turn::Nobodys => return Tried::at_no_cost(Landed::Missing),
        }
        let found = note(&self.table_trial, table.find(&wanted.path, active.as_deref(), published, since).await);
        match found {
            Ok(Found::Row(row)) => {
                let digest = row.fetched.digest;
                let gzip = self.bodies.hold(digest, row.fetched.gzip);
                let entry = Entry::new(gzip, digest, &row.attributes, Some(TTL), wanted.site.as_deref());
                // What is published costs its readers nothing.
                Tried::at_no_cost(self.landed(wanted, entry.published(true), Source::Table))
            }
            Ok(Found::Nothing) => self.table_misses(wanted),
            Ok(Found::Other) => {
                self.table_doubt.of_all();
                self.table_turned.notify_one();
                Self::says_nothing(wanted)
            }
            Ok(Found::Broken(reason)) => {
                // One line says it for all of this moment.
                if self.table_told.once_in(TOLD) {
                    let hint = "`tintype verify --table --deep --repair` mends it; where the site is another one, let [store] \
                                url and endpoint be written as they are where it is published";
                    tracing::error!(path = wanted.path, reason, hint, "a row of the fallback table can't be shown");
                }
                self.table_doubt.of(&wanted.path);
                Self::says_nothing(wanted)
            }
            Err(error) => Tried { landed: self.failed(&wanted.path, &error), is_due: error.had_lease() },
        }
    }

    /// The table hasn't it, and it has all of its release.
    fn table_misses(&self, wanted: &Wanted) -> Tried {
        if wanted.is_published() {
            self.table_doubt.of(&wanted.path);
        }
        // A later release than the one that is known here has removed it: what that one showed is no answer any more.
        if wanted.later.is_some() && self.memory.has_published(&wanted.path) {
            self.memory.forget(&wanted.path);
        }
        Tried::over_a_lease(Landed::Missing)
    }

    /// The table was asked in vain. What a later release than the one that is known here shows nobody else knows.
    fn says_nothing(wanted: &Wanted) -> Tried {
        Tried::over_a_lease(match &wanted.later {
            Some(_) => Landed::Failed { retry_after: COME_BACK, why: Shed::Store },
            None => Landed::Missing,
        })
    }
}

/// Notes what came of a look at the table.
fn note(trial: &Trial, found: Result<Found, LiveError>) -> Result<Found, LiveError> {
    match &found {
        Ok(_) => trial.went_well(),
        // A crowd, and a server that is away, say nothing of the table: it has what is published when they are over.
        Err(LiveError::Pool(_)) => trial.untried(),
        Err(error) if error.is_of_statement() => trial.failed(REST),
        Err(_) => {}
    }
    found
}
