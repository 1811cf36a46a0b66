//! `tintype serve` over a store whose head is kept in the database that readers are answered from: looking at the head
//! takes a connection too, and there are never more than were allowed.

use std::collections::VecDeque;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{careless_bucket, keep_in};
use crate::support::frozen::Frozen;
use crate::support::places;
use crate::support::postgres::{self, Session};
use crate::support::project::Project;
use crate::support::servers::Alone;
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

/// Everything of `serve` in the server, whatever it calls itself.
const OURS: &str = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() \
                    AND (application_name LIKE 'tintype/serve/%' OR application_name = 'tintype/head')";

#[test]
fn a_look_at_the_head_counts_among_the_connections() {
    let Some(database) = postgres::database() else { return };
    database.execute(places::ROWS);
    let url = database.url();
    let (bucket, mut project) = (careless_bucket(), Project::postgres(database));
    // Of the topics the first is published, and an answer from the database stands for a second.
    let template = places::TEMPLATE.replace("[keys.confidence]", "publish = 1\n[keys.confidence]");
    project.template("places", &template.replace("---*/", "[limits]\nper_minute = 60000\nttl = \"1s\"\n---*/"));
    project.publish_to(&bucket, &keep_in(&url));
    project.publish();
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
    let server = Serving::of(command.env("DB_POOL_SIZE", "1").env("TINTYPE_FALLBACK_FOLLOW", "1s"));
    let get = |topic: &str| server.get(&format!("/places/united-states/{topic}/low.json"));
    wait_until("the keys", Duration::from_mins(1), || get("malaria").header("x-tintype-source") == "live");
    assert_eq!(get("crispr").header("x-tintype-source"), "store");
    let stop = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| most_connections(&project, &stop));
        let until_here = Stop(&stop);
        // The head can't be read for a while, and a reader wants a document meanwhile.
        let mut lock = project.database().connect();
        lock.query("BEGIN");
        lock.query("LOCK TABLE tintype_head IN ACCESS EXCLUSIVE MODE");
        wait_until("a look at the head", Duration::from_secs(20), || {
            project.database().one(&format!("{OURS} AND wait_event_type = 'Lock'")) == "1"
        });
        let answer = get("sepsis");
        assert_eq!((answer.status, answer.text().contains("busy")), (503, true), "{}", answer.text());
        lock.query("COMMIT");
        // The look gives the connection back, and both go on.
        wait_until("the reader's document", Duration::from_secs(20), || get("sepsis").status == 200);
        drop(until_here);
        sampler.join().expect("the sampler ended")
    });
    assert_eq!(most, 1, "connections");
    let serial = server.metric("tintype_release_serial");
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    project.publish();
    wait_until("the new release", Duration::from_secs(30), || server.metric("tintype_release_serial") > serial);
    server.end().expect(0);
}

/// A server that takes connections and never says a word, as one does in the middle of a login that takes long. It hears
/// of nobody who has left.
struct Silent {
    url: String,
    taken: mpsc::Receiver<TcpStream>,
}

impl Silent {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("it has an address");
        let (keeps, taken) = mpsc::channel();
        std::thread::spawn(move || listener.incoming().flatten().all(|stream| keeps.send(stream).is_ok()));
        Self { url: format!("postgres://nobody@{address}/nothing?sslmode=disable"), taken }
    }
}

#[test]
fn a_login_for_the_head_that_hangs_counts_among_the_connections() {
    const MAX: usize = 2;
    let silent = Silent::start();
    let (bucket, mut project) = (careless_bucket(), places::sqlite());
    project.publish_to(&bucket, &format!("{}timeout = \"500ms\"\n", keep_in(&silent.url)));
    project.configure(&silent.url, "[database.serve]\nconnect_timeout = \"500ms\"\n");
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
    let server = Serving::of(command.env("DB_POOL_SIZE", MAX.to_string()).env("TINTYPE_FALLBACK_FOLLOW", "1s"));
    wait_until("word of the head", Duration::from_secs(20), || server.metric("tintype_store_up") == 0);
    let mut open = VecDeque::new();
    for _ in 0..3 {
        while open.len() < MAX {
            server.get("/places/united-states/crispr/low.json");
            open.extend(silent.taken.recv_timeout(Duration::from_millis(100)));
        }
        // Before one of them ends, nobody begins another one, the head no more than readers.
        let more = silent.taken.recv_timeout(Duration::from_secs(4));
        assert!(more.is_err() && open.len() == MAX, "{} logins at a time, and one more: {more:?}", open.len());
        open.pop_front();
    }
    server.interrupt();
    server.finish().expect(0);
}

#[test]
fn a_look_at_the_head_that_hangs_counts_among_the_connections() {
    const MAX: usize = 2;
    let Some(database) = Alone::start() else { return };
    let (bucket, mut project) = (careless_bucket(), places::sqlite());
    project.publish_to(&bucket, &format!("{}timeout = \"2s\"\n", keep_in(&database.url)));
    project.publish();
    project.configure(&database.url, "[database.serve]\nconnect_timeout = \"1s\"\n");
    let mut watch = Session::connect(&database.url);
    // Reading the head takes longer than anybody waits for it.
    watch.query("ALTER TABLE tintype_head RENAME TO heads");
    watch.query("CREATE VIEW tintype_head AS SELECT heads.* FROM heads, pg_sleep(30)");
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
    let server = Serving::of(command.env("DB_POOL_SIZE", MAX.to_string()).env("TINTYPE_FALLBACK_FOLLOW", "1s"));
    let (mut frozen, mut most, begun) = (Frozen::default(), 0, Instant::now());
    while begun.elapsed() < Duration::from_secs(15) {
        frozen.freeze_sleeping(&mut watch, "tintype/head");
        let open: usize = watch.query(OURS)[0][0].as_deref().expect("a count").parse().expect("a number");
        most = most.max(open);
    }
    assert!(frozen.count() > 0, "none was met at work");
    assert!(most <= MAX, "{most} connections of {MAX}, {} of which hung", frozen.count());
    // They hold the view until they go on.
    drop(frozen);
    watch.query("DROP VIEW tintype_head");
    watch.query("ALTER TABLE heads RENAME TO tintype_head");
    wait_until("the head", Duration::from_secs(30), || server.metric("tintype_store_up") == 1);
    server.end().expect(0);
}

/// Stops the sampler, also where something has failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Counts the connections until it is told to stop; the most that there were.
fn most_connections(project: &Project, stop: &AtomicBool) -> u64 {
    let mut most = 0;
    while !stop.load(Ordering::Relaxed) {
        most = most.max(project.database().one(OURS).parse().expect("a number"));
    }
    most
}
