use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::StorePlace;

/// A database that needs not be there, so that a test doesn't generate the demo's.
const OTHER: Option<&str> = Some("postgres://u@h/d");

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn said(result: Result<Written, Error>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    format!("{error} | {}", error.hint().unwrap_or_default())
}

#[tokio::test]
async fn a_new_folder_has_everything_and_is_used_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    let written = init_or_reuse(&folder).await.unwrap();
    let files: Vec<_> = written.files.iter().map(|file| file.path.to_str().unwrap()).collect();
    assert_eq!(files[..5], SHIPPED.map(|(path, _)| path));
    assert_eq!(files[5..], [DEMO_DATABASE, FILE_NAME]);
    for file in &written.files {
        assert_eq!(std::fs::metadata(folder.join(&file.path)).unwrap().len(), file.size_bytes);
    }
    assert!(written.demo.unwrap().counts.authorships >= 200_000);
    assert_eq!(names(&folder), ["demo.db", "schedules", "templates", "tintype.toml"]);
    let config = Config::load(&written.config, &[]).unwrap();
    assert_eq!(config.database.url.unwrap().expose(), "sqlite:demo.db");

    let again = init_or_reuse(&folder).await.unwrap();
    assert!(again.reused && again.files.is_empty() && again.demo.is_none());
    assert!(said(init(&folder, None, None).await).contains("tintype.toml is there already"));

    // Stopped after the last file, and the data deleted.
    std::fs::write(folder.join(MARKER), "").unwrap();
    std::fs::remove_file(folder.join(DEMO_DATABASE)).unwrap();
    assert!(init_or_reuse(&folder).await.unwrap().demo.is_some());
    assert_eq!(names(&folder), ["demo.db", "schedules", "templates", "tintype.toml"]);

    let text = std::fs::read_to_string(&written.config).unwrap();
    std::fs::write(&written.config, text.replace("sqlite:demo.db", "postgres://u@h/d")).unwrap();
    assert!(said(init_or_reuse(&folder).await).contains("another database than the demo's"));
}

#[tokio::test]
async fn an_attempt_that_was_stopped_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path(MARKER), "").unwrap();
    std::fs::create_dir(path("templates")).unwrap();
    std::fs::write(path("templates/world-map.sql"), "mine").unwrap();
    std::fs::write(path("templates/city-map.sql.tmp"), "hal").unwrap();
    std::fs::write(path("tintype.toml.tmp"), "hal").unwrap();
    let written = init(folder.path(), OTHER, None).await.unwrap();
    assert_eq!(written.files.len(), 5, "the file that was there stays");
    assert_eq!(std::fs::read_to_string(path("templates/world-map.sql")).unwrap(), "mine");
    assert_eq!(names(folder.path()), ["schedules", "templates", "tintype.toml"]);
    assert_eq!(names(&path("templates")), ["city-map.sql", "country-map.sql", "world-map.sql"]);
}

#[tokio::test]
async fn a_foreign_folder_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "x").unwrap();
    for result in [init(folder.path(), OTHER, None).await, init_or_reuse(folder.path()).await] {
        let said = said(result);
        assert!(said.contains("isn't empty: it holds thesis.txt"), "{said}");
        assert!(said.contains(folder.path().to_str().unwrap()), "{said}");
    }
    assert_eq!(names(folder.path()), ["thesis.txt"]);
    assert!(said(init(&folder.path().join("thesis.txt"), OTHER, None).await).contains("isn't a folder"));
    std::fs::write(folder.path().join(FILE_NAME), "[store]\n").unwrap();
    assert!(said(init_or_reuse(folder.path()).await).contains("isn't the demo's"));
}

#[tokio::test]
async fn one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let held = Marker::take(folder.path()).unwrap();
    assert!(said(init(folder.path(), OTHER, None).await).contains("another tintype is writing"));
    drop(held);
    init(folder.path(), OTHER, None).await.unwrap();
}

#[tokio::test]
async fn only_a_password_closes_the_file() {
    for (url, mode) in [("postgres://u:hunter2@h/d", 0o600), ("postgres://u@h/d", 0o644)] {
        let folder = tempfile::tempdir().unwrap();
        let written = init(folder.path(), Some(url), Some("file:out")).await.unwrap();
        assert!(written.demo.is_none());
        let text = std::fs::read_to_string(&written.config).unwrap();
        assert_eq!(text.contains("TINTYPE_DATABASE_URL_FILE"), mode == 0o600);
        let found = std::fs::metadata(&written.config).unwrap().permissions().mode();
        assert_eq!(found & 0o600, 0o600);
        assert!(found & 0o077 & !mode == 0, "{found:o} is wider than {mode:o}");
        let config = Config::load(&written.config, &[]).unwrap();
        let StorePlace::Directory { public, .. } = config.store.place else { panic!("it is a folder") };
        assert_eq!(public, folder.path().join("out"));
        assert_eq!(config.database.url.unwrap().expose(), url);
    }
}

#[tokio::test]
async fn a_bucket_gets_a_file_that_loads() {
    let folder = tempfile::tempdir().unwrap();
    let written = init(folder.path(), Some("postgres://u@h/d"), Some("s3://bucket/site")).await.unwrap();
    let config = Config::load(&written.config, &[]).unwrap();
    let StorePlace::S3(settings) = config.store.place else { panic!("it is a bucket") };
    assert_eq!(
        (settings.public.url(), settings.control.url()),
        ("s3://bucket/site".into(), "s3://bucket/_tintype/site".into())
    );
}

#[tokio::test]
async fn urls_are_checked_before_anything_is_written() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("new");
    let said_of = async |database, store| said(init(&folder, Some(database), store).await);
    assert!(said_of("mysql://h/d", None).await.contains("mysql"));
    let wrong = said_of("postgres://u:hunter2@h/d?sslmod=x", None).await;
    assert!(wrong.contains("sslmode") && !wrong.contains("hunter2"), "{wrong}");
    assert!(said_of("postgres://u@h/d", Some("gs://bucket")).await.contains("the scheme gs"));
    assert!(said_of("postgres://u@h/d", Some("s3://b")).await.contains("names a bucket that can't exist"));
    assert!(said_of("postgres://u@h/d", Some("file:.")).await.contains("holds the configuration file"));
    // Tests run in the crate's folder, which has this file.
    assert!(said_of("sqlite:Cargo.toml", None).await.contains("write the whole path"));
    assert!(!folder.exists());
}
