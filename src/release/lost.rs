//! A store that has lost its records: nothing is published in it, and yet the fallback table shows a release of this very
//! site.
//!
//! Most of the time nothing is lost at all: a file system isn't mounted. A first release in its place would be another
//! site's, and the real one would find its table taken. So none is made unless somebody says that the site begins anew; its
//! numbers then go on behind the table's, which can follow it like any other release.

use super::base::{Base, refuse_headless};
use super::head::HeadRead;
use super::publish::{Job, Outcome};
use super::table::site;
use crate::database::{FallbackTable, TableState};
use crate::error::Error;
use crate::store::Store;

/// What the table shows of this site, where the store knows of no release. Whatever its format: also a newer tintype's.
async fn remembered(store: &Store, table: Option<&FallbackTable>) -> Result<Option<TableState>, Error> {
    let Some(table) = table else { return Ok(None) };
    let is_of_this_site = |state: &TableState| state.serial > 0 && state.site == site(store, table);
    let Some(state) = table.state().await?.filter(is_of_this_site) else { return Ok(None) };
    // Behind the table: a first release that was made meanwhile has written it.
    Ok(HeadRead::read(store).await?.head.desired.is_none().then_some(state))
}

/// What is wrong with a store without a release, if the table still shows one.
pub async fn lost(store: &Store, table: Option<&FallbackTable>) -> Result<Option<Error>, Error> {
    let Some(state) = remembered(store, table).await? else { return Ok(None) };
    Ok(Some(match refuse_headless(store).await {
        Ok(()) => error(store, state),
        // There is more to be mended than a first release would.
        Err(headless) => headless,
    }))
}

fn error(store: &Store, state: TableState) -> Error {
    Error::Lost { store: store.describe(), release: state.release }
}

/// Refuses to make a first release of a site that the table knows, unless it is to begin anew.
pub(super) async fn refuse(job: &Job, store: &Store, mut base: Base) -> Result<Base, Error> {
    if let Some(release) = &base.head().desired {
        if job.begin_anew {
            let message = format!("the site can't begin anew: its release {release} is there");
            return Err(Error::usage(message, "leave --begin-anew out"));
        }
        return Ok(base);
    }
    match remembered(store, job.table.as_ref()).await {
        Ok(Some(state)) if job.begin_anew => base.begins_behind = state.serial,
        Ok(Some(state)) => return Err(error(store, state)),
        Ok(None) => {}
        // Without its number the table could never follow.
        Err(error) if job.begin_anew => return Err(error),
        // A new site doesn't wait for its table.
        Err(error) => tracing::warn!(
            %error,
            "the fallback table can't be read, so it can't tell whether there was a release before this first one"
        ),
    }
    Ok(base)
}

/// Fails unless every template was read. What they showed is nowhere but in the table, whose rows would go with the rest of
/// the former release.
pub(super) fn require_all(outcomes: &[Outcome]) -> Result<(), Error> {
    let failed: Vec<_> = outcomes.iter().filter_map(|(_, seen)| seen.as_ref().err().cloned()).collect();
    if failed.is_empty() { Ok(()) } else { Err(Error::Failed(failed)) }
}
