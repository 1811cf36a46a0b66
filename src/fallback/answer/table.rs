//! A document from the fallback table.

use std::time::Duration;

use super::super::Fallback;
use super::super::memory::Entry;
use super::super::table::Table;
use super::{Landed, Source, Tried, Wanted};

/// How long a document of the table stands, while the store that knows better is away.
pub const TTL: Duration = Duration::from_secs(30);
/// How long a table that failed isn't asked again.
const REST: Duration = Duration::from_secs(5);

impl Fallback {
    /// The table, once it was made, unless it failed a moment ago.
    pub(super) async fn table(&self) -> Option<&Table> {
        let table = self.table.as_ref().filter(|_| !self.table_rest.is_on())?;
        let is_there = match &table.file {
            Some(file) => self.presence.of(file, &self.aside).await,
            None => true,
        };
        is_there.then_some(table)
    }

    /// Asks the table for what it may have.
    pub(super) async fn ask_table(&self, wanted: &Wanted) -> Tried {
        // It has what is published, and nothing else; without a release any path may be.
        let may_have = wanted.is_published() || wanted.site.is_none();
        let Some(table) = self.table().await.filter(|_| may_have) else { return Tried::at_no_cost(Landed::Missing) };
        let active = wanted.site.as_ref().map(|site| site.manifest.root.id.to_string());
        let published = wanted.site.as_ref().and_then(|site| site.digest(&wanted.path));
        match table.find(&wanted.path, active.as_deref(), published).await {
            Ok(Some(row)) => {
                let (gzip, digest) = (row.fetched.gzip, row.fetched.digest);
                let entry = Entry::new(gzip, digest, &row.attributes, Some(TTL), wanted.site.as_deref());
                Tried::over_a_lease(self.landed(&wanted.path, entry, Source::Table))
            }
            Ok(None) => Tried::over_a_lease(Landed::Missing),
            Err(error) => {
                self.table_rest.begin(REST);
                Tried { landed: self.failed(&wanted.path, &error), had_lease: error.had_lease() }
            }
        }
    }
}
