//! tintype runs hot aggregation queries **once**, writes the answers as gzipped JSON snapshots keyed by topic, region
//! and confidence (or any other key columns), and publishes them so that frontends fetch them without a database.

mod database;
pub mod demo;
mod diagnostic;
mod error;
mod key;
mod release;
mod snapshot;
mod store;
mod template;
