//! Looking at releases: which there are, and what a document of one of them says.

use std::sync::Arc;

use chrono::Utc;

use super::build::{BuildError, Builder, Observer, Prepared};
use super::finishers::Finishers;
use super::head::HeadRead;
use super::id::{ReleaseId, RunId};
use super::manifest::{Manifest, Root};
use super::progress::Progress;
use super::row::Row;
use crate::database::{Database, ReadSettings};
use crate::error::Error;
use crate::snapshot::{self, Digest};
use crate::store::Store;
use crate::template::Template;
use crate::template::select::Selector;

/// A release in a listing.
#[derive(Debug)]
pub struct Release {
    /// Its root.
    pub root: Root,
    /// True for the one that the stable paths show.
    pub active: bool,
    /// True for a release of the history; false for one that was staged and never committed, because its run died or
    /// another's commit came first.
    pub committed: bool,
}

/// The releases of a store, newest first.
pub async fn releases(store: &Store) -> Result<Vec<Release>, Error> {
    let head = HeadRead::read(store).await?.head;
    let names = store.list(Root::FOLDER).await?;
    let mut ids: Vec<ReleaseId> = names.iter().filter_map(|name| Root::id_of(name)).collect();
    ids.sort_by(|a, b| b.cmp(a));
    // The history is the chain of parents; a root beside it belongs to a run that lost its commit.
    let mut next = head.desired.clone();
    let mut found = Vec::new();
    for id in ids {
        // A prune that goes on at the same time may just have removed it.
        let Some(root) = Root::read_if_there(store, &id).await? else { continue };
        let committed = next.as_ref() == Some(&id);
        if committed {
            next.clone_from(&root.parent);
        }
        found.push(Release { active: head.active.as_ref() == Some(&id), committed, root });
    }
    Ok(found)
}

/// The body of a document, from the store: from its stable path, or from a release.
pub async fn document(store: &Store, path: &str, release: Option<&Manifest>) -> Result<Option<Vec<u8>>, Error> {
    let Some(manifest) = release else {
        let bytes = store.read_public(path).await?;
        return bytes.map(|bytes| unpacked(path, &bytes, None)).transpose();
    };
    let Some((blob, digest)) = manifest.row(path).and_then(|row| Some((row.blob()?, row.digest()?))) else {
        return Ok(None);
    };
    let bytes = store.read(&blob).await?;
    bytes.map(|bytes| unpacked(&blob, &bytes, Some(&digest))).transpose()
}

/// The body of what is called so, which is the one with this digest where that is known.
pub fn unpacked(name: &str, gzipped: &[u8], digest: Option<&Digest>) -> Result<Vec<u8>, Error> {
    snapshot::unpacked(gzipped, digest).map_err(|reason| Error::Corrupt { object: name.to_owned(), reason })
}

/// What a live read is about.
pub struct LiveRead<'a> {
    /// The template.
    pub template: &'a Arc<Template>,
    /// What was asked of it.
    pub selectors: &'a [&'a Selector],
    /// True for every valid key, false for those of the hot set.
    pub every_valid: bool,
}

/// Builds the selected keys from the database, without a store, and hands each document over.
pub async fn live_documents(
    store: &Arc<Store>,
    database: &Database,
    settings: &ReadSettings,
    wanted: LiveRead<'_>,
    run: RunId,
    put: Observer,
) -> Result<Vec<Arc<Row>>, Error> {
    // Before the transaction begins: a head that is kept in the same database takes a connection too, and a pooler may
    // have but one to give.
    let head = HeadRead::read(store).await?.head;
    let base = match &head.desired {
        Some(id) => Some(Arc::new(Manifest::read(store, id).await?)),
        None => None,
    };
    let mut transaction = database.begin(settings, &format!("tintype/get/{run}")).await?;
    let builder = Builder {
        finishers: Finishers::start(store),
        run,
        base,
        stage: false,
        rewrite: false,
        now: Utc::now(),
        progress: Arc::new(Progress::default()),
        live: wanted.every_valid,
        observe: Some(put),
        records: None,
    };
    let built = match builder.prepare(&mut transaction, wanted.template, wanted.selectors).await {
        Ok(Prepared::Statement(written)) => builder.run(&mut transaction, *written).await,
        // A run without records asks no refresh query.
        Ok(Prepared::LeftOut(_)) => return Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let built = match built {
        Ok(running) if running.lost_connection() => running.finish().await,
        Ok(running) => {
            transaction.finish().await?;
            running.finish().await
        }
        Err(error) => Err(error),
    };
    match built {
        Ok(built) => Ok(built.rows),
        Err(BuildError::Template(finding)) => Err(Error::Failed(vec![*finding])),
        Err(BuildError::Fatal(error)) => Err(error),
    }
}
