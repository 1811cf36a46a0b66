//! `[store] head`, and what doesn't go with it.

use super::*;

#[test]
fn a_head_in_a_database() {
    let bucket = "[store]\nurl = \"s3://bucket/site\"\n";
    let head = |more: &str| Case::new(&format!("{bucket}{more}")).config().store.head;
    assert_eq!(head("head = \"store\"\nunsafe_single_publisher = false"), HeadConfig::Store);
    assert_eq!(head("unsafe_single_publisher = true"), HeadConfig::SinglePublisher);
    let url = "head_url = \"postgres://u:hunter2@h/d\"";
    let in_database = HeadConfig::Database(Secret::new("postgres://u:hunter2@h/d"));
    assert_eq!(head(&format!("head = \"database\"\n{url}")), in_database);
    assert_eq!(head(&format!("head = \"database\"\n{url}\n[database]\nurl = \"sqlite:a.db\"")), in_database);
    let named = "[database]\nurl = \"postgres://u:hunter2@h/d\"\nreplicas = [\"postgres://r/d\"]";
    assert_eq!(head(&format!("head = \"database\"\n{named}")), in_database, "the primary's by default");
    let case = Case::new(&format!("{bucket}head = \"database\"")).with("DATABASE_URL", "postgres://u:hunter2@h/d");
    assert_eq!(case.config().store.head, in_database);
    let case = Case::new(bucket).with("TINTYPE_STORE_UNSAFE_SINGLE_PUBLISHER", "true");
    assert_eq!(case.config().store.head, HeadConfig::SinglePublisher);
    let case = Case::new(bucket).with("TINTYPE_STORE_HEAD", "database");
    let path = case.folder.path().join("secret");
    std::fs::write(&path, "postgres://u:hunter2@h/d\n").unwrap();
    let case = case.with("TINTYPE_STORE_HEAD_URL_FILE", path.display().to_string());
    assert_eq!(case.config().store.head, in_database);
    assert!(!format!("{:?}", case.config()).contains("hunter2"));
}

#[test]
fn what_can_not_keep_a_head_is_refused() {
    let bucket = "[store]\nurl = \"s3://bucket/site\"\n";
    let refused = |more: &str, line: usize, parts: &[&str]| assert_finding(&format!("{bucket}{more}"), line, parts);
    let url = "head_url = \"postgres://u:hunter2@h/d\"";
    refused("head = \"databse\"", 3, &["[store] head = \"databse\" isn't known", "did you mean \"database\"?"]);
    refused("head = \"database\"", 3, &["no database is configured", "head_url = \"postgres://"]);
    refused("head = \"database\"\n[database]\nurl = \"sqlite:a.db\"", 3, &["names a SQLite file", "head_url = "]);
    refused("head = \"database\"\nhead_url = \"sqlite:a.db\"", 4, &["head_url names a SQLite file"]);
    refused(
        "head = \"database\"\nhead_url = \"postgres://u:hunter2@h/d?sslmod=x\"",
        4,
        &["in [store] head_url", "`sslmode`?"],
    );
    refused(url, 3, &["head_url is set, and the head is kept by the store", "head = \"database\""]);
    refused(&format!("{url}\nhead = \"database\"\nunsafe_single_publisher = true"), 5, &["keeps any number apart"]);
    refused("unsafe_single_publisher = \"true\"", 3, &["true or false, without quotes"]);
    let on_directory = ["this store is a directory", "the lock of a directory"];
    assert_finding("[store]\nhead = \"database\"", 2, &on_directory);
    assert_finding(&format!("[store]\nhead = \"database\"\n{url}"), 2, &on_directory);
    assert_finding(&format!("[store]\n{url}"), 2, &on_directory);
    assert_finding("[store]\nunsafe_single_publisher = true", 2, &on_directory);
    let usage = Case::new(bucket).with("TINTYPE_STORE_UNSAFE_SINGLE_PUBLISHER", "yes").usage();
    assert!(usage.contains("TINTYPE_STORE_UNSAFE_SINGLE_PUBLISHER: ") && usage.contains("true or false"), "{usage}");
    let usage = Case::new(bucket).with("TINTYPE_STORE_HEAD_URL", "postgres://u:hunter2@h/d").usage();
    assert!(usage.contains("TINTYPE_STORE_HEAD_URL: ") && usage.contains("kept by the store"), "{usage}");
}
