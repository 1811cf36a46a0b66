//! What a publisher asks of the faulty store, call by call.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::request::{Answer, Request};
use super::{Faulty, IN_FLIGHT, NoAnswer, PATIENCE};
use crate::store::{Attributes, HeadObject, Page, Part, Shown, StoreError, Swap, Version};

/// A listing that is under way.
pub struct Pages<'a> {
    faulty: &'a Faulty,
    next: Option<Request>,
}

impl Faulty {
    pub(in crate::store) fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::Relaxed)
    }

    #[expect(clippy::unused_self, reason = "the stores are asked the same way")]
    pub(in crate::store) fn in_flight(&self) -> usize {
        IN_FLIGHT
    }

    pub(in crate::store) async fn create(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        drop(self.counters.puts.ask());
        let answer = self.send(Request::Create { name: name.to_owned(), bytes }).await;
        answer.map(drop).map_err(|none| none.error("write", name))
    }

    pub(in crate::store) async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        drop(self.counters.gets.ask());
        let answer = self.send(Request::Read { name: name.to_owned() }).await;
        answer.map(Answer::bytes).map_err(|none| none.error("read", name))
    }

    pub(in crate::store) async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        drop(self.counters.lists.ask());
        match self.send(Request::List { folder: folder.to_owned() }).await {
            Ok(Answer::Names(names)) => Ok(names),
            Ok(_) => Ok(Vec::new()),
            Err(none) => Err(none.error("list", folder)),
        }
    }

    pub(in crate::store) async fn read_public(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        drop(self.counters.gets.ask());
        let answer = self.send(Request::ReadPublic { path: path.to_owned() }).await;
        answer.map(Answer::bytes).map_err(|none| none.error("read", path))
    }

    pub(in crate::store) async fn activate(
        &self,
        path: &str,
        blob: &str,
        attributes: &Attributes,
    ) -> Result<(), StoreError> {
        drop(self.counters.copies.ask());
        let (path, blob, attributes) = (path.to_owned(), blob.to_owned(), attributes.clone());
        match self.send(Request::Show { path: path.clone(), blob, attributes }).await {
            Ok(Answer::NoSuchKey) => Err(error("show", &path, "the blob isn't there", false)),
            Ok(_) => Ok(()),
            Err(none) => Err(none.error("show", &path)),
        }
    }

    pub(in crate::store) async fn remove(&self, paths: &[&str]) -> Vec<(String, StoreError)> {
        drop(self.counters.deletes.ask());
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        match self.send(Request::Remove { paths: paths.clone() }).await {
            Ok(_) => Vec::new(),
            Err(none) => {
                let failed = |path: String| (path.clone(), none.error("remove", &path));
                paths.into_iter().map(failed).collect()
            }
        }
    }

    pub(in crate::store) async fn read_head(&self) -> Result<Option<HeadObject>, StoreError> {
        drop(self.counters.gets.ask());
        match self.send(Request::ReadHead).await {
            Ok(Answer::Head(head)) => Ok(head),
            Ok(_) => Ok(None),
            Err(none) => Err(none.error("read", "head.json")),
        }
    }

    pub(in crate::store) async fn swap_head(
        &self,
        expected: Option<&Version>,
        new: Vec<u8>,
    ) -> Result<Swap, StoreError> {
        drop(self.counters.puts.ask());
        match self.send(Request::SwapHead { expected: expected.cloned(), new }).await {
            Ok(Answer::Swapped(swap)) => Ok(swap),
            Ok(_) => Ok(Swap::Refused),
            Err(NoAnswer::Forbidden) => Err(NoAnswer::Forbidden.error("replace", "head.json")),
            Err(none) => Ok(Swap::Unanswered { error: none.error("replace", "head.json"), patience: PATIENCE }),
        }
    }

    /// Makes the edge in front of the store forget these paths, or all of them.
    pub async fn purge(&self, paths: Option<Vec<Arc<str>>>) -> Result<(), StoreError> {
        let answer = self.send(Request::Purge { paths }).await;
        answer.map(drop).map_err(|none| none.error("purge", "the edge"))
    }

    pub(in crate::store) async fn head_public(&self, path: &str) -> Result<Option<Shown>, StoreError> {
        drop(self.counters.heads.ask());
        match self.send(Request::Look { path: path.to_owned() }).await {
            Ok(Answer::Seen(shown)) => Ok(shown),
            Ok(_) => Ok(None),
            Err(none) => Err(none.error("look at", path)),
        }
    }

    pub(in crate::store) async fn remove_control(&self, names: &[&str]) -> Vec<(String, StoreError)> {
        drop(self.counters.deletes.ask());
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        match self.send(Request::RemoveControl { names: names.clone() }).await {
            Ok(_) => Vec::new(),
            Err(none) => {
                let failed = |name: String| (name.clone(), none.error("remove", &name));
                names.into_iter().map(failed).collect()
            }
        }
    }

    pub(in crate::store) fn pages(&self, part: Part<'_>) -> Pages<'_> {
        let request = match part {
            Part::Control(prefix) => Request::ListControl { prefix: prefix.to_owned() },
            Part::Public => Request::ListPublic,
        };
        Pages { faulty: self, next: Some(request) }
    }
}

impl Pages<'_> {
    pub(in crate::store) async fn next_page(&mut self) -> Result<Option<Page>, StoreError> {
        let Some(request) = self.next.take() else { return Ok(None) };
        drop(self.faulty.counters.lists.ask());
        match self.faulty.send(request).await {
            Ok(Answer::Page(page)) => Ok(Some(page)),
            Ok(_) => Ok(None),
            Err(none) => Err(none.error("list", "the store")),
        }
    }
}

impl Answer {
    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Answer::Bytes(bytes) => bytes.map(Vec::from),
            _ => None,
        }
    }
}

impl NoAnswer {
    fn error(&self, action: &'static str, object: &str) -> StoreError {
        match self {
            NoAnswer::TimeOut => error(action, object, "no answer in time", true),
            NoAnswer::Busy => error(action, object, "the store answered 503", true),
            NoAnswer::Forbidden => error(action, object, "the store answered 403", false),
        }
    }
}

fn error(action: &'static str, object: &str, reason: &str, is_general: bool) -> StoreError {
    StoreError { action, object: object.to_owned(), reason: reason.to_owned(), hint: None, is_general }
}
