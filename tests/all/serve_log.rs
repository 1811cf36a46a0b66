//! What `tintype serve` says in its log, and at which level: what an operator is to see without asking, and what with `-v`.

use std::time::{Duration, Instant};

use crate::support::places;
use crate::support::postgres::{self, Session};
use crate::support::process::Finished;
use crate::support::project::Project;
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

const MINUTE: Duration = Duration::from_mins(1);
/// How often the log is told of one kind of trouble.
const TOLD: Duration = Duration::from_secs(10);

/// The end of a server with one connection, for which readers have waited in vain for as long as is returned: without flags
/// for longer than the time in which the log is told of that once.
fn crowded(flags: &[&str]) -> Option<(Finished, Duration)> {
    let database = postgres::database()?;
    database.execute(places::ROWS);
    let project = Project::postgres(database);
    project.template("places", &places::TEMPLATE.replace("---*/", "[limits]\nper_minute = 60000\n---*/")).make_public();
    let arguments: Vec<&str> = ["serve"].iter().chain(flags).copied().collect();
    let command = project.tintype(&arguments).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
    let server = Serving::of(command.env("DB_POOL_SIZE", "1"));
    assert_eq!(server.get("/places/atlantis/crispr/low.json").status, 404);
    let levels = ["low", "medium", "high"];
    let mut cold = ["crispr", "malaria"].iter().flat_map(|topic| levels.map(|level| format!("{topic}/{level}")));
    let begun = Instant::now();
    loop {
        // A statement has its own time, and the connection is another's after it.
        let mut lock = Session::connect(&project.database().url());
        lock.query("BEGIN");
        lock.query("LOCK TABLE fact IN ACCESS EXCLUSIVE MODE");
        std::thread::scope(|scope| {
            let path = format!("/places/united-states/{}.json", cold.next().expect("another document"));
            let server = &server;
            let holder = scope.spawn(move || server.get(&path).status);
            wait_until("the lease", MINUTE, || server.metric("db_pool_connections_in_use{pool=\"serve\"}") == 1);
            for level in &levels[..2] {
                assert_eq!(server.get(&format!("/places/united-states/sepsis/{level}.json")).status, 503);
            }
            lock.query("COMMIT");
            assert!([200, 503].contains(&holder.join().expect("an answer")));
        });
        if !flags.is_empty() || begun.elapsed() > TOLD + Duration::from_secs(1) {
            break;
        }
    }
    let lasted = begun.elapsed();
    Some((server.end().expect(0), lasted))
}

fn lines<'a>(said: &'a Finished, part: &'a str) -> Vec<&'a str> {
    said.stderr.lines().filter(|line| line.contains(part)).collect()
}

#[test]
fn who_waited_in_vain_is_told_with_all_figures_and_not_for_each() {
    let Some((said, lasted)) = crowded(&[]) else { return };
    let told = lines(&said, "not answered");
    let most = lasted.as_secs() / TOLD.as_secs() + 1;
    assert!((2..=most).contains(&(told.len() as u64)), "{} lines in {lasted:?}: {said}", told.len());
    for line in told {
        assert!(line.trim_start().starts_with("WARN"), "{line}");
        // The pool, how long was waited and might be, and how full it is.
        for part in [
            "class=\"pool_timeout\"",
            "the pool `serve`",
            "of at most 1s",
            "max 1",
            "in use 1",
            "waiting ",
            "waited 1s",
        ] {
            assert!(line.contains(part), "no {part} in {line}");
        }
        assert!(line.contains("[database.serve] max"), "what to do: {line}");
    }
    let critical = lines(&said, "db_pool_critical_usage");
    assert_eq!(critical.len(), 1, "once a minute: {said}");
    let figures = "checked_out=1 max_connections=1 usage_ratio=100.0";
    assert!(critical[0].trim_start().starts_with("ERROR") && critical[0].contains(figures), "{critical:?}");
    // The rest is for those who ask.
    for quiet in ["db_pool_configured", "db_pool_stats", "db_pool_high_usage", "INFO", "DEBUG"] {
        assert!(lines(&said, quiet).is_empty(), "{quiet}: {said}");
    }
}

#[test]
fn what_is_done_is_told_to_who_asks() {
    let Some((said, _)) = crowded(&["-v"]) else { return };
    let configured = lines(&said, "db_pool_configured");
    assert_eq!(configured.len(), 1, "{said}");
    let parts = ["INFO", "pool=\"serve\"", "pool_min_size=0", "pool_max_size=1", "queue=16", "acquire_timeout=1s"];
    assert!(parts.iter().all(|part| configured[0].contains(part)), "{configured:?}");
    // The README has each event, and says how to see it.
    let readme = include_str!("../../README.md");
    for event in ["db_pool_configured", "db_pool_stats", "db_pool_high_usage", "db_pool_critical_usage", "not answered"]
    {
        assert!(readme.contains(&format!("`{event}`")), "the README doesn't name {event}");
    }
    assert!(readme.contains("TINTYPE_LOG"));
}
