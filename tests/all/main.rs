//! The one integration-test binary: black-box tests that start the real `tintype` against real databases and directories.

mod support;

mod bad_input;
mod changed_only;
mod keys;
mod republish;
mod statements;
mod support_works;
