//! A server whose processes hang one by one while it takes new connections: each that was given up for another one would
//! stay there, until it has no more for anybody.

use super::*;
use crate::support::frozen::Frozen;
use crate::support::servers::Alone;

/// The pool's size.
const FEW: i64 = 2;

#[test]
fn processes_that_hang_never_cost_the_server_more_than_the_pool_has() {
    let Some(database) = Alone::start() else { return };
    postgres::execute(&database.url, &rows());
    let project = Project::at(&database.url);
    project.template("places", &template());
    let hanging = template()
        .replace("places/", "hanging/")
        .replace("FROM fact AS f\n", "FROM (SELECT fact.* FROM fact, pg_sleep(30)) AS f\n");
    project.template("hanging", &hanging);
    let command = command(&project).env("DB_POOL_SIZE", FEW.to_string());
    let server = serving_as(command.env("TINTYPE_DATABASE_SERVE_STATEMENT_TIMEOUT", "1s"));
    let (mut frozen, mut most) = (Frozen::default(), 0);
    let mut watch = Session::connect(&database.url);
    let cold = || cold().replace("places/", "hanging/");
    let seen = while_asked_for(server.address, &cold, || {
        let begun = Instant::now();
        // A reader gives up after two seconds, and a server that notices does so within another one.
        while begun.elapsed() < Duration::from_secs(9) {
            frozen.freeze_sleeping(&mut watch, "tintype/serve/%");
            let open = &watch.query(&format!("SELECT count(*)::text {OURS}"))[0][0];
            most = most.max(open.as_deref().expect("a count").parse::<i64>().expect("a number"));
        }
    });
    tell("while processes hung", &seen);
    println!("{} processes hung, {most} connections at the most", frozen.count());
    assert!(frozen.count() >= 2, "none was met at work");
    assert!(most <= FEW, "a pool of {FEW} had {most} connections");
    drop(frozen);
    println!("recovered after {:?}", recovered(&server, &database.url));
    server.end().expect(0);
}
