//! Requests and answers, as data: what is data can be kept back, sent twice and carried out later.

use std::sync::Arc;

use bytes::Bytes;

use crate::store::{Attributes, HeadObject, Page, Shown, Swap, Version};

/// A request with all that the store needs to carry it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Writes a control object.
    Create { name: String, bytes: Bytes },
    /// Reads a control object.
    Read { name: String },
    /// Lists control objects in a folder.
    List { folder: String },
    /// Lists control objects with everything about them.
    ListControl { prefix: String },
    /// Lists documents with everything about them.
    ListPublic,
    /// Asks what the store tells of a stable path.
    Look { path: String },
    /// Reads what a stable path shows.
    ReadPublic { path: String },
    /// Copies a blob to a stable path.
    Show { path: String, blob: String, attributes: Attributes },
    /// Removes stable paths.
    Remove { paths: Vec<String> },
    /// Removes control objects.
    RemoveControl { names: Vec<String> },
    /// Reads the head.
    ReadHead,
    /// Replaces the head.
    SwapHead { expected: Option<Version>, new: Vec<u8> },
    /// Makes the edge forget paths; none means all of them.
    Purge { paths: Option<Vec<Arc<str>>> },
}

impl Request {
    /// True if it changes something.
    pub fn writes(&self) -> bool {
        !matches!(
            self,
            Request::Read { .. }
                | Request::List { .. }
                | Request::ListControl { .. }
                | Request::ListPublic
                | Request::Look { .. }
                | Request::ReadPublic { .. }
                | Request::ReadHead
        )
    }

    /// True if it changes what readers see.
    pub fn shows(&self) -> bool {
        matches!(self, Request::Show { .. } | Request::Remove { .. })
    }

    /// What it is about, as far as permissions go: reading is another right than writing.
    pub fn right(&self) -> String {
        match self {
            Request::Create { name, .. } => format!("create {name}"),
            Request::Read { name } => format!("read {name}"),
            Request::List { folder: name } | Request::ListControl { prefix: name } => format!("list {name}"),
            Request::ListPublic => "list documents".to_owned(),
            Request::Look { path } | Request::ReadPublic { path } => format!("read document {path}"),
            Request::Show { path, .. } => format!("show {path}"),
            Request::Remove { .. } => "remove documents".to_owned(),
            Request::RemoveControl { .. } => "remove".to_owned(),
            Request::ReadHead => "read head".to_owned(),
            Request::SwapHead { .. } => "write head".to_owned(),
            Request::Purge { .. } => "purge".to_owned(),
        }
    }
}

/// What the store says to it.
#[derive(Debug)]
pub enum Answer {
    /// It is done.
    Done,
    /// The bytes that were asked for, if there are any.
    Bytes(Option<Bytes>),
    /// Names in order.
    Names(Vec<String>),
    /// All of a listing.
    Page(Page),
    /// What there is to be told of a stable path, if anything is there.
    Seen(Option<Shown>),
    /// The head, if there is one.
    Head(Option<HeadObject>),
    /// What became of a swap.
    Swapped(Swap),
    /// The blob of a copy isn't there.
    NoSuchKey,
}
