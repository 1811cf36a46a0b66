//! The one integration-test binary: black-box tests that start the real `tintype` against real databases and directories.

mod support;

mod bad_directory;
mod bad_settings;
mod bad_templates;
mod changed_only;
mod interrupt;
mod keys;
mod republish;
mod size;
mod statements;
mod support_works;
