//! Many objects, looked at side by side: requests on a network, threads on a disk.

use std::num::NonZero;
use std::panic::resume_unwind;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::runtime::Handle;

use crate::store::Store;

/// How many files are read before a signal is looked at.
const BATCH: usize = 512;
/// Fewer than this aren't worth a thread.
const LEAST: usize = 16;
/// Digests and unpacking take the processor, so that more threads than this seldom help beside a server.
const MAX_THREADS: usize = 8;

/// Does something with every item, in whatever order, and hands over what came of it. Nothing more is begun once `take`
/// says no.
pub async fn each<T: Sync, R: Send>(
    store: &Store,
    items: &[T],
    work: &(impl AsyncFn(&T) -> R + Sync),
    mut take: impl FnMut(&T, R) -> bool,
) {
    if matches!(store, Store::Directory(_)) {
        return on_threads(items, work, take).await;
    }
    let mut waiting = items.iter();
    let mut running = FuturesUnordered::new();
    let mut may_go_on = true;
    loop {
        while may_go_on && running.len() < store.in_flight().max(1) {
            let Some(item) = waiting.next() else { break };
            running.push(async move { (item, work(item).await) });
        }
        let Some((item, result)) = running.next().await else { break };
        may_go_on &= take(item, result);
    }
}

async fn on_threads<T: Sync, R: Send>(
    items: &[T],
    work: &(impl AsyncFn(&T) -> R + Sync),
    mut take: impl FnMut(&T, R) -> bool,
) {
    let handle = &Handle::current();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    for batch in items.chunks(BATCH) {
        let part = batch.len().div_ceil(threads).max(LEAST);
        let results: Vec<R> = std::thread::scope(|scope| {
            let read = |part: &'_ [T]| part.iter().map(|item| handle.block_on(work(item))).collect::<Vec<R>>();
            let threads: Vec<_> = batch.chunks(part).map(|part| scope.spawn(move || read(part))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        let mut may_go_on = true;
        for (item, result) in batch.iter().zip(results) {
            may_go_on &= take(item, result);
        }
        if !may_go_on {
            return;
        }
        // A signal is looked at between two batches.
        tokio::task::yield_now().await;
    }
}
