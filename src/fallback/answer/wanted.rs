//! What is to be fetched, as it was when it was asked for.

use std::sync::Arc;

use super::super::client::Client;
use super::super::keys::Asked;
use super::super::site::Site;
use super::super::table::Shown;
use crate::snapshot::Digest;

/// What is to be fetched.
pub struct Wanted {
    /// The object path.
    pub path: String,
    /// The key, where it is known.
    pub asked: Option<Asked>,
    /// False if nobody could say yet whether there is such a key.
    pub is_settled: bool,
    /// True if only too many others asked the store at the time.
    pub is_crowded: bool,
    /// The site when it was asked for.
    pub site: Option<Arc<Site>>,
    /// The release of the table, if that has overtaken the site.
    pub later: Option<Arc<Shown>>,
    /// Whose share it is.
    pub client: Client,
    /// The template of which it is a share.
    pub template: String,
}

impl Wanted {
    /// Says whether the release shows the path.
    pub fn is_published(&self) -> bool {
        self.digest().is_some()
    }

    /// Says whether the table may have it. It has what is published, and nothing else; where nobody knows what that is, any
    /// path may be.
    pub fn may_be_in_table(&self) -> bool {
        self.is_published() || self.site.is_none() || self.later.is_some()
    }

    /// The digest that the release shows at the path.
    pub fn digest(&self) -> Option<Digest> {
        self.site.as_ref().filter(|_| self.later.is_none())?.digest(&self.path)
    }
}
