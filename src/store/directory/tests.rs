use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::snapshot::Gzip;

/// What the commands work with is the store; what they can't see is looked for in its folders.
fn store(folder: &Path) -> Directory {
    Directory::new(folder.join("public"), folder.join(".tintype"))
}

/// A folder on another file system than the temporary folder's, where this machine has one.
fn elsewhere(folder: &Path) -> Option<tempfile::TempDir> {
    let other = tempfile::tempdir_in("/dev/shm").ok()?;
    let device = |path: &Path| std::fs::metadata(path).unwrap().dev();
    (device(other.path()) != device(folder)).then_some(other)
}

/// Names in a folder; none if there is no such folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn write_blobs(store: &Directory) {
    for (name, body) in [("blob/aa/one.gz", "one"), ("blob/bb/two.gz", "two")] {
        store.create(name, &Gzip::default().compress(body.as_bytes())).unwrap();
    }
}

fn body(store: &Directory, path: &str) -> String {
    String::from_utf8(gunzip(&store.read_public(path).unwrap().unwrap(), 100).unwrap()).unwrap()
}

#[test]
fn a_document_is_a_link_to_its_blob_and_is_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.create("blob/aa/one.gz", b"one").unwrap();
    store.create("blob/bb/two.gz", b"two").unwrap();
    store.activate("m/x.json", "blob/aa/one.gz").unwrap();
    store.activate("m/x.json", "blob/aa/one.gz").unwrap();
    assert_eq!(store.read_public("m/x.json").unwrap().unwrap(), b"one");
    store.activate("m/x.json", "blob/bb/two.gz").unwrap();
    assert_eq!(store.read_public("m/x.json").unwrap().unwrap(), b"two");
    assert_eq!(store.read("blob/aa/one.gz").unwrap().unwrap(), b"one", "the old blob stays as it was");
    assert_eq!(file_id(&store.document("m/x.json")), file_id(&store.control.join("blob/bb/two.gz")));
    assert!(names(&folder.path().join(".tintype/tmp")).is_empty(), "temporary links were left");
    store.remove("m/x.json").unwrap();
    store.remove("m/x.json").unwrap();
    assert!(!folder.path().join("public/m").exists(), "an empty folder was left");
}

#[test]
fn a_name_is_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    for name in ["blob/aa/one.gz", "release/1-a.json"] {
        store.create(name, b"one").unwrap();
        assert!(store.create(name, b"two").is_err());
        assert_eq!(store.read(name).unwrap().unwrap(), b"one");
        let mode = std::fs::metadata(store.control.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o222, 0, "{name} can be written to");
    }
    assert!(names(&folder.path().join(".tintype/tmp")).is_empty());
}

#[tokio::test]
async fn head_is_swapped_only_over_what_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    assert!(store.swap_head(None, b"1").await.unwrap());
    assert!(!store.swap_head(None, b"2").await.unwrap());
    assert!(store.swap_head(Some(b"1"), b"2").await.unwrap());
    assert!(!store.swap_head(Some(b"1"), b"3").await.unwrap());
    assert_eq!(store.read("head.json").unwrap().unwrap(), b"2");
}

#[tokio::test]
async fn a_head_that_is_kept_locked_is_given_up_and_blocks_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.swap_head(None, b"1").await.unwrap();
    let held = store.exclusive("head.lock", Duration::ZERO).await.unwrap().unwrap();
    // The one thread of this runtime gets to its timer, which it wouldn't from within flock(2).
    let swap = store.swap_head(Some(b"1"), b"2");
    assert!(tokio::time::timeout(Duration::from_millis(100), swap).await.is_err());
    let refused = store.swap_head_within(Duration::from_millis(100), Some(b"1"), b"2").await.unwrap_err();
    assert!(refused.to_string().contains("head.lock") && refused.hint.is_some(), "{refused}");
    assert_eq!(store.read("head.json").unwrap().unwrap(), b"1");
    drop(held);
    assert!(store.swap_head(Some(b"1"), b"2").await.unwrap());
}

#[tokio::test]
async fn one_publisher_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let first = store.lock(Duration::ZERO, "test").await.unwrap();
    assert!(first.is_some());
    assert!(store.lock(Duration::ZERO, "test").await.unwrap().is_none());
    drop(first);
    assert!(store.lock(Duration::ZERO, "test").await.unwrap().is_some());
}

#[tokio::test]
async fn a_loop_over_documents_lets_a_signal_through() {
    let folder = tempfile::tempdir().unwrap();
    let directory = store(folder.path());
    write_blobs(&directory);
    let store = crate::store::Store::Directory(directory);
    let attributes = crate::store::Attributes {
        cache_control: String::new(),
        cache_tags: Vec::new(),
        digest: String::new(),
        serial: 1,
        as_of: String::new(),
    };
    let endless = async {
        loop {
            store.activate("m/x.json", "blob/aa/one.gz", &attributes).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(50), endless).await.is_err());
}

#[tokio::test]
async fn the_control_folder_may_lie_on_another_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let Some(other) = elsewhere(folder.path()) else { return };
    let public = folder.path().join("public");
    let store = Directory::new(public.clone(), other.path().join("control"));
    write_blobs(&store);
    for path in ["m/x.json", "index.json", "index/m/region.json"] {
        for (blob, expected) in [("blob/aa/one.gz", "one"), ("blob/bb/two.gz", "two"), ("blob/bb/two.gz", "two")] {
            store.activate(path, blob).unwrap();
            assert_eq!(body(&store, path), expected);
            if let Some(plain) = store.plain(path) {
                assert_eq!(std::fs::read_to_string(plain).unwrap(), expected);
            }
        }
    }
    assert!(names(&public.join(".tintype-tmp")).is_empty(), "temporary files were left");
    assert!(names(&other.path().join("control/tmp")).is_empty(), "temporary files were left");
    store.settle().await.unwrap();
    assert_eq!(names(&public), ["index", "index.json", "index.json.gz", "m"]);
}

#[test]
fn a_folder_of_the_public_one_may_lie_on_another_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let Some(other) = elsewhere(folder.path()) else { return };
    let store = store(folder.path());
    write_blobs(&store);
    std::fs::create_dir(store.public()).unwrap();
    symlink(other.path(), store.public().join("m")).unwrap();
    store.activate("m/x.json", "blob/aa/one.gz").unwrap();
    // A killed run leaves half a file beside its goal; the next activation of that path is not held up by it.
    std::fs::write(temporary::beside(&store.document("m/x.json")), "ha").unwrap();
    store.activate("m/x.json", "blob/bb/two.gz").unwrap();
    assert_eq!(body(&store, "m/x.json"), "two");
    assert_eq!(names(other.path()), ["x.json.gz"]);
    std::fs::write(temporary::beside(&store.document("m/x.json")), "ha").unwrap();
    store.remove("m/x.json").unwrap();
    assert!(names(other.path()).is_empty());
}

#[test]
fn an_error_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    write_blobs(&store);
    // A folder is in the way of the document, and of the plain catalogue.
    std::fs::create_dir_all(store.public().join("m/x.json.gz")).unwrap();
    std::fs::create_dir_all(store.public().join("index.json")).unwrap();
    assert!(store.activate("m/x.json", "blob/aa/one.gz").is_err());
    assert!(store.activate("index.json", "blob/aa/one.gz").is_err());
    assert!(store.copy(&store.control.join("blob/aa/one.gz"), &store.document("m/x.json")).is_err());
    assert!(names(&folder.path().join(".tintype/tmp")).is_empty());
    assert_eq!(names(store.public()), ["index.json", "index.json.gz", "m"]);
}

#[tokio::test]
async fn leftovers_are_in_nobodys_way_and_go_after_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(folder.path());
    write_blobs(&first);
    first.activate("m/x.json", "blob/aa/one.gz").unwrap();
    // Another process may have the same number, in another container or after a restart.
    let second = store(folder.path());
    assert_ne!(first.temporary(), second.temporary());
    let old = std::time::SystemTime::now() - Duration::from_hours(25);
    for place in [".tintype/tmp", "public/.tintype-tmp"] {
        let place = folder.path().join(place);
        std::fs::create_dir_all(&place).unwrap();
        for name in ["old", "new"] {
            std::fs::write(place.join(name), "x").unwrap();
        }
        File::options().write(true).open(place.join("old")).unwrap().set_modified(old).unwrap();
    }
    second.activate("m/x.json", "blob/bb/two.gz").unwrap();
    drop(second.lock(Duration::ZERO, "test").await.unwrap().unwrap());
    assert_eq!(names(&folder.path().join(".tintype/tmp")), ["new"]);
    assert_eq!(names(&folder.path().join("public/.tintype-tmp")), ["new"]);
    second.sweep(Duration::ZERO);
    assert_eq!(names(&folder.path().join("public")), ["m"]);
}

#[test]
fn no_hint_promises_what_a_commit_has_changed() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge, ErrorKind::Other] {
        let hint = failed("write", Path::new("x"), &kind.into()).hint.unwrap();
        assert!(hint.contains("run the command again") && !hint.contains("live"), "{hint}");
    }
}

#[test]
fn odd_names_and_a_symbolic_link_as_public_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("site")).unwrap();
    symlink("site", folder.path().join("public")).unwrap();
    let store = store(folder.path());
    write_blobs(&store);
    let long = "n".repeat(240);
    let odd =
        ["a b/c.json", "m/%2e%2e.json", "m/..json", "m/.json", "m/ü/日本.json", "m/-rf.json", "m/x.json.json", &long];
    for path in odd {
        assert!(store.read_public(path).unwrap().is_none());
        store.activate(path, "blob/aa/one.gz").unwrap();
        store.activate(path, "blob/bb/two.gz").unwrap();
        assert_eq!(body(&store, path), "two", "{path}");
        store.copy(&store.control.join("blob/aa/one.gz"), &store.document(path)).unwrap();
        assert_eq!(body(&store, path), "one", "{path}");
    }
    for path in odd {
        store.remove(path).unwrap();
    }
    assert!(names(&folder.path().join("site")).is_empty());
    assert!(folder.path().join("public").is_symlink());
}

#[test]
fn a_listing_is_in_order_and_of_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    assert!(store.list("release/").unwrap().is_empty());
    assert!(store.read("release/1-a.json").unwrap().is_none());
    for name in ["release/2-b.json", "release/10-c.json", "release/1-a.json", "shard/a/m.jsonl.gz"] {
        store.create(name, b"{}").unwrap();
    }
    assert_eq!(store.list("release/").unwrap(), ["release/1-a.json", "release/10-c.json", "release/2-b.json"]);
}
