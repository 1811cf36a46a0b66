//! The limits of `tintype serve`: what one client may cost the database in a minute, and who that client is.

use std::time::{Duration, Instant};

use crate::support::http::Response;
use crate::support::postgres::{self, Session};
use crate::support::process::{Finished, Tintype};
use crate::support::project::Project;
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

/// Three templates over one table, with the shares that a map of the world, of a country and of a city have.
const SHARES: [(&str, u32); 3] = [("world", 10), ("country", 20), ("city", 30)];
const MINUTE: Duration = Duration::from_mins(1);
/// Keys of each.
const KEYS: usize = 60;

const ROWS: &str = "CREATE TABLE item (name TEXT PRIMARY KEY, size INTEGER NOT NULL)";

fn fill() -> String {
    let rows: Vec<String> = (0..KEYS).map(|number| format!("('key-{number}', {number})")).collect();
    format!("{ROWS}; INSERT INTO item VALUES {}", rows.join(", "))
}

fn template(name: &str, per_minute: u32) -> String {
    format!(
        "/*---\npath = \"{name}/{{item}}.json\"\n[limits]\nper_minute = {per_minute}\n[keys.item]\n\
         sql = \"SELECT name AS item FROM item ORDER BY name\"\n---*/\n\
         SELECT item.name AS item, item.size FROM item WHERE 1 = 1 /*:keys item=item.name */ ORDER BY item.name\n"
    )
}

/// A project of which nothing is published, so that every document comes from the database.
fn project() -> Project {
    let project = Project::sqlite(&fill());
    for (name, per_minute) in SHARES {
        project.template(name, &template(name, per_minute));
    }
    project.make_public();
    project
}

fn trusting(project: &Project, proxies: &str) -> Serving {
    let command: Tintype = project.tintype(&["serve"]);
    Serving::of(command.env("TINTYPE_FALLBACK_TRUSTED_PROXIES", proxies))
}

/// Asks for one key after the other as this client, until it is refused. Returns how many it got and the refusal.
#[track_caller]
fn until_refused(server: &Serving, template: &str, forwarded: &str) -> (u32, Response) {
    for number in 0..KEYS {
        let answer = server.get_with(&format!("/{template}/key-{number}.json"), &[("X-Forwarded-For", forwarded)]);
        if answer.status == 429 {
            return (u32::try_from(number).expect("not many"), answer);
        }
        assert_eq!((answer.status, answer.header("x-tintype-source")), (200, "live"), "{template} {number}");
    }
    panic!("{template}: never refused");
}

#[test]
fn a_share_and_when_the_next_one_is_due() {
    let project = project();
    let server = trusting(&project, "127.0.0.1");
    // The keys are read, so that the clock of the first share starts with its first answer.
    assert_eq!(server.get("/world/atlantis.json").status, 404);
    for (name, per_minute) in SHARES {
        let begun = Instant::now();
        let (got, refused) = until_refused(&server, name, "203.0.113.5");
        let interval = Duration::from_mins(1) / per_minute;
        // As many as a minute allows at once, and one for each interval that has passed meanwhile.
        let passed = begun.elapsed();
        let more = u32::try_from(passed.as_millis() / interval.as_millis()).expect("not many");
        assert!((per_minute..=per_minute + more).contains(&got), "{name}: {got} of {per_minute}");
        // The next one is due when the interval of the last that was given is over, in whole seconds and not before.
        let due = interval * (got + 1 - per_minute);
        let earliest = due.saturating_sub(passed).as_millis().div_ceil(1000).max(1);
        let said: u64 = refused.header("retry-after").parse().expect("whole seconds");
        let expected = earliest..=u128::from(interval.as_secs());
        assert!(expected.contains(&u128::from(said)), "{name}: {said}, not {expected:?}");
        assert_eq!(refused.header("cache-control"), "no-store");
        let body: serde_json::Value = serde_json::from_slice(&refused.body).expect("JSON");
        assert_eq!((&body["code"], &body["retry_after"]), (&"too_many_requests".into(), &said.into()));
        assert_eq!(refused.header("access-control-allow-origin"), "*", "a page must be able to read it");
        // What it has had once costs nothing any more.
        let again = server.get_with(&format!("/{name}/key-0.json"), &[("X-Forwarded-For", "203.0.113.5")]);
        assert_eq!((again.status, again.header("x-tintype-source")), (200, "memory"), "{name}");
        // And it is true.
        let path = format!("/{name}/key-{}.json", KEYS - 1);
        let asked = Instant::now();
        wait_until("the next one", Duration::from_secs(said + 5), || {
            server.get_with(&path, &[("X-Forwarded-For", "203.0.113.5")]).status == 200
        });
        assert!(asked.elapsed() < Duration::from_secs(said + 3), "{name}: said {said}, took {:?}", asked.elapsed());
    }
    assert!(server.metric("tintype_fallback_rate_limited_total") >= 3);
    server.end().expect(0);
}

/// Whether a client that has had its share is the same as another: whether that one is refused as well.
#[track_caller]
fn are_one(server: &Serving, template: &str, first: &str, second: &str) -> bool {
    let (got, _) = until_refused(server, template, first);
    // A refused one is asked for again.
    let answer = server.get_with(&format!("/{template}/key-{got}.json"), &[("X-Forwarded-For", second)]);
    assert!([200, 429].contains(&answer.status), "{second}: {}", answer.status);
    answer.status == 429
}

#[test]
fn clients_are_told_apart_behind_proxies_that_are_trusted() {
    for (proxies, first, second, same) in [
        // One proxy, the peer itself.
        ("127.0.0.1", "203.0.113.5", "203.0.113.6", false),
        ("127.0.0.1", "203.0.113.5", "203.0.113.5:4711", true),
        ("127.0.0.1", "203.0.113.5", "198.51.100.1, 203.0.113.5", true),
        // Two of them.
        ("127.0.0.1,10.0.0.0/8", "203.0.113.5, 10.0.0.2", "203.0.113.6, 10.0.0.2", false),
        ("127.0.0.1,10.0.0.0/8", "203.0.113.5, 10.0.0.2", "203.0.113.5, 10.9.9.9", true),
        ("127.0.0.1,10.0.0.0/8", "203.0.113.5, 10.0.0.2", "1.2.3.4, 203.0.113.5, 10.0.0.2", true),
        // The same header where only one is trusted: what stands before it is somebody's word.
        ("127.0.0.1", "203.0.113.5, 10.0.0.2", "203.0.113.6, 10.0.0.2", true),
        // Nobody in front.
        ("192.0.2.1", "203.0.113.5", "203.0.113.6", true),
        // IPv6 by the network of one customer.
        ("127.0.0.1", "2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
        ("127.0.0.1", "2001:db8:1:2::1", "[2001:db8:1:2::9]:443", true),
        ("127.0.0.1", "2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ("127.0.0.1,fd00::/8", "2001:db8:1:2::1, fd00::7", "2001:db8:1:3::1, fd00::8", false),
    ] {
        let project = project();
        let server = trusting(&project, proxies);
        assert_eq!(are_one(&server, "world", first, second), same, "{first} and {second} behind {proxies}");
        server.end().expect(0);
    }
}

#[test]
fn a_proxy_that_nobody_has_named_is_told_of_once() {
    let project = project();
    let from = |header: &'static str| [(header, "203.0.113.5")];
    let told = |said: &Finished| said.stderr.matches("for whom they are").count();
    // Another one is named.
    let server = trusting(&project, "192.0.2.1");
    server.get("/world/key-0.json");
    server.get_with("/world/key-1.json", &from("Forwarded-By"));
    (0..5).for_each(|_| assert_eq!(server.get_with("/world/key-2.json", &from("X-Forwarded-For")).status, 200));
    let said = server.end().expect(0);
    assert_eq!(told(&said), 1, "{said}");
    for part in ["WARN", "peer=127.0.0.1", "trusted_proxies", "one client"] {
        assert!(said.stderr.contains(part), "no {part} in {said}");
    }
    // It is named, or the operator has said that there is none.
    let without = project.root().join("without.toml");
    let config = std::fs::read_to_string(project.config()).expect("read the config");
    std::fs::write(&without, format!("{config}\n[fallback]\ntrusted_proxies = []\n")).expect("write a config");
    let none = Tintype::new(["serve", "-c"]).arg(&without);
    for server in [trusting(&project, "127.0.0.1"), Serving::of(none)] {
        assert_eq!(server.get_with("/world/key-2.json", &from("X-Forwarded-For")).status, 200);
        let said = server.end().expect(0);
        assert_eq!(told(&said), 0, "{said}");
    }
}

#[test]
fn who_has_had_his_share_is_told_to_who_asks() {
    let project = project();
    for (flags, expected) in [(&["serve", "-v"][..], 1), (&["serve"], 0)] {
        let command = project.tintype(flags).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "127.0.0.1");
        let server = Serving::of(command);
        let (had, _) = until_refused(&server, "world", "203.0.113.5");
        assert_eq!(had, 10);
        assert_eq!(until_refused(&server, "country", "2001:db8::7").0, 20);
        let said = server.end().expect(0);
        let lines: Vec<&str> = said.stderr.lines().filter(|line| line.contains("answered 429")).collect();
        assert_eq!(lines.len(), expected, "once in a while: {said}");
        for line in lines {
            for part in ["INFO", "client=203.0.113.5", "path=\"world/key-10.json\"", "share of the database"] {
                assert!(line.contains(part), "no {part} in {line}");
            }
        }
    }
}

#[test]
fn what_is_published_is_never_limited() {
    let project = project();
    project.publish();
    let server = trusting(&project, "127.0.0.1");
    for round in 0..3 {
        for number in 0..KEYS {
            let answer = server.get_with(&format!("/world/key-{number}.json"), &[("X-Forwarded-For", "203.0.113.5")]);
            assert_eq!(answer.status, 200, "{round} {number}");
            assert!(["store", "memory"].contains(&answer.header("x-tintype-source")), "{round} {number}");
        }
    }
    // Neither are names that nobody has, which cost nothing.
    for number in 0..KEYS {
        let answer = server.get_with(&format!("/world/nobody-{number}.json"), &[("X-Forwarded-For", "203.0.113.5")]);
        assert_eq!(answer.status, 404);
    }
    assert_eq!(server.metric("tintype_fallback_rate_limited_total"), 0);
    server.end().expect(0);
}

#[test]
fn who_joins_a_flight_pays_nothing() {
    let Some(database) = postgres::database() else { return };
    database.execute(&fill());
    let project = Project::postgres(database);
    project.template("world", &template("world", 2)).make_public();
    let server = trusting(&project, "127.0.0.1");
    assert_eq!(server.get("/world/atlantis.json").status, 404);
    let mut lock = Session::connect(&project.database().url());
    lock.query("BEGIN");
    lock.query("LOCK TABLE item IN ACCESS EXCLUSIVE MODE");
    let get = |path: &str| server.get_with(path, &[("X-Forwarded-For", "203.0.113.5")]).status;
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..20).map(|_| scope.spawn(|| get("/world/key-0.json"))).collect();
        wait_until("all of them to be on board", Duration::from_secs(4), || {
            server.metric("tintype_fallback_flights_shared_total") == 19
        });
        lock.query("COMMIT");
        readers.into_iter().map(|reader| reader.join().expect("an answer")).collect()
    });
    assert_eq!(statuses, [200; 20]);
    assert_eq!(get("/world/key-1.json"), 200, "one of two was paid");
    assert_eq!(get("/world/key-2.json"), 429);
    server.end().expect(0);
}

#[test]
fn who_is_sent_away_pays_nothing() {
    let Some(database) = postgres::database() else { return };
    database.execute(&fill());
    let project = Project::postgres(database);
    project.template("world", &template("world", 2)).make_public();
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "127.0.0.1");
    let command = command.env("DB_POOL_SIZE", "1").env("TINTYPE_DATABASE_SERVE_QUEUE", "0");
    let server = Serving::of(command.env("TINTYPE_DATABASE_SERVE_STATEMENT_TIMEOUT", "1m"));
    assert_eq!(server.get("/world/atlantis.json").status, 404);
    let get =
        |key: usize, client: &str| server.get_with(&format!("/world/key-{key}.json"), &[("X-Forwarded-For", client)]);
    // A connection that the keys were read over is closed, which takes a moment; the one of a document lies ready.
    wait_until("the connection", Duration::from_secs(20), || get(59, "203.0.113.8").status == 200);
    let mut lock = Session::connect(&project.database().url());
    lock.query("BEGIN");
    lock.query("LOCK TABLE item IN ACCESS EXCLUSIVE MODE");
    std::thread::scope(|scope| {
        let holding = scope.spawn(|| get(0, "203.0.113.9").status);
        wait_until("the only lease", Duration::from_secs(4), || {
            server.metric("db_pool_connections_in_use{pool=\"serve\"}") == 1
        });
        for key in 1..20 {
            let answer = get(key, "203.0.113.5");
            assert_eq!((answer.status, answer.text().contains("\"busy\"")), (503, true), "{key}: {}", answer.text());
        }
        lock.query("COMMIT");
        assert_eq!(holding.join().expect("an answer"), 200);
    });
    wait_until("the lease to end", Duration::from_secs(4), || {
        server.metric("db_pool_connections_in_use{pool=\"serve\"}") == 0
    });
    let statuses: Vec<u16> = (1..4).map(|key| get(key, "203.0.113.5").status).collect();
    assert_eq!(statuses, [200, 200, 429], "two a minute, of which none was had");
    assert_eq!(server.metric("tintype_fallback_rate_limited_total"), 1);
    server.end().expect(0);
}

#[test]
fn nobody_alone_takes_every_place_before_the_database() {
    let Some(database) = postgres::database() else { return };
    database.execute(&fill());
    let project = Project::postgres(database);
    project.template("world", &template("world", 1000)).make_public();
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "127.0.0.1");
    // Two leases and six places in the queue; of five of these a client has its half.
    let command = command.env("DB_POOL_SIZE", "2").env("TINTYPE_DATABASE_SERVE_QUEUE", "6");
    let command = command.env("TINTYPE_DATABASE_SERVE_STATEMENT_TIMEOUT", "1m");
    let server = Serving::of(command.env("TINTYPE_DATABASE_SERVE_ACQUIRE_TIMEOUT", "5s"));
    assert_eq!(server.get("/world/atlantis.json").status, 404);
    let mut lock = Session::connect(&project.database().url());
    lock.query("BEGIN");
    lock.query("LOCK TABLE item IN ACCESS EXCLUSIVE MODE");
    let get = |key: usize, client: &str| {
        server.get_with(&format!("/world/key-{key}.json"), &[("X-Forwarded-For", client)]).status
    };
    let on_their_way = || server.metric("tintype_fallback_flights");
    // One after the other takes what it gets: half of what is left each, and the last one finds a place as well.
    let shares = [2, 1, 1, 1];
    let statuses: Vec<Vec<u16>> = std::thread::scope(|scope| {
        let mut readers = Vec::new();
        for (number, share) in shares.into_iter().enumerate() {
            let client: &str = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"][number];
            let before = on_their_way();
            readers.push((0..10).map(|key| scope.spawn(move || get(number * 10 + key, client))).collect::<Vec<_>>());
            wait_until("its part of the places to be taken", MINUTE, || on_their_way() >= before + share);
        }
        // All others have waited for one of their own to land, in vain.
        wait_until("those who are sent away", MINUTE, || {
            readers.iter().flatten().filter(|reader| reader.is_finished()).count() as u64
                == 40 - shares.iter().sum::<u64>()
        });
        assert_eq!(on_their_way(), shares.iter().sum::<u64>());
        lock.query("COMMIT");
        let status = |reader: std::thread::ScopedJoinHandle<'_, u16>| reader.join().expect("an answer");
        readers.into_iter().map(|readers| readers.into_iter().map(status).collect()).collect()
    });
    for (statuses, share) in statuses.into_iter().zip(shares) {
        let count = |status| statuses.iter().filter(|one| **one == status).count() as u64;
        assert_eq!((count(200), count(503)), (share, 10 - share), "{statuses:?}");
    }
    // While the database answers soon, all of them have their turn.
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let readers: Vec<_> = (40..58).map(|key| scope.spawn(move || get(key, "203.0.113.7"))).collect();
        readers.into_iter().map(|reader| reader.join().expect("an answer")).collect()
    });
    assert_eq!(statuses, [200; 18]);
    server.end().expect(0);
}
