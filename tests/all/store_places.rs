//! Where the two folders of a store lie: on two file systems, shared by mistake, moved, and with leftovers in them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::directory::{Directory, files_below};
use crate::support::places::{self, DOCUMENTS};
use crate::support::project::Project;

fn project() -> Project {
    let project = Project::sqlite(places::ROWS);
    project.template("places", places::TEMPLATE);
    project
}

/// A folder on another file system than the project's, where this machine has one.
fn elsewhere(project: &Project) -> Option<tempfile::TempDir> {
    let other = tempfile::tempdir_in("/dev/shm").ok()?;
    let device = |path: &Path| fs::metadata(path).expect("the folder is there").dev();
    (device(other.path()) != device(project.root())).then_some(other)
}

#[test]
fn a_control_folder_on_another_file_system() {
    let (project, plain) = (project(), project());
    let Some(other) = elsewhere(&project) else { return };
    let control = other.path().join("control");
    let publish = || project.tintype(&["publish"]).env("TINTYPE_STORE_CONTROL", &control).run().expect(0);
    let change = "UPDATE fact SET city = 'Salem'; UPDATE topic SET name = 'Gene editing' WHERE slug = 'crispr'";
    publish();
    plain.publish();
    for project in [&project, &plain] {
        project.execute(change);
    }
    publish();
    plain.publish();
    assert_eq!(project.public().digests(), plain.public().digests());
    let keys = |project: &Project| project.public().catalogue()["templates"]["places"]["keys"].clone();
    assert_eq!(keys(&project), keys(&plain));
    let hidden: Vec<_> = fs::read_dir(project.root().join("public")).expect("list").flatten().collect();
    assert!(hidden.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with('.')), "{hidden:?}");
    assert!(files_below(&control.join("tmp")).is_empty());
}

#[test]
fn a_public_folder_on_another_file_system() {
    let project = project();
    let Some(other) = elsewhere(&project) else { return };
    std::os::unix::fs::symlink(other.path(), project.root().join("public")).expect("make the link");
    project.publish();
    project.execute("UPDATE fact SET city = 'Salem'");
    project.publish();
    assert_eq!(project.public().paths().len(), DOCUMENTS);
    assert!(project.public().text("places/united-states/crispr/low.json").contains("Salem"));
    project.execute("DELETE FROM topic WHERE slug = 'sepsis'");
    project.publish();
    assert_eq!(project.public().paths().len(), DOCUMENTS - 6);
}

#[test]
fn two_public_folders_do_not_share_a_control_folder() {
    let project = project();
    project.publish();
    let before = project.stamps();
    let config = fs::read_to_string(project.config()).expect("read the config");
    let staging = project.root().join("staging.toml");
    fs::write(&staging, config.replace("file:public", "file:staging")).expect("write the config");
    let on_staging = |arguments: &[&str]| crate::support::process::Tintype::new(arguments).arg("-c").arg(&staging);
    let key = "places/united-states/crispr/low.json";
    for command in [&["publish"][..], &["plan"], &["status"], &["releases"], &["get", key]] {
        on_staging(command).run().expect(1).explains(&["belongs to the public folder", "[store] control"]);
    }
    assert_eq!(project.stamps(), before);
    assert!(!project.root().join("staging").exists());
    for command in [&["publish"][..], &["status"], &["get", key]] {
        on_staging(command).env("TINTYPE_STORE_CONTROL", ".tintype-staging").run().expect(0);
    }
    let staging = Directory::new(project.root().join("staging"));
    assert_eq!(staging.digests(), project.public().digests());
    assert_eq!(project.publish()["outcome"], "unchanged");
}

#[test]
fn a_project_is_copied_and_an_older_one_adopted() {
    let (project, copy) = (project(), project());
    project.publish();
    fs::remove_file(project.root().join(".tintype/store.json")).expect("as an older version left it");
    assert_eq!(project.publish()["outcome"], "unchanged");
    assert!(project.root().join(".tintype/store.json").exists());
    for folder in ["public", ".tintype"] {
        for file in files_below(&project.root().join(folder)) {
            let to = copy.root().join(folder).join(&file);
            fs::create_dir_all(to.parent().expect("it has a parent")).expect("make the folder");
            fs::copy(project.root().join(folder).join(&file), to).expect("copy");
        }
    }
    assert_eq!(copy.publish()["outcome"], "unchanged");
    copy.execute("UPDATE fact SET city = 'Salem'");
    assert_eq!(copy.publish()["outcome"], "published");
    assert!(copy.public().text("places/united-states/crispr/low.json").contains("Salem"));
    assert!(!project.public().text("places/united-states/crispr/low.json").contains("Salem"));
}

#[test]
fn leftovers_of_a_killed_run_are_swept() {
    let project = project();
    project.publish();
    let old = SystemTime::now() - Duration::from_hours(25);
    for folder in [".tintype/tmp", "public/.tintype-tmp"] {
        let folder = project.root().join(folder);
        fs::create_dir_all(&folder).expect("make the folder");
        for number in 0..10 {
            fs::write(folder.join(format!("1-{number}")), "half").expect("write");
            let file = fs::File::options().write(true).open(folder.join(format!("1-{number}"))).expect("open");
            file.set_modified(old).expect("make it old");
        }
    }
    project.execute("UPDATE fact SET city = 'Salem'");
    project.publish();
    assert!(files_below(&project.root().join(".tintype/tmp")).is_empty());
    assert!(!project.root().join("public/.tintype-tmp").exists());
    assert_eq!(project.public().paths().len(), DOCUMENTS);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let project = project();
    let run = |arguments: &[&str], author: &str| {
        let command = crate::support::process::Tintype::new(arguments).in_directory(project.root());
        let command = command.env("TINTYPE_CONFIG", "").env("TINTYPE_LOG", "").env("TINTYPE_AUTHOR", author);
        command.arg("--format").arg("json").run().expect(0).json()
    };
    let first = run(&["publish"], "");
    let id = first["release"].as_str().expect("a release");
    let shown = run(&["releases", id], "");
    assert!(!shown.to_string().contains("\"author\":\"\""), "{shown}");
    project.execute("UPDATE fact SET city = 'Salem'");
    let second = run(&["publish"], "Ada");
    let shown = run(&["releases", second["release"].as_str().expect("a release")], "");
    assert!(shown.to_string().contains("Ada"), "{shown}");
}

#[test]
fn a_public_folder_among_the_records_is_refused() {
    let project = project();
    let settings = fs::read_to_string(project.config()).expect("read tintype.toml");
    let nested = settings.replace("url = \"file:public\"", "url = \"file:blob\"\ncontrol = \".\"");
    assert_ne!(nested, settings);
    fs::write(project.config(), nested).expect("write tintype.toml");
    project.run(&["publish"]).expect(2).explains(&["the public folder lies in [store] control", "prune"]);
}
