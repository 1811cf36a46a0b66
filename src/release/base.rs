//! The committed state that a run starts from: the head and the manifest of the desired release.

use std::sync::Arc;

use super::catalogue;
use super::head::{Head, HeadRead};
use super::manifest::Manifest;
use crate::error::Error;
use crate::store::Store;

/// The committed state at one moment.
#[derive(Debug, Clone)]
pub struct Base {
    /// The head as it was read, for the swap.
    pub read: HeadRead,
    /// The desired release; none before the first.
    pub manifest: Option<Arc<Manifest>>,
    /// The first release is numbered behind this: zero, unless a site begins anew.
    pub begins_behind: u64,
}

impl Base {
    /// Reads the committed state.
    pub async fn read(store: &Store) -> Result<Base, Error> {
        let read = HeadRead::read(store).await?;
        if read.head.seq == 0 {
            refuse_headless(store).await?;
        }
        Base::at(read, None, 0, store).await
    }

    /// Reads the state again; the manifest only if it is another release's.
    pub async fn read_again(&self, store: &Store) -> Result<Base, Error> {
        let read = HeadRead::read(store).await?;
        if let (Some(before), None) = (&self.head().desired, &read.head.desired) {
            // A first release over what was there would be another site's. Its file system may just have been unmounted.
            return Err(without_head(format!("is gone, although it named the release {before} a moment ago")));
        }
        Base::at(read, self.manifest.clone(), self.begins_behind, store).await
    }

    async fn at(
        read: HeadRead,
        known: Option<Arc<Manifest>>,
        begins_behind: u64,
        store: &Store,
    ) -> Result<Base, Error> {
        let manifest = match (&read.head.desired, known) {
            (None, _) => None,
            (Some(id), Some(known)) if known.root.id == *id => Some(known),
            (Some(id), _) => Some(Arc::new(Manifest::read(store, id).await?)),
        };
        Ok(Base { read, manifest, begins_behind })
    }

    /// What the head says.
    pub fn head(&self) -> &Head {
        &self.read.head
    }

    /// The serial of the release that comes next.
    pub fn next_serial(&self) -> u64 {
        self.manifest.as_ref().map_or(self.begins_behind, |manifest| manifest.root.id.serial) + 1
    }

    /// True if a release is committed that not every stable path shows.
    pub fn is_unfinished(&self) -> bool {
        self.head().active != self.head().desired
    }
}

/// Refuses a store without a head that shows documents all the same: nobody knows which of them belong to the site.
pub async fn refuse_headless(store: &Store) -> Result<(), Error> {
    match store.read_public(catalogue::PATH).await? {
        Some(_) => Err(without_head("is missing, although a catalogue is published".to_owned())),
        None => Ok(()),
    }
}

fn without_head(reason: String) -> Error {
    Error::Corrupt { object: "head.json".to_owned(), reason }
}
