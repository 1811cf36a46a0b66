//! `tintype serve` when what it stands on fails while it runs: the store, the database, both, and single things in them.
//! Readers get what was published, or are told to come back, in time; never other bytes; and all is well again by itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::bucket::Bucket;
use crate::support::http;
use crate::support::places::{self, TEMPLATE};
use crate::support::postgres;
use crate::support::project::{Locked, Project};
use crate::support::s3_server::{Fault, What};
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

mod single;

const MINUTE: Duration = Duration::from_mins(1);
/// The longest time of any answer: seven seconds, and half a one for a busy machine.
const LONGEST: Duration = Duration::from_millis(7500);
/// Half of all refusals take less, once it is known that there is nobody to ask.
const AT_ONCE: Duration = Duration::from_millis(50);
/// From one look to the next whether a source is back.
const LOOKS: Duration = Duration::from_millis(250);
/// A document that is asked for again and again.
const WARM: &str = "/places/united-states/crispr/low.json";
/// One that is valid, and isn't published.
const UNPUBLISHED: &str = "/places/united-states/noon/low.json";
/// Topics beside those of the world, so that there is always a document that nobody has asked for.
const TOPICS: usize = 60;

/// What a reader got.
#[derive(Debug)]
struct Seen {
    status: u16,
    /// The source, or the status where there is none.
    from: String,
    body: Vec<u8>,
    took: Duration,
}

/// Asks for a document, which comes or is refused in time.
#[track_caller]
fn ask(server: &Serving, path: &str) -> Seen {
    let begun = Instant::now();
    let answer = http::get(server.address, path, &[]);
    let took = begun.elapsed();
    assert!(took <= LONGEST, "{path} took {took:?}");
    let refusal = (answer.header("retry-after").parse().unwrap_or(0_u64) > 0, answer.header("cache-control"));
    assert!(answer.status != 503 || refusal == (true, "no-store"), "{path}: {:?}", answer.headers);
    let source = answer.header("x-tintype-source");
    let from = if answer.status == 200 { source.to_owned() } else { answer.status.to_string() };
    Seen { status: answer.status, from, body: answer.body, took }
}

/// A site in a bucket with a table, and a topic that came after its release.
struct World {
    engine: &'static str,
    bucket: Bucket,
    project: Project,
    published: BTreeMap<String, Vec<u8>>,
    asked: AtomicUsize,
}

impl World {
    /// With the table in a file of its own.
    fn sqlite() -> World {
        World::of("SQLite", places::sqlite())
    }

    /// With the table beside the data, and so read over the same connections.
    fn postgres() -> Option<World> {
        let database = postgres::database()?;
        database.execute(places::ROWS);
        Some(World::of("PostgreSQL", Project::postgres(database)))
    }

    fn of(engine: &'static str, mut project: Project) -> World {
        for topic in 0..TOPICS {
            project.execute(&format!("INSERT INTO topic VALUES ('topic-{topic}', 'Topic {topic}', 0)"));
        }
        let bucket = Bucket::new();
        project.publish_to(&bucket, "timeout = \"1s\"\n");
        let (url, table) = match engine {
            "SQLite" => ("sqlite:file.db".to_owned(), "sqlite:table.db".to_owned()),
            _ => (project.database().url(), project.database().url()),
        };
        project.configure(&url, &format!("[fallback]\ntable_url = \"{table}\"\nfollow = \"1s\"\nreread = \"1s\"\n"));
        project.template("places", &TEMPLATE.replace("---*/", "[limits]\nper_minute = 60000\nttl = \"1s\"\n---*/"));
        project.publish();
        let published = bucket.paths().into_iter().map(|path| (format!("/{path}"), bucket.body(&path))).collect();
        project.execute("INSERT INTO topic VALUES ('noon', 'Noon', 5)");
        World { engine, bucket, project, published, asked: AtomicUsize::new(0) }
    }

    /// A server that has seen the release and knows the keys, and has answered two documents.
    fn serving(&self, has_table: bool) -> Serving {
        let command = self.project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
        let server = Serving::of(command.env("TINTYPE_FALLBACK_TABLE", has_table.to_string()));
        assert_eq!(ask(&server, WARM).from, "store", "{}", self.engine);
        assert_eq!(ask(&server, UNPUBLISHED).from, "live", "{}", self.engine);
        server
    }

    /// A published document that nobody has asked for.
    fn cold(&self) -> &str {
        let mut paths = self.published.keys().filter(|path| *path != WARM);
        let at = self.asked.fetch_add(1, Ordering::Relaxed);
        paths.nth(at).expect("a document that wasn't asked for")
    }

    /// Asks for a published document; whoever has it has the bytes that were published.
    #[track_caller]
    fn ask(&self, server: &Serving, path: &str) -> Seen {
        let seen = ask(server, path);
        assert!(seen.status != 200 || seen.body == self.published[path], "{path}: other bytes from {}", seen.from);
        seen
    }

    /// Fails unless a server answers from the store and the database again, and nothing is left of what there was.
    #[track_caller]
    fn recovers(&self, server: &Serving, when: &str) {
        let begun = Instant::now();
        self.comes_from(server, "store", when);
        wait_until("the database to be read again", MINUTE, || ask(server, UNPUBLISHED).from == "live");
        wait_until("the store's health", MINUTE, || server.metric("tintype_store_up") == 1);
        tell(&format!("{}: recovered {:?} after {when}", self.engine, begun.elapsed()));
        self.is_quiet(server);
    }

    /// Waits until published documents come from this source. Each look takes another one: what was asked for is remembered,
    /// wherever it came from.
    #[track_caller]
    fn comes_from(&self, server: &Serving, source: &str, when: &str) {
        let mut next = Instant::now();
        wait_until(&format!("{} to be read again after {when} ({})", source, self.engine), MINUTE, || {
            let is_time = next <= Instant::now();
            if is_time {
                next = Instant::now() + LOOKS;
            }
            is_time && self.ask(server, self.cold()).from == source
        });
    }

    /// No lease is out, and nothing is left open in a transaction.
    #[track_caller]
    fn is_quiet(&self, server: &Serving) {
        wait_until("the last lease to end", Duration::from_secs(10), || {
            server.metric("db_pool_connections_in_use{pool=\"serve\"}") == 0
        });
        if self.engine == "PostgreSQL" {
            wait_until("transactions to end", Duration::from_secs(10), || {
                let activity = self.project.database().activity();
                assert!(activity.len() <= 2 * 4, "{activity:?}");
                activity.iter().all(|(_, state, _)| state == "idle")
            });
        }
    }

    /// Takes the database away from the server, until what is returned is dropped.
    fn without_database(&self) -> (Option<Locked>, Option<Shut>) {
        match self.engine {
            "SQLite" => (Some(Locked::file(&self.project.root().join("file.db"))), None),
            _ => (None, Some(Shut::database(self.project.database()))),
        }
    }
}

/// A database that takes no connections and has none.
struct Shut {
    admin: String,
    name: String,
}

impl Shut {
    fn database(database: &postgres::Database) -> Self {
        let mut admin = url::Url::parse(&database.url()).expect("a URL");
        admin.set_path("postgres");
        let shut = Self { admin: admin.to_string(), name: database.name().to_owned() };
        shut.allow(false);
        database.terminate();
        wait_until("its connections to end", MINUTE, || database.activity().is_empty());
        shut
    }

    fn allow(&self, may: bool) {
        postgres::execute(&self.admin, &format!("ALTER DATABASE {} ALLOW_CONNECTIONS {may}", self.name));
    }
}

impl Drop for Shut {
    fn drop(&mut self) {
        self.allow(true);
    }
}

/// Figures for whoever runs the test to see.
#[expect(clippy::print_stdout, reason = "figures for whoever runs it")]
fn tell(what: &str) {
    println!("{what}");
}

fn answers(status: u16, code: &'static str) -> What {
    What::Answer { status, code, message: "as the test wants it", more: Vec::new() }
}

/// Does the same with two servers at a time, one with the table and one without.
fn with_both(servers: [&Serving; 2], each: impl Fn(&Serving, bool) + Sync) {
    let each = &each;
    std::thread::scope(|scope| {
        for (server, has_table) in servers.into_iter().zip([true, false]) {
            scope.spawn(move || each(server, has_table));
        }
    });
}

fn fails_in_any_way(world: &World) {
    let (tabled, plain) = (world.serving(true), world.serving(false));
    for (when, what) in [
        ("it hung", What::Wait(Duration::from_hours(1))),
        ("500", answers(500, "InternalError")),
        ("503", answers(503, "SlowDown")),
        ("403", answers(403, "AccessDenied")),
        ("broken connections", What::BreakOff),
        ("answers cut off", What::CutBody),
    ] {
        world.bucket.server.play(Fault::new(what, |_| true));
        with_both([&tabled, &plain], |server, has_table| {
            let source = if has_table { "table" } else { "live" };
            let first = world.ask(server, world.cold());
            let said = (first.from.as_str(), first.took < Duration::from_secs(3));
            assert_eq!(said, (source, true), "{}: {when}: {first:?}", world.engine);
            // It is left alone for a while, so the next isn't made to wait for it.
            let next = world.ask(server, world.cold());
            let said = (next.from.as_str(), next.took < Duration::from_millis(900));
            assert_eq!(said, (source, true), "{}: {when}: {next:?}", world.engine);
            assert_eq!(world.ask(server, WARM).from, "memory", "{}: {when}", world.engine);
            assert!(["live", "memory"].contains(&ask(server, UNPUBLISHED).from.as_str()), "{}: {when}", world.engine);
            assert_eq!(ask(server, "/places/atlantis/crispr/low.json").from, "404", "{}: {when}", world.engine);
        });
        world.bucket.server.heal();
        with_both([&tabled, &plain], |server, _| world.recovers(server, when));
    }
    tabled.end().expect(0);
    plain.end().expect(0);
}

#[test]
fn a_store_that_fails_in_any_way_is_stood_in_for_and_found_again() {
    fails_in_any_way(&World::sqlite());
}

#[test]
fn a_store_that_fails_in_any_way_leaves_nothing_behind_in_postgresql() {
    let Some(world) = World::postgres() else { return };
    fails_in_any_way(&world);
}

fn both_are_away(world: &World) {
    let (tabled, plain) = (world.serving(true), world.serving(false));
    for what in [What::Wait(Duration::from_hours(1)), answers(503, "SlowDown")] {
        world.bucket.server.play(Fault::new(what, |_| true));
        let away = world.without_database();
        with_both([&tabled, &plain], |server, has_table| {
            // What the release vouches for is as good as ever, and what the database has said is better than nothing.
            assert_eq!(world.ask(server, WARM).from, "memory", "{}", world.engine);
            wait_until("the old answer", MINUTE, || ask(server, UNPUBLISHED).from == "stale");
            // The table beside the data is away with it.
            let expected = if has_table && world.engine == "SQLite" { "table" } else { "503" };
            for _ in 0..3 {
                let cold = world.ask(server, world.cold());
                assert_eq!(cold.from, expected, "{}: {cold:?}", world.engine);
            }
            assert_eq!(ask(server, "/places/atlantis/crispr/low.json").from, "404", "{}", world.engine);
            refused_at_once(world.engine, server, "/places/united-states/noon/high.json");
        });
        drop(away);
        world.bucket.server.heal();
        with_both([&tabled, &plain], |server, _| world.recovers(server, "both were away"));
    }
    tabled.end().expect(0);
    plain.end().expect(0);
}

/// Once it is known that there is nobody to ask for it, whoever asks is told so at once.
#[track_caller]
fn refused_at_once(engine: &str, server: &Serving, path: &str) {
    wait_until("a refusal", MINUTE, || ask(server, path).from == "503");
    let mut took: Vec<Duration> = (0..60).map(|_| ask(server, path).took).collect();
    took.sort();
    tell(&format!("{engine}: refused in {:?} in the middle, {:?} at the most", took[30], took[59]));
    assert!(took[30] < AT_ONCE, "{engine}: {took:?}");
}

#[test]
fn with_the_store_and_the_database_away_what_is_kept_is_answered_and_the_rest_refused_at_once() {
    both_are_away(&World::sqlite());
}

#[test]
fn with_the_store_and_postgresql_away_the_same_is_done_and_nothing_left_behind() {
    let Some(world) = World::postgres() else { return };
    both_are_away(&world);
}

#[test]
fn a_file_that_a_writer_holds_is_waited_for_a_moment_and_read_when_it_is_free() {
    let world = World::sqlite();
    let (tabled, plain) = (world.serving(true), world.serving(false));
    let held = Locked::file(&world.project.root().join("file.db"));
    for server in [&tabled, &plain] {
        assert_eq!(world.ask(server, world.cold()).from, "store");
        assert_eq!(world.ask(server, WARM).from, "memory");
        wait_until("the old answer", MINUTE, || ask(server, UNPUBLISHED).from == "stale");
        refused_at_once(world.engine, server, "/places/united-states/noon/medium.json");
    }
    drop(held);
    with_both([&tabled, &plain], |server, _| world.recovers(server, "the file was held"));
    // The table's file is a file like any other: while it is held the database answers.
    let held = Locked::file(&world.project.root().join("table.db"));
    world.bucket.server.play(Fault::new(answers(500, "InternalError"), |_| true));
    let cold = world.ask(&tabled, world.cold());
    assert_eq!(cold.from, "live", "{cold:?}");
    drop(held);
    world.comes_from(&tabled, "table", "its file was held");
    world.bucket.server.heal();
    world.recovers(&tabled, "the table was held");
    tabled.end().expect(0);
    plain.end().expect(0);
}
