//! The example of a `pgbouncer.ini`, in a real PgBouncer: a crowd of clients meets the pools that it says.

use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::crowd::{alone, ask};
use crate::support::places;
use crate::support::postgres::{self, Session};
use crate::support::project::Project;
use crate::support::servers::{Alone, Bouncer};
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

/// Clients of the API, and readers of what tintype has to ask the database for.
const CLIENTS: usize = 100;
const READERS: usize = 1_000;
/// Documents of which each takes the database a while.
const COLD: usize = 300;
const API_POOL: usize = 25;
const SERVE_MAX: usize = 4;

/// The example, before this server.
fn example(server_url: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/poolers/pgbouncer.ini");
    let text = std::fs::read_to_string(&file).expect("read the example");
    let server = url::Url::parse(server_url).expect("the server's URL is one");
    let place = format!("host=127.0.0.1 port={} ", server.port().expect("a port"));
    assert_eq!(text.matches("host=10.0.0.5 port=5432 ").count(), 2, "both entries are changed");
    text.replace("host=10.0.0.5 port=5432 ", &place)
}

/// A site of which only the first topic is published, and whose answers take the database a while.
fn template() -> String {
    let hot = places::TEMPLATE.replace("papers DESC, slug\"", "papers DESC, slug\"\npublish = 1");
    let slow = hot.replace("FROM fact AS f\n", "FROM (SELECT * FROM fact, pg_sleep(0.2)) AS f\n");
    assert!(slow.contains("publish = 1") && slow.contains("pg_sleep"));
    slow
}

/// The most connections to the server that each of two roles had at a time, until it is told to stop.
fn most_of(server: &str, roles: [&str; 2], stop: &AtomicBool) -> [usize; 2] {
    let mut session = Session::connect(server);
    let mut most = [0; 2];
    let [one, other] = roles;
    let sql = format!(
        "SELECT count(*) FILTER (WHERE usename = '{one}')::text, count(*) FILTER (WHERE usename = '{other}')::text \
         FROM pg_stat_activity"
    );
    while !stop.load(Ordering::Relaxed) {
        let row = session.query(&sql).remove(0);
        for (most, count) in most.iter_mut().zip(row) {
            *most = (*most).max(count.and_then(|count| count.parse().ok()).expect("a count"));
        }
    }
    most
}

#[test]
fn a_crowd_meets_the_pools_of_the_example() {
    let _alone = alone();
    let Some(server) = Alone::start() else { return };
    let mut admin = Session::connect(&server.url);
    admin.query("CREATE DATABASE site");
    for role in ["api", "tintype"] {
        admin.query(&format!("CREATE ROLE {role} LOGIN PASSWORD 'pass'"));
        admin.query(&format!("GRANT pg_read_all_data TO {role}"));
    }
    let site = server.url.strip_suffix("/postgres").expect("the database of its URL");
    let cold = format!("INSERT INTO topic SELECT 'topic-' || n, 'Topic ' || n, 0 FROM generate_series(1, {COLD}) AS n");
    postgres::execute(&format!("{site}/site"), &format!("{}; {cold}", places::ROWS));
    let users = "\"api\" \"pass\"\n\"tintype\" \"pass\"";
    let Some(bouncer) = Bouncer::of(&example(&server.url), users) else { return };
    let project = Project::at(&bouncer.url("tintype", "pass", "site_tintype"));
    project.template("places", &template());
    assert_eq!(project.publish()["templates"][0]["keys"], places::DOCUMENTS / 3);

    // The budget is told of the pooler's limits, and that its pools fit behind it.
    let said = project.json(&["db", "budget"], 0);
    assert_eq!((&said["outcome"], &said["ceiling"]["connections"]), (&"fits".into(), &1_000.into()), "{said:#}");
    assert_eq!(
        (&said["behind_pooler"]["most"], &said["behind_pooler"]["outcome"]),
        (&31.into(), &"fits".into()),
        "{said:#}"
    );

    let serving = Serving::of(project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "127.0.0.1"));
    assert_eq!(serving.get("/places/atlantis/malaria/low.json").status, 404, "the keys are known");
    let (ready, stop) = (Barrier::new(CLIENTS + READERS), AtomicBool::new(false));
    let api = bouncer.url("api", "pass", "site");
    let most = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| most_of(&server.url, ["api", "tintype"], &stop));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut session = Session::connect(&api);
                    ready.wait();
                    (0..5).for_each(|_| drop(session.query("SELECT pg_sleep(0.1)::text")));
                })
            })
            .collect();
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let (address, ready) = (serving.address, &ready);
                let read = move || {
                    let path = format!("/places/united-states/topic-{}/low.json", 1 + reader % COLD);
                    ready.wait();
                    ask(address, &path, reader).status
                };
                std::thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, read).expect("start a reader")
            })
            .collect();
        let clients: Vec<_> = clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        let readers: Vec<_> = readers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        // On a busy machine logins take so long that all readers of the crowd may be sent away before there is one.
        wait_until("a reader of one more", Duration::from_mins(1), || {
            ask(serving.address, "/places/united-states/topic-1/high.json", READERS).status == 200
        });
        stop.store(true, Ordering::Relaxed);
        assert!(clients.iter().all(Result::is_ok), "every client of the API was served");
        let statuses: Vec<u16> = readers.into_iter().map(|status| status.expect("a reader ended")).collect();
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        sampler.join().expect("the sampler ended")
    });
    println!("at most {most:?} connections to the server, for {CLIENTS} clients and {READERS} readers");
    assert!((2..=API_POOL).contains(&most[0]), "{} of the API", most[0]);
    assert!((1..=SERVE_MAX).contains(&most[1]), "{} of tintype", most[1]);
    let sql = "SELECT count(*)::text FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    wait_until("no transaction that nobody ends", Duration::from_secs(10), || {
        admin.query(sql)[0][0].as_deref() == Some("0")
    });
    serving.end().expect(0);
}
