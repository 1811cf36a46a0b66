//! The fallback table: what is left behind for whoever has to answer without the store.
//!
//! It is a debt like a purge: a run pays it after the stable paths show its release, without the lease, and whoever
//! comes next pays what a run couldn't, because the database was away or the run died. Nothing has to remember how much
//! is owed. The table's own row says which release it shows, and its digests say what of it is missing, so that it
//! catches up from any state: first use, missed runs, a database that was restored, tables that were emptied.
//!
//! The row is read before the head and locked before anything is written. A table that is found to be of a later release
//! than the head, or of another site, has another history than this store, and is never overwritten unless somebody asks
//! for it; one whose row has changed meanwhile is looked at again. So however late a transaction arrives, the table never
//! goes back.

use super::head::HeadRead;
use super::id::ReleaseId;
use super::manifest::Manifest;
use super::progress::{Phase, Progress};
use crate::database::{FallbackTable, TABLE_FORMAT, TableMark, TableState, TableWrite};
use crate::error::Error;
use crate::store::Store;

mod bodies;
mod look;
mod wanted;

pub use look::{TableFlaw, TableSurvey, survey_table, table_rows};

use bodies::Bodies;
use wanted::{Found, Wanted, compare};

/// How often a table is looked at again because somebody else has written it meanwhile.
const ATTEMPTS: usize = 5;
/// Paths that are removed at a time.
const REMOVALS: usize = 1000;
/// What to do about a table of another history.
const REPAIR: &str = "if it is to show this site from now on, `tintype verify --table --repair` writes it anew; two sites \
                      need two databases, or two schemas";

/// What became of the table.
#[derive(Debug, Default)]
pub struct Tabled {
    /// How it ended.
    pub outcome: TableOutcome,
    /// Documents written.
    pub written: u64,
    /// Documents removed.
    pub removed: u64,
    /// Why it is behind.
    pub error: Option<Error>,
}

/// How the table stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TableOutcome {
    /// There is none.
    #[default]
    None,
    /// It shows the active release.
    Done,
    /// It shows an older one, or it isn't known what.
    Pending,
}

/// What may be overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// An earlier release of this site.
    Earlier,
    /// Whatever is there, compared down to the bodies' bytes.
    Anything,
}

impl Tabled {
    fn of(settled: Result<(u64, u64), Error>) -> Tabled {
        match settled {
            Ok((written, removed)) => Tabled { outcome: TableOutcome::Done, written, removed, error: None },
            Err(error) => Tabled { outcome: TableOutcome::Pending, error: Some(error), ..Tabled::default() },
        }
    }

    /// True if something is still to be done.
    pub fn is_pending(&self) -> bool {
        self.outcome == TableOutcome::Pending
    }
}

/// Brings the table up to the active release. `known` is a manifest that the caller has at hand.
pub async fn catch_up(
    store: &Store,
    table: Option<&FallbackTable>,
    known: Option<&Manifest>,
    progress: &Progress,
) -> Tabled {
    let Some(table) = table else { return Tabled::default() };
    progress.enter(Phase::Table, 0);
    let tabled = Tabled::of(Box::pin(settle(store, table, known, Over::Earlier, progress)).await);
    if !tabled.is_pending() {
        progress.leave(Phase::Table);
    }
    tabled
}

/// Writes whatever differs from the active release, whatever the table shows: another site's documents, a later
/// release's, bodies that are broken.
pub async fn repair(store: &Store, table: &FallbackTable, progress: &Progress) -> Tabled {
    Tabled::of(Box::pin(settle(store, table, None, Over::Anything, progress)).await)
}

/// Whether the table shows the active release; none without a table or a release.
pub async fn standing(store: &Store, table: Option<&FallbackTable>) -> Tabled {
    let Some(table) = table else { return Tabled::default() };
    let looked = async {
        let state = table.state().await?;
        let Some(active) = HeadRead::read(store).await?.head.active else { return Ok(None) };
        let Some(state) = state else { return Ok(Some(false)) };
        refuse_foreign(&state, &active, &site(store, table))?;
        Ok(Some(shows(&state, &active)))
    };
    let looked: Result<Option<bool>, Error> = looked.await;
    match looked {
        Ok(None) => Tabled::default(),
        Ok(Some(true)) => Tabled::of(Ok((0, 0))),
        Ok(Some(false)) => Tabled { outcome: TableOutcome::Pending, ..Tabled::default() },
        Err(error) => Tabled::of(Err(error)),
    }
}

async fn settle(
    store: &Store,
    table: &FallbackTable,
    known: Option<&Manifest>,
    over: Over,
    progress: &Progress,
) -> Result<(u64, u64), Error> {
    for _ in 0..ATTEMPTS {
        let state = table.state().await?;
        // Behind the table, so that within one history it can't be older.
        let Some(active) = HeadRead::read(store).await?.head.active else { return Ok((0, 0)) };
        let Some(state) = state else {
            table.create().await?;
            continue;
        };
        refuse_newer_format(&state)?;
        if over == Over::Earlier {
            refuse_foreign(&state, &active, &site(store, table))?;
            if shows(&state, &active) {
                return Ok((0, 0));
            }
        }
        progress.enter(Phase::Table, 0);
        let read;
        let manifest = match known {
            Some(known) if known.root.id == active => known,
            _ => {
                read = Manifest::read(store, &active).await?;
                &read
            }
        };
        let families = wanted::families(manifest);
        let wanted = wanted::documents(manifest, &families);
        let found = compare(table, &wanted, over == Over::Anything).await?;
        let mark = TableMark { serial: active.serial, release: active.to_string(), site: site(store, table) };
        if found.is_nothing() && is_marked(&state, &mark) {
            return Ok((0, 0));
        }
        // From the store before the transaction, so that nobody waits for the network behind a lock.
        let bodies = Bodies::read(store, &wanted, found.stale()).await?;
        if let Some(write) = table.begin(&state).await? {
            return write_all(write, &wanted, &found, bodies, &mark).await;
        }
        tracing::debug!("another publisher has written the fallback table meanwhile; comparing again");
    }
    let reason = format!("was written by others {ATTEMPTS} times while it was compared");
    Err(Error::Table { table: table.describe(), reason, hint: Some("run the command again".to_owned()) })
}

async fn write_all(
    mut write: TableWrite,
    wanted: &[Wanted<'_>],
    found: &Found,
    mut bodies: Bodies,
    mark: &TableMark,
) -> Result<(u64, u64), Error> {
    let mut written = 0;
    while let Some(batch) = bodies.next(wanted)? {
        written += batch.len() as u64;
        write.upsert(&mark.release, batch).await?;
    }
    for paths in found.extra.chunks(REMOVALS) {
        write.remove(paths).await?;
    }
    write.commit(mark).await?;
    Ok((written, found.extra.len() as u64))
}

/// True if the table shows this release, as far as its row tells.
fn shows(state: &TableState, active: &ReleaseId) -> bool {
    state.serial == active.serial && state.release == active.to_string() && !state.is_empty
}

fn is_marked(state: &TableState, mark: &TableMark) -> bool {
    state.serial == mark.serial && state.release == mark.release && state.site == mark.site
}

/// Refuses a table whose history isn't that of the store.
fn refuse_foreign(state: &TableState, active: &ReleaseId, site: &str) -> Result<(), Error> {
    let refused =
        |reason: String| Error::Table { table: "the fallback table".to_owned(), reason, hint: Some(REPAIR.to_owned()) };
    if !state.site.is_empty() && state.site != site {
        return Err(refused(format!("shows the documents of {}, and this site is {site}", state.site)));
    }
    let is_later = state.serial > active.serial;
    if is_later || (state.serial == active.serial && state.release != active.to_string()) {
        let reason = format!("shows release {}, which this store doesn't know: active is {active}", state.release);
        return Err(refused(reason));
    }
    Ok(())
}

fn refuse_newer_format(state: &TableState) -> Result<(), Error> {
    if state.format <= TABLE_FORMAT {
        return Ok(());
    }
    Err(Error::Table {
        table: "the fallback table".to_owned(),
        reason: format!("has format {}, and this tintype knows formats up to {TABLE_FORMAT}", state.format),
        hint: Some("it was written by a newer tintype; `tintype --version` tells this one's version".to_owned()),
    })
}

/// What the documents of a store are told from those of another by: where they lie. A table that lies with them goes
/// wherever they go.
pub fn site(store: &Store, table: &FallbackTable) -> String {
    if table.is_shared() { store.describe() } else { String::new() }
}
