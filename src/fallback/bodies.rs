//! Bodies: the documents' bytes that are held, in memory or for readers to whom they are still being sent.
//!
//! A reader that takes a large document slowly holds it for minutes, when the memory may have let go of it long before. So
//! each body is there once, however many readers are being sent it, and nothing more is fetched while they hold too much.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use crate::snapshot::Digest;

/// What readers may hold at least beside the memory, which is as much again as that if that is more; and what answers from
/// a database may take beside both.
const AT_LEAST: u64 = 64 << 20;

/// The bodies that are held.
#[derive(Debug, Default)]
pub struct Bodies(Arc<Held>);

#[derive(Debug, Default)]
struct Held {
    by_digest: Mutex<HashMap<Digest, Weak<Body>>>,
    bytes: AtomicU64,
    most: u64,
}

/// One of them, for as long as somebody has it.
#[derive(Debug)]
struct Body {
    gzip: Bytes,
    digest: Digest,
    held: Arc<Held>,
}

/// A handle of one, as `Bytes` keep it.
struct Handle(Arc<Body>);

impl AsRef<[u8]> for Handle {
    fn as_ref(&self) -> &[u8] {
        &self.0.gzip
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.held.bytes.fetch_sub(self.gzip.len() as u64, Ordering::Relaxed);
        let mut by_digest = self.held.by_digest.lock().unwrap_or_else(PoisonError::into_inner);
        // The same document may have been fetched again meanwhile.
        if by_digest.get(&self.digest).is_some_and(|body| body.strong_count() == 0) {
            by_digest.remove(&self.digest);
        }
    }
}

impl Bodies {
    /// None yet, beside a memory of so many bytes.
    pub fn beside(memory_bytes: u64) -> Bodies {
        let most = memory_bytes.saturating_add(memory_bytes.max(AT_LEAST));
        Bodies(Arc::new(Held { most, ..Held::default() }))
    }

    /// Says whether another one may be fetched.
    pub fn has_room(&self) -> bool {
        self.bytes() < self.0.most
    }

    /// The same of an answer from a database, which nobody has at will: some room is for these alone.
    pub fn has_room_for_answers(&self) -> bool {
        self.bytes() < self.0.most.saturating_add(AT_LEAST)
    }

    /// Bytes that may be held.
    pub fn most(&self) -> u64 {
        self.0.most
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// The gzipped body with this digest, if it is held.
    pub fn find(&self, digest: &Digest) -> Option<Bytes> {
        let by_digest = self.0.by_digest.lock().unwrap_or_else(PoisonError::into_inner);
        let body = by_digest.get(digest)?.upgrade();
        // Behind the lock: whoever has the last one takes it too.
        drop(by_digest);
        body.map(|body| Bytes::from_owner(Handle(body)))
    }

    /// Holds a gzipped body with this digest: the one that is held already, if there is one.
    pub fn hold(&self, digest: Digest, gzip: Bytes) -> Bytes {
        let mut by_digest = self.0.by_digest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(body) = by_digest.get(&digest).and_then(Weak::upgrade) {
            drop(by_digest);
            return Bytes::from_owner(Handle(body));
        }
        self.0.bytes.fetch_add(gzip.len() as u64, Ordering::Relaxed);
        let body = Arc::new(Body { gzip, digest, held: Arc::clone(&self.0) });
        by_digest.insert(digest, Arc::downgrade(&body));
        drop(by_digest);
        Bytes::from_owner(Handle(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_held_once_until_the_last_reader_has_it() {
        let bodies = Bodies::beside(0);
        let text = vec![7; 1 << 20];
        let digest = Digest::of(&text);
        let first = bodies.hold(digest, text.clone().into());
        let second = bodies.hold(digest, text.clone().into());
        let slice = second.slice(10..20);
        assert_eq!((bodies.bytes(), first.as_ptr()), (1 << 20, second.as_ptr()));
        drop((first, second));
        assert_eq!((bodies.bytes(), &slice[..]), (1 << 20, &[7; 10][..]), "a part of it is all of it");
        assert_eq!(bodies.find(&digest).map(|found| found.len()), Some(1 << 20));
        drop(slice);
        assert_eq!((bodies.bytes(), bodies.find(&digest)), (0, None));
        assert!(bodies.0.by_digest.lock().unwrap().is_empty(), "what is let go of leaves nothing");
    }

    #[test]
    fn there_is_room_for_so_many_and_again_when_they_are_gone() {
        let bodies = Bodies::beside(100 << 20);
        let body = |n: u8| {
            let text = vec![n; 50 << 20];
            bodies.hold(Digest::of(&[n]), text.into())
        };
        let held: Vec<Bytes> = (0..4).map_while(|n| bodies.has_room().then(|| body(n))).collect();
        assert_eq!((held.len(), bodies.has_room(), bodies.has_room_for_answers()), (4, false, true));
        let answers: Vec<Bytes> = (4..9).map_while(|n| bodies.has_room_for_answers().then(|| body(n))).collect();
        assert_eq!((answers.len(), bodies.has_room_for_answers()), (2, false));
        drop((held, answers));
        assert!(bodies.has_room());
    }
}
