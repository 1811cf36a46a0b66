//! What `tintype serve` answers is what the site shows: where two templates could have made a path, where a key, a template
//! or its file has changed, and where only the table is left.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::support::fallback::{self, unpacked};
use crate::support::http::Response;
use crate::support::places::{self, TEMPLATE};
use crate::support::project::{Locked, Project};
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

const MINUTE: Duration = Duration::from_mins(1);

/// A template over regions and topics at this path, which shows this column of a fact.
fn simple(path: &str, column: &str) -> String {
    format!(
        "/*---\npath = \"{path}\"\n[keys.region]\nsql = \"SELECT name AS region FROM country ORDER BY country_id\"\n\
         [keys.topic]\nsql = \"SELECT slug AS topic FROM topic ORDER BY slug\"\n---*/\n\
         SELECT f.region, f.topic, f.{column} FROM fact AS f WHERE 1 = 1 /*:keys region=f.region, topic=f.topic */ \
         ORDER BY f.region, f.topic, f.fact_id\n"
    )
}

/// The world's template with only the first two topics published, and these limits.
fn some_topics(limits: &str) -> String {
    let some = TEMPLATE.replacen("papers DESC, slug\"\n", "papers DESC, slug\"\npublish = 2\n", 1);
    some.replace("---*/", &format!("[limits]\n{limits}\n---*/"))
}

fn serve(project: &Project) -> Serving {
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
    Serving::of(command.env("TINTYPE_FALLBACK_FOLLOW", "1s").env("TINTYPE_FALLBACK_REREAD", "10m"))
}

fn text(answer: &Response) -> String {
    String::from_utf8(unpacked(&answer.body)).expect("UTF-8")
}

#[track_caller]
fn expect(answer: &Response, status: u16, source: &str) {
    assert_eq!((answer.status, answer.header("x-tintype-source")), (status, source), "{}", answer.header("etag"));
}

/// Publishes, and waits until the server has seen it.
fn publish(project: &Project, server: &Serving, more: &[&str], serial: u64) {
    let arguments: Vec<&str> = ["publish", "--yes", "--force"].iter().chain(more).copied().collect();
    project.run(&arguments).expect(0);
    wait_until("the release to be served", MINUTE, || server.metric("tintype_release_serial") == serial);
}

#[test]
fn a_path_that_two_patterns_fit_is_that_of_its_own_template() {
    let project = Project::sqlite(places::ROWS);
    project.configure("sqlite:file.db", "[fallback]\ntable = false\n");
    project.template("aaa", &simple("m/{region}/{topic}.json", "city"));
    project.template("bbb", &simple("m/all-{region}/{topic}.json", "scholar"));
    // Other columns, too: this one stands below a fixed name.
    let totals = "/*---\npath = \"m/{region}/totals.json\"\n[keys.region]\n\
                  sql = \"SELECT name AS region FROM country ORDER BY country_id\"\n---*/\n\
                  SELECT f.region, count(*) AS facts FROM fact AS f WHERE 1 = 1 /*:keys region=f.region */ \
                  GROUP BY f.region ORDER BY f.region\n";
    project.template("ccc", totals);
    let checked = project.json(&["check", "--offline"], 0);
    let warnings = checked["findings"].as_array().expect("findings").iter();
    let warnings: Vec<&str> = warnings.filter_map(|finding| finding["message"].as_str()).collect();
    let told = |first: &str| warnings.iter().any(|warning| warning.contains(&format!("and of `{first}`")));
    assert!(told("aaa") && !told("ccc"), "{warnings:?}");

    let paths = ["/m/all-united-states/crispr.json", "/m/united-states/totals.json", "/m/united-states/crispr.json"];
    // Nothing is published: each is a key of one of them.
    let server = serve(&project);
    let live: BTreeMap<&str, String> = paths
        .iter()
        .map(|path| {
            let answer = server.get(path);
            expect(&answer, 200, "live");
            (*path, text(&answer))
        })
        .collect();
    assert!(live[paths[0]].contains("scholar"), "{live:?}");
    server.end().expect(0);
    project.publish();
    let server = serve(&project);
    for path in paths {
        let answer = server.get(path);
        expect(&answer, 200, "store");
        assert_eq!(text(&answer), live[path], "{path}");
    }
    server.end().expect(0);
    fs::remove_dir_all(project.root().join(".tintype/blob")).expect("no bodies any more");
    let server = serve(&project);
    for path in paths {
        let answer = server.get(path);
        expect(&answer, 200, "live");
        assert_eq!(text(&answer), live[path], "{path}");
    }
    server.end().expect(0);
}

#[test]
fn what_a_release_removed_does_not_come_back() {
    let project = places::sqlite();
    project.template("places", &TEMPLATE.replace("---*/", "[limits]\nper_minute = 2\n---*/"));
    project.configure("sqlite:file.db", "[fallback]\ntable = false\n");
    project.publish();
    let server = serve(&project);
    let paths = ["low", "medium"].map(|confidence| format!("/places/united-states/malaria/{confidence}.json"));
    for path in &paths {
        expect(&server.get(path), 200, "store");
    }
    project.execute("DELETE FROM fact WHERE topic = 'malaria'; DELETE FROM topic WHERE slug = 'malaria'");
    // It sees the release, and no keys beside it.
    server.freeze();
    project.run(&["publish", "--yes", "--accept-guard", "all"]).expect(0);
    let held = Locked::file(&project.root().join("file.db"));
    server.thaw();
    wait_until("the release", MINUTE, || server.metric("tintype_release_serial") == 2);
    // Nobody can say whether it is a key still. What was said before is no answer.
    let answer = server.get(&paths[0]);
    expect(&answer, 503, "");
    drop(held);
    // The slugs were known, and aren't read again for ten minutes, but for this.
    for path in &paths {
        wait_until("the keys to be read again", MINUTE, || server.get(path).status != 503);
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    server.end().expect(0);
}

#[test]
fn a_template_that_was_retired_is_off() {
    let project = places::sqlite();
    project.template("places", &some_topics("per_minute = 1000"));
    project.template("others", &simple("others/{region}/{topic}.json", "city"));
    project.publish();
    let server = serve(&project);
    let (published, unpublished) = ("/places/united-states/crispr/low.json", "/places/united-states/sepsis/low.json");
    expect(&server.get(published), 200, "store");
    expect(&server.get(unpublished), 200, "live");
    expect(&server.get(unpublished), 200, "memory");
    fs::remove_file(project.template_file("places")).expect("remove the template");
    publish(&project, &server, &["--retire", "places"], 2);
    for path in [unpublished, published, "/places/united-states/sepsis/high.json"] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path} from {}", answer.header("x-tintype-source"));
    }
    expect(&server.get("/others/united-states/crispr.json"), 200, "store");
    server.end().expect(0);
}

#[test]
fn a_changed_file_is_served_from_its_publish_on() {
    let project = places::sqlite();
    project.template("places", &some_topics("per_minute = 1000"));
    project.publish();
    let server = serve(&project);
    let path = "/places/united-states/sepsis/low.json";
    project.execute("INSERT INTO fact VALUES (6, 'United States', 'sepsis', 1, 'Boston', 100, 3)");
    let before = server.get(path);
    expect(&before, 200, "live");
    assert!(text(&before).contains("\"scholars\"") && !text(&before).contains("\"people\""));
    project.template("places", &some_topics("per_minute = 1000").replace("scholars", "people"));
    publish(&project, &server, &["--accept-guard", "columns"], 2);
    let after = server.get(path);
    expect(&after, 200, "live");
    assert!(text(&after).contains("\"people\"") && !text(&after).contains("\"scholars\""), "{}", text(&after));
    let built = project.run(&["get", "places/united-states/sepsis/low", "--from", "live"]).expect(0).stdout;
    assert_eq!(text(&after).as_bytes(), built.strip_suffix(b"\n").expect("a line"));
    // A file that somebody is writing changes nothing.
    project.template("places", "/*--- half");
    project.template("others", &simple("others/{region}/{topic}.json", "city"));
    project.run(&["publish", "--yes", "--force", "others"]);
    let wrong = server.get(path);
    assert_eq!((wrong.status, wrong.body), (200, after.body));
    server.end().expect(0);
}

/// Publishes, and takes the bodies away from the store, so that the table is asked for all of them. Returns their paths.
fn without_bodies(project: &Project, per_minute: u32) -> Vec<String> {
    let limit = format!("[limits]\nper_minute = {per_minute}\n---*/");
    project.template("places", &TEMPLATE.replace("---*/", &limit));
    project.publish();
    fs::rename(project.root().join(".tintype/blob"), project.root().join("blob")).expect("no bodies any more");
    project.public().paths().into_iter().map(|path| format!("/{path}")).collect()
}

#[test]
fn the_table_answers_for_what_is_published_however_many_ask() {
    for world in fallback::worlds() {
        let project = &world.project;
        let paths = without_bodies(project, 1);
        let start = || {
            let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
            Serving::of(command.env("DB_POOL_SIZE", "1").env("TINTYPE_DATABASE_SERVE_QUEUE", "1"))
        };
        let server = start();
        // All at once: some are sent away, and none costs the database the template's query.
        let answers: Vec<Response> = std::thread::scope(|scope| {
            let readers: Vec<_> = paths.iter().chain(&paths).map(|path| scope.spawn(|| server.get(path))).collect();
            readers.into_iter().map(|reader| reader.join().expect("an answer")).collect()
        });
        for answer in answers {
            let source = answer.header("x-tintype-source");
            let is_right = matches!((answer.status, source), (200, "table" | "memory") | (503, ""));
            assert!(is_right, "{}: {} from {source}: {}", world.engine, answer.status, answer.header("retry-after"));
        }
        server.end().expect(0);
        // One after the other: nobody is limited.
        let server = start();
        for path in &paths {
            expect(&server.get(path), 200, "table");
        }
        assert_eq!(server.metric("tintype_fallback_rate_limited_total"), 0, "{}", world.engine);
        server.end().expect(0);
        // Without the table its query has to be run, which counts.
        world.table.execute("DELETE FROM tintype_snapshot");
        let server = start();
        expect(&server.get(&paths[0]), 200, "live");
        expect(&server.get(&paths[1]), 429, "");
        expect(&server.get(&paths[0]), 200, "memory");
        server.end().expect(0);
    }
}

#[test]
fn a_row_of_the_table_that_is_another_document_is_not_shown() {
    let world = fallback::worlds().remove(0);
    let project = &world.project;
    project.publish();
    let (right, other) = ("places/united-states/crispr/low.json", "places/united-states/malaria/low.json");
    let set = |column: &str| format!("{column} = (SELECT {column} FROM tintype_snapshot WHERE path = '{other}')");
    let (body, digest) = (set("body_gzip"), set("digest"));
    world.table.execute(&format!("UPDATE tintype_snapshot SET {body}, {digest} WHERE path = '{right}'"));
    let server = serve(project);
    let shown = text(&server.get(&format!("/{right}")));
    server.end().expect(0);
    fs::rename(project.root().join(".tintype/blob"), project.root().join("blob")).expect("no bodies any more");
    let server = serve(project);
    let answer = server.get(&format!("/{right}"));
    expect(&answer, 200, "live");
    assert_eq!(text(&answer), shown);
    expect(&server.get(&format!("/{other}")), 200, "table");
    server.end().expect(0);
}

#[test]
fn who_has_had_its_share_costs_no_lease_where_the_table_has_nothing() {
    for world in fallback::worlds() {
        let project = &world.project;
        let paths = without_bodies(project, 2);
        // As it is while a run couldn't write it.
        world.table.execute("UPDATE tintype_release SET release = '0-20200101T000000Z-00000000'");
        let server = serve(project);
        let statuses: Vec<u16> = paths.iter().chain(&paths).map(|path| server.get(path).status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 2 * paths.len() - 4, "{statuses:?}");
        // One finds out; each of its two answers takes a look at the table and a query; and the keys are read.
        let leases = server.metrics("db_pool_acquires_total");
        assert!(leases <= 7, "{}: {leases} leases for two answers", world.engine);
        server.end().expect(0);
    }
}

#[test]
fn a_row_that_is_missing_is_counted_and_the_others_are_not() {
    for world in fallback::worlds() {
        let project = &world.project;
        let paths = without_bodies(project, 2);
        let (missing, others) = paths.split_at(3);
        for path in missing {
            world.table.execute(&format!("DELETE FROM tintype_snapshot WHERE path = '{}'", &path[1..]));
        }
        let server = serve(project);
        let statuses: Vec<u16> = missing.iter().map(|path| server.get(path).status).collect();
        assert_eq!(statuses, [200, 200, 429], "{}", world.engine);
        for path in others {
            expect(&server.get(path), 200, "table");
        }
        // Nor does what can't be had any more cost a lease again and again.
        let leases = server.metrics("db_pool_acquires_total");
        assert!((0..20).all(|_| server.get(&missing[2]).status == 429));
        assert_eq!(server.metrics("db_pool_acquires_total"), leases, "{}", world.engine);
        server.end().expect(0);
    }
}

#[test]
fn a_key_that_no_build_makes_ends_with_its_slug() {
    let project = places::sqlite();
    project.template("places", &some_topics("per_minute = 1000\nttl = \"1s\""));
    project.publish();
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
    let server = Serving::of(command.env("TINTYPE_FALLBACK_REREAD", "1s"));
    let path = "/places/united-states/sepsis/low.json";
    expect(&server.get(path), 200, "live");
    project.execute("DELETE FROM fact WHERE topic = 'sepsis'; DELETE FROM topic WHERE slug = 'sepsis'");
    wait_until("the key to be none any more", MINUTE, || server.get(path).status == 404);
    let held = Locked::file(&project.root().join("file.db"));
    assert_eq!(server.get(path).status, 404, "what was shown before is no answer");
    drop(held);
    server.end().expect(0);
}
