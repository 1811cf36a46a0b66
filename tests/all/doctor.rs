//! The doctor on a directory, and what it says of database, templates and CDN.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::bucket::Bucket;
use crate::support::places;
use crate::support::process::{closed_port, copy_binary};
use crate::support::project::Project;
use crate::support::s3_server::{Fault, Kind};

/// A project whose readers fetch from here; nobody does where there is nothing to name.
pub fn with_cdn(project: &Project, url: Option<&str>) {
    let config = fs::read_to_string(project.config()).expect("read tintype.toml");
    let line = url.map(|url| format!("url = \"{url}\"\n")).unwrap_or_default();
    let config = config.replace("url = \"https://cdn.example.org\"\n", &line);
    fs::write(project.config(), config).expect("write tintype.toml");
}

fn project() -> Project {
    let project = places::sqlite();
    with_cdn(&project, None);
    project
}

/// One check of a document of `doctor`.
#[track_caller]
pub fn check<'a>(document: &'a Value, section: &str, name: &str) -> &'a Value {
    let checks = document[section]["checks"].as_array().expect("a list of checks");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {document:#}"))
}

#[track_caller]
fn outcome(document: &Value, section: &str, name: &str) -> String {
    check(document, section, name)["outcome"].as_str().expect("a word").to_owned()
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("list the folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_directory_in_order() {
    let project = project();
    let before = entries(project.root());
    let said = project.json(&["doctor"], 0);
    assert_eq!((&said["outcome"], &said["store"]["kind"]), (&json!("ok"), &json!("directory")));
    for name in [
        "owner",
        "write-records",
        "write-documents",
        "same-file-system",
        "hard-links",
        "rename-over",
        "locks",
        "sync",
        "names",
    ] {
        assert_eq!(outcome(&said, "store", name), "ok", "{said:#}");
    }
    assert_eq!(outcome(&said, "database", "database"), "ok");
    assert_eq!(said["database"]["servers"][0]["tls"], Value::Null);
    assert_eq!((&said["templates"]["readable"], outcome(&said, "templates", "templates").as_str()), (&json!(1), "ok"));
    assert_eq!(outcome(&said, "cdn", "records-hidden"), "skipped");
    assert_eq!(outcome(&said, "cdn", "clients-apart"), "skipped");
    assert_eq!(entries(project.root()), before, "what wasn't there before isn't there now");
    project.publish();
    let stamps = project.stamps();
    project.json(&["doctor"], 0);
    assert_eq!(project.stamps().keys().collect::<Vec<_>>(), stamps.keys().collect::<Vec<_>>());
}

/// The binary where an unprivileged user can start it: the build folder may lie in a closed home directory.
fn binary_for_all(project: &Project) -> std::path::PathBuf {
    fs::set_permissions(project.root(), fs::Permissions::from_mode(0o755)).expect("open the folder");
    let program = project.root().join("program");
    copy_binary(&program);
    program
}

#[test]
fn a_directory_that_can_not_be_written() {
    let project = project();
    project.publish();
    let program = binary_for_all(&project);
    for (folder, name) in [("public", "write-documents"), (".tintype", "write-records")] {
        let set = |mode| fs::set_permissions(project.root().join(folder), fs::Permissions::from_mode(mode));
        let others: [&str; 2] = ["public", ".tintype"];
        for other in others {
            fs::set_permissions(project.root().join(other), fs::Permissions::from_mode(0o777))
                .expect("open the folder");
        }
        set(0o555).expect("close the folder");
        let command = project.tintype(&["doctor", "--format", "json"]).unprivileged(program.clone());
        let said = command.run().expect(1).json();
        assert_eq!(outcome(&said, "store", name), "broken", "{said:#}");
        assert!(check(&said, "store", name)["detail"].as_str().is_some_and(|detail| detail.contains("denied")));
        assert_eq!(outcome(&said, "store", "remaining"), "skipped");
        set(0o755).expect("open the folder");
    }
}

#[test]
fn a_control_folder_on_another_file_system() {
    let project = project();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    let device = |path: &Path| fs::metadata(path).expect("the folder is there").dev();
    if device(other.path()) == device(project.root()) {
        return;
    }
    let command = project.tintype(&["doctor", "--format", "json"]);
    let said = command.env("TINTYPE_STORE_CONTROL", other.path().join("control")).run().expect(0).json();
    for name in ["same-file-system", "hard-links"] {
        assert_eq!(outcome(&said, "store", name), "missing", "{said:#}");
    }
    assert_eq!(said["outcome"], "ok", "it costs space, and nothing else");
}

#[test]
fn a_control_folder_of_another_site() {
    let project = project();
    project.publish();
    let command = project.tintype(&["doctor", "--format", "json"]).env("TINTYPE_STORE_URL", "file:staging");
    let said = command.run().expect(1).json();
    assert_eq!(outcome(&said, "store", "owner"), "broken", "{said:#}");
    assert!(!project.root().join("staging").exists());
}

#[test]
fn a_database_that_is_away() {
    let project = project();
    let url = format!("postgres://nobody@127.0.0.1:{}/nothing", closed_port());
    let command = project.tintype(&["doctor", "--format", "json"]).env("TINTYPE_DATABASE_URL", &url);
    let said = command.run().expect(1).json();
    assert_eq!(outcome(&said, "database", "database"), "broken", "{said:#}");
    assert_eq!(said["database"]["servers"][0]["reachable"], false);
    project.configure("sqlite:gone.db", "");
    with_cdn(&project, None);
    let said = project.json(&["doctor"], 1);
    assert!(check(&said, "database", "database")["detail"].as_str().is_some_and(|words| words.contains("gone.db")));
}

#[test]
fn a_database_that_is_there_and_a_replica_that_is_none() {
    for (engine, project) in places::projects() {
        with_cdn(&project, None);
        let said = project.json(&["doctor"], 0);
        let server = &said["database"]["servers"][0];
        assert!(server["version"].as_str().is_some_and(|version| version.starts_with(engine)), "{server}");
        assert_eq!((&server["replica"], &server["in_recovery"]), (&json!(false), &json!(false)));
        if engine == "SQLite" {
            continue;
        }
        // The primary itself isn't a standby; builds can do without one, or not.
        let url = project.database().url();
        for (read, expected, code) in [("prefer-replica", "warning", 0), ("replica", "broken", 1)] {
            let command = project.tintype(&["doctor", "--format", "json"]);
            let command = command.env("TINTYPE_DATABASE_REPLICAS", &url).env("TINTYPE_DATABASE_READ", read);
            let said = command.run().expect(code).json();
            assert_eq!(outcome(&said, "database", "replica"), expected, "{said:#}");
            assert!(
                check(&said, "database", "replica")["detail"].as_str().is_some_and(|words| words.contains("recovery"))
            );
        }
    }
}

#[test]
fn templates_that_can_not_be_read() {
    let project = project();
    project.template("broken", "/*---\npath = \"broken/{k}\"\n---*/\nSELECT 1 AS k");
    let finished = project.tintype(&["doctor"]).run().expect(1);
    finished.explains(&["broken.sql:2"]);
    let said = project.json(&["doctor"], 1);
    assert_eq!((&said["templates"]["readable"], &said["templates"]["errors"]), (&json!(1), &json!(1)), "{said:#}");
    assert_eq!(outcome(&said, "templates", "templates"), "broken");
    project.template("broken", "/*---\npath = \"broken/{k}.json\"\n---*/\nSELECT 'a' AS k, random() AS n");
    assert_eq!(outcome(&project.json(&["doctor"], 0), "templates", "templates"), "warning");
}

#[test]
fn a_config_that_can_not_be_read() {
    let project = project();
    fs::write(project.config(), "[store]\nurl = 7\n").expect("write tintype.toml");
    assert_eq!(project.json(&["doctor"], 2)["command"], "doctor");
}

#[test]
fn records_that_readers_can_fetch() {
    let bucket = Bucket::new();
    let mut project = places::sqlite();
    project.publish_to(&bucket, "");
    bucket.forget_probe();
    let endpoint = bucket.server.endpoint();
    // The CDN's origin is the bucket, and it lets everybody in.
    with_cdn(&project, Some(&format!("{endpoint}/site")));
    let answer = |name: &'static str, xml: &'static str| {
        use crate::support::s3_server::What;
        Fault::new(What::Say(xml), move |asked| {
            asked.kind == Kind::Other
                || (asked.kind == Kind::Get && asked.bucket == "_tintype" && asked.key.ends_with(name))
        })
    };
    let said = project.json(&["doctor"], 0);
    assert_eq!(outcome(&said, "cdn", "records-hidden"), "ok", "{said:#}");
    // Without the CDN's networks `serve` doesn't start.
    let apart = check(&said, "cdn", "clients-apart");
    assert_eq!(apart["outcome"], "missing", "{said:#}");
    assert!(apart["hint"].as_str().is_some_and(|words| words.contains("trusted_proxies")), "{said:#}");
    project.run(&["serve"]).expect(2).explains(&["trusted_proxies"]);
    for networks in ["192.0.2.0/24", "192.0.2.0/24,2001:db8::/32"] {
        let doctor = project.tintype(&["doctor", "--format", "json"]);
        let said = doctor.env("TINTYPE_FALLBACK_TRUSTED_PROXIES", networks).run().expect(0).json();
        assert_eq!(outcome(&said, "cdn", "clients-apart"), "ok", "{said:#}");
    }
    bucket.server.play(answer("probe.json", "{\"format\":1,\"probed_at\":\"2026-01-01T00:00:00Z\"}"));
    let said = project.json(&["doctor"], 1);
    assert_eq!(outcome(&said, "cdn", "records-hidden"), "broken", "{said:#}");
    bucket.server.heal();
    project.publish();
    bucket.server.play(answer("head.json", "<!doctype html>"));
    assert_eq!(outcome(&project.json(&["doctor"], 0), "cdn", "records-hidden"), "ok");
    bucket.server.heal();
    bucket.server.play(answer("head.json", "{\"format\":1,\"seq\":7}"));
    let said = project.json(&["doctor"], 1);
    assert!(check(&said, "cdn", "records-hidden")["detail"].as_str().is_some_and(|words| words.contains("head.json")));
    // An edge that isn't there says nothing.
    let away = format!("http://127.0.0.1:{}", closed_port());
    let config = fs::read_to_string(project.config()).expect("read tintype.toml");
    fs::write(project.config(), config.replace(&format!("url = \"{endpoint}/site\""), &format!("url = \"{away}\"")))
        .expect("write tintype.toml");
    assert_eq!(outcome(&project.json(&["doctor"], 0), "cdn", "records-hidden"), "skipped");
}
