//! A table of another history or another site is never overwritten unless somebody asks for it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ROWS, change};
use crate::support::fallback::{World, server_world, worlds};
use crate::support::postgres::Session;
use crate::support::process::{Tintype, closed_port};
use crate::support::wait::wait_until;

/// Two releases, of which nothing is left but the table.
fn lose(world: &World) {
    let project = &world.project;
    project.publish();
    change(world);
    project.publish();
    let (control, kept) = (project.root().join(".tintype"), project.root().join("kept.db"));
    if control.join("fallback.db").exists() {
        std::fs::rename(control.join("fallback.db"), &kept).expect("keep the table");
    }
    std::fs::remove_dir_all(&control).expect("lose the records");
    std::fs::remove_dir_all(project.root().join("public")).expect("lose the site");
    if kept.exists() {
        std::fs::create_dir(&control).expect("make the folder");
        std::fs::rename(&kept, control.join("fallback.db")).expect("put the table back");
    }
}

#[test]
fn a_site_that_the_table_knows_is_not_begun_anew_by_itself() {
    for world in worlds() {
        let project = &world.project;
        lose(&world);
        let before = (world.table.rows(), world.table.release());
        let commands: [&[&str]; 14] = [
            &["publish"],
            &["publish", "--force", "--accept-guard", "all", "--yes"],
            &["publish", "--stage-only"],
            &["republish", "places/united-states/crispr/low"],
            &["plan"],
            &["status"],
            &["releases"],
            &["verify"],
            &["verify", "--table"],
            &["rollback", "--yes"],
            &["resume"],
            &["get", "places/united-states/crispr/low"],
            &["publish", "--failed"],
            &["prune"],
        ];
        for command in commands {
            let ended = project.run(command).expect(1);
            ended.explains(&["shows release 2-", "of this very site", "mounted", "publish --begin-anew"]);
        }
        let public = project.root().join("public");
        assert!(!public.join("index.json").exists(), "{}: nothing is published", world.engine);
        assert_eq!((world.table.rows(), world.table.release()), before, "{}", world.engine);
        let said = project.json(&["doctor"], 1);
        let detail = |check: &Value| check["detail"].as_str().is_some_and(|words| words.contains("shows release 2-"));
        assert!(detail(&said["fallback"]["checks"][0]), "{said:#}");
        let checks = said["store"]["checks"].as_array().expect("a list");
        assert!(checks.iter().any(|check| check["outcome"] == "broken" && detail(check)), "{said:#}");
        // With the site's catalogue there is more to be told, and no first release can be made.
        project.make_public();
        std::fs::write(project.root().join("public/index.json.gz"), "{}").expect("write a catalogue");
        for command in [&["status"][..], &["rollback", "--yes"], &["publish", "--begin-anew", "--yes"]] {
            project.run(command).expect(1).explains(&["head.json", "is missing"]);
        }
    }
}

#[test]
fn a_site_that_begins_anew_goes_on_behind_the_table() {
    for world in worlds() {
        let project = &world.project;
        lose(&world);
        let unconfirmed = project.run(&["publish", "--begin-anew"]).expect(2);
        unconfirmed.explains(&["begin the site anew", "shows release 2-", "--yes"]);
        let said = project.json(&["publish", "--begin-anew", "--yes"], 0);
        assert_eq!((&said["serial"], &said["table"]["outcome"]), (&json!(3), &json!("done")), "{said:#}");
        assert_eq!(world.agrees().len(), ROWS);
        let again = project.run(&["publish", "--begin-anew", "--yes"]).expect(2);
        again.explains(&["its release 3-", "leave --begin-anew out"]);
        project.execute("UPDATE fact SET level = 1 WHERE fact_id = 2");
        assert_eq!(project.publish()["serial"], 4);
        project.json(&["rollback", "--yes"], 0);
        project.json(&["verify", "--deep"], 0);
        assert_eq!(world.agrees().len(), ROWS);
    }
}

#[test]
fn a_site_begins_anew_with_all_its_templates_or_with_none() {
    for world in worlds() {
        let project = &world.project;
        let other = "/*---\npath = \"other/{number}.json\"\n---*/\nSELECT '1' AS number, 1 AS one\n";
        project.template("other", other);
        lose(&world);
        let before = (world.table.rows(), world.table.release());
        for more in [&["places"][..], &["--where", "topic=crispr"], &["--failed"], &["--stage-only"]] {
            let arguments = [&["publish", "--begin-anew", "--yes"], more].concat();
            let refused = project.run(&arguments).expect(2);
            assert!(refused.stderr.contains("--begin-anew"), "{refused}");
        }
        // One that can't be read, and one that a guard refuses.
        project.template("other", &other.replace("1 AS one", "1 AS one FROM nowhere"));
        project.run(&["publish", "--begin-anew", "--yes"]).expect(1).explains(&["nowhere"]);
        let never = "[[guard.assert]]\nname = \"never\"\nsql = \"SELECT 1 AS one\"\n---*/";
        project.template("other", &other.replace("---*/", never));
        let refused = project.run(&["publish", "--begin-anew", "--yes"]).expect(3);
        refused.explains(&["never", "publish --begin-anew --accept-guard never"]);
        assert!(!project.root().join("public/index.json").exists(), "{}", world.engine);
        assert_eq!((world.table.rows(), world.table.release()), before, "{}", world.engine);
        let said = project.json(&["publish", "--begin-anew", "--accept-guard", "never", "--yes"], 0);
        assert_eq!((&said["serial"], &said["table"]["outcome"]), (&json!(3), &json!("done")), "{said:#}");
        assert_eq!(world.agrees().len(), ROWS + 1);
    }
}

#[test]
fn a_folder_that_should_show_a_release_and_is_gone_gets_no_part_of_it() {
    for world in worlds() {
        let project = &world.project;
        project.publish();
        std::fs::rename(project.root().join("public"), project.root().join("elsewhere")).expect("unmount it");
        change(&world);
        for command in [&["publish"][..], &["republish", "places/united-states/crispr/low"], &["plan"]] {
            let ended = project.run(command).expect(1);
            ended.explains(&["public", "no such folder", "mounted", "verify --repair"]);
        }
        assert!(!project.root().join("public").exists());
        project.run(&["verify", "--repair", "--yes"]).expect(0);
        assert_eq!(project.publish()["serial"], 2);
        assert_eq!(world.agrees().len(), ROWS);
    }
}

#[test]
fn a_site_does_not_begin_anew_while_its_table_cannot_be_read() {
    let Some(world) = server_world("") else { return };
    let project = &world.project;
    lose(&world);
    world.keep_in(&format!("postgres://postgres@127.0.0.1:{}/x?sslmode=disable", closed_port()), "");
    project.run(&["publish", "--begin-anew", "--yes"]).expect(1).explains(&["can't connect to PostgreSQL"]);
    assert!(!project.root().join("public/index.json").exists());
    let status = project.run(&["status"]).expect(0);
    assert!(status.stderr.contains("can't tell whether there was a release before"), "{status}");
    // A new site doesn't wait for its table.
    let first = project.run(&["publish"]).expect(4);
    assert!(first.stderr.contains("can't tell whether there was a release before"), "{first}");
}

#[test]
fn a_store_that_goes_while_a_run_reads_gets_no_first_release() {
    let Some(world) = server_world("") else { return };
    let project = &world.project;
    project.publish();
    change(&world);
    let mut lock = Session::connect(&project.database().url());
    lock.query("BEGIN");
    lock.query("LOCK TABLE fact IN ACCESS EXCLUSIVE MODE");
    let run = project.tintype(&["publish"]).start();
    wait_until("the statement", Duration::from_mins(1), || {
        project.database().activity().iter().any(|(_, _, wait)| wait == "Lock")
    });
    std::fs::rename(project.root().join(".tintype"), project.root().join("unmounted")).expect("take the records away");
    lock.query("COMMIT");
    run.finish().expect(1).explains(&["head.json", "is gone, although it named the release 1-"]);
    assert!(!project.root().join(".tintype/head.json").exists());
    assert!(world.table.release().starts_with("1-"), "{}", world.table.release());
    std::fs::remove_dir_all(project.root().join(".tintype")).expect("remove what the run has left");
    std::fs::rename(project.root().join("unmounted"), project.root().join(".tintype")).expect("bring them back");
    assert_eq!(project.publish()["serial"], 2);
    world.agrees();
}

#[test]
fn a_table_of_a_later_release_is_not_taken_over_by_itself() {
    for world in worlds() {
        let project = &world.project;
        project.publish();
        let backup = project.root().join("backup");
        let copied =
            std::process::Command::new("cp").arg("-a").arg(project.root().join(".tintype")).arg(&backup).status();
        assert!(copied.expect("start cp").success());
        change(&world);
        project.publish();
        let before = world.table.rows();
        // The records are those of the first release again, and the table is of the second.
        let head = "head.json";
        std::fs::copy(backup.join(head), project.root().join(".tintype").join(head)).expect("restore the head");
        let ended = project.run(&["publish", "--accept-guard", "all", "--yes"]).expect(4);
        ended.explains(&["shows release 2-", "this store doesn't know", "verify --table --repair"]);
        assert_eq!(world.table.rows(), before, "{}", world.engine);
        let looked = project.json(&["verify", "--table"], 1);
        assert!(looked["foreign"].as_str().is_some_and(|words| words.contains("shows release 2-")), "{looked:#}");
        project.json(&["verify", "--table", "--repair"], 0);
        assert_eq!(world.agrees().len(), ROWS);
        assert_eq!(project.publish()["table"]["outcome"], "done");
    }
}

#[test]
fn two_sites_do_not_share_a_table() {
    let (Some(one), Some(other)) = (server_world(""), server_world("")) else { return };
    one.project.publish();
    other.keep_in(&one.project.database().url(), "");
    change(&other);
    let ended = other.project.run(&["publish"]).expect(4);
    ended.explains(&["shows the documents of", "two sites need two databases"]);
    one.agrees();
    let looked = other.project.json(&["doctor"], 0);
    assert_eq!(looked["fallback"]["checks"][0]["outcome"], "warning", "{looked:#}");
}

#[test]
fn a_folder_that_is_moved_keeps_its_table() {
    let world = worlds().remove(0);
    world.project.publish();
    let elsewhere = tempfile::tempdir().expect("make a folder");
    let moved = elsewhere.path().join("site");
    let copied = std::process::Command::new("cp").arg("-a").arg(world.project.root()).arg(&moved).status();
    assert!(copied.expect("start cp").success());
    change(&world);
    std::fs::copy(world.project.root().join("file.db"), moved.join("file.db")).expect("copy the data");
    let config = moved.join("tintype.toml");
    let said = Tintype::new(["publish", "--format", "json", "-c"]).arg(&config).run().expect(0).json();
    assert_eq!(said["table"]["outcome"], "done", "{said:#}");
    assert!(said["table"]["written"].as_u64().is_some_and(|written| written < ROWS as u64), "{said:#}");
}

#[test]
fn a_newer_format_is_left_alone() {
    for world in worlds() {
        world.project.publish();
        world.table.execute("UPDATE tintype_release SET format = 2, serial = 0");
        let before = world.table.rows();
        change(&world);
        world.project.run(&["publish"]).expect(4).explains(&["has format 2", "newer tintype"]);
        assert_eq!(world.table.rows(), before);
    }
}
