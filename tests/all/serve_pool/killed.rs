//! `serve` that is killed: nobody is left to tell the database, which has to notice by itself.

use super::*;
use crate::support::raw::Raw;
use crate::support::skip::skip;

/// A second, and what a busy machine adds.
const NOTICED: Duration = Duration::from_secs(3);

#[test]
fn its_statements_end_when_it_is_killed() {
    let Some(database) = postgres::database() else { return };
    if database.one("SHOW server_version_num").as_str() < "140000" {
        skip("only PostgreSQL from 14 on looks whether its client is there");
        return;
    }
    database.execute(&rows());
    let project = Project::postgres(database);
    let slow = template().replace("FROM fact AS f\n", "FROM (SELECT fact.* FROM fact, pg_sleep(60)) AS f\n");
    project.template("places", &slow).make_public();
    let server = Serving::of(command(&project).env("TINTYPE_DATABASE_SERVE_STATEMENT_TIMEOUT", "1h"));
    let mut readers = ["crispr", "malaria"].map(|topic| {
        let mut reader = Raw::open(server.address);
        reader.say(format!("GET /places/united-states/{topic}/low.json HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        reader
    });
    let at_work = || {
        let activity = project.database().activity();
        activity.iter().filter(|(_, state, wait)| state == "active" && wait == "Timeout").count()
    };
    wait_until("both statements", Duration::from_secs(6), || at_work() == 2);
    let killed = Instant::now();
    server.kill();
    wait_until("its connections to end", MINUTE, || project.database().activity().is_empty());
    let took = killed.elapsed();
    println!("its statements ended after {took:?}");
    assert!(took < NOTICED, "{took:?}");
    assert!(readers.iter_mut().all(|reader| reader.is_closed(None)), "they were told something");
}
