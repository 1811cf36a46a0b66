//! A table of another history or another site is never overwritten unless somebody asks for it.

use super::{ROWS, change};
use crate::support::fallback::{server_world, worlds};
use crate::support::process::Tintype;

#[test]
fn a_store_that_was_begun_anew_does_not_take_the_table_over_by_itself() {
    for world in worlds() {
        let project = &world.project;
        project.publish();
        change(&world);
        project.publish();
        let before = world.table.rows();
        // Everything but the table is lost.
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
        let ended = project.run(&["publish"]).expect(4);
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
