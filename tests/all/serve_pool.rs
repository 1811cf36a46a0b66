//! `tintype serve` and a database that fails in every way: readers get an answer in time, whatever there is, and when the
//! database is back, so is everything, without a restart and with nothing left behind.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::http;
use crate::support::places;
use crate::support::postgres::{self, Session};
use crate::support::process::Tintype;
use crate::support::project::Project;
use crate::support::servers::{Bouncer, Replicas, one};
use crate::support::serving::Serving;
use crate::support::wait::{wait_for, wait_until};

mod classes;
mod conflict;
mod frozen;
mod hanging;
mod killed;
mod locked;
mod others;

const MINUTE: Duration = Duration::from_mins(1);
/// The longest time of any answer: seven seconds, and half a one for a busy machine.
const LONGEST: Duration = Duration::from_millis(7500);
/// Half of all refusals take less, once it is known that there is nobody to ask.
const AT_ONCE: Duration = Duration::from_millis(50);
/// The pool's size.
const MAX: i64 = 4;
/// Topics beside those of the world, so that there is always a document that nobody has asked for.
const TOPICS: usize = 3000;
/// A document that is asked for again and again.
const WARM: &str = "/places/united-states/crispr/low.json";
/// What `serve` has in a database's server.
const OURS: &str =
    "FROM pg_stat_activity WHERE application_name LIKE 'tintype/serve/%' AND datname = current_database()";

/// What a reader got.
#[derive(Debug)]
struct Seen {
    status: u16,
    source: String,
    retry_after: String,
    took: Duration,
}

fn ask(address: SocketAddr, path: &str) -> Seen {
    let begun = Instant::now();
    let answer = http::get(address, path, &[("Accept-Encoding", "gzip")]);
    let seen = Seen {
        status: answer.status,
        source: answer.header("x-tintype-source").to_owned(),
        retry_after: answer.header("retry-after").to_owned(),
        took: begun.elapsed(),
    };
    assert!(matches!(seen.status, 200 | 503), "{path}: {seen:?} {}", answer.text());
    assert!(seen.status == 200 || !seen.retry_after.is_empty(), "{path}: {seen:?}");
    assert!(seen.took <= LONGEST, "{path}: {seen:?}");
    seen
}

/// A document that nobody has asked for.
fn cold() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("/places/united-states/topic-{}/low.json", NEXT.fetch_add(1, Ordering::Relaxed) % TOPICS)
}

fn rows() -> String {
    format!(
        "{}; INSERT INTO topic SELECT 'topic-' || n, 'Topic ' || n, 0 FROM generate_series(0, {TOPICS} - 1) AS n",
        places::ROWS
    )
}

/// The world's template, whose answers from the database stand for a second.
fn template() -> String {
    places::TEMPLATE.replace("---*/", "[limits]\nper_minute = 60000\nttl = \"1s\"\n---*/")
}

fn command(project: &Project) -> Tintype {
    project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1").env("TINTYPE_LOG", "tintype=info")
}

/// Serves a project whose keys are known.
fn serving(project: &Project) -> Serving {
    serving_as(command(project))
}

fn serving_as(command: Tintype) -> Serving {
    let server = Serving::of(command);
    wait_until("the keys and the first answer", MINUTE, || ask(server.address, WARM).source == "live");
    server
}

/// A server of its own that can be stopped, and a site on it of which nothing is published.
struct World {
    servers: Replicas,
    project: Project,
}

impl World {
    fn start() -> Option<Self> {
        let servers = Replicas::start()?;
        postgres::execute(&servers.primary, &rows());
        let project = Project::at(&servers.primary);
        project.template("places", &template());
        Some(Self { servers, project })
    }

    fn url(&self) -> &str {
        &self.servers.primary
    }
}

fn in_use(server: &Serving) -> u64 {
    server.metric("db_pool_connections_in_use{pool=\"serve\"}")
}

/// The database is read again, and nothing is left of what there was.
fn recovered(server: &Serving, url: &str) -> Duration {
    let begun = Instant::now();
    wait_until("an answer from the database", MINUTE, || ask(server.address, &cold()).source == "live");
    let took = begun.elapsed();
    quiet(server, url);
    took
}

/// No lease, no transaction that nobody ends, and never more than there may be.
fn quiet(server: &Serving, url: &str) {
    wait_until("the last lease to end", Duration::from_secs(10), || in_use(server) == 0);
    wait_until("transactions to end", Duration::from_secs(10), || {
        one(url, &format!("SELECT count(*)::text {OURS} AND state LIKE 'idle in transaction%'")) == "0"
    });
    let open: i64 = one(url, &format!("SELECT count(*)::text {OURS}")).parse().expect("a number");
    assert!(open <= MAX, "{open} connections");
}

/// Has eight readers ask for documents that nobody has asked for, while `trouble` is made; what they got.
fn while_asked(address: SocketAddr, trouble: impl FnOnce()) -> Vec<Seen> {
    while_asked_for(address, &cold, trouble)
}

/// The same of these documents.
fn while_asked_for(address: SocketAddr, cold: &(dyn Fn() -> String + Sync), trouble: impl FnOnce()) -> Vec<Seen> {
    /// Ends the readers whatever happens, or the scope would wait for them for good.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        seen.push(ask(address, &cold()));
                    }
                    seen
                })
            })
            .collect();
        let stopping = Stop(&stop);
        trouble();
        drop(stopping);
        readers.into_iter().flat_map(|reader| reader.join().expect("a reader")).collect()
    })
}

/// Reports how readers fared, for whoever runs the test to see.
#[expect(clippy::print_stdout, reason = "figures for whoever runs it")]
fn tell(what: &str, seen: &[Seen]) -> usize {
    let good = seen.iter().filter(|seen| seen.status == 200).count();
    let longest = seen.iter().map(|seen| seen.took).max().unwrap_or_default();
    println!("{what}: {good} of {} were answered, the longest took {longest:?}", seen.len());
    good
}

/// Fails unless all of them were refused, half of them at once.
#[track_caller]
#[expect(clippy::print_stdout, reason = "figures for whoever runs it")]
fn refused_at_once(what: &str, seen: &[Seen]) {
    assert!(seen.iter().all(|seen| seen.status == 503), "{what}: {seen:?}");
    let mut took: Vec<Duration> = seen.iter().map(|seen| seen.took).collect();
    took.sort();
    let (middle, longest) = (took[took.len() / 2], took[took.len() - 1]);
    println!("{what}: {} refusals took {middle:?} in the middle, {longest:?} at the most", took.len());
    assert!(took.len() >= 50 && middle < AT_ONCE, "{what}: {took:?}");
}

#[test]
fn connections_that_are_ended_all_the_time_end_nobodys_reading() {
    let Some(database) = postgres::database() else { return };
    database.execute(&rows());
    let project = Project::postgres(database);
    project.template("places", &template());
    let server = serving(&project);
    let mut ended = 0;
    let seen = while_asked(server.address, || {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            ended += project.database().terminate();
            let activity = project.database().activity();
            assert!(activity.len() <= 4, "{activity:?}");
        }
    });
    let good = tell(&format!("{ended} connections ended"), &seen);
    assert!(ended > 20 && good > 0, "{ended} ended, {good} good");
    println!("recovered after {:?}", recovered(&server, &project.database().url()));
    server.end().expect(0);
}

#[test]
fn a_server_that_stops_is_told_at_once_and_found_again() {
    let Some(mut world) = World::start() else { return };
    let server = serving(&world.project);
    world.servers.command("stop primary");
    wait_until("the old answer", MINUTE, || ask(server.address, WARM).source == "stale");
    let seen: Vec<Seen> = (0..100).map(|_| ask(server.address, &cold())).collect();
    refused_at_once("while it was stopped", &seen);
    assert!(server.metric("db_pool_refused_total{pool=\"serve\"}") > 50);
    let while_away = while_asked(server.address, || world.servers.command("start primary"));
    tell("while it started", &while_away);
    println!("recovered after {:?}", recovered(&server, world.url()));
    // Once more, with readers in the middle of it.
    let leases = || server.metric("db_pool_acquires_total{pool=\"serve\"}");
    let seen = while_asked(server.address, || {
        let before = leases();
        wait_until("readers with answers", MINUTE, || leases() >= before + 20);
        world.servers.command("stop primary");
        world.servers.command("start primary");
    });
    assert!(tell("while it was restarted", &seen) > 0);
    recovered(&server, world.url());
    let ended = server.end().expect(0);
    assert!(ended.stderr.contains("the server can be read again"), "{ended}");
}

#[test]
fn a_server_that_hangs_keeps_no_lease_and_no_reader() {
    let Some(mut world) = World::start() else { return };
    let slow = template()
        .replace("places/", "slow/")
        .replace("FROM fact AS f\n", "FROM (SELECT * FROM fact, pg_sleep(1)) AS f\n");
    world.project.template("slow", &slow);
    let server = serving(&world.project);
    let address = server.address;
    // Two statements are at work when it stops moving.
    let readers: Vec<_> = ["crispr", "malaria"]
        .map(|topic| std::thread::spawn(move || ask(address, &format!("/slow/united-states/{topic}/low.json"))))
        .into();
    let at_work = format!("SELECT count(*)::text {OURS} AND state = 'active'");
    wait_until("both statements", MINUTE, || one(world.url(), &at_work) == "2");
    world.servers.command("freeze primary");
    let seen: Vec<Seen> = readers.into_iter().map(|reader| reader.join().expect("a reader")).collect();
    tell("with a statement at work", &seen);
    assert_eq!(ask(address, WARM).source, "stale");
    let (begun, mut seen) = (Instant::now(), Vec::new());
    while begun.elapsed() < Duration::from_secs(6) {
        seen.push(ask(address, &cold()));
    }
    assert_eq!(ask(address, WARM).source, "stale");
    refused_at_once("while it hung", &seen);
    wait_until("the leases to be given up", Duration::from_secs(10), || in_use(&server) == 0);
    world.servers.command("thaw primary");
    println!("recovered after {:?}", recovered(&server, world.url()));
    server.end().expect(0);
}

#[test]
fn a_statement_that_takes_too_long_is_ended_by_the_server() {
    let Some(database) = postgres::database() else { return };
    database.execute(&rows());
    let project = Project::postgres(database);
    project.template("places", &template());
    let slow = template()
        .replace("places/", "slow/")
        .replace("FROM fact AS f\n", "FROM (SELECT * FROM fact, pg_sleep(60)) AS f\n");
    project.template("slow", &slow);
    let server = serving_as(command(&project).env("TINTYPE_DATABASE_SERVE_STATEMENT_TIMEOUT", "1s"));
    let path = "/slow/united-states/crispr/low.json";
    let first = ask(server.address, path);
    assert!(
        first.status == 503 && first.took >= Duration::from_secs(1) && first.took < Duration::from_secs(5),
        "{first:?}"
    );
    let second = ask(server.address, path);
    assert!(
        second.status == 503 && second.took < Duration::from_millis(900),
        "it is left alone for a while: {second:?}"
    );
    recovered(&server, &project.database().url());
    let ended = server.end().expect(0);
    assert!(ended.stderr.contains("statement timeout"), "{ended}");
}
