//! The demo: real places, generated authorships, and a small server for the directory that the demo publishes.
//!
//! Countries and cities are real (`GeoNames`, CC BY 4.0: names, ISO codes, coordinates, populations). Institutions, authors, papers and
//! authorships are generated from a fixed seed, in integers only, so that every machine and both database engines hold the same rows and
//! publish the same bytes. Nothing here is used by a publish against a user's own database.

pub mod data;
pub mod server;
