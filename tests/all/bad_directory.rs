//! Directories that cannot be written, and one template of several that fails: what is live stays live.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::places;
use crate::support::process::copy_binary;
use crate::support::project::{Project, template_of};

/// The binary where an unprivileged user can start it: the build folder may lie in a closed home directory.
fn binary_for_all(project: &Project) -> std::path::PathBuf {
    std::fs::set_permissions(project.root(), std::fs::Permissions::from_mode(0o755)).expect("open the folder");
    let program = project.root().join("program");
    copy_binary(&program);
    program
}

#[test]
fn a_read_only_directory() {
    let project = Project::sqlite(places::ROWS);
    project.template("places", places::TEMPLATE);
    let program = binary_for_all(&project);
    for folder in ["public", ".tintype"] {
        std::fs::create_dir(project.root().join(folder)).expect("make the folder");
        std::fs::set_permissions(project.root().join(folder), std::fs::Permissions::from_mode(0o555))
            .expect("close the folder");
    }
    let ended = project.tintype(&["publish"]).unprivileged(program).run().expect(1);
    ended.explains(&["permission denied"]);
    assert!(project.public().paths().is_empty());
    // Nothing is in the way of the next run.
    for folder in ["public", ".tintype"] {
        std::fs::set_permissions(project.root().join(folder), std::fs::Permissions::from_mode(0o755))
            .expect("open the folder");
    }
    assert_eq!(project.publish()["outcome"], "published");
}

#[test]
fn a_full_directory() {
    let project = Project::sqlite(
        "CREATE TABLE t (k TEXT, v TEXT);
         INSERT INTO t SELECT 'k', hex(randomblob(40000))",
    );
    project.template("small", "/*---\npath = \"small/{k}.json\"\n---*/\nSELECT 'a' AS k, 1 AS v");
    let good = project.publish();
    // Random digits: 40 kB after compression, more than a file may have here.
    project.template("big", "/*---\npath = \"big/{k}.json\"\n---*/\nSELECT k, v FROM t ORDER BY k");
    project.template("small", "/*---\npath = \"small/{k}.json\"\n---*/\nSELECT 'a' AS k, 2 AS v");
    let program = binary_for_all(&project);
    let (before, head) = (project.public().digests(), project.head());
    let full = project.tintype(&["publish"]).program(program).small_files().run();
    assert!([1, 4].contains(&full.code()), "{full}");
    full.explains(&["file too large"]);
    if full.code() == 1 {
        assert_eq!(project.public().digests(), before);
        assert_eq!(project.head()["desired"], head["desired"]);
    }
    assert!(!project.public().has("big/k.json"), "half a document is visible");
    let mended = project.publish();
    assert!(mended["serial"].as_u64() > good["serial"].as_u64(), "{mended}");
    assert_eq!(project.public().document("small/a.json")["rows"][0]["v"], 2);
    assert!(project.public().has("big/k.json"));
}

#[test]
fn one_bad_template_of_three_does_not_stop_the_others() {
    for (engine, project) in places::projects() {
        let simple = |name: &str, v: &str| {
            let text = format!("/*---\npath = \"{name}/{{k}}.json\"\n---*/\nSELECT 'a' AS k, {v} AS v");
            project.template(name, &text);
        };
        simple("last", "1");
        simple("odd", "1");
        project.publish();
        simple("last", "2");
        simple("odd", "9007199254740993");
        let ended = project.tintype(&["publish", "--format", "json"]).run().expect(4);
        ended.explains(&["odd.sql:", "9007199254740993"]);
        let said = ended.json();
        let outcome = |name: &str| template_of(&said, name)["outcome"].clone();
        assert_eq!(outcome("last"), "published", "{engine}");
        assert_eq!(outcome("places"), "unchanged", "{engine}");
        assert_eq!(outcome("odd"), "failed", "{engine}");
        // The last good rows stay, and the catalogue says so.
        assert_eq!(project.public().document("odd/a.json")["rows"][0]["v"], 1, "{engine}");
        assert_eq!(project.public().document("last/a.json")["rows"][0]["v"], 2, "{engine}");
        let catalogue = project.public().catalogue();
        assert_eq!(catalogue["templates"]["odd"]["status"], "last-good", "{engine}");
        assert_eq!(catalogue["templates"]["last"]["status"], "ok", "{engine}");
        simple("odd", "3");
        let mended = project.publish();
        assert_eq!(mended["outcome"], "published", "{engine}");
        assert_eq!(project.public().catalogue()["templates"]["odd"]["status"], "ok", "{engine}");
    }
}

#[test]
fn a_folder_that_is_closed_in_the_middle_is_told_and_shown_later() {
    let project = places::sqlite();
    let program = binary_for_all(&project);
    std::fs::set_permissions(project.root(), std::fs::Permissions::from_mode(0o777)).expect("open the folder");
    let publish = || project.tintype(&["publish"]).unprivileged(program.clone()).run();
    publish().expect(0);
    let closed = project.root().join("public/places/united-states/crispr");
    let set = |mode| std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(mode)).expect("set the mode");
    set(0o555);
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2; UPDATE fact SET scholar = 9 WHERE fact_id = 5");
    let finished = publish().expect(4);
    finished.explains(&["crispr/high.json", "still shows what it showed before", "Permission denied"]);
    let high = |project: &Project| project.public().document("places/united-states/crispr/high.json");
    assert_eq!(high(&project)["rows"][0]["scholars"], 1);
    assert_eq!(project.public().document("places/cote-divoire/malaria/high.json")["rows"][0]["scholars"], 1);
    assert_ne!(project.head()["active"], project.head()["desired"]);
    set(0o755);
    publish().expect(0);
    assert_eq!(high(&project)["rows"][0]["scholars"], 2);
    assert_eq!(project.head()["active"], project.head()["desired"]);
}
