//! A release that `tintype serve` can't see, because the store is away from it alone, while the fallback table has it.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::fallback::{self, unpacked};
use crate::support::http::Response;
use crate::support::places::TEMPLATE;
use crate::support::postgres::Session;
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

const MINUTE: Duration = Duration::from_mins(1);
const CHANGED: &str = "/places/united-states/crispr/high.json";
const AS_BEFORE: &str = "/places/united-states/crispr/low.json";
const REMOVED: &str = "/places/united-states/malaria/low.json";
const NEW: &str = "/places/united-states/cholera/low.json";
/// Of a topic that isn't published, because it isn't among the first ones.
const BESIDE: &str = "/places/united-states/sepsis/low.json";

#[test]
fn a_table_that_is_ahead_of_the_store_is_believed() {
    for world in fallback::worlds() {
        let project = &world.project;
        let some = TEMPLATE.replacen("papers DESC, slug\"\n", "papers DESC, slug\"\npublish = 2\n", 1);
        project.template("places", &some.replace("---*/", "[limits]\nper_minute = 6\n---*/"));
        project.publish();
        let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
        let server = Serving::of(command.env("TINTYPE_FALLBACK_FOLLOW", "1s"));
        let get = |path: &str| {
            let answer = server.get(path);
            let body = if answer.status == 200 { unpacked(&answer.body) } else { Vec::new() };
            let text = String::from_utf8(body).expect("UTF-8");
            (answer.status, answer.header("x-tintype-source").to_owned(), text)
        };
        let before: Vec<String> = [CHANGED, AS_BEFORE, REMOVED]
            .map(|path| {
                let (status, source, text) = get(path);
                assert_eq!((status, source.as_str()), (200, "store"), "{path}");
                text
            })
            .into();
        project.execute(
            "DELETE FROM fact WHERE topic = 'malaria'; DELETE FROM topic WHERE slug = 'malaria';
             INSERT INTO topic VALUES ('cholera', 'Cholera', 15);
             INSERT INTO fact VALUES (6, 'United States', 'cholera', 1, 'Boston', 100, 3);
             UPDATE fact SET city = 'Salem' WHERE fact_id = 1",
        );
        // While it looks away, a release is published, and then the store is gone.
        server.signal(Signal::STOP);
        project.run(&["publish", "--yes", "--force"]).expect(0);
        let (head, away) = (project.root().join(".tintype/head.json"), project.root().join("head"));
        fs::rename(&head, &away).expect("move the head away");
        server.signal(Signal::CONT);
        wait_until("the table's word", MINUTE, || get(CHANGED).1 == "table");
        assert_eq!(server.metric("tintype_release_serial"), 1, "{}", world.engine);

        let (status, source, text) = get(CHANGED);
        assert_eq!((status, source.as_str(), text.contains("Salem")), (200, "memory", true), "{}", world.engine);
        assert!(!before[0].contains("Salem"));
        let (status, source, text) = get(AS_BEFORE);
        assert_eq!((status, source.as_str()), (200, "table"), "{}: {text}", world.engine);
        assert_eq!(get(NEW).1, "table", "{}", world.engine);
        // The keys are read again for what isn't shown any more.
        wait_until("the keys", MINUTE, || get(REMOVED).0 != 503);
        assert_eq!(get(REMOVED).0, 404, "{}: {}", world.engine, before[2]);
        wait_until("the keys", MINUTE, || get(BESIDE).0 != 503);
        assert_eq!((get(BESIDE).0, get("/places/united-states/none/low.json").0), (200, 404), "{}", world.engine);
        // What is published costs nobody a share of the database.
        let paths: Vec<String> = project.public().paths().into_iter().map(|path| format!("/{path}")).collect();
        for path in paths.iter().chain(&paths) {
            let (status, source, _) = get(path);
            assert!(status == 200 && ["table", "memory"].contains(&source.as_str()), "{path}: {status} from {source}");
        }
        assert_eq!(server.metric("tintype_fallback_rate_limited_total"), 0, "{}", world.engine);

        fs::rename(&away, &head).expect("put the head back");
        wait_until("the release", MINUTE, || server.metric("tintype_release_serial") == 2);
        let (status, _, text) = get(CHANGED);
        assert_eq!((status, text.contains("Salem"), get(REMOVED).0), (200, true, 404), "{}", world.engine);
        let ended = server.end().expect(0);
        assert!(ended.stderr.is_empty() || !ended.stderr.contains("panicked"), "{ended}");
    }
}

#[test]
fn who_only_has_to_wait_is_not_sent_what_was_replaced() {
    /// Before a database there are so many places, of which one client may have half.
    const PLACES: usize = 20;
    let Some(world) = fallback::server_world("") else { return };
    let project = &world.project;
    project.publish();
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
    let server = Serving::of(command.env("TINTYPE_FALLBACK_FOLLOW", "1s"));
    let paths = project.public().paths().into_iter().map(|path| format!("/{path}"));
    let paths: Vec<String> = paths.filter(|path| path.starts_with("/places/")).collect();
    assert!(paths.len() > PLACES / 2, "{paths:?}");
    for path in &paths {
        assert_eq!(server.get(path).header("x-tintype-source"), "store");
    }
    project.execute("UPDATE fact SET city = 'Salem' WHERE fact_id = 1");
    server.signal(Signal::STOP);
    project.run(&["publish", "--yes", "--force"]).expect(0);
    let head = project.root().join(".tintype/head.json");
    fs::rename(&head, project.root().join("head")).expect("move the head away");
    server.signal(Signal::CONT);
    wait_until("the table's word", MINUTE, || server.get("/index.json").header("x-tintype-source") == "table");
    let mut lock = Session::connect(&project.database().url());
    lock.query("BEGIN");
    lock.query("LOCK TABLE tintype_snapshot IN ACCESS EXCLUSIVE MODE");
    let answers: Vec<Response> = std::thread::scope(|scope| {
        let server = &server;
        let readers: Vec<_> = paths.iter().map(|path| scope.spawn(move || server.get(path))).collect();
        readers.into_iter().map(|reader| reader.join().expect("an answer")).collect()
    });
    lock.query("COMMIT");
    let busy = answers.iter().filter(|answer| answer.status == 503 && answer.text().contains("\"busy\"")).count();
    let told: Vec<(u16, &str)> =
        answers.iter().map(|answer| (answer.status, answer.header("x-tintype-source"))).collect();
    assert!(busy >= paths.len() - PLACES / 2, "{told:?}");
    wait_until("the table to be read again", MINUTE, || {
        let answer = server.get(CHANGED);
        answer.status == 200 && String::from_utf8_lossy(&unpacked(&answer.body)).contains("Salem")
    });
    server.end().expect(0);
}
