//! `verify --cdn`: whatever an edge shows instead of the active release is found, purged again and named.

use std::fs;

use serde_json::Value;

use crate::support::frozen_edge::{FrozenEdge, Reply};
use crate::support::places::{self, DOCUMENTS};
use crate::support::process::closed_port;
use crate::support::project::Project;
use crate::support::site::Site;

const CHANGED: [&str; 4] = [
    "index.json",
    "places/united-states/crispr/high.json",
    "places/united-states/crispr/low.json",
    "places/united-states/crispr/medium.json",
];
const STEADY: &str = "places/united-states/malaria/low.json";
const GONE: &str = "places/cote-divoire/malaria/low.json";

/// Lets readers fetch at this address, and tells it what has changed if it is to be told.
fn fetched_at(project: &Project, address: &str, is_told: bool) {
    project.configure("sqlite:file.db", "");
    let config = fs::read_to_string(project.config()).expect("read tintype.toml");
    let mut lines = format!("url = \"http://{address}\"\n");
    let mut more = String::new();
    if is_told {
        lines += "purge = \"webhook\"\npurge_timeout = \"1s\"\n";
        more = format!("\n[cdn.webhook]\nurl = \"http://{address}/{{path}}\"\n");
    }
    let config = config.replace("url = \"https://cdn.example.org\"\n", &lines);
    fs::write(project.config(), config + &more).expect("write tintype.toml");
}

/// A site behind an edge that has kept every document of its first release, and isn't told of the second.
fn behind() -> (Project, FrozenEdge) {
    let project = places::sqlite();
    let edge = FrozenEdge::before(project.public());
    fetched_at(&project, &edge.address.to_string(), false);
    project.publish();
    assert_eq!(verify(&project, &["--all"], 0)["looked_at"], DOCUMENTS + 1, "the edge has seen everything");
    project.execute("UPDATE fact SET city = 'Cambridge' WHERE city_id = 1");
    project.publish();
    edge.asked();
    (project, edge)
}

/// The same, and from now on it can be told.
fn told() -> (Project, FrozenEdge) {
    let (project, edge) = behind();
    fetched_at(&project, &edge.address.to_string(), true);
    (project, edge)
}

#[track_caller]
fn verify(project: &Project, arguments: &[&str], code: i32) -> Value {
    project.json(&[&["verify", "--cdn"], arguments].concat(), code)
}

/// What was found: `stale path`.
fn found(said: &Value) -> Vec<String> {
    let findings = said["findings"].as_array().expect("a list");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    findings.iter().map(|finding| format!("{} {}", word(&finding["flaw"]), word(&finding["path"]))).collect()
}

#[test]
fn what_the_last_release_changed_is_looked_at() {
    let (project, edge) = behind();
    let said = verify(&project, &[], 4);
    assert_eq!((&said["outcome"], &said["scope"], &said["purge"]), (&"stale".into(), &"changed".into(), &Value::Null));
    assert_eq!(found(&said), CHANGED.map(|path| format!("stale {path}")));
    let finding = &said["findings"][1];
    assert_eq!((&finding["status"], &finding["age"], &finding["origin"]), (&200.into(), &7.into(), &false.into()));
    assert!(finding["edge"].is_string() && finding["release"].is_string() && finding["edge"] != finding["release"]);
    let mut asked = edge.asked();
    asked.sort();
    assert_eq!(asked, CHANGED, "and nothing else is fetched");
    let finished = project.run(&["verify", "--cdn"]).expect(4);
    finished.explains(&["4 paths at http", "don't show the release", "names nobody"]);
    assert!(finished.text().contains("kept for 7 s"), "{finished}");
}

#[test]
fn keys_all_and_a_sample() {
    let (project, edge) = behind();
    let said = verify(&project, &["places/united-states/crispr/low"], 4);
    assert_eq!((found(&said).len(), &said["scope"], &said["looked_at"]), (1, &"keys".into(), &1.into()), "{said:#}");
    assert_eq!(verify(&project, &["places/united-states/malaria/*"], 0)["outcome"], "fresh");
    let said = verify(&project, &["--all"], 4);
    assert_eq!((&said["looked_at"], found(&said).len()), (&(DOCUMENTS + 1).into(), 4));
    edge.asked();
    let said = verify(&project, &["--all", "--sample", "5"], 4);
    assert_eq!((&said["looked_at"], &said["paths"]), (&5.into(), &(DOCUMENTS + 1).into()));
    let asked = edge.asked();
    assert!(asked.len() == 5 && asked.iter().any(|path| path == "index.json"), "{asked:?}");
    for arguments in [&["--all", STEADY][..], &["--deep"], &["--repair"], &["--parity", "3"], &["--sample", "0"]] {
        assert_eq!(project.run(&[&["verify", "--cdn"], arguments].concat()).code(), 2, "{arguments:?}");
    }
    for arguments in [&["--all"][..], &["--sample", "5"], &["--wait", "5s"]] {
        assert_eq!(project.run(&[&["verify"], arguments].concat()).code(), 2, "{arguments:?} without --cdn");
    }
}

#[test]
fn what_is_stale_is_purged_and_nothing_else() {
    let (project, edge) = told();
    let said = verify(&project, &["-n"], 4);
    assert_eq!((found(&said).len(), &said["purge"]), (4, &Value::Null));
    assert_eq!(said["paths"], DOCUMENTS + 1, "an edge that was never told anything may be behind with every document");
    assert!(edge.purged().is_empty());
    let said = verify(&project, &[], 0);
    assert_eq!((&said["outcome"], &said["purge"]["paths"]), (&"purged".into(), &4.into()), "{said:#}");
    let mut purged = edge.purged();
    purged.sort();
    assert_eq!(purged, CHANGED);
    assert_eq!(verify(&project, &[], 0)["outcome"], "fresh");
}

#[test]
fn every_kind_of_flaw_has_its_name() {
    let (project, edge) = told();
    project.execute("DELETE FROM country WHERE country_id = 2");
    project.json(&["publish", "--no-purge"], 0);
    edge.keep(STEADY, Reply::new(404, &[], b""));
    let packed = fs::read(project.public().file(CHANGED[1])).expect("read a document");
    edge.keep(CHANGED[1], Reply::new(200, &[("Content-Type", "application/json")], &packed));
    let said = verify(&project, &["--all", "-n"], 4);
    let found = found(&said);
    for expected in [
        format!("missing {STEADY}"),
        format!("garbled {}", CHANGED[1]),
        format!("stale {}", CHANGED[2]),
        format!("lingering {GONE}"),
    ] {
        assert!(found.contains(&expected), "{expected} in {found:?}");
    }
    assert_eq!(said["counts"]["lingering"], 9);
    assert_eq!(verify(&project, &["--all"], 0)["outcome"], "purged");
    assert_eq!(verify(&project, &["--all"], 0)["outcome"], "fresh");
}

#[test]
fn an_edge_that_forgets_slowly_is_waited_for() {
    let (project, edge) = told();
    edge.slow(2);
    let said = verify(&project, &[], 0);
    assert_eq!((&said["outcome"], &said["purge"]["purges"]), (&"purged".into(), &1.into()), "{said:#}");
    assert_eq!(edge.purged().len(), 4);
}

#[test]
fn an_edge_that_does_not_forget_is_told_twice_and_given_up() {
    let (project, edge) = told();
    edge.deaf();
    let said = verify(&project, &["--wait", "1s"], 4);
    assert_eq!((&said["outcome"], &said["purge"]["purges"]), (&"stale".into(), &2.into()), "{said:#}");
    assert_eq!(said["purge"]["remaining"].as_array().map(Vec::len), Some(4));
    assert_eq!(edge.purged().len(), 8);
    project.run(&["verify", "--cdn", "--wait", "0s"]).expect(4).explains(&["purged again, and the edge still shows"]);
}

#[test]
fn the_store_is_to_blame_where_it_shows_something_else() {
    let (project, edge) = told();
    verify(&project, &[], 0);
    edge.purged();
    fs::remove_file(project.public().file(CHANGED[2])).expect("remove a document");
    edge.keep(CHANGED[2], Reply::new(404, &[], b""));
    let said = verify(&project, &[], 4);
    assert_eq!((found(&said), &said["findings"][0]["origin"]), (vec![format!("missing {}", CHANGED[2])], &true.into()));
    assert!(edge.purged().is_empty(), "no purge would help");
    project.run(&["verify", "--cdn"]).expect(4).explains(&["the store shows something else", "verify --repair"]);
}

#[test]
fn in_front_of_a_bucket() {
    let site = Site::in_bucket();
    let edge = FrozenEdge::before_bucket(site.bucket());
    let verify = |arguments: &[&str], code| {
        let command = site.project.tintype(&["verify", "--cdn", "--format", "json"]).args(arguments);
        command.env("TINTYPE_CDN_URL", format!("http://{}", edge.address)).run().expect(code).json()
    };
    site.publish(&["Boston"]);
    assert_eq!(verify(&["--all"], 0)["looked_at"], DOCUMENTS + 1);
    site.publish(&["Cambridge"]);
    let said = verify(&[], 4);
    assert_eq!(found(&said), CHANGED.map(|path| format!("stale {path}")));
    assert!(said["findings"].as_array().expect("a list").iter().all(|finding| finding["origin"] == false), "{said:#}");
    fs::remove_file(site.file(CHANGED[1])).expect("remove a document");
    let said = verify(&[], 4);
    assert_eq!((&said["findings"][0]["origin"], &said["findings"][1]["origin"]), (&false.into(), &true.into()));
}

#[test]
fn a_release_that_is_just_being_activated_is_nobodys_to_judge() {
    let (project, edge) = behind();
    let site = Site { project, bucket: None };
    verify(&site.project, &[], 4);
    // What the edge shows is the release before, and that is what was active until now.
    let mut head = site.head();
    let first =
        site.objects().into_iter().find(|name| name.starts_with("release/1-")).expect("there is a first release");
    let before = Value::from(first.trim_start_matches("release/").trim_end_matches(".json"));
    head["active"] = before.clone();
    site.write_head(&head);
    edge.keep(STEADY, Reply::new(404, &[], b""));
    edge.keep(CHANGED[1], Reply::new(404, &[], b""));
    let said = verify(&site.project, &["--all"], 4);
    assert_eq!((&said["release"], &said["moved_to"]), (&before, &head["desired"]), "{said:#}");
    assert_eq!((found(&said), &said["counts"]["moving"]), (vec![format!("missing {STEADY}")], &1.into()));
}

#[test]
fn a_large_document_that_the_edge_has_unpacked() {
    let project = Project::sqlite("CREATE TABLE unused (n INTEGER)");
    let text = "/*---\npath = \"large/{k}.json\"\n---*/\nSELECT 'a' AS k, printf('%.*c', 3000000, 'x') AS text";
    project.template("large", text);
    let edge = FrozenEdge::before(project.public());
    fetched_at(&project, &edge.address.to_string(), false);
    project.publish();
    let mut body = project.public().body("large/a.json");
    let json = [("Content-Type", "application/json")];
    edge.keep("large/a.json", Reply::new(200, &json, &body));
    assert_eq!(verify(&project, &[], 0)["outcome"], "fresh");
    body.push(b' ');
    edge.keep("large/a.json", Reply::new(200, &json, &body));
    assert_eq!(found(&verify(&project, &[], 4)), ["stale large/a.json"]);
}

#[test]
fn an_edge_that_is_away_or_broken_tells_nothing() {
    let (project, edge) = told();
    for (status, words) in [(503, "it answers 503"), (302, "it answers 302 to /elsewhere, which isn't followed")] {
        edge.always(Some(Reply::new(status, &[("Location", "/elsewhere")], b"")));
        let said = verify(&project, &[], 1);
        // This edge has never been told anything, so that every document may be stale.
        let all = Value::from(DOCUMENTS + 1);
        assert_eq!((&said["outcome"], &said["counts"]["unreadable"]), (&"unknown".into(), &all), "{said:#}");
        assert_eq!(said["unreadable"][0]["error"], words);
        assert!(edge.purged().is_empty());
    }
    fetched_at(&project, &format!("127.0.0.1:{}", closed_port()), false);
    assert_eq!(verify(&project, &[], 1)["counts"]["unreadable"], 4);
    project.run(&["verify", "--cdn"]).expect(1).explains(&["couldn't be fetched", "doctor --cdn"]);
}

#[test]
fn without_an_edge_or_a_release_there_is_nothing_to_compare() {
    let project = places::sqlite();
    project.run(&["verify", "--cdn"]).expect(2).explains(&["nothing is published yet"]);
    project.publish();
    let config = fs::read_to_string(project.config()).expect("read tintype.toml");
    fs::write(project.config(), config.replace("url = \"https://cdn.example.org\"\n", "")).expect("write tintype.toml");
    project.run(&["verify", "--cdn"]).expect(2).explains(&["no [cdn] url"]);
}
