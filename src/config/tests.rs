use super::*;

mod budget;
mod cdn;
mod database;
mod fallback;
mod guard;
mod head;
mod notify;

struct Case {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Case {
    fn new(text: &str) -> Case {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE_NAME), text).unwrap();
        Case { folder, environment: Vec::new() }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Case {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    fn load(&self) -> Result<Config, Error> {
        Config::load(&self.folder.path().join(FILE_NAME), &self.environment)
    }

    fn config(&self) -> Config {
        self.load().unwrap_or_else(|error| panic!("{error} {:?}", error.hint()))
    }

    /// Line, message and hint of every finding; all that could be printed must be free of the secret.
    fn findings(&self) -> Vec<(Option<usize>, String, String)> {
        let Err(error) = self.load() else { panic!("it loads") };
        assert_eq!(error.exit_code(), 2);
        let Error::Invalid(findings) = error else { panic!("{error}") };
        for finding in &findings {
            let mut printed = String::new();
            miette::GraphicalReportHandler::new().render_report(&mut printed, finding).unwrap();
            assert!(!format!("{printed}{finding}{finding:?}").contains("hunter2"), "{printed}");
        }
        findings
            .into_iter()
            .map(|finding| {
                let line = finding.position().map(|(line, _)| line);
                (line, finding.message.clone(), finding.hint.clone().unwrap_or_default())
            })
            .collect()
    }

    fn finding(&self) -> (Option<usize>, String) {
        let findings = self.findings();
        let [(line, message, hint)] = findings.as_slice() else { panic!("{findings:?}") };
        (*line, format!("{message} | {hint}"))
    }

    fn usage(&self) -> String {
        let Err(error) = self.load() else { panic!("it loads") };
        assert_eq!(error.exit_code(), 2);
        assert!(matches!(error, Error::Usage { .. }), "{error}");
        let text = format!("{error} | {}", error.hint().unwrap_or_default());
        assert!(!format!("{text}{error:?}").contains("hunter2"), "{text}");
        text
    }
}

/// The public folder and the control folder.
fn folders(config: &Config) -> (PathBuf, PathBuf) {
    match config.store.place.clone() {
        StorePlace::Directory { public, control } => (public, control),
        StorePlace::S3(settings) => panic!("{settings:?}"),
    }
}

fn assert_finding(text: &str, line: usize, parts: &[&str]) {
    let (found, message) = Case::new(text).finding();
    assert_eq!(found, Some(line), "{text}: {message}");
    for part in parts {
        assert!(message.contains(part), "{text}: {message} lacks {part}");
    }
}

fn url(config: &Config) -> Option<&str> {
    config.database.url.as_ref().map(Secret::expose)
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let case = Case::new("");
    let config = case.config();
    let folder = case.folder.path();
    assert_eq!(config.folder, folder);
    assert_eq!(url(&config), None);
    let build = BuildConfig {
        acquire_timeout: Duration::from_secs(30),
        statement_timeout: Duration::from_mins(30),
        settings: Vec::new(),
    };
    assert_eq!(config.database.build, build);
    let store = StoreConfig {
        place: StorePlace::Directory { public: folder.join("public"), control: folder.join(".tintype") },
        lease_wait: Duration::from_secs(30),
        lease_ttl: Duration::from_secs(90),
        head: HeadConfig::Store,
    };
    assert_eq!(config.store, store);
    assert!(config.cdn.url.is_none() && config.cdn.purge.is_none());
    assert_eq!(config.paths.templates, folder.join("templates"));
    assert_eq!(config.paths.schedules, folder.join("schedules"));
}

#[test]
fn the_written_file_loads_and_equals_the_defaults() {
    let defaults = Case::new("").config();
    let text = file_text(None, None);
    // Once as it is written, once with every default that it shows uncommented.
    let default_lines = keys::KEYS.iter().filter(|key| key.default.is_some() || key.name == "control");
    let uncommented = default_lines.fold(text.clone(), |text, key| {
        assert!(text.contains(&key.example()), "{}", key.label());
        text.replace(&format!("#{}", key.example()), &key.example())
    });
    for text in [text, uncommented] {
        let case = Case::new(&text);
        let config = case.config();
        assert_eq!(url(&config), Some("sqlite:demo.db"));
        assert_eq!(config.database.build, defaults.database.build);
        assert_eq!(config.database.serve, defaults.database.serve);
        assert_eq!(folders(&config), (case.folder.path().join("public"), case.folder.path().join(".tintype")));
        assert_eq!(config.store.lease_wait, defaults.store.lease_wait);
        assert_eq!(format!("{:?}", config.cdn), format!("{:?}", defaults.cdn));
        assert_eq!(config.paths.templates, case.folder.path().join("templates"));
    }
    // The examples that are no defaults work as well.
    let all: String = file_text(None, None)
        .lines()
        .map(|line| match line.strip_prefix('#') {
            // It goes with another value of `head` alone.
            Some(key) if !key.starts_with(' ') && !key.starts_with("head_url") => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let config = Case::new(&all).config();
    assert_eq!(config.database.build.settings, [("work_mem".to_owned(), "64MB".to_owned())]);
    assert_eq!(config.database.serve.settings, [("work_mem".to_owned(), "16MB".to_owned())]);
    assert_eq!(config.cdn.url.unwrap().as_str(), "https://cdn.example.org/");
}

#[test]
fn a_missing_file_names_the_ways_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let error = Config::load(&path, &[]).unwrap_err();
    let hint = error.hint().unwrap();
    assert_eq!(error.exit_code(), 2);
    assert!(["tintype demo", "tintype init DIR", "-c"].iter().all(|part| hint.contains(part)), "{hint}");
}

#[test]
fn unknown_names_give_their_line_and_what_was_meant() {
    assert_finding("[store]\nurl = \"file:p\"\nlease_wiat = \"1s\"", 3, &["`lease_wiat` in [store]", "`lease_wait`?"]);
    assert_finding("[store]\n\n[databse]\nurl = \"x\"", 3, &["unknown section [databse]", "[database]?"]);
    assert_finding("[database.biuld]\n", 1, &["[database.biuld]", "did you mean the section [database.build]?"]);
    assert_finding("url = \"sqlite:a.db\"", 1, &["outside of a section", "belongs into [database] or [store]"]);
    assert_finding("[database]\nstatement_timeout = \"1m\"", 2, &["belongs into [database.build] or [database.serve]"]);
    assert_finding("[paths]\nzzzzzz = 1", 2, &["known here are templates"]);
    assert_finding("[zzzzzz]", 1, &["known here are [database], [database.build], [database.serve], [store]"]);
    assert_finding("store = \"file:p\"", 1, &["`store` is a section", "[store]"]);
}

#[test]
fn every_finding_is_told_in_the_order_of_the_file() {
    let findings = Case::new("[store]\nx = 1\n[cdn]\ny = 1\n[database]\nzz = 1").findings();
    assert_eq!(findings.iter().map(|(line, ..)| line.unwrap()).collect::<Vec<_>>(), [2, 4, 6]);
}

#[test]
fn wrong_values_give_their_line_and_an_example() {
    assert_finding("[store]\nlease_wait = 30", 2, &["[store] lease_wait is text in quotes", "lease_wait = \"30s\""]);
    assert_finding("[store]\nlease_wait = \"soon\"", 2, &["`soon` isn't a duration"]);
    assert_finding("[store]\nlease_wait = \"2d\"", 2, &["too long", "0s to 1day"]);
    assert_finding("[store]\nlease_ttl = \"9s\"", 2, &["too short", "10s to 1h"]);
    assert_finding("[database.build]\nacquire_timeout = \"0s\"", 2, &["too short"]);
    assert_finding("[database.build]\nstatement_timeout = \"25d\"", 2, &["too long"]);
    assert_finding("[database.build]\nsettings = \"x\"", 2, &["is a table"]);
    assert_finding("[database.build]\nsettings = { work_mem = 64 }", 2, &["`work_mem` is text", "64MB"]);
    assert_finding("[store]\nurl = \"gs://b/p\"", 2, &["the store URL has the scheme gs", "s3://BUCKET/PREFIX"]);
    assert_finding("[store]\nurl = \"s3://b/p\"", 2, &["names a bucket that can't exist", "s3://example-bucket/site"]);
    assert_finding("[store]\nurl = \"s3://u:hunter2@bucket/p\"", 2, &["names a user", "AWS_ACCESS_KEY_ID"]);
    assert_finding("[store]\nconcurrency = 0", 2, &["[store] concurrency can't be 0", "1 to 1024"]);
    assert_finding("[store]\nconcurrency = \"many\"", 2, &["is a whole number", "concurrency = 64"]);
    assert_finding("[store]\nendpoint = \"localhost:9000\"", 2, &["[store] endpoint", "http"]);
    assert_finding("[store]\nendpoint = \"https://h/bucket\"", 2, &["more than a server's address"]);
    assert_finding("[store]\nregion = \"a b\"", 2, &["isn't the name of a region"]);
    assert_finding("[store]\nurl = \"public\"", 2, &["no scheme", "file:public"]);
    assert_finding("[store]\nurl = \"file:\"", 2, &["names no folder"]);
    assert_finding("[store]\nurl = \"file:..\"", 2, &["names no folder"]);
    assert_finding("[store]\nurl = \"\"", 2, &["[store] url is empty"]);
    assert_finding("[cdn]\nurl = \"ftp://h/\"", 2, &["scheme ftp"]);
    assert_finding("[cdn]\nurl = \"https://u:hunter2@h/\"", 2, &["names a user"]);
    assert_finding("[cdn]\nurl = \"https://h/?a=b\"", 2, &["query"]);
    assert_finding("[store\n", 1, &["isn't TOML"]);
    assert_finding("[store]\nurl = \"a\"\nurl = \"b\"", 3, &["isn't TOML", "duplicate key"]);
}

#[test]
fn a_bucket_has_its_records_beside_the_documents() {
    let text = "[store]\nurl = \"s3://bucket/site\"\nendpoint = \"http://localhost:9000/\"\nconcurrency = 8";
    let StorePlace::S3(settings) = Case::new(text).config().store.place else { panic!("it is a bucket") };
    assert_eq!((settings.public.prefix.as_str(), settings.control.prefix.as_str()), ("site/", "_tintype/site/"));
    assert_eq!(settings.endpoint.as_deref(), Some("http://localhost:9000"));
    assert_eq!((settings.concurrency, settings.timeout, settings.region), (8, Duration::from_secs(10), None));
    let with = |control: &str| format!("[store]\nurl = \"s3://bucket/site\"\ncontrol = \"{control}\"");
    assert!(Case::new(&with("s3://bucket/private")).load().is_ok());
    assert_finding(&with("s3://bucket/site/private"), 3, &["readers could fetch it", "s3://bucket/_tintype/site"]);
    assert_finding(&with("s3://other/private"), 3, &["in the bucket other"]);
    assert_finding(&with(".tintype"), 3, &["is a folder, and the store is a bucket"]);
    assert_finding("[store]\ncontrol = \"s3://bucket/x\"", 2, &["is a URL, and the store is a folder"]);
    let case = Case::new(&with("s3://bucket/private")).with("TINTYPE_STORE_CONCURRENCY", "3");
    let StorePlace::S3(settings) = case.config().store.place else { panic!("it is a bucket") };
    assert_eq!(settings.concurrency, 3);
}

#[test]
fn the_server_that_awss_own_variables_name() {
    let bucket = "[store]\nurl = \"s3://bucket/site\"\n";
    let endpoint = |case: Case| {
        let StorePlace::S3(settings) = case.config().store.place else { panic!("it is a bucket") };
        settings.endpoint
    };
    let case = Case::new(bucket).with("AWS_ENDPOINT_URL", "http://general:9000/").with("AWS_ENDPOINT_URL_S3", "");
    assert_eq!(endpoint(case).as_deref(), Some("http://general:9000"));
    let case = Case::new(bucket).with("AWS_ENDPOINT_URL", "ftp://x").with("AWS_ENDPOINT_URL_S3", "http://s3:9000");
    assert_eq!(endpoint(case).as_deref(), Some("http://s3:9000"));
    let case = Case::new(&format!("{bucket}endpoint = \"http://ours:9000\"")).with("AWS_ENDPOINT_URL", "ftp://x");
    assert_eq!(endpoint(case).as_deref(), Some("http://ours:9000"));
    for (wrong, reason) in
        [("http://u:hunter2@h", "names a user"), ("h:9000", "scheme"), ("http://u:hunter2@h:99999", "isn't a URL")]
    {
        let error = Case::new(bucket).with("AWS_ENDPOINT_URL_S3", wrong).load().unwrap_err().to_string();
        assert!(error.starts_with("AWS_ENDPOINT_URL_S3: ") && error.contains(reason), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(Case::new("").with("AWS_ENDPOINT_URL", "http://u:hunter2@h").load().is_ok(), "a directory has no server");
}

#[test]
fn readers_can_not_fetch_what_is_not_theirs() {
    assert_finding("[store]\nurl = \"file:.\"", 2, &["holds the configuration file"]);
    assert_finding("[store]\ncontrol = \"public/.tintype\"", 2, &["lies in the public folder"]);
    assert_finding("[store]\ncontrol = \"x/../public\"", 2, &["lies in the public folder"]);
    let config = Case::new("[store]\nurl = \"file:///srv/site\"").config();
    assert_eq!(folders(&config).1, Path::new("/srv/.tintype"));
}

#[test]
fn replicas_are_servers_and_never_shown() {
    let replicas = "[database]\nurl = \"postgres://u:hunter2@h/d\"\nreplicas = [\"postgres://u:hunter2@r1/d\", \"postgres://r2/d\"]";
    let config = Case::new(replicas).config();
    assert_eq!(config.database.replicas.len(), 2);
    assert_eq!(config.database.replicas[1].expose(), "postgres://r2/d");
    assert_eq!(config.database.read, ReadFrom::PreferReplica, "the default with replicas");
    assert_eq!(config.database.max_lag, Duration::from_mins(5));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(Case::new("").config().database.read, ReadFrom::Primary, "the default without");
    let read = |read: &str| Case::new(&format!("{replicas}\nread = \"{read}\"")).config().database.read;
    assert_eq!((read("primary"), read("replica")), (ReadFrom::Primary, ReadFrom::Replica));
    assert_finding(&format!("{replicas}\nread = \"replika\""), 4, &["replika", "did you mean \"replica\"?"]);
    assert_finding("[database]\nread = \"replica\"", 2, &["no replicas are named", "replicas = ["]);
    assert_finding("[database]\nreplicas = \"postgres://r/d\"", 2, &["replicas is a list", "replicas = ["]);
    assert_finding("[database]\nreplicas = [\n  7,\n]", 3, &["a list of texts in quotes"]);
    assert_finding("[database]\nreplicas = [\n  \"sqlite:f\",\n]", 3, &["a SQLite file"]);
    let wrong = "[database]\nreplicas = [\n  \"postgres://u:hunter2@h/d?sslmod=x\",\n]";
    assert_finding(wrong, 3, &["in [database] replicas", "did you mean `sslmode`?"]);
}

#[test]
fn replicas_come_from_the_environment_too() {
    let count = |case: &Case| case.config().database.replicas.len();
    let name = "TINTYPE_DATABASE_REPLICAS";
    assert_eq!(count(&Case::new("").with(name, "postgres://a/d,postgres://b/d, postgres://c/d\n")), 3);
    let case = Case::new("[database]\nreplicas = [\"postgres://a/d\"]").with(name, "postgres://b/d postgres://c/d");
    assert_eq!(count(&case), 2, "it outranks the file");
    let case = Case::new("");
    let path = case.folder.path().join("secret");
    std::fs::write(&path, "postgres://u:hunter2@a/d\npostgres://u:hunter2@b/d\n").unwrap();
    let case = case.with("TINTYPE_DATABASE_REPLICAS_FILE", path.display().to_string());
    assert_eq!(count(&case), 2);
    let usage = Case::new("").with(name, "postgres://u:hunter2@a/d?sslmod=x").usage();
    assert!(usage.starts_with("TINTYPE_DATABASE_REPLICAS: in [database] replicas"), "{usage}");
}

#[test]
fn settings_are_names_and_never_change_the_bytes() {
    let config =
        Case::new("[database.build.settings]\nwork_mem = \"1GB\"\n\"pg_hint_plan.enable_hint\" = \"on\"").config();
    assert_eq!(config.database.build.read_settings().settings.len(), 2);
    assert_finding("[database.build.settings]\n\"a = 1; --\" = \"x\"", 2, &["isn't the name of a PostgreSQL setting"]);
    assert_finding("[database.build.settings]\nTimeZone = \"Asia/Tokyo\"", 2, &["can't be changed"]);
    assert_finding("[database.build.settings]\nstatement_timeout = \"1s\"", 2, &["key of its own"]);
    assert_finding("[database.build.settings]\nsearch_path = \"a\\u0000\"", 2, &["NUL"]);
}

#[test]
fn the_environment_outranks_the_file() {
    let text = "[database]\nurl = \"sqlite:file.db\"\n[store]\nlease_wait = \"1s\"";
    assert_eq!(url(&Case::new(text).config()), Some("sqlite:file.db"));
    let case = Case::new(text).with("DATABASE_URL", "sqlite:platform.db");
    assert_eq!(url(&case.config()), Some("sqlite:platform.db"));
    let case = case.with("TINTYPE_DATABASE_URL", "sqlite:own.db").with("TINTYPE_STORE_LEASE_WAIT", "2s");
    assert_eq!(url(&case.config()), Some("sqlite:own.db"));
    assert_eq!(case.config().store.lease_wait, Duration::from_secs(2));
    let case = Case::new(text).with("DATABASE_URL", "").with("TINTYPE_DATABASE_URL", "").with("TINTYPE_ZZZ", "");
    assert_eq!(url(&case.config()), Some("sqlite:file.db"), "an empty variable counts as unset");
}

#[test]
fn every_variable_of_the_table_is_taken() {
    let set = |case: Case, key: &&keys::Key| match key.variable() {
        Some(name) => case.with(&name, key.example().split_once(" = ").unwrap().1.replace(['[', ']', '"'], "")),
        None => case,
    };
    // `head_url` goes with another value of `head` alone.
    let keys = keys::KEYS.iter().filter(|key| !std::ptr::eq(**key, &raw const keys::HEAD_URL));
    let case = keys.fold(Case::new(""), set);
    let config = case.with("TINTYPE_AUTHOR", "a").with("TINTYPE_LOG", "info").with("TINTYPE_CONFIG", "c").config();
    assert_eq!(url(&config), Some("sqlite:demo.db"));
    assert_eq!(config.cdn.url.unwrap().as_str(), "https://cdn.example.org/");
}

#[test]
fn a_secret_can_come_from_a_file() {
    let case = Case::new("");
    let path = case.folder.path().join("secret");
    std::fs::write(&path, "postgres://u:hunter2@h/d\r\n").unwrap();
    let case =
        case.with("DATABASE_URL", "sqlite:weaker.db").with("TINTYPE_DATABASE_URL_FILE", path.display().to_string());
    let config = case.config();
    assert_eq!(url(&config), Some("postgres://u:hunter2@h/d"));
    assert!(!format!("{config:?}").contains("hunter2"));
    std::fs::write(&path, "\n").unwrap();
    assert!(case.usage().contains("is empty"));
    std::fs::remove_file(&path).unwrap();
    assert!(case.usage().starts_with("TINTYPE_DATABASE_URL_FILE: can't read the file"));
    assert!(case.with("TINTYPE_DATABASE_URL", "sqlite:a.db").usage().contains("and TINTYPE_DATABASE_URL_FILE too"));
}

#[test]
fn wrong_variables_are_named_without_their_secrets() {
    let usage = |name: &str, value: &str| Case::new("").with(name, value).usage();
    assert!(usage("TINTYPE_STORE_URI", "file:a").contains("did you mean TINTYPE_STORE_URL?"));
    assert!(usage("TINTYPE_STORE_URL_FILE", "a").contains("TINTYPE_STORE_URL_FILE: isn't a variable"));
    assert!(usage("TINTYPE_DATABASE_BUILD_SETTINGS", "a").contains("can only be set in the file"));
    assert!(usage("TINTYPE_QQQQQQQ", "a").contains("known are TINTYPE_DATABASE_URL,"));
    assert!(usage("TINTYPE_STORE_LEASE_WAIT", "soon").starts_with("TINTYPE_STORE_LEASE_WAIT: `soon` isn't a duration"));
    assert!(
        usage("TINTYPE_DATABASE_URL", "hunter2").starts_with("TINTYPE_DATABASE_URL: the database URL has no scheme")
    );
    assert!(usage("DATABASE_URL", "postgres://u:hunter2@h/d?sslmod=x").starts_with("DATABASE_URL: the database URL"));
    assert!(usage("DATABASE_URL", "postgres://u:hunter2@h:port/d").starts_with("DATABASE_URL: the database URL"));
}

#[test]
fn a_password_near_a_finding_is_never_printed() {
    let case = Case::new("[database]\nurl = \"postgres://u:hunter2@h/d?sslmod=require\"\nx = 1");
    let findings = case.findings();
    assert_eq!(findings.len(), 2);
    assert!(findings[0].2.contains("did you mean `sslmode`?"), "{findings:?}");
    Case::new("[database]\nulr = \"postgres://u:hunter2@h/d\"").findings();
    Case::new("[database]\nurl = \"postgres://u:hunter2@h/d\nx = 1").findings();
    Case::new("[database]\nurl = postgres://u:hunter2@h/d").findings();
    Case::new("[database]\nurl = [\"postgres://u:hunter2@h/d\"]").findings();
}

#[test]
fn a_file_that_is_not_text_is_refused() {
    let case = Case::new("");
    std::fs::write(case.folder.path().join(FILE_NAME), b"[store]\nurl = \"\xff\"").unwrap();
    assert!(case.finding().1.contains("isn't UTF-8: byte 15, in line 2"), "{:?}", case.finding());
}
