//! Tables that somebody else holds locked: the data, and the fallback table.

use super::*;

/// Serves a project that is published.
fn serving_from_the_store(project: &Project) -> Serving {
    let server = Serving::of(command(project));
    wait_until("the first answer", MINUTE, || ask(server.address, WARM).source == "store");
    server
}

#[test]
fn a_table_that_is_locked_holds_up_nobody_for_long() {
    let Some(database) = postgres::database() else { return };
    database.execute(&rows());
    let project = Project::postgres(database);
    project.template("places", &template());
    let server = serving(&project);
    let mut locker = project.database().connect();
    locker.query("BEGIN");
    locker.query("LOCK TABLE fact IN ACCESS EXCLUSIVE MODE");
    let seen = while_asked(server.address, || {
        wait_until("the old answer", MINUTE, || ask(server.address, WARM).source == "stale");
        wait_until("a reader that was sent away", MINUTE, || {
            server.metric("db_pool_connection_timeouts_total{pool=\"serve\"}") > 0
        });
    });
    tell("while the table was locked", &seen);
    locker.query("ROLLBACK");
    println!("recovered after {:?}", recovered(&server, &project.database().url()));
    // It got full many times, and that is told once.
    let ended = server.end().expect(0);
    for event in ["db_pool_configured", "db_pool_high_usage", "db_pool_critical_usage"] {
        assert_eq!(ended.stderr.matches(event).count(), 1, "{event} in {ended}");
    }
}

#[test]
fn while_the_data_is_locked_the_fallback_table_answers() {
    let Some(database) = postgres::database() else { return };
    database.execute(places::ROWS);
    let url = database.url();
    let project = Project::postgres(database);
    project.configure(&url, &format!("[fallback]\ntable_url = \"{url}\"\n"));
    project.template("places", &template());
    project.publish();
    let server = Serving::of(command(&project));
    let path = |topic: &str| format!("/places/united-states/{topic}/low.json");
    assert_eq!(ask(server.address, &path("crispr")).source, "store");
    // The records of the store are gone, and so are the bodies.
    let (records, away) = (project.root().join(".tintype"), project.root().join("away"));
    std::fs::rename(&records, &away).expect("move the records away");
    let lock = |table: &str| {
        let mut locker = project.database().connect();
        locker.query("BEGIN");
        locker.query(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"));
        locker
    };
    let _data = lock("fact");
    let answered = ask(server.address, &path("malaria"));
    assert!(answered.source == "table" && answered.took < Duration::from_secs(2), "{answered:?}");
    let table = lock("tintype_snapshot");
    let seen = ask(server.address, &path("sepsis"));
    assert_eq!((seen.status, ask(server.address, &path("malaria")).source.as_str()), (503, "memory"), "{seen:?}");
    drop(table);
    wait_until("the table to answer again", MINUTE, || ask(server.address, &path("sepsis")).source == "table");
    quiet(&server, &url);
    server.end().expect(0);
}

#[test]
fn a_table_that_is_locked_is_tried_by_one_reader_at_a_time() {
    let Some(database) = postgres::database() else { return };
    database.execute(places::ROWS);
    let url = database.url();
    let project = Project::postgres(database);
    project.configure(&url, &format!("[fallback]\ntable_url = \"{url}\"\n"));
    project.template("places", &template());
    project.publish();
    let server = serving_from_the_store(&project);
    std::fs::rename(project.root().join(".tintype/blob"), project.root().join("blob")).expect("move the bodies away");
    let mut locker = project.database().connect();
    locker.query("BEGIN");
    locker.query("LOCK TABLE tintype_snapshot IN ACCESS EXCLUSIVE MODE");
    let mut watch = project.database().connect();
    let wait = "AND wait_event_type = 'Lock' AND query LIKE '%tintype_snapshot%'";
    let mut waiting = || {
        let count = &watch.query(&format!("SELECT count(*)::text {OURS} {wait}"))[0][0];
        count.as_deref().expect("a count").parse::<i64>().expect("a number")
    };
    let paths: Vec<String> = project.public().paths().into_iter().map(|path| format!("/{path}")).collect();
    let next = AtomicUsize::new(0);
    let published = || paths[next.fetch_add(1, Ordering::Relaxed) % paths.len()].clone();
    let (mut tries, mut most) = (0, 0);
    while_asked_for(server.address, &published, || {
        wait_until("the first to give up", MINUTE, || {
            server.metric("tintype_fallback_requests_total{source=\"live\",code=\"200\"}") > 0
        });
    });
    wait_until("them to be gone", Duration::from_secs(10), || waiting() == 0);
    let seen = while_asked_for(server.address, &published, || {
        let (begun, mut was) = (Instant::now(), 0);
        while begun.elapsed() < Duration::from_secs(12) {
            let now = waiting();
            tries += i64::from(now > was);
            (was, most) = (now, most.max(now));
        }
    });
    tell("while the fallback table was locked", &seen);
    assert!(tries > 0 && most == 1, "{tries} tries, {most} readers at a time");
    // Nobody waits for a look that takes two seconds.
    let longest = seen.iter().map(|seen| seen.took).max().unwrap_or_default();
    assert!(longest < Duration::from_millis(1900), "an answer took {longest:?}");
    locker.query("ROLLBACK");
    wait_until("the table", MINUTE, || ask(server.address, &published()).source == "table");
    quiet(&server, &url);
    server.end().expect(0);
}

#[test]
fn a_lock_that_is_met_before_anything_was_read_is_no_fault_of_the_template() {
    let Some(database) = postgres::database() else { return };
    database.execute(&rows());
    let project = Project::postgres(database);
    project.template("places", &template());
    let mut locker = project.database().connect();
    locker.query("BEGIN");
    locker.query("LOCK TABLE fact IN ACCESS EXCLUSIVE MODE");
    let command = command(&project).env("TINTYPE_DATABASE_SERVE_STATEMENT_TIMEOUT", "1s");
    let server = Serving::of(command);
    wait_until("the keys to be known", MINUTE, || http::get(server.address, WARM, &[]).text().contains("\"slow\""));
    locker.query("ROLLBACK");
    recovered(&server, &project.database().url());
    let ended = server.end().expect(0);
    assert!(ended.stderr.contains("statement timeout") && !ended.stderr.contains("class=\"template\""), "{ended}");
}
