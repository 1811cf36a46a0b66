//! A table of another history or another site is never overwritten unless somebody asks for it.

use serde_json::json;

use super::{ROWS, change};
use crate::support::fallback::{World, server_world, worlds};
use crate::support::process::Tintype;

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
        let commands: [&[&str]; 11] = [
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
        ];
        for command in commands {
            let ended = project.run(command).expect(1);
            ended.explains(&["shows release 2-", "of this very site", "mounted", "publish --begin-anew"]);
        }
        let public = project.root().join("public");
        assert!(!public.join("index.json").exists(), "{}: nothing is published", world.engine);
        assert_eq!((world.table.rows(), world.table.release()), before, "{}", world.engine);
        let said = project.json(&["doctor"], 0);
        let checks = said["fallback"]["checks"].as_array().expect("a list");
        assert!(checks[0]["detail"].as_str().is_some_and(|words| words.contains("shows release 2-")), "{said:#}");
    }
}

#[test]
fn a_site_that_begins_anew_goes_on_behind_the_table() {
    for world in worlds() {
        let project = &world.project;
        lose(&world);
        project.run(&["publish", "--begin-anew"]).expect(2).explains(&["begin the site anew", "--yes"]);
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
