//! Listing a bucket: a request a page, without a delimiter, so that everything below a prefix comes along.

use std::time::SystemTime;

use aws_sdk_s3::types::Object;

use super::S3;
use super::head::StoreClock;
use crate::store::{Listed, Page, Part, StoreError};

/// A listing that is under way.
pub struct Pages<'a> {
    s3: &'a S3,
    /// What every key of the listing begins with.
    prefix: String,
    /// What is left out of a key to get the name.
    base: String,
    /// What doesn't belong to the listing: in a store that is a whole bucket the records lie among the documents.
    except: Option<String>,
    next: Next,
}

/// What is to be asked next.
enum Next {
    First,
    From(String),
    Nothing,
}

impl S3 {
    pub(in crate::store) fn pages(&self, part: Part<'_>) -> Pages<'_> {
        let (public, control) = (&self.settings.public.prefix, &self.settings.control.prefix);
        let (prefix, base, except) = match part {
            Part::Control(prefix) => (format!("{control}{prefix}"), control, None),
            Part::Public => (public.clone(), public, Some(control.clone())),
        };
        Pages { s3: self, prefix, base: base.clone(), except, next: Next::First }
    }
}

impl Pages<'_> {
    pub(in crate::store) async fn next_page(&mut self) -> Result<Option<Page>, StoreError> {
        let token = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::First => None,
            Next::From(token) => Some(token),
            Next::Nothing => return Ok(None),
        };
        let s3 = self.s3;
        let client = s3.client().await;
        let clock = StoreClock::default();
        let list = || {
            let request = client.list_objects_v2().bucket(s3.bucket()).prefix(&self.prefix);
            let request = request.set_continuation_token(token.clone());
            s3.within(0, request.customize().interceptor(clock.clone()).send())
        };
        let page = s3.run(&s3.counters.lists, "list", &self.prefix, list).await;
        let page = page.map_err(|given_up| given_up.error)?;
        if let (Some(true), Some(token)) = (page.is_truncated, page.next_continuation_token.clone()) {
            self.next = Next::From(token);
        }
        let objects = page.contents().iter().filter_map(|object| self.listed(object)).collect();
        Ok(Some(Page { objects, now: clock.read() }))
    }

    fn listed(&self, object: &Object) -> Option<Listed> {
        let key = object.key()?;
        if self.except.as_deref().is_some_and(|except| key.starts_with(except)) {
            return None;
        }
        // Consoles make an object of the prefix itself to show it as a folder.
        let name = key.strip_prefix(&self.base).filter(|name| !name.is_empty())?;
        let modified = object.last_modified().and_then(|modified| SystemTime::try_from(*modified).ok());
        let size_bytes = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
        Some(Listed { name: name.to_owned(), size_bytes, modified, is_document: true })
    }
}
