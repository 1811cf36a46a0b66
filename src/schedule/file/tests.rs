use super::*;

const TEMPLATES: [&str; 2] = ["world-map", "city-map"];

fn read(text: &str) -> Result<Schedule, Vec<String>> {
    let shown = |finding: &Diagnostic| format!("{finding} | {}", finding.hint.as_deref().unwrap_or_default());
    let parsed = parse(Path::new("schedules/nightly.toml"), text, &TEMPLATES);
    parsed.map(|(schedule, _)| schedule).map_err(|findings| findings.iter().map(shown).collect())
}

#[track_caller]
fn refused(text: &str, line: usize, says: &[&str]) {
    let findings = read(text).expect_err(text);
    let [finding] = findings.as_slice() else { panic!("{text}: {findings:?}") };
    assert!(finding.starts_with(&format!("schedules/nightly.toml:{line}: ")), "{text}: {finding}");
    for part in says {
        assert!(finding.contains(part), "{text}: {finding} lacks {part}");
    }
}

#[test]
fn a_line_is_enough() {
    let schedule = read("cron = \"30 2 * * *\"").unwrap();
    assert_eq!((schedule.name.as_str(), schedule.due.crontab.text()), ("nightly", "30 2 * * *"));
    assert_eq!((schedule.due.zone, schedule.templates.len()), (Tz::UTC, 0));
    assert_eq!((schedule.starting_deadline, schedule.jitter), (Duration::from_hours(1), Duration::ZERO));
    assert_eq!((schedule.retries, schedule.retry_after), (3, Duration::from_mins(1)));
    assert_eq!((schedule.grace, schedule.suspend, schedule.prune), (Duration::from_mins(1), false, false));
    assert!(schedule.ping.is_none() && schedule.time_limit == Duration::from_hours(6));
}

#[test]
fn every_key() {
    let schedule = read(
        "cron = \"@daily\"\ntime_zone = \"Europe/London\"\ntemplates = [\"city-map\", \"world-map\"]\n\
         starting_deadline = \"2h\"\njitter = \"5m\"\nsuspend = true\nretries = 0\nretry_after = \"10s\"\n\
         grace = \"0s\"\ntime_limit = \"90m\"\nprune = true\nping = \"https://hc-ping.com/hunter2\"",
    )
    .unwrap();
    assert_eq!(schedule.due.zone.name(), "Europe/London");
    assert_eq!(schedule.templates, ["city-map", "world-map"]);
    assert_eq!((schedule.starting_deadline, schedule.jitter), (Duration::from_hours(2), Duration::from_mins(5)));
    assert_eq!((schedule.retries, schedule.retry_after, schedule.grace), (0, Duration::from_secs(10), Duration::ZERO));
    assert_eq!(schedule.time_limit, Duration::from_mins(90));
    assert!(schedule.suspend && schedule.prune && schedule.ping.is_some());
    assert!(!format!("{schedule:?}").contains("hunter2"));
}

#[test]
fn what_is_wrong_has_its_line_and_a_hint() {
    refused("", 1, &["missing field `cron`", "write at least when"]);
    refused("# x\ncron = \"61 * * * *\"", 2, &["cron: 61 isn't a minute", "0 to 59"]);
    refused("cron = \"0 0 31 2 *\"", 1, &["day 31 never comes"]);
    refused("cron = 5", 1, &["invalid type", "in quotes"]);
    refused("cron = \"@daily\"\ntime_zone = \"Europe/Londno\"", 2, &["isn't a time zone", "\"Europe/London\"?"]);
    refused("cron = \"@daily\"\ntime_zone = \"shanghai\"", 2, &["did you mean \"Asia/Shanghai\"?"]);
    refused("cron = \"@daily\"\ntime_zone = \"Mars/Olympus Mons\"", 2, &["IANA"]);
    refused("cron = \"@daily\"\ntemplates = [\n\"citymap\"]", 3, &["no template `citymap`", "\"city-map\"?"]);
    refused("cron = \"@daily\"\ntemplates = [\"quantum\"]", 2, &["there are world-map, city-map"]);
    refused("cron = \"@daily\"\ntemplates = [\"city-map\", \"city-map\"]", 2, &["named twice"]);
    refused("cron = \"@daily\"\ntime_limit = \"8days\"", 2, &["time_limit can't be `8days`", "1s to 7days"]);
    refused("cron = \"@daily\"\ntemplates = []", 2, &["templates is empty"]);
    refused("cron = \"@daily\"\nstarting_deadlin = \"1h\"", 2, &["unknown field", "`starting_deadline`?"]);
    refused("cron = \"@daily\"\nstarting_deadline = \"30s\"", 2, &["can't be `30s`", "1m to 7days"]);
    refused("cron = \"@daily\"\njitter = \"soon\"", 2, &["isn't a duration"]);
    refused("cron = \"@daily\"\nretries = 101", 2, &["101 retries"]);
    refused("cron = \"@daily\"\nretry_after = \"0s\"", 2, &["retry_after"]);
    refused("cron = \"@daily\"\nping = \"hunter2\"", 2, &["ping isn't a URL"]);
    refused("cron = \"@daily\"\nping = \"ftp://h/x\"", 2, &["http or https"]);
    assert_eq!(read("cron = \"x * * * *\"\njitter = \"x\"\ngrace = \"x\"").unwrap_err().len(), 3, "all at once");
}

#[test]
fn the_place_is_within_the_field() {
    let column = |text: &str| parse(Path::new("a.toml"), text, &[]).unwrap_err()[0].position();
    assert_eq!(column("cron = \"0 61 * * *\""), Some((1, 11)));
    assert_eq!(column("cron = '0 0 * * fry'"), Some((1, 17)));
    // Where the text was written by other characters, the whole value is marked.
    assert_eq!(column("cron = \"\\u0030 61 * * *\""), Some((1, 8)));
}

#[test]
fn the_address_of_a_ping_is_never_shown() {
    let text = "cron = \"61 * * * *\"\nping = \"https://hc-ping.com/hunter2\"\npnig = \"https://hc-ping.com/hunter2\"";
    for text in [text, &text.replace("pnig", "#"), &text.replace("\npnig", "\n  ping"), "ping = \"hunter2\""] {
        for finding in parse(Path::new("a.toml"), text, &[]).unwrap_err() {
            let mut printed = String::new();
            miette::GraphicalReportHandler::new().render_report(&mut printed, &finding).unwrap();
            assert!(!format!("{printed}{finding}{finding:?}").contains("hunter2"), "{printed}");
        }
    }
}

#[test]
fn a_folder_of_schedules() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let load = || load_all(folder.path(), Path::new("schedules"), &TEMPLATES);
    std::fs::write(path("nightly.toml"), "cron = \"@daily\"").unwrap();
    std::fs::write(path("Every Hour.toml"), "cron = \"@hourly\"").unwrap();
    std::fs::write(path(".hidden.toml"), "wrong").unwrap();
    std::fs::write(path("nightly.toml~"), "wrong").unwrap();
    let names: Vec<_> = load().unwrap().into_iter().map(|schedule| schedule.name).collect();
    assert_eq!(names, ["every-hour", "nightly"]);

    std::fs::write(path("Nightly.toml"), "# another\ncron = \"@weekly\"").unwrap();
    let findings = load().unwrap_err();
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(
        finding.to_string(),
        "schedules/nightly.toml:1: the file's name makes the schedule's, and Nightly.toml makes `nightly` already"
    );
    assert_eq!(finding.position(), Some((1, 8)));

    assert!(load_all(&path("missing"), Path::new("missing"), &[]).unwrap().is_empty());
    assert!(load_all(&path("nightly.toml"), Path::new("x"), &[]).is_err());
}
