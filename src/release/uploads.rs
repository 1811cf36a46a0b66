//! Blobs on their way to a store that takes many at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::store::{Store, StoreError};

/// Bytes of blobs that may be on their way, whatever the number of requests.
const MAX_BYTES: u32 = 64 * 1024 * 1024;
/// A blob counts as at least this many bytes, so that no more than a few hundred are on their way.
const LEAST_BYTES: u32 = 128 * 1024;
/// Bytes are counted in units, because a semaphore takes no more than 2²⁹ on some machines.
const UNIT: u32 = 1024;

/// Writes blobs in the background, so many at once as the store takes. Cheap to clone.
#[derive(Clone)]
pub struct Uploads {
    store: Arc<Store>,
    handle: Handle,
    room: Arc<Semaphore>,
    error: Arc<Mutex<Option<StoreError>>>,
}

impl Uploads {
    /// Uploads to a store; to be called within the runtime.
    pub fn new(store: &Arc<Store>) -> Uploads {
        Uploads {
            store: Arc::clone(store),
            handle: Handle::current(),
            room: Arc::new(Semaphore::new((MAX_BYTES / UNIT) as usize)),
            error: Arc::default(),
        }
    }

    /// Writes a blob, from a thread that may wait. On a store that takes one at a time it is written before this
    /// returns; else it is on its way, and `finish` tells how that went. `done` is told how long the request took.
    pub fn put(
        &self,
        name: String,
        bytes: Vec<u8>,
        done: impl FnOnce(Instant) + Send + 'static,
    ) -> Result<(), StoreError> {
        let started = Instant::now();
        if self.store.in_flight() <= 1 {
            self.handle.block_on(self.store.create(&name, bytes.into()))?;
            done(started);
            return Ok(());
        }
        if let Some(error) = self.failure() {
            return Err(error);
        }
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX).clamp(LEAST_BYTES, MAX_BYTES) / UNIT;
        let room = Arc::clone(&self.room).acquire_many_owned(size);
        // The semaphore is never closed.
        let Ok(room) = self.handle.block_on(room) else { return Ok(()) };
        let uploads = self.clone();
        self.handle.spawn(async move {
            let started = Instant::now();
            if let Err(error) = uploads.store.create(&name, bytes.into()).await {
                uploads.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            done(started);
            drop(room);
        });
        Ok(())
    }

    fn failure(&self) -> Option<StoreError> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until every blob is written, or tells the first error.
    pub async fn finish(&self) -> Result<(), StoreError> {
        let _ = self.room.acquire_many(MAX_BYTES / UNIT).await;
        self.failure().map_or(Ok(()), Err)
    }
}
