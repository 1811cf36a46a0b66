//! `tintype serve` over a folder that isn't there, as while its file system isn't mounted, and over one without a release.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::http;
use crate::support::places;
use crate::support::project::Project;
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

const MINUTE: Duration = Duration::from_mins(1);
const PATH: &str = "/places/united-states/crispr/low.json";
/// Both folders of the store.
const FOLDERS: [&str; 2] = ["public", ".tintype"];

/// A site in a folder; its table, if it has one, lies elsewhere.
fn project(table: &str) -> Project {
    let project = places::sqlite();
    project.configure("sqlite:file.db", &format!("[fallback]\nfollow = \"1s\"\nreread = \"1s\"\n{table}\n"));
    project
}

/// Takes folders of the store away, or brings them back.
fn mount(project: &Project, folders: &[&str], is_mounted: bool) {
    for folder in folders {
        let (here, away) = (project.root().join(folder), project.root().join(format!("{folder}-away")));
        let (from, to) = if is_mounted { (away, here) } else { (here, away) };
        fs::rename(from, to).expect("move the folder");
    }
}

/// What it is answered with: by a source or with a status, and for whom to keep.
fn answered(server: &Serving, path: &str) -> (String, String) {
    let answer = server.get(path);
    let control = answer.header("cache-control").to_owned();
    let said =
        if answer.status == 200 { answer.header("x-tintype-source").to_owned() } else { answer.status.to_string() };
    (said, control)
}

#[track_caller]
fn is_kept_by_nobody(server: &Serving, path: &str, said: &str) {
    assert_eq!(answered(server, path), (said.to_owned(), "no-store".to_owned()), "{path}");
}

/// What the operator is told at `/health`; others aren't told what folders and hosts are called.
#[track_caller]
fn health(server: &Serving) -> Value {
    let said = |address| serde_json::from_slice(&http::get(address, "/health", &[]).body).expect("JSON");
    let (operators, readers): (Value, Value) = (said(server.admin), said(server.address));
    if readers["store"]["status"] == "unhealthy" {
        assert!(readers["store"]["reason"].is_null() && readers["store"]["hint"].is_null(), "{readers:#}");
    }
    operators
}

/// The store is down, and the operator is told why and what to do, at `/health` and in the log.
#[track_caller]
fn is_down(server: &Serving, reason: &str, hint: &str) {
    wait_until(reason, MINUTE, || {
        let health = health(server);
        let has = |name: &str, part: &str| health["store"][name].as_str().is_some_and(|words| words.contains(part));
        has("reason", reason) && has("hint", hint)
    });
    let health = health(server);
    assert_eq!(
        (&health["status"], &health["store"]["status"]),
        (&"degraded".into(), &"unhealthy".into()),
        "{health:#}"
    );
    assert_eq!(server.metric("tintype_store_up"), 0);
}

#[test]
fn a_folder_that_is_gone_is_a_store_that_is_down() {
    let project = project("table_url = \"sqlite:table.db\"");
    project.publish();
    mount(&project, &FOLDERS, false);
    let server = Serving::start(&project);
    // The table has what was published, and nobody knows whether there isn't more.
    for path in [PATH, "/index.json"] {
        assert_eq!(answered(&server, path).0, "table", "{path}");
    }
    is_kept_by_nobody(&server, "/index/no/such.json", "503");
    is_down(&server, "public: there is no such folder", "mounted");
    mount(&project, &FOLDERS, true);
    wait_until("the store", MINUTE, || server.metric("tintype_store_up") == 1);
    assert_eq!(answered(&server, "/places/united-states/malaria/low.json").0, "store");
    assert_eq!(
        answered(&server, "/index/no/such.json"),
        ("404".to_owned(), "public, max-age=0, s-maxage=60".to_owned())
    );
    let health = health(&server);
    assert_eq!((&health["status"], &health["store"]["reason"]), (&"healthy".into(), &Value::Null), "{health:#}");
    let log = server.end().expect(0).stderr;
    assert!(log.contains("there is no such folder") && log.contains("mounted"), "{log}");
}

#[test]
fn without_the_folder_the_database_answers_and_no_edge_keeps_that() {
    let project = project("table = false");
    project.publish();
    mount(&project, &FOLDERS, false);
    let server = Serving::start(&project);
    is_kept_by_nobody(&server, PATH, "live");
    is_kept_by_nobody(&server, PATH, "memory");
    is_kept_by_nobody(&server, "/index.json", "503");
    is_kept_by_nobody(&server, "/places/atlantis/crispr/low.json", "503");
    is_down(&server, "public: there is no such folder", "`tintype publish`");
    server.end().expect(0);
}

#[test]
fn a_folder_without_a_release_says_so_and_no_edge_keeps_what_it_has_not() {
    let project = project("table = false");
    project.make_public();
    let server = Serving::start(&project);
    is_kept_by_nobody(&server, PATH, "live");
    is_kept_by_nobody(&server, "/index.json", "404");
    is_kept_by_nobody(&server, "/places/atlantis/crispr/low.json", "404");
    assert_eq!(server.metric("tintype_store_up"), 1);
    let said = health(&server);
    assert_eq!((&said["status"], &said["store"]["status"]), (&"degraded".into(), &"healthy".into()), "{said:#}");
    let reason = said["store"]["reason"].as_str().unwrap_or_default();
    assert!(said["release"].is_null() && reason == "there is no release yet", "{said:#}");
    project.publish();
    wait_until("the release", MINUTE, || answered(&server, "/index.json").0 == "store");
    for path in [PATH, "/index.json", "/places/atlantis/crispr/low.json"] {
        assert!(answered(&server, path).1.contains("s-maxage=60"), "{path}: {:?}", answered(&server, path));
    }
    let health = health(&server);
    assert_eq!((&health["status"], &health["store"]["reason"]), (&"healthy".into(), &Value::Null), "{health:#}");
    server.end().expect(0);
}

/// An empty mount point in place of the release: what it was is known, and comes from elsewhere.
#[test]
fn a_release_that_vanishes_is_a_store_that_is_down() {
    let project = project("table_url = \"sqlite:table.db\"");
    project.publish();
    let server = Serving::start(&project);
    assert_eq!(answered(&server, PATH).0, "store");
    mount(&project, &FOLDERS, false);
    let empty: PathBuf = project.root().join("public");
    fs::create_dir(&empty).expect("make the mount point");
    is_down(&server, "had the release", "mounted");
    assert_eq!(answered(&server, "/index.json").0, "table");
    assert_eq!(answered(&server, "/places/atlantis/crispr/low.json").0, "404");
    fs::remove_dir(&empty).expect("remove the mount point");
    mount(&project, &FOLDERS, true);
    wait_until("the store", MINUTE, || server.metric("tintype_store_up") == 1);
    server.end().expect(0);
}

/// An empty mount point from the beginning: nobody here has seen a release, but the table has one.
#[test]
fn a_release_that_only_the_table_knows_is_of_a_store_that_is_down() {
    let project = project("table_url = \"sqlite:table.db\"");
    project.publish();
    mount(&project, &FOLDERS, false);
    project.make_public();
    let server = Serving::start(&project);
    assert_eq!(answered(&server, "/index.json").0, "table");
    is_down(&server, "the fallback table shows 1-", "mounted");
    is_kept_by_nobody(&server, "/places/atlantis/crispr/low.json", "503");
    fs::remove_dir(project.root().join("public")).expect("remove the mount point");
    mount(&project, &FOLDERS, true);
    wait_until("the store", MINUTE, || server.metric("tintype_store_up") == 1);
    assert_eq!(server.metric("tintype_release_serial"), 1);
    server.end().expect(0);
}

/// Documents without a record of what they are: the folder with the records isn't mounted.
#[test]
fn documents_without_records_are_a_store_that_is_down() {
    let project = project("table = false");
    project.publish();
    mount(&project, &[".tintype"], false);
    let server = Serving::start(&project);
    is_kept_by_nobody(&server, PATH, "live");
    is_kept_by_nobody(&server, "/index.json", "503");
    is_down(&server, ".tintype: ", "mounted");
    server.end().expect(0);
}
