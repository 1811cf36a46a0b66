//! Servers between and beside: a pooler in front of the database, and replicas that lag, hang or are gone.

use super::*;

#[test]
fn through_a_pooler_nothing_is_different() {
    let Some(database) = postgres::database() else { return };
    database.execute(&rows());
    let user = format!("reader_{}", database.name());
    database.execute(&format!("CREATE ROLE {user} LOGIN PASSWORD 'pass'; GRANT pg_read_all_data TO {user}"));
    let users = format!("\"{user}\" \"pass\"");
    let Some(bouncer) = Bouncer::before(&database.url(), "default_pool_size = 4", &users) else { return };
    let url = bouncer.url(&user, "pass", database.name());
    let direct = database.url();
    let project = Project::postgres(database);
    project.configure(&url, "");
    project.template("places", &template());
    let server = serving(&project);
    let seen = while_asked(server.address, || std::thread::sleep(Duration::from_secs(2)));
    assert_eq!(tell("through a pooler", &seen), seen.len());
    quiet(&server, &direct);
    // The connections behind the pooler end, and the pooler says so on the connections before it.
    let seen = while_asked(server.address, || {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            project.database().terminate();
        }
    });
    assert!(tell("through a pooler that loses its connections", &seen) > 0);
    println!("recovered after {:?}", recovered(&server, &direct));
    server.end().expect(0);
    drop(bouncer);
    project.execute(&format!("DROP OWNED BY {user}; DROP ROLE {user}"));
}

#[test]
fn a_replica_that_lags_or_is_gone_is_passed_over() {
    let Some(mut world) = World::start() else { return };
    let [first, second] = world.servers.standbys.clone();
    world.servers.catch_up(&[&first, &second]);
    let url = format!("{}\"\nreplicas = {:?}\nmax_lag = \"1s", world.url(), [&first, &second]);
    world.project.configure(&url, "");
    let server = serving(&world.project);
    let ours = |url: &str| one(url, &format!("SELECT count(*)::text {OURS}")) != "0";
    assert!(ours(&first) && !ours(&second) && !ours(world.url()), "the first is read");

    Session::connect(&first).query("SELECT pg_wal_replay_pause()");
    postgres::execute(world.url(), "UPDATE fact SET city = 'Dallas' WHERE city_id = 2");
    world.servers.catch_up(&[&second]);
    let waits = "SELECT (pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn() \
                 AND clock_timestamp() - pg_last_xact_replay_timestamp() > '1 s')::text";
    wait_until("the paused one to be a second behind", MINUTE, || one(&first, waits) == "true");
    let shows = |city: &str| {
        let answer = http::get(server.address, "/places/united-states/malaria/low.json", &[]);
        answer.text().contains(city)
    };
    assert!(shows("Dallas"), "what lags was read");
    assert!(ours(&second));
    let seen: Vec<Seen> = (0..50).map(|_| ask(server.address, &cold())).collect();
    assert_eq!(tell("past one that lags", &seen), 50);

    // Then the other one goes, in the middle of things, and the primary is read.
    let seen = while_asked(server.address, || {
        world.servers.command("stop two");
        wait_for("the primary to be read", MINUTE, || ours(world.url()).then_some(()));
    });
    assert!(tell("while a replica was stopped", &seen) > 0);
    assert_eq!(ask(server.address, &cold()).source, "live");

    // The first has caught up, and is read again.
    Session::connect(&first).query("SELECT pg_wal_replay_resume()");
    world.servers.catch_up(&[&first]);
    let before = server.metric("db_pool_connections_opened_total{pool=\"serve\"}");
    wait_until("the first to be read again", MINUTE, || ask(server.address, &cold()).source == "live" && ours(&first));
    assert!(server.metric("db_pool_connections_opened_total{pool=\"serve\"}") > before);
    quiet(&server, &first);

    // One that hangs costs a reader a moment, and nobody an answer.
    world.servers.command("freeze one");
    let seen: Vec<Seen> = (0..50).map(|_| ask(server.address, &cold())).collect();
    assert_eq!(tell("past one that hangs", &seen), 50);
    world.servers.command("thaw one");
    assert_eq!(ask(server.address, &cold()).source, "live");
    quiet(&server, &first);
    server.end().expect(0);
}
