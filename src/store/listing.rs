//! Listings with sizes and ages, a page at a time: a store may hold millions of objects, and nobody needs them all at
//! once.

use std::time::SystemTime;

use tokio::task::coop::consume_budget;

use super::directory::Walk;
use super::s3::Pages;
use super::{Store, StoreError};

/// Which objects of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The control objects whose names begin so, in whatever folder below: `blob/`, `blob/ab/ab12`.
    Control(&'a str),
    /// The documents, and whatever else lies among them.
    Public,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// A control object's name or a document's object path; of a file that no object path leads to, its relative path.
    pub name: String,
    /// Its bytes as they are stored.
    pub size_bytes: u64,
    /// When it was written, by the store's clock; none where the store doesn't tell.
    pub modified: Option<SystemTime>,
    /// False for a file in a directory that doesn't lie as a document lies. In a bucket every object has an object path.
    pub is_document: bool,
}

/// A part of a listing; at most about a thousand objects, in no order.
#[derive(Debug, Default)]
pub struct Page {
    /// The objects. A page may be empty before the last one.
    pub objects: Vec<Listed>,
    /// What the store's clock said when the page was made; none where the store doesn't tell.
    pub now: Option<SystemTime>,
}

/// A listing that is under way. Objects that come or go meanwhile may be in it or not.
pub enum Listing<'a> {
    /// Of a directory.
    Directory(Walk<'a>),
    /// Of a bucket.
    S3(Pages<'a>),
    /// Of a faulty store.
    #[cfg(test)]
    Faulty(super::faulty::Pages<'a>),
}

impl Store {
    /// Lists a part of the store with everything below it. Nothing is asked of the store before the first page.
    pub fn listing<'a>(&'a self, part: Part<'_>) -> Listing<'a> {
        match self {
            Store::Directory(directory) => Listing::Directory(directory.walk(part)),
            Store::S3(s3) => Listing::S3(s3.pages(part)),
            #[cfg(test)]
            Store::Faulty(faulty) => Listing::Faulty(faulty.pages(part)),
        }
    }

    /// Removes control objects; one that is gone already is no error. Returns those that couldn't be removed.
    ///
    /// Only names that are never used again can be removed in this way: blobs, lists and roots, not the head.
    pub async fn remove_control(&self, names: &[&str]) -> Vec<(String, StoreError)> {
        let (names, others): (Vec<&str>, Vec<&str>) = names.iter().copied().partition(|name| is_disposable(name));
        let mut failed: Vec<_> = others.into_iter().map(|name| (name.to_owned(), refused(name))).collect();
        match self {
            Store::Directory(directory) => {
                for name in names {
                    consume_budget().await;
                    if let Err(error) = directory.remove_control(name) {
                        failed.push((name.to_owned(), error));
                    }
                }
            }
            Store::S3(s3) => failed.extend(Box::pin(s3.remove_control(&names)).await),
            #[cfg(test)]
            Store::Faulty(faulty) => failed.extend(faulty.remove_control(&names).await),
        }
        failed
    }
}

impl Listing<'_> {
    /// The next page; none after the last.
    pub async fn next(&mut self) -> Result<Option<Page>, StoreError> {
        consume_budget().await;
        match self {
            Listing::Directory(walk) => walk.next_page(),
            Listing::S3(pages) => Box::pin(pages.next_page()).await,
            #[cfg(test)]
            Listing::Faulty(pages) => pages.next_page().await,
        }
    }
}

fn is_disposable(name: &str) -> bool {
    ["blob/", "shard/", "release/"].iter().any(|folder| name.starts_with(folder))
}

fn refused(name: &str) -> StoreError {
    StoreError {
        action: "remove",
        object: name.to_owned(),
        reason: "the store works with it".to_owned(),
        hint: None,
        is_general: false,
    }
}
