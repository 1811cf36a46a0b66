//! Skips are never silent: a test that can't run here says so on stderr and in the list that `tests/run.sh` prints.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Notes that the running test is skipped, and why.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = match std::env::var("NEXTEST_TEST_NAME") {
        Ok(name) => name,
        Err(_) => thread.name().unwrap_or("a test").to_owned(),
    };
    // One `write` a line, so that lines of tests which run side by side don't mix; and not `eprintln!`, which the test harness
    // would swallow as the output of a test that passed.
    let line = format!("{test}: {reason}\n");
    let _ = std::io::stderr().write_all(format!("SKIPPED {line}").as_bytes());
    if let Ok(list) = std::env::var("TINTYPE_TEST_SKIPS") {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&list)
            .unwrap_or_else(|error| panic!("cannot note a skipped test in {list}: {error}"));
        file.write_all(line.as_bytes()).unwrap_or_else(|error| panic!("cannot note a skipped test in {list}: {error}"));
    }
}
