//! Key values → slugs → object paths, and from a path back to slugs: the one place for naming and escaping.
//!
//! A *key* is one value for every key column of a template. Each value has a *slug*, the only form of it that ever
//! stands in an object path; because a slug is `[a-z0-9-]` nothing needs escaping in a file name, an object name or
//! a URL. Slugs are never turned back into values by rule: a path is taken apart into slugs here, and the template's
//! domains say which values those are.

mod pattern;
mod slug;
mod value;

pub use pattern::PathPattern;
pub use slug::{MAX_SLUG_LEN, is_slug, slug};
pub use value::{Key, KeyError, KeyValue};
