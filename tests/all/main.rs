//! The one integration-test binary: black-box tests that start the real `tintype` against real databases and directories.

mod support;

mod support_works;
