//! tintype

mod demo;
