//! `[database.serve]`: the connections that `serve` keeps.

use super::*;

fn serve(case: &Case) -> PoolConfig {
    case.config().database.serve
}

#[test]
fn serve_has_few_connections_and_short_waits() {
    let pool = serve(&Case::new("")).pool_settings("serve");
    assert_eq!((pool.name, pool.max, pool.queue), ("serve", 4, 16));
    assert_eq!(pool.acquire_timeout, Duration::from_secs(1));
    assert_eq!((pool.max_lifetime, pool.idle_timeout), (Duration::from_mins(30), Duration::from_mins(3)));
    assert_eq!(
        (pool.read.connect_timeout, pool.read.statement_timeout),
        (Duration::from_secs(5), Duration::from_secs(5))
    );
    assert!(pool.read.settings.is_empty());
}

#[test]
fn what_is_written_for_serve_is_not_for_builds() {
    let text = "[database.serve]\nmax = 8\nqueue = 0\nacquire_timeout = \"250ms\"\nconnect_timeout = \"2s\"\n\
                statement_timeout = \"1s\"\nmax_lifetime = \"5m\"\nidle_timeout = \"10s\"\nsettings = { jit = \"off\" }\n\
                [database.build]\nsettings = { work_mem = \"64MB\" }";
    let case = Case::new(text);
    let pool = serve(&case).pool_settings("serve");
    assert_eq!((pool.max, pool.queue), (8, 0));
    assert_eq!((pool.acquire_timeout, pool.max_lifetime), (Duration::from_millis(250), Duration::from_mins(5)));
    assert_eq!(pool.idle_timeout, Duration::from_secs(10));
    assert_eq!(
        (pool.read.connect_timeout, pool.read.statement_timeout),
        (Duration::from_secs(2), Duration::from_secs(1))
    );
    assert_eq!(pool.read.settings, [("jit".to_owned(), "off".to_owned())]);
    let build = case.config().database.build;
    assert_eq!(build.settings, [("work_mem".to_owned(), "64MB".to_owned())]);
    assert_eq!(build.statement_timeout, Duration::from_mins(30));
}

#[test]
fn the_size_has_two_names_in_the_environment() {
    let file = "[database.serve]\nmax = 2";
    assert_eq!(serve(&Case::new(file)).max, 2);
    let case = Case::new(file).with("DB_POOL_SIZE", "6");
    assert_eq!(serve(&case).max, 6, "it outranks the file");
    let case = case.with("TINTYPE_DATABASE_SERVE_MAX", "7");
    assert_eq!(serve(&case).max, 7, "our own name outranks it");
    assert_eq!(serve(&Case::new(file).with("DB_POOL_SIZE", "")).max, 2);
    let usage = Case::new("").with("DB_POOL_SIZE", "0").usage();
    assert!(
        usage.starts_with("DB_POOL_SIZE: [database.serve] max can't be 0") && usage.contains("1 to 1000"),
        "{usage}"
    );
}

#[test]
fn what_can_not_work_is_refused() {
    assert_finding("[database.serve]\nmax = 0", 2, &["[database.serve] max can't be 0", "max = 4"]);
    assert_finding("[database.serve]\nstatement_timeout = \"0s\"", 2, &["too short", "[database.serve]"]);
    assert_finding("[database.serve]\nacquire_timeout = \"2m\"", 2, &["too long"]);
    assert_finding("[database.serve.settings]\nTimeZone = \"Asia/Tokyo\"", 2, &["can't be changed"]);
    assert_finding("[database.serve.settings]\nstatement_timeout = \"1s\"", 2, &["in [database.serve]"]);
    let both = "[database.build]\nsettings = { \"a b\" = \"1\" }\n[database.serve]\nsettings = { \"c d\" = \"1\" }";
    let lines: Vec<_> = Case::new(both).findings().into_iter().map(|(line, ..)| line).collect();
    assert_eq!(lines, [Some(2), Some(4)]);
    let usage = Case::new("").with("TINTYPE_DATABASE_SERVE_SETTINGS", "x").usage();
    assert!(usage.contains("[database.serve] settings is a table"), "{usage}");
}
