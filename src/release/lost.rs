//! A store that has lost its records: nothing is published in it, and yet the fallback table shows a release of this very
//! site.
//!
//! Most of the time nothing is lost at all: a file system isn't mounted, or a bucket is named wrongly. A first release
//! would then be another site's, and the real one would find its table taken. So none is made unless somebody says that
//! the site begins anew; its numbers then go on behind the table's, which can follow it like any other release.

use super::base::Base;
use super::head::HeadRead;
use super::publish::Job;
use super::table::site;
use crate::database::{FallbackTable, TABLE_FORMAT, TableState};
use crate::error::Error;
use crate::store::Store;

/// What the table shows of this site, where the store knows of no release. A table that can't be read tells nothing:
/// whatever is to be done with it will say why.
async fn remembered(store: &Store, table: Option<&FallbackTable>) -> Result<Option<TableState>, Error> {
    let Some(table) = table else { return Ok(None) };
    let state = match table.state().await {
        Ok(state) => state,
        Err(error) => {
            tracing::debug!(%error, "the fallback table can't tell whether there was a release");
            None
        }
    };
    let is_of_this_site =
        |state: &TableState| state.serial > 0 && state.format <= TABLE_FORMAT && state.site == site(store, table);
    let Some(state) = state.filter(is_of_this_site) else { return Ok(None) };
    // Behind the table: a first release that was made meanwhile has written it.
    Ok(HeadRead::read(store).await?.head.desired.is_none().then_some(state))
}

/// What is wrong with a store without a release, if the table still shows one.
pub async fn lost(store: &Store, table: Option<&FallbackTable>) -> Result<Option<Error>, Error> {
    Ok(remembered(store, table).await?.map(|state| error(store, state)))
}

fn error(store: &Store, state: TableState) -> Error {
    Error::Lost { store: store.describe(), release: state.release }
}

/// Refuses to make a first release of a site that the table knows, unless it is to begin anew.
pub(super) async fn refuse(job: &Job, store: &Store, mut base: Base) -> Result<Base, Error> {
    if let Some(release) = base.head().desired.as_ref().filter(|_| job.begin_anew) {
        return Err(Error::usage(
            format!("the site can't begin anew: its release {release} is there"),
            "leave --begin-anew out",
        ));
    }
    if base.head().desired.is_some() {
        return Ok(base);
    }
    match remembered(store, job.table.as_ref()).await? {
        Some(state) if job.begin_anew => base.begins_behind = state.serial,
        Some(state) => return Err(error(store, state)),
        None => {}
    }
    Ok(base)
}
