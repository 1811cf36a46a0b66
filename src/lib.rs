//! tintype runs hot aggregation queries **once**, writes the answers as gzipped JSON snapshots keyed by topic, region
//! and confidence (or any other key columns), and publishes them so that frontends fetch them without a database.
//!
//! # How data flows
//!
//! A *template* is one SQL file: a family of documents, one for every combination of its *key columns*. A *publish*
//! reads each template once, over one connection and in one read transaction, so that all of them show one instant.
//! The rows of every key arrive in one stream, which is split into documents where the key changes:
//!
//! ```text
//!  templates/*.sql ──► template ──► database ──► snapshot ──► release ──► store
//!     text, spans      scope,       rows as      documents,   merge,      blobs, manifests,
//!                      domains      raw cells    digests      commit      head.json, stable paths
//! ```
//!
//! Data flows one way, and so do imports: a module uses those to its left, never one to its right. The modules below
//! stand in that order.
//!
//! - [`key`] is the one place for naming: values → slugs → object paths, and back into slugs.
//! - [`template`] reads the files and keeps every span, so that an error points at a line. Its domains say which keys
//!   exist; its scopes turn one SQL text into a statement over all keys or over some.
//! - [`database`] opens the transaction and streams raw cells; `database::value` turns a cell into its JSON token, the
//!   same for the same data on PostgreSQL and SQLite.
//! - [`snapshot`] splits rows into documents and makes their bytes canonical: the same data gives the same bytes on
//!   every run, so a digest tells whether anything has to be written at all.
//! - [`store`] keeps the documents under their stable paths, in a directory or a bucket, and beside them, unseen, blobs,
//!   manifests and `head.json`, which a bucket without conditional writes leaves to a row in a database.
//! - [`http`] sends a request to somebody else than the store, and reads a bounded answer.
//! - [`cdn`] is the edge in front of it, as readers meet it, and how it is told which paths to forget.
//! - [`release`] is the protocol. A build changes nothing that is visible. The commit is one compare-and-swap of
//!   `head.json`; after it, stable paths are made to show the new blobs, and if that is interrupted any later run
//!   finishes it from the store alone. The order of these steps is what keeps a live site whole; read its essay before
//!   changing it.
//! - [`fallback`] answers what the edge has not, from memory, the store, a table and at last the database, whose
//!   connections it can't use up.
//! - [`notify`] tells people and checks how scheduled runs end, [`metrics`] tells Prometheus how any run did.
//! - [`schedule`] runs publishes when they are due: once, whoever else watches, and as a process of its own.
//! - [`config`], [`scaffold`] and [`demo`] are what a project consists of; [`cli`] is the only module that prints.
//!
//! `aside` has threads for folders that hang, whoever has to ask one.
//!
//! Errors in files that people write are [`diagnostic`] findings with a span and a hint; everything else is an
//! [`error`] whose kind decides the exit code.

mod key;
mod secret;
mod diagnostic;
mod aside;
mod template;
mod database;
mod snapshot;
pub mod store;
mod http;
mod cdn;
mod error;
mod release;
mod fallback;
mod notify;
mod metrics;
mod config;
pub mod schedule;
pub mod demo;
mod scaffold;
mod logging;
pub mod cli;
