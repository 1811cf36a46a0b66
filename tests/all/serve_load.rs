//! `tintype serve` under a crowd: the database sees a handful of connections, whatever the number of readers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use crate::support::crowd::{alone, ask, lateness};
use crate::support::places;
use crate::support::postgres;
use crate::support::project::Project;
use crate::support::serving::Serving;
use crate::support::wait::{wait_for, wait_until};

const CLIENTS: usize = 1_000;
/// The longest time until a reader is told that there is no lease: a second in the queue, and what it takes to say so.
const REFUSED: Duration = Duration::from_millis(1_200);

/// A site of which nothing is published, and whose every answer takes the database a while.
fn slow_site(seconds: f64, topics: usize, per_minute: u32) -> Option<Project> {
    let database = postgres::database()?;
    database.execute(places::ROWS);
    database.execute(&format!(
        "INSERT INTO topic SELECT 'topic-' || n, 'Topic ' || n, 0 FROM generate_series(1, {topics}) AS n; \
         INSERT INTO fact SELECT 100 + n, 'United States', 'topic-' || n, 1, 'Boston', n, 3 FROM generate_series(1, {topics}) AS n"
    ));
    let project = Project::postgres(database);
    let limits = format!("[limits]\nper_minute = {per_minute}\n---*/");
    let template = places::TEMPLATE
        .replace("---*/", &limits)
        .replace("FROM fact AS f\n", &format!("FROM (SELECT * FROM fact, pg_sleep({seconds})) AS f\n"));
    project.template("places", &template).make_public();
    Some(project)
}

fn serving(project: &Project) -> Serving {
    Serving::of(project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "127.0.0.1"))
}

/// Stops the sampler, also where a reader has failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Counts the connections of `serve` until it is told to stop; the most that there were.
fn most_connections(project: &Project, stop: &AtomicBool) -> usize {
    let mut most = 0;
    while !stop.load(Ordering::Relaxed) {
        let rows = project.query("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tintype/serve/%'");
        most = most.max(rows[0][0].as_deref().unwrap_or("0").parse().expect("a number"));
    }
    most
}

/// Says that nothing is left of the crowd: no lease, and no transaction that nobody ends.
fn all_quiet(project: &Project, server: &Serving) {
    wait_for("the last lease", Duration::from_secs(10), || {
        (server.metric("db_pool_connections_in_use{pool=\"serve\"}") == 0).then_some(())
    });
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tintype/serve/%' \
                AND state LIKE 'idle in transaction%'";
    assert_eq!(project.query(idle)[0][0].as_deref(), Some("0"));
}

#[test]
fn a_thousand_readers_of_one_cold_key_cost_one_statement() {
    let _alone = alone();
    let Some(project) = slow_site(1.0, 0, 10) else { return };
    let server = serving(&project);
    let path = "/places/united-states/crispr/low.json";
    // Before the crowd comes the keys are known, and what the query returns, and one connection lies ready.
    assert_eq!(server.get("/places/united-states/malaria/low.json").status, 200);
    wait_until("the connection that the keys were read over to be gone", Duration::from_secs(10), || {
        project.database().activity().len() == 1
    });
    let start = project.database().log_end();
    let before = server.metric("db_pool_acquires_total{pool=\"serve\"}");
    let address = server.address;
    let (ready, stop) = (Barrier::new(CLIENTS + 1), AtomicBool::new(false));
    let (most, bodies) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| most_connections(&project, &stop));
        let until_here = Stop(&stop);
        let readers: Vec<_> = (0..CLIENTS)
            .map(|reader| {
                let ready = &ready;
                let read = move || {
                    ready.wait();
                    let answer = ask(address, path, reader);
                    (answer.status, answer.header("etag").to_owned(), answer.body)
                };
                std::thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, read).expect("start a reader")
            })
            .collect();
        // The one who sends for it hangs up before the answer is there.
        let mut first = TcpStream::connect(address).expect("connect");
        write!(first, "GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 10.9.9.9\r\n\r\n").expect("ask");
        wait_for("the flight of the first", Duration::from_secs(10), || {
            (server.metric("tintype_fallback_flights") == 1).then_some(())
        });
        drop(first);
        ready.wait();
        let bodies: Vec<_> = readers.into_iter().map(|reader| reader.join().expect("a reader ended")).collect();
        drop(until_here);
        (sampler.join().expect("the sampler ended"), bodies)
    });
    assert!(bodies.iter().all(|(status, ..)| *status == 200));
    let distinct: BTreeSet<_> = bodies.into_iter().collect();
    assert_eq!(distinct.len(), 1, "readers of one key were told different things");
    assert_eq!(server.metric("db_pool_acquires_total{pool=\"serve\"}") - before, 1, "leases");
    assert_eq!(most, 1, "connections");
    // The server's own word.
    let witness = project.database().witness_since(start);
    let asked = witness.statements.iter().filter(|statement| statement.sql.contains("FROM fact")).count();
    assert_eq!((asked, witness.connections.len()), (1, 0), "statements, and new connections: {witness:#?}");
    all_quiet(&project, &server);
    server.end().expect(0);
}

#[test]
fn a_crowd_over_many_cold_keys_never_gets_a_fifth_connection() {
    let _alone = alone();
    let Some(project) = slow_site(0.05, 300, 1_000) else { return };
    let server = serving(&project);
    assert_eq!(server.get("/places/atlantis/crispr/low.json").status, 404);
    let address = server.address;
    let (stop, asked, longest) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicU64::new(0));
    let outcomes = Mutex::new(BTreeMap::<u16, usize>::new());
    let (outcomes, asked, stop, longest) = (&outcomes, &asked, &stop, &longest);
    let most = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| most_connections(&project, stop));
        let until_here = Stop(stop);
        let readers: Vec<_> = (0..CLIENTS)
            .map(|reader| {
                let read = move || {
                    for round in 0..6 {
                        // The first keys are asked for far more often than the last.
                        let draw = asked.fetch_add(1, Ordering::Relaxed).wrapping_mul(2_654_435_761) % 10_000;
                        let rank = (draw * draw / 500_000).clamp(0, 199);
                        let topic = format!("topic-{}", 1 + rank);
                        let path = format!("/places/united-states/{topic}/low.json");
                        let began = Instant::now();
                        let answer = ask(address, &path, reader * 8 + round);
                        let took = began.elapsed();
                        match answer.status {
                            200 => assert!(answer.text().contains(&topic)),
                            503 => {
                                assert!(!answer.header("retry-after").is_empty());
                                assert_eq!(answer.header("cache-control"), "no-store");
                                let waited = answer.header("server-timing").trim_start_matches("total;dur=").to_owned();
                                let waited: f64 = waited.parse().expect("milliseconds");
                                assert!(waited < 7_500.0, "503 after {waited} ms");
                                let waited = Duration::from_secs_f64(waited / 1e3).as_millis();
                                longest.fetch_max(u64::try_from(waited).expect("a short time"), Ordering::Relaxed);
                            }
                            other => panic!("{other}: {}", answer.text()),
                        }
                        assert!(took < Duration::from_secs(8), "{} after {took:?}", answer.status);
                        *outcomes.lock().expect("nobody panicked").entry(answer.status).or_default() += 1;
                    }
                };
                std::thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, read).expect("start a reader")
            })
            .collect();
        for reader in readers {
            reader.join().expect("a reader ended");
        }
        drop(until_here);
        sampler.join().expect("the sampler ended")
    });
    assert!((1..=4).contains(&most), "{most} connections");
    let outcomes = outcomes.lock().expect("nobody panicked");
    assert!(outcomes.contains_key(&200), "{outcomes:?}");
    println!("{outcomes:?}, at most {most} connections, no 503 after more than {} ms", longest.load(Ordering::Relaxed));
    all_quiet(&project, &server);
    server.end().expect(0);
}

#[test]
fn while_every_lease_is_held_everybody_else_is_refused_in_time() {
    const READERS: usize = 200;
    const ROUNDS: usize = 3;
    let _alone = alone();
    let Some(project) = slow_site(0.0, 4 + READERS, 1_000) else { return };
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "127.0.0.1");
    let server = Serving::of(command.env("TINTYPE_DATABASE_SERVE_STATEMENT_TIMEOUT", "1m"));
    assert_eq!(server.get("/places/atlantis/crispr/low.json").status, 404);
    let path = |topic: usize| format!("/places/united-states/topic-{topic}/low.json");
    let mut lock = project.database().connect();
    lock.query("BEGIN");
    lock.query("LOCK TABLE fact IN ACCESS EXCLUSIVE MODE");
    let (address, stop) = (server.address, AtomicBool::new(false));
    let (mut took, late): (Vec<Duration>, _) = std::thread::scope(|scope| {
        let late = scope.spawn(|| lateness(&stop));
        let until_here = Stop(&stop);
        let holders: Vec<_> = (1..=4).map(|topic| scope.spawn(move || ask(address, &path(topic), topic))).collect();
        wait_until("four statements at work", Duration::from_secs(30), || {
            project.database().activity().iter().filter(|(_, _, wait)| wait == "Lock").count() == 4
        });
        let readers: Vec<_> = (5..5 + READERS)
            .map(|topic| {
                let read = move || {
                    [(); ROUNDS].map(|()| {
                        let began = Instant::now();
                        let answer = ask(address, &path(topic), topic);
                        assert_eq!(
                            (answer.status, answer.text().contains("\"busy\"")),
                            (503, true),
                            "{}",
                            answer.text()
                        );
                        assert!(!answer.header("retry-after").is_empty());
                        began.elapsed()
                    })
                };
                std::thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, read).expect("start a reader")
            })
            .collect();
        let took = readers.into_iter().flat_map(|reader| reader.join().expect("a reader ended")).collect();
        assert_eq!(server.metric("db_pool_connections_in_use{pool=\"serve\"}"), 4, "they were held all the time");
        lock.query("COMMIT");
        for holder in holders {
            holder.join().expect("a reader ended");
        }
        drop(until_here);
        (took, late.join().expect("the sleeper ended"))
    });
    took.sort();
    let (middle, longest) = (took[took.len() / 2], took[took.len() - 1]);
    println!("{} were refused, in {middle:?} in the middle and {longest:?} at the most; {late:?} late", took.len());
    assert!(server.metric("db_pool_connection_timeouts_total{pool=\"serve\"}") >= 16, "nobody has waited");
    // A reader is accepted, read, refused, written to and heard, and each of these may be that late.
    assert!(longest < REFUSED + 5 * late, "{longest:?}, on a machine that was {late:?} late");
    all_quiet(&project, &server);
    server.end().expect(0);
}

#[test]
fn a_burst_is_let_in_while_the_server_has_no_moment_for_it() {
    // More than the 128 for whom there is room by default.
    const BURST: usize = 300;
    const PATH: &str = "/places/united-states/crispr/low.json";
    let project = places::sqlite();
    project.publish();
    let server = Serving::start(&project);
    assert_eq!(server.get(PATH).status, 200);
    server.freeze();
    // The system takes them in its stead. For whom it has no room it would try again, a second later.
    let at_once = Duration::from_millis(900);
    let let_in: Vec<_> = (0..BURST).map_while(|_| TcpStream::connect_timeout(&server.address, at_once).ok()).collect();
    server.thaw();
    assert_eq!(let_in.len(), BURST);
    for mut stream in let_in {
        write!(stream, "GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("ask");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("read");
        assert_eq!(&status, b"HTTP/1.1 200");
    }
    server.end().expect(0);
}

#[test]
fn names_that_are_made_up_cost_neither_statements_nor_memory() {
    let Some(project) = slow_site(0.0, 0, 10) else { return };
    let server = serving(&project);
    assert_eq!(server.get("/places/atlantis/crispr/low.json").status, 404);
    let before = server.metric("db_pool_acquires_total{pool=\"serve\"}");
    let mut stream = TcpStream::connect(server.address).expect("connect");
    let mut memory = Vec::new();
    for part in 0..5 {
        for batch in 0..40 {
            let mut requests = String::new();
            for number in 0..100 {
                let path = format!("/places/r{part}-{batch}-{number}/x{}/low.json", number * 7919);
                requests.push_str(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
            }
            stream.write_all(requests.as_bytes()).expect("ask");
            let mut answers = 0;
            let (mut text, mut buffer) = (Vec::new(), [0; 8192]);
            while answers < 100 {
                let length = stream.read(&mut buffer).expect("read");
                assert!(length > 0, "the server hung up");
                text.extend_from_slice(&buffer[..length]);
                answers = text.windows(12).filter(|window| window == b"HTTP/1.1 404").count();
            }
        }
        memory.push(server.memory_bytes());
    }
    assert_eq!(server.metric("db_pool_acquires_total{pool=\"serve\"}"), before);
    let (first, last) = (memory[0], memory[4]);
    assert!(last < first + 4 * 1024 * 1024, "{memory:?}");
    server.end().expect(0);
}
