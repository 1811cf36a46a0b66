//! `tintype serve`: the same bytes from wherever they come, and nothing that a reader types reaches the database.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use flate2::read::GzDecoder;

use crate::support::http::{self, Response};
use crate::support::places;
use crate::support::project::Project;
use crate::support::serving::Serving;
use crate::support::wait::wait_for;

/// The body, decompressed if it came so.
fn body(response: &Response) -> Vec<u8> {
    if response.header("content-encoding") != "gzip" {
        return response.body.clone();
    }
    let mut body = Vec::new();
    GzDecoder::new(response.body.as_slice()).read_to_end(&mut body).expect("gzip");
    body
}

/// The published bodies by path.
fn published(project: &Project) -> BTreeMap<String, Vec<u8>> {
    let public = project.public();
    public.paths().into_iter().map(|path| (path.clone(), public.body(&path))).collect()
}

#[test]
fn store_database_and_table_give_the_same_bytes() {
    for (engine, project) in places::projects() {
        // Nothing is published yet, so everything comes from the database.
        let server = Serving::start(&project);
        let crispr = server.get("/places/united-states/crispr/low.json");
        assert_eq!((crispr.status, crispr.header("x-tintype-source")), (200, "live"), "{engine}: {}", crispr.text());
        let mut live = BTreeMap::new();
        for region in ["united-states", "cote-divoire"] {
            for topic in ["crispr", "malaria", "sepsis"] {
                for confidence in ["low", "medium", "high"] {
                    let path = format!("places/{region}/{topic}/{confidence}.json");
                    let answer = server.get(&format!("/{path}"));
                    assert_eq!(answer.status, 200, "{engine}: {path}");
                    live.insert(path, body(&answer));
                }
            }
        }
        assert_eq!(live.len(), places::DOCUMENTS);
        server.end().expect(0);

        project.publish();
        let published = published(&project);
        assert_eq!(published, live, "{engine}: what was answered from the database isn't what is published");

        let server = Serving::start(&project);
        for (path, expected) in &published {
            let first = server.get(&format!("/{path}"));
            assert_eq!(first.header("x-tintype-source"), "store", "{engine}: {path}");
            let second = server.get_with(&format!("/{path}"), &[("If-None-Match", first.header("etag"))]);
            assert_eq!((second.status, second.header("x-tintype-source")), (304, "memory"), "{engine}: {path}");
            assert_eq!(body(&first), *expected, "{engine}: {path}");
        }
        assert_eq!(server.get("/index.json").status, 200, "{engine}: the catalogue");
        assert_eq!(
            server.metric("db_pool_acquires_total{pool=\"serve\"}"),
            1,
            "{engine}: more than the keys were read"
        );
        server.end().expect(0);
    }
}

#[test]
fn what_no_document_can_be_is_refused_without_a_statement() {
    let project = places::sqlite();
    project.publish();
    let server = Serving::start(&project);
    // The keys are read once, by the first who asks for one that nobody knows.
    assert_eq!(server.get("/places/atlantis/crispr/low.json").status, 404);
    let before = server.metric("db_pool_acquires_total{pool=\"serve\"}");
    for path in [
        "/",
        "/places/united-states/crispr/low",
        "/places/United-States/crispr/low.json",
        "/places/united-states/crispr/lowest.json",
        "/places/../places/united-states/crispr/low.json",
        "/places/united-states%2fcrispr/low.json",
        "/places/united-states/crispr';--/low.json",
        "/places/united-states/crispr%27%20OR%201=1/low.json",
        "/.tintype/head.json",
        "/places/x/y/z.json",
        "/other/a/b.json",
        "/index/none.json",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("cache-control"), "public, max-age=0, s-maxage=60", "{path}");
    }
    for number in 0..500 {
        assert_eq!(server.get(&format!("/places/region-{number}/crispr/low.json")).status, 404);
    }
    assert_eq!(server.metric("db_pool_acquires_total{pool=\"serve\"}"), before);
    server.end().expect(0);
}

#[test]
fn answers_are_negotiated_as_http_says() {
    let project = places::sqlite();
    project.publish();
    let server = Serving::start(&project);
    let path = "/places/united-states/crispr/low.json";
    let gzip = server.get(path);
    let plain = http::get(server.address, path, &[]);
    assert_eq!((gzip.header("content-encoding"), plain.header("content-encoding")), ("gzip", ""));
    assert_eq!(body(&gzip), plain.body);
    assert_ne!(gzip.header("etag"), plain.header("etag"), "two representations, two tags");
    assert_eq!(gzip.header("vary"), "Accept-Encoding");
    assert_eq!(gzip.header("content-type"), "application/json");
    // No purge is ordered for this server, so no edge keeps what it says for longer.
    assert!(gzip.header("cache-control").contains("s-maxage=60,"), "{:?}", gzip.headers);
    assert_eq!(gzip.header("access-control-allow-origin"), "*");
    let head = http::request("HEAD", server.address, path, &[]);
    assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, plain.header("etag")));
    assert_eq!(head.header("content-length"), plain.body.len().to_string());
    for (method, status) in [("OPTIONS", 204), ("POST", 405), ("DELETE", 405)] {
        let answer = http::request(method, server.address, path, &[]);
        assert_eq!((answer.status, answer.header("allow")), (status, "GET, HEAD, OPTIONS"), "{method}");
    }
    let counted =
        |code: u16| server.metric(&format!("tintype_fallback_requests_total{{source=\"none\",code=\"{code}\"}}"));
    assert_eq!([204, 400, 405].map(counted), [1, 0, 2]);
    server.end().expect(0);
}

#[test]
fn a_new_release_and_a_new_key_are_seen_without_a_restart() {
    let project = places::sqlite();
    project.publish();
    project.configure("sqlite:file.db", "[fallback]\nfollow = \"1s\"\nreread = \"1s\"\n");
    let server = Serving::start(&project);
    let path = "/places/united-states/crispr/low.json";
    let before = body(&server.get(path));
    // A topic that was added since the build is valid at once: it is not in the release, and the database has it.
    project.execute("INSERT INTO topic VALUES ('noon', 'Noon', 5)");
    let added = wait_for("the new topic", Duration::from_secs(30), || {
        Some(server.get("/places/united-states/noon/low.json")).filter(|added| added.status == 200)
    });
    assert_eq!(added.header("x-tintype-source"), "live");
    project.execute("INSERT INTO fact VALUES (9, 'United States', 'crispr', 1, 'Boston', 900, 3)");
    assert_eq!(body(&server.get(path)), before, "the release hasn't changed yet");
    project.publish();
    wait_for("the new release", Duration::from_secs(30), || {
        let answer = server.get(path);
        (body(&answer) != before).then_some(())
    });
    assert_eq!(body(&server.get(path)), project.public().body("places/united-states/crispr/low.json"));
    server.end().expect(0);
}

#[test]
fn behind_a_cdn_it_wants_to_know_whom_to_believe() {
    let project = places::sqlite();
    project.publish();
    // The project's config names a CDN.
    project.run(&["serve", "--listen", "127.0.0.1:0"]).expect(2).explains(&["trusted_proxies", "[cdn] url"]);
    for everybody in ["0.0.0.0/0", "::/0"] {
        let command = project.tintype(&["serve", "--listen", "127.0.0.1:0"]);
        let refused = command.env("TINTYPE_FALLBACK_TRUSTED_PROXIES", everybody).run().expect(2);
        refused.explains(&[everybody, "everybody"]);
    }
    project.configure("sqlite:file.db", "[fallback]\ntrusted_proxies = []\n");
    Serving::of(project.tintype(&["serve"])).end().expect(0);
}

#[test]
fn without_the_store_the_table_answers_with_the_same_bytes() {
    let Some(world) = crate::support::fallback::server_world("trusted_proxies = []\n") else { return };
    let project = &world.project;
    project.publish();
    let published = published(project);
    let away = |is_away: bool| {
        for name in ["public", ".tintype"] {
            let (here, there) = (project.root().join(name), project.root().join(format!("{name}-away")));
            let (from, to) = if is_away { (&here, &there) } else { (&there, &here) };
            std::fs::rename(from, to).expect("move a folder");
        }
    };
    // One server that has seen the release, and one that is started while the store is away.
    let seen = Serving::of(project.tintype(&["serve"]));
    assert_eq!(seen.get("/index.json").header("x-tintype-source"), "store");
    away(true);
    let unseeing = Serving::of(project.tintype(&["serve"]));
    // Who hasn't seen it doesn't know what else there is.
    for (server, invented) in [(&seen, 404), (&unseeing, 503)] {
        for (path, expected) in &published {
            let answer = server.get(&format!("/{path}"));
            assert_eq!((answer.status, answer.header("x-tintype-source")), (200, "table"), "{path}: {}", answer.text());
            assert_eq!(body(&answer), *expected, "{path}");
        }
        assert_eq!(server.get("/places/atlantis/crispr/low.json").status, invented);
    }
    away(false);
    wait_for("the store to be asked again", Duration::from_mins(1), || {
        (unseeing.metric("tintype_store_up") == 1).then_some(())
    });
    seen.end().expect(0);
    unseeing.end().expect(0);
}
