//! `tintype serve` for those who run it: what it says before a reader has met a trouble, how many connections it has, and
//! what stands before it.

use std::fs;
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::edge::Front;
use crate::support::http;
use crate::support::places;
use crate::support::postgres;
use crate::support::project::Project;
use crate::support::servers::Alone;
use crate::support::serving::Serving;

const PATH: &str = "/places/united-states/crispr/low.json";

fn health(server: &Serving, path: &str) -> (u16, Value) {
    let answer = http::get(server.admin, path, &[]);
    (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
}

#[test]
fn what_is_away_shows_before_a_reader_has_met_it() {
    let project = places::sqlite();
    project.publish();
    let server = Serving::start(&project).looked();
    // Nobody has asked for anything but this.
    assert_eq!(["tintype_db_up", "tintype_fallback_table_up"].map(|name| server.metric(name)), [1, 1]);
    let (status, said) = health(&server, "/health");
    assert_eq!((status, &said["status"], &said["table"]["status"]), (200, &json!("healthy"), &json!("healthy")));
    server.end().expect(0);

    project.configure("sqlite:nothing.db", "");
    let server = Serving::start(&project).looked();
    assert_eq!(["tintype_db_up", "tintype_fallback_table_up"].map(|name| server.metric(name)), [0, 1]);
    let (status, said) = health(&server, "/health");
    assert_eq!((status, &said["status"]), (200, &json!("degraded")), "{said:#}");
    assert_eq!(health(&server, "/health/database").0, 503);
    assert_eq!(health(&server, "/health/ready").0, 200);
    server.end().expect(0);

    // The table is damaged, and then the store as well.
    fs::write(
        project.root().join(".tintype/fallback.db"),
        "nothing that SQLite knows, and longer than its head".repeat(9),
    )
    .expect("write it");
    let server = Serving::start(&project).looked();
    assert_eq!(["tintype_db_up", "tintype_fallback_table_up"].map(|name| server.metric(name)), [0, 0]);
    let (status, said) = health(&server, "/health");
    assert_eq!((status, &said["status"], &said["table"]["status"]), (200, &json!("degraded"), &json!("unhealthy")));
    server.end().expect(0);
    fs::write(project.root().join(".tintype/head.json"), "{").expect("write it");
    let server = Serving::start(&project).looked();
    let (status, said) = health(&server, "/health");
    assert_eq!((status, &said["status"]), (503, &json!("unhealthy")), "{said:#}");
    assert_eq!(health(&server, "/health/live").0, 200);
    server.end().expect(0);
}

#[test]
fn one_database_has_one_pool_whatever_is_set() {
    let Some(database) = postgres::database() else { return };
    database.execute(places::ROWS);
    let url = database.url();
    let project = Project::postgres(database);
    project.template("places", places::TEMPLATE);
    for (settings, pools) in [("work_mem = \"8MB\"", 1), ("search_path = \"public\"", 2), ("ROLE = \"none\"", 2)] {
        let more = format!("[database.serve]\nsettings = {{ {settings} }}\n[fallback]\ntable_url = \"{url}\"\n");
        project.configure(&url, &more);
        project.publish();
        let server = Serving::start(&project);
        assert_eq!(server.get(PATH).status, 200);
        let text = http::get(server.admin, "/metrics", &[]).text().to_owned();
        let sizes = text.lines().filter(|line| line.starts_with("db_pool_size{")).count();
        assert_eq!(sizes, pools, "{settings}: {text}");
        assert_eq!((server.metric("tintype_db_up"), server.metric("tintype_fallback_table_up")), (1, 1), "{settings}");
        server.end().expect(0);
        let said = project.json(&["db", "budget"], 0);
        let processes = said["processes"].as_array().expect("a list");
        let serve = processes.iter().find(|process| process["name"] == "tintype serve").expect("it is named");
        assert_eq!(serve["pool"], 4 * pools, "{settings}: {said:#}");
    }
}

#[test]
fn a_port_that_is_taken_is_told_with_what_names_it() {
    let project = places::sqlite();
    project.publish();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let serve = |arguments: &[&str]| {
        project.tintype(arguments).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1").run().expect(1)
    };
    let run = serve(&["serve", "--listen", &address]);
    run.explains(&[
        &format!("can't listen on {address}"),
        "another `tintype serve`",
        "`--listen`",
        "[fallback] listen",
    ]);
    let run = serve(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", &address]);
    run.explains(&[&format!("can't listen on {address}"), "`--admin-listen`", "[fallback] admin_listen"]);
}

#[test]
fn a_server_that_is_full_still_has_a_budget() {
    let Some(server) = Alone::start() else { return };
    postgres::execute(&server.url, "CREATE ROLE full_up LOGIN PASSWORD 'pass' CONNECTION LIMIT 0");
    let project = Project::at(&server.url_as("full_up", "pass"));
    let said = project.run(&["db", "budget"]).expect(1);
    said.explains(&["too many connections", "tintype publish, tintype serve may have 1 × 1 + 1 × 4 = 5 connections"]);
    said.explains(&["TINTYPE_DATABASE_URL=postgres://postgres:"]);
    let fits = project.tintype(&["db", "budget"]).env("TINTYPE_DATABASE_URL", &server.url).run().expect(0);
    assert!(fits.text().contains("fits: 1 × 1 + 1 × 4 = 5"), "{}", fits.text());
}

#[test]
fn nginx_asks_for_the_document_that_was_meant() {
    let project = places::sqlite();
    project.publish();
    let server = Serving::of(project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "127.0.0.1"));
    let Some(front) = Front::start(&project.root().join("public"), server.address) else { return };
    let written = [
        PATH,
        "/places/united-states/%63rispr/low.json",
        "//places//united-states/crispr/low.json",
        "/./places/united-states/crispr/low.json",
        "/x/../places/united-states/crispr/low.json",
        "/places/united-states/crispr/low.json?x=%2f",
    ];
    let statuses = || written.map(|path| http::get(front.address, path, &[("Accept-Encoding", "gzip")]).status);
    assert_eq!(statuses(), [200; 6], "nginx itself");
    let ask = [("Origin", "https://example.org"), ("Access-Control-Request-Method", "GET")];
    let preflight = || http::request("OPTIONS", front.address, PATH, &ask);
    assert_eq!((preflight().status, preflight().header("access-control-allow-origin")), (204, "*"));
    fs::remove_dir_all(project.root().join("public")).expect("remove the folder");
    assert_eq!(statuses(), [200; 6], "tintype");
    assert_eq!(preflight().status, 204);
    let other = http::request("DELETE", front.address, PATH, &[]);
    assert_eq!((other.status, other.header("allow")), (405, "GET, HEAD, OPTIONS"));
    // What would mean something else to whoever unpacks it once more.
    for path in ["/places/united-states/%2563rispr/low.json", "/places/united-states/crispr%3f/low.json", "/%0a.json"] {
        assert_eq!(http::get(front.address, path, &[]).status, 404, "{path}");
    }
    server.end().expect(0);
}
