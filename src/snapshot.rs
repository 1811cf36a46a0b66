//! Snapshots: the row stream, split where the key changes, as canonical documents.
//!
//! The same data gives the same bytes on every run, machine and engine, because nothing volatile is in a body: columns
//! stand in the order of the SELECT, numbers are printed one way, and when it was built is told by headers. `split`
//! writes rows into documents as they arrive, so that the memory in use is one document; `digest` and `gzip` work on
//! the finished body, on other threads.

mod digest;
mod document;
mod gzip;
mod split;
mod unpacked;

pub use digest::{Digest, Digesting};
pub use gzip::{Gzip, gunzip};
pub use split::{Snapshot, SplitSummary, Splitter, encoder};
pub use unpacked::unpacked;
