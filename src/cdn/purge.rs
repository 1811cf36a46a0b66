//! The CDN in front of the store: its edges keep documents for as long as `edge_ttl` says, unless they are told that a
//! path shows something else now.
//!
//! A driver makes paths forgotten, and says so only when the CDN has promised it. It need not know which release is
//! live: `release::purge` asks it for every path that may have changed, again if it has to, and remembers how far it got.

use std::sync::Arc;

#[cfg(test)]
use crate::store::Store;

/// A CDN, by kind.
#[derive(Debug, Clone)]
pub enum Cdn {
    /// Nothing keeps documents, or nobody is to tell it.
    None,
    /// Edges that keep whatever they can, behind the same network as a faulty store.
    #[cfg(test)]
    Edge(Arc<Store>),
}

/// What is to be forgotten.
#[derive(Debug, Clone, Copy)]
pub enum Purge<'a> {
    /// Every document of the store.
    Everything,
    /// What these object paths show, each named once.
    Paths(&'a [Arc<str>]),
}

/// Why a purge isn't known to have been carried out.
#[derive(Debug, Clone, thiserror::Error)]
#[error("can't purge {what}: {reason}")]
pub struct CdnError {
    /// What was to be forgotten.
    pub what: String,
    /// The CDN's own words.
    pub reason: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Cdn {
    /// True if there is nobody to tell.
    pub fn is_none(&self) -> bool {
        matches!(self, Cdn::None)
    }

    /// Makes every edge forget documents. An error says nothing of what was forgotten, and it is safe to ask again.
    pub async fn purge(&self, purge: Purge<'_>) -> Result<(), CdnError> {
        match self {
            Cdn::None => {
                let _ = purge;
                Ok(())
            }
            #[cfg(test)]
            Cdn::Edge(store) => {
                let paths = match purge {
                    Purge::Everything => None,
                    Purge::Paths(paths) => Some(paths.to_vec()),
                };
                let failed = |error: crate::store::StoreError| CdnError {
                    what: purge.to_string(),
                    reason: error.reason,
                    hint: None,
                };
                store.faulty().purge(paths).await.map_err(failed)
            }
        }
    }
}

impl std::fmt::Display for Purge<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Purge::Everything => f.write_str("every path"),
            Purge::Paths([path]) => f.write_str(path),
            Purge::Paths(paths) => write!(f, "{} paths", paths.len()),
        }
    }
}
