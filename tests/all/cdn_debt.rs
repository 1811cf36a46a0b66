//! What is owed to the edges: told by `status`, and paid by whoever comes next.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json as value};
use sqlx::Connection as _;

use crate::support::cdn_api::{Asked, CdnApi, Play, behind_cdn, json, many, tintype};
use crate::support::postgres::runtime;
use crate::support::project::Project;
use crate::support::wait::wait_until;

fn ok(_: &Asked) -> Play {
    Play::Say(200, Vec::new(), String::new())
}

/// A published project of three documents behind a CDN that knows everything.
fn published(timeout: &str) -> (Project, CdnApi) {
    let api = CdnApi::start(ok);
    let project = many(3);
    let own = format!("purge_timeout = \"{timeout}\"\n[cdn.webhook]\nurl = \"{}/hook\"", api.url());
    behind_cdn(&project, &format!("purge = \"webhook\"\n{own}"));
    json(&project, &["publish"], 0);
    assert_eq!(api.take().len(), 1);
    assert_eq!(json(&project, &["status"], 0)["purge"], value!({ "outcome": "done", "since": null, "paths": null }));
    (project, api)
}

/// The paths that the CDN was told of, request by request.
fn told(api: &CdnApi) -> Vec<Value> {
    api.take().iter().map(|asked| asked.json()["paths"].clone()).collect()
}

fn paths(names: &[&str]) -> Value {
    let documents = names.iter().map(|name| format!("/m%C3%A4ps/many/{name}.json"));
    // Every release is named in the catalogue.
    std::iter::once("/m%C3%A4ps/index.json".to_owned()).chain(documents).collect::<Vec<_>>().into()
}

#[test]
fn an_api_that_is_down_makes_nothing_forgotten() {
    let (project, api) = published("1s");
    let first = project.head()["active"].clone();
    api.play(|_| Play::Say(503, Vec::new(), "maintenance".to_owned()));
    project.execute("UPDATE t SET n = 100 WHERE k = 'k0001'");
    let document = json(&project, &["publish"], 4);
    let purge = &document["purge"];
    assert_eq!(
        (&document["outcome"], &purge["outcome"], &purge["paths"]),
        (&"published".into(), &"pending".into(), &2.into())
    );
    assert!(api.take().len() > 1, "it is tried for a while");
    assert_eq!(json(&project, &["status"], 0)["purge"], value!({ "outcome": "pending", "since": first, "paths": 2 }));
    let shown = project.run(&["status"]).expect(0);
    assert!(shown.text().contains("purge pending"), "{shown}");
    // A -> B -> A: nothing differs any more, and an edge may have kept what was there in between.
    project.execute("UPDATE t SET n = 1 WHERE k = 'k0001'; UPDATE t SET n = 200 WHERE k = 'k0002'");
    let ended = tintype(&project, &["publish"]).run().expect(4);
    ended.explains(&["503: maintenance", "purge_timeout", "purge --resume"]);
    assert_eq!(json(&project, &["purge", "--resume"], 4)["outcome"], "pending");
    api.take();
    api.play(ok);
    let document = json(&project, &["purge", "--resume"], 0);
    assert_eq!((&document["outcome"], &document["purge"]["paths"]), (&"done".into(), &3.into()));
    assert_eq!(told(&api), [paths(&["r1/k0001", "r2/k0002"])]);
    assert_eq!(json(&project, &["status"], 0)["purge"]["outcome"], "done");
    json(&project, &["purge", "--resume"], 0);
    assert_eq!(api.count(), 0, "nothing is owed any more");
}

#[test]
fn a_run_that_is_killed_before_the_purge_leaves_the_debt() {
    for next in [&["purge", "--resume"][..], &["publish"], &["resume"]] {
        let (project, api) = published("2m");
        api.play(|_| Play::Hang);
        project.execute("UPDATE t SET n = 100 WHERE k = 'k0003'");
        let mut running = tintype(&project, &["publish"]).start();
        wait_until("the purge to be sent", Duration::from_mins(1), || api.count() > 0 || running.has_ended());
        running.signal(Signal::KILL);
        let _ = running.finish();
        let head = project.head();
        assert!(head["active"] == head["desired"] && head["purged"] != head["active"], "{head}");
        api.take();
        api.play(ok);
        json(&project, next, 0);
        assert_eq!(told(&api), [paths(&["r3/k0003"])], "{next:?}");
        assert_eq!(project.head()["purged"], project.head()["active"]);
    }
}

#[test]
fn a_signal_in_the_purge_says_what_it_leaves() {
    let (project, api) = published("2m");
    api.play(|_| Play::Hang);
    project.execute("UPDATE t SET n = 100 WHERE k = 'k0003'");
    let mut running = tintype(&project, &["publish"]).start();
    wait_until("the purge to be sent", Duration::from_mins(1), || api.count() > 0 || running.has_ended());
    running.signal(Signal::TERM);
    let ended = running.finish().expect(143);
    // The fallback table may be written by then, or not.
    for words in ["is live", "the edges weren't all told", " -c ", "resume`"] {
        assert!(ended.stderr.contains(words), "{ended}");
    }
}

#[test]
fn what_was_repaired_is_purged() {
    let (project, api) = published("1s");
    let spoil = || {
        let file = project.public().file("many/r2/k0002.json");
        std::fs::remove_file(&file).expect("remove it");
        std::fs::write(file, "half a docu").expect("spoil it");
    };
    spoil();
    let document = json(&project, &["verify", "--repair"], 0);
    assert_eq!(document["repair"]["purge"]["outcome"], "done", "{document:#}");
    assert_eq!(told(&api), [value!(["/m%C3%A4ps/many/r2/k0002.json"])]);
    spoil();
    api.play(|_| Play::Say(503, Vec::new(), "maintenance".to_owned()));
    tintype(&project, &["verify", "--repair"]).run().expect(4).explains(&["503: maintenance", "purge --resume"]);
    json(&project, &["verify"], 0);
    // The store is right by now, and only the head knows that an edge may not be.
    assert_eq!(json(&project, &["status"], 0)["purge"]["paths"], 1);
    let metrics = project.root().join("tintype.prom");
    let file = metrics.display().to_string();
    tintype(&project, &["publish", "--metrics-file", &file]).run().expect(4);
    let metrics = std::fs::read_to_string(metrics).expect("read the metrics");
    assert!(metrics.lines().any(|line| line == "tintype_purge_pending 1"), "{metrics}");
    api.take();
    api.play(ok);
    json(&project, &["publish"], 0);
    assert_eq!(told(&api), [value!(["/m%C3%A4ps/many/r2/k0002.json"])]);
    assert_eq!(json(&project, &["status"], 0)["purge"]["outcome"], "done");
}

#[test]
fn a_repair_that_is_killed_before_the_purge_leaves_the_debt() {
    let (project, api) = published("2m");
    let file = project.public().file("many/r2/k0002.json");
    std::fs::remove_file(&file).expect("remove it");
    std::fs::write(file, "half a docu").expect("spoil it");
    api.play(|_| Play::Hang);
    let mut running = tintype(&project, &["verify", "--repair"]).start();
    wait_until("the purge to be sent", Duration::from_mins(1), || api.count() > 0 || running.has_ended());
    running.signal(Signal::KILL);
    let _ = running.finish();
    api.take();
    api.play(ok);
    json(&project, &["purge", "--resume"], 0);
    assert_eq!(told(&api), [value!(["/m%C3%A4ps/many/r2/k0002.json"])]);
}

#[test]
fn a_repair_that_died_over_its_work_is_owed_until_somebody_ends_it() {
    let (project, api) = published("2m");
    let file = project.root().join(".tintype/head.json");
    let mut head = project.head();
    let path = "many/r2/k0002.json";
    // As a repair leaves it that is killed between its note and its end.
    head["mended"] = value!([path]);
    head["lease"] =
        value!({ "holder": "gone", "epoch": 1_000, "ttl_seconds": 120, "taken_at": "2026-01-02T03:04:05Z" });
    std::fs::write(&file, head.to_string()).expect("write head.json");
    let ended = tintype(&project, &["purge", "--resume"]).run().expect(4);
    ended.explains(&["1 mended path: gone, which is mending", "2026-01-02 03:04 UTC", "tintype ", "resume"]);
    assert_eq!(told(&api).len(), 1);
    assert_eq!(json(&project, &["status"], 0)["purge"]["outcome"], "pending");
    let shown = project.run(&["status"]).expect(0);
    assert!(shown.text().contains("the edges weren't told of what was repaired, 1 path"), "{shown}");
    assert!(shown.text().contains("`tintype -c "), "a command is shown as it has to be typed: {shown}");
    json(&project, &["resume"], 0);
    assert_eq!(told(&api), [value!([format!("/m%C3%A4ps/{path}")])]);
    assert_eq!(json(&project, &["status"], 0)["purge"]["outcome"], "done");
    assert!(project.head()["lease"].is_null());
}

#[test]
fn everything_is_also_what_was_removed() {
    let api = CdnApi::start(ok);
    let project = many(3);
    behind_cdn(&project, &format!("purge = \"webhook\"\n[cdn.webhook]\nurl = \"{}/{{path}}\"", api.url()));
    json(&project, &["publish"], 0);
    project.execute("DELETE FROM t WHERE k = 'k0001'");
    json(&project, &["publish", "--no-purge", "--accept-guard", "all", "-y"], 0);
    api.take();
    json(&project, &["purge", "-y"], 0);
    let mut asked: Vec<String> = api.take().into_iter().map(|asked| asked.path).collect();
    asked.sort();
    let all = paths(&["r1/k0001", "r2/k0002", "r3/k0003"]);
    assert_eq!(value!(asked), all);
    assert_eq!(json(&project, &["status"], 0)["purge"]["outcome"], "done");
}

#[test]
fn leftovers_are_named_however_many_went() {
    let api = CdnApi::start(ok);
    let project = many(3);
    let own = format!("purge_timeout = \"1s\"\n[cdn.webhook]\nurl = \"{}/{{path}}\"", api.url());
    behind_cdn(&project, &format!("purge = \"webhook\"\n{own}"));
    json(&project, &["publish"], 0);
    for number in 0..1_100 {
        std::fs::write(project.public().file(&format!("many/r1/left{number:04}.json")), "{}").expect("leave it");
    }
    api.play(|_| Play::Say(400, Vec::new(), String::new()));
    let repair = &json(&project, &["verify", "--repair", "-y"], 4)["repair"];
    assert_eq!((&repair["removed"], &repair["postponed"]), (&1_100.into(), &0.into()));
    api.take();
    api.play(ok);
    json(&project, &["purge", "--resume"], 0);
    let asked: BTreeSet<String> = api.take().into_iter().map(|asked| asked.path).collect();
    let named = (0..1_100).filter(|number| asked.contains(&format!("/m%C3%A4ps/many/r1/left{number:04}.json")));
    assert_eq!((named.count(), asked.len()), (1_100, 1_104), "no document of the release tells of them");
    assert_eq!(json(&project, &["status"], 0)["purge"]["outcome"], "done");
}

#[test]
fn another_cdn_is_told_everything() {
    let (project, api) = published("1s");
    let text = std::fs::read_to_string(project.config()).expect("read tintype.toml");
    std::fs::write(project.config(), text.replace("/hook", "/other")).expect("write tintype.toml");
    assert_eq!(json(&project, &["status"], 0)["purge"], value!({ "outcome": "pending", "since": null, "paths": null }));
    json(&project, &["publish"], 0);
    let [asked] = api.take().try_into().expect("one purge");
    assert_eq!((asked.path.as_str(), &asked.json()["purge"]), ("/other", &"everything".into()));
    json(&project, &["publish"], 0);
    assert_eq!(api.count(), 0);
}

#[test]
fn resume_says_what_it_tells_the_edges() {
    let (project, api) = published("1s");
    project.execute("UPDATE t SET n = 100 WHERE k = 'k0003'");
    json(&project, &["publish", "--no-purge"], 0);
    assert_eq!(json(&project, &["resume", "-n"], 0)["purge"]["paths"], 2);
    let planned = project.run(&["resume", "-n"]).expect(0);
    assert!(planned.text().contains("2 paths") && !planned.text().contains("nothing to resume"), "{planned}");
    assert_eq!(api.count(), 0);
    let ended = tintype(&project, &["resume", "-v"]).run().expect(0);
    assert!(ended.stderr.contains("Purged") && ended.stderr.contains("2 paths"), "{ended}");
    assert_eq!(told(&api), [paths(&["r3/k0003"])]);
    assert!(project.run(&["resume", "-n"]).expect(0).text().contains("nothing to resume"));
}

#[test]
fn what_cannot_even_be_planned_is_told_as_a_purge() {
    let (project, _api) = published("1s");
    project.execute("UPDATE t SET n = 100 WHERE k = 'k0003'");
    let second = json(&project, &["publish", "--no-purge"], 0);
    project.execute("UPDATE t SET n = 200 WHERE k = 'k0003'");
    json(&project, &["publish", "--no-purge"], 0);
    let second = second["release"].as_str().expect("a release");
    std::fs::remove_file(project.root().join(format!(".tintype/release/{second}.json"))).expect("remove the root");
    let document = json(&project, &["publish"], 4);
    assert_eq!(document["purge"]["outcome"], "pending");
    assert!(document["purge"]["error"].as_str().is_some_and(|error| error.contains(second)), "{document:#}");
    let ended = tintype(&project, &["publish"]).run().expect(4);
    ended.explains(&["edges may still show older documents", second]);
    assert!(!ended.stderr.contains("not finished"), "{ended}");
}

#[test]
fn a_signal_names_the_edges_and_the_table_alike() {
    let (project, api) = published("2m");
    // The table waits for whoever has its file, and the edges for their CDN.
    let text = std::fs::read_to_string(project.config()).expect("read tintype.toml");
    let with_table = format!("{text}\n[fallback]\ntable_url = \"sqlite:table.db\"\n");
    std::fs::write(project.config(), with_table).expect("write tintype.toml");
    json(&project, &["publish"], 0);
    api.play(|_| Play::Hang);
    project.execute("UPDATE t SET n = 100 WHERE k = 'k0003'");
    let file = project.root().join("table.db");
    let mut other = runtime().block_on(sqlx::SqliteConnection::connect(&file.display().to_string())).expect("open");
    runtime().block_on(sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other)).expect("lock");
    let mut running = tintype(&project, &["publish"]).start();
    wait_until("the purge to be sent", Duration::from_mins(1), || api.count() > 0 || running.has_ended());
    running.signal(Signal::TERM);
    let ended = running.finish().expect(143);
    runtime().block_on(other.close()).expect("close");
    for words in ["the edges weren't all told", "fallback table", "resume`"] {
        assert!(ended.stderr.contains(words), "{ended}");
    }
}

#[test]
fn a_signal_in_a_purge_of_keys_says_that_nobody_else_does_it() {
    let (project, api) = published("2m");
    api.play(|_| Play::Hang);
    let mut running = tintype(&project, &["purge", "many/r1/*"]).start();
    wait_until("the purge to be sent", Duration::from_mins(1), || api.count() > 0 || running.has_ended());
    running.signal(Signal::TERM);
    let ended = running.finish().expect(143);
    assert!(ended.stderr.contains("run the command again") && !ended.stderr.contains("--resume"), "{ended}");
}

#[test]
fn an_editor_purges_what_is_named() {
    let (project, api) = published("2m");
    let url = "https://cdn.example.org/m%C3%A4ps/many/r2/k0002.json";
    let document = json(&project, &["republish", url], 0);
    assert_eq!(document["purge"]["outcome"], "done");
    assert_eq!(told(&api), [paths(&["r2/k0002"])], "also what didn't change");
    let document = json(&project, &["purge", "many/r1/*", url], 0);
    assert_eq!((&document["purge"]["paths"], &document["purge"]["requests"]), (&2.into(), &1.into()));
    let named = ["/m%C3%A4ps/many/r1/k0001.json", "/m%C3%A4ps/many/r2/k0002.json"];
    assert_eq!(told(&api), [value!(named)]);
    // What isn't there may lie at an edge all the same; and it may be a slip of the finger.
    let gone = ["many/r1/k0009.json", "https://cdn.example.org/m%C3%A4ps/index.json"];
    let mistyped = tintype(&project, &["purge", gone[0], gone[1]]).run().expect(2);
    mistyped.explains(&[
        "nothing is published at `many/r1/k0009.json`",
        "did you mean `many/r1/k0001.json`?",
        "--force",
    ]);
    assert_eq!(api.count(), 0);
    let document = json(&project, &["purge", gone[0], gone[1], "--force"], 0);
    assert_eq!(document["plan"], value!([{ "paths": ["index.json", gone[0]] }]), "real runs show it too");
    assert_eq!(told(&api), [value!(["/m%C3%A4ps/index.json", "/m%C3%A4ps/many/r1/k0009.json"])]);
    project.run(&["purge", "many/r1/k9"]).expect(2).explains(&["isn't in the release"]);
    project.run(&["purge"]).expect(2).explains(&["purge every document", "--yes"]);
    let planned = project.run(&["purge", "-n", "many"]).expect(0);
    assert!(planned.text().contains("many/r3/k0003.json"), "{planned}");
    assert_eq!(api.count(), 0);
    json(&project, &["purge", "-y"], 0);
    assert_eq!(api.take()[0].json()["purge"], "everything");
    api.play(|_| Play::Say(400, Vec::new(), String::new()));
    tintype(&project, &["purge", "many/r1/*"]).run().expect(4).explains(&["answered 400", "run the command again"]);
    api.play(ok);
    api.take();
    project.execute("DELETE FROM t WHERE k = 'k0001'");
    json(&project, &["publish", "--accept-guard", "all", "-y"], 0);
    let gone = told(&api);
    assert!(gone[0].as_array().is_some_and(|told| told.contains(&"/m%C3%A4ps/many/r1/k0001.json".into())), "{gone:?}");
    json(&project, &["purge", "many/r1/k0001.json"], 0);
    assert_eq!(told(&api), [value!(["/m%C3%A4ps/many/r1/k0001.json"])], "it was published once");
    json(&project, &["rollback", "-y"], 0);
    let back = told(&api);
    assert!(back[0].as_array().is_some_and(|told| told.contains(&"/m%C3%A4ps/index.json".into())), "{back:?}");
    project.configure("sqlite:gone.db", "");
    project.run(&["purge", "-y"]).expect(2).explains(&["no CDN to purge", "[cdn] purge"]);
}
