//! Schedule files: what is wrong with one is told with its place, and what is right is listed and exported.

use std::fs;

use crate::support::places;
use crate::support::process::Tintype;
use crate::support::project::Project;
use crate::support::skip::skip;

/// Writes a file into the project's `schedules`.
fn write(project: &Project, name: &str, text: &str) {
    fs::create_dir_all(project.root().join("schedules")).expect("make the folder");
    fs::write(project.root().join("schedules").join(name), text).expect("write the schedule");
}

#[test]
fn check_refuses_every_bad_schedule_with_its_place() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("cron = \"61 * * * *\"", "nightly.toml:1:9", &["61 isn't a minute", "0 to 59"]),
        ("# x\ncron = \"0 2 31 2 *\"", "nightly.toml:2:13", &["day 31 never comes"]),
        ("cron = \"@daily\"\ntime_zone = \"Europe/Londn\"", "nightly.toml:2:13", &["Europe/Londn", "Europe/London"]),
        ("cron = \"@daily\"\ntemplates = [\"place\"]", "nightly.toml:2:14", &["no template `place`", "\"places\"?"]),
        ("cron = \"@daily\"\njiter = \"1m\"", "nightly.toml:2:1", &["jiter", "`jitter`?"]),
        ("time_zone = \"UTC\"", "nightly.toml:1:1", &["missing field `cron`", "30 2 * * *"]),
        ("cron = 30 2 * * *", "nightly.toml:1:8", &["in quotes"]),
    ];
    for (text, place, says) in cases {
        let project = places::sqlite();
        write(&project, "nightly.toml", text);
        for arguments in [&["check"][..], &["check", "--offline"], &["schedule", "--list"], &["schedule"]] {
            project.run(arguments).expect(2).explains(says).explains(&[place]);
        }
        let said = project.json(&["check"], 2);
        assert_eq!(said["findings"][0]["hint"].as_str().map(str::is_empty), Some(false), "{said:#}");
        // Nobody who publishes by hand is kept from it.
        project.publish();
    }
}

#[test]
fn two_files_with_one_name() {
    let project = places::sqlite();
    write(&project, "Nightly.toml", "cron = \"@daily\"");
    write(&project, "nightly.toml", "# the second\ncron = \"@weekly\"");
    let ended = project.run(&["check"]).expect(2);
    ended.explains(&["schedules/nightly.toml:2:8", "Nightly.toml makes `nightly` already"]);
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let project = places::sqlite();
    write(&project, "a.toml", "cron = \"x * * * *\"\ntime_zone = \"x\"");
    write(&project, "b.toml", "cron = \"@dayly\"");
    assert_eq!(project.json(&["check"], 2)["errors"], 3);
}

#[test]
fn init_ships_schedules_that_check_and_can_be_listed() {
    let folder = tempfile::tempdir().expect("make a folder");
    let site = folder.path().join("site");
    let database = "postgres://nobody@127.0.0.1:9/none";
    Tintype::new(["init"]).arg(&site).args(&["--database", database]).run().expect(0);
    let tintype = |arguments: &[&str]| Tintype::new(arguments).arg("-c").arg(site.join("tintype.toml"));
    assert_eq!(tintype(&["check", "--offline", "--format", "json"]).run().expect(0).json()["schedules"], 2);
    let listed = tintype(&["schedule", "--list"]).run().expect(0).text();
    assert!(listed.contains("nightly  30 2 * * * UTC  next 2"), "{listed}");
    assert!(listed.contains("hourly  5 * * * * UTC  suspended"), "{listed}");
    for name in ["nightly", "hourly"] {
        let shipped = format!("{}/schedules/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let written = fs::read(site.join(format!("schedules/{name}.toml"))).expect("it is written");
        assert!(written == fs::read(shipped).expect("it is shipped"), "{name}");
    }
}

#[test]
fn a_project_without_schedules_says_how_to_get_one() {
    places::sqlite().run(&["schedule"]).expect(2).explains(&["no schedule", "nightly.toml"]);
    places::sqlite().run(&["check"]).expect(0);
}

#[test]
fn the_list_says_what_changes_of_the_clocks_do() {
    let project = places::sqlite();
    write(&project, "nightly.toml", "cron = \"30 2 * * *\"\ntime_zone = \"America/New_York\"");
    let listed = project.run(&["schedule", "--list"]).expect(0).text();
    assert!(listed.contains("-03-") && listed.contains("doesn't come"), "{listed}");
    let said = project.json(&["schedule", "--list"], 0);
    let schedule = &said["schedules"][0];
    assert_eq!((&schedule["name"], &schedule["cron"]), (&"nightly".into(), &"30 2 * * *".into()));
    let next: Vec<_> = schedule["next"].as_array().expect("a list").iter().map(|due| due["at"].as_str()).collect();
    assert!(next.len() == 5 && next.is_sorted(), "{said:#}");
    let change = &schedule["clock_changes"][0];
    assert!(change["local"].as_str().is_some_and(|local| local.contains("T03:00:00-04:00")), "{said:#}");
}

#[test]
fn an_exported_crontab_names_absolute_paths() {
    let project = places::sqlite();
    write(&project, "nightly.toml", "cron = \"30 2 * * mon-fri\"\ntime_zone = \"Asia/Shanghai\"");
    let text = project.run(&["schedule", "--export", "crontab"]).expect(0).text();
    let config = project.config().display().to_string();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(lines[0], "CRON_TZ=Asia/Shanghai");
    assert!(
        lines[1].starts_with("30 2 * * mon-fri /")
            && lines[1].ends_with(&format!("-c {config} schedule --once nightly"))
    );
    // The line does what it says.
    let command = lines[1].strip_prefix("30 2 * * mon-fri ").expect("five fields");
    let ran = Tintype::new(["-euc", command]).program("/bin/sh".into()).run().expect(0);
    assert_eq!((ran.text(), ran.stderr), (String::new(), String::new()), "cron would mail it");
    assert!(project.public().has("places/united-states/crispr/low.json"));
}

#[test]
fn metrics_of_exported_schedules_go_where_they_are_to() {
    let project = places::sqlite();
    write(&project, "nightly.toml", "cron = \"30 2 * * *\"");
    let arguments = ["schedule", "--export", "crontab", "--metrics-file", "my metrics.prom"];
    let text = project.tintype(&arguments).in_directory(project.root()).run().expect(0).text();
    let file = project.root().join("my metrics.prom");
    let command = text.trim_end().rsplit_once("30 2 * * * ").expect("a line").1;
    assert!(command.ends_with(&format!("schedule --once nightly --metrics-file '{}'", file.display())), "{text}");
    Tintype::new(["-euc", command]).program("/bin/sh".into()).run().expect(0);
    assert!(fs::read_to_string(&file).expect("the metrics").contains("schedule=\"nightly\""));
    let ended = project.run(&["schedule", "--list", "--metrics-file", "x.prom"]).expect(2);
    ended.explains(&["--list runs nothing", "--metrics-file"]);
}

#[test]
fn exported_units_are_what_systemd_takes() {
    let project = places::sqlite();
    write(&project, "nightly.toml", "cron = \"30 2 13 * 5\"\ntime_zone = \"Europe/London\"\njitter = \"90s\"");
    write(&project, "often.toml", "cron = \"*/20 8-18 * 1,7 1-5\"\nsuspend = true");
    let units = project.root().join("units");
    fs::create_dir(&units).expect("make a folder");
    let folder = units.display().to_string();
    project.run(&["schedule", "--export", "systemd", "--into", &folder]).expect(0);
    let text = project.run(&["schedule", "--export", "systemd"]).expect(0).text();
    let mut calendars = Vec::new();
    for name in ["nightly", "often"] {
        let service = fs::read_to_string(units.join(format!("tintype-{name}.service"))).expect("a service");
        assert!(service.contains(&format!("-c {} schedule --once {name}", project.config().display())), "{service}");
        let timer = fs::read_to_string(units.join(format!("tintype-{name}.timer"))).expect("a timer");
        assert!(text.contains(&service) && text.contains(&timer));
        calendars.extend(timer.lines().filter_map(|line| line.strip_prefix("OnCalendar=")).map(str::to_owned));
    }
    assert_eq!(calendars.len(), 3, "the 13th or a Friday are two: {calendars:?}");
    let Ok(_) = std::process::Command::new("systemd-analyze").arg("--version").output() else {
        return skip("systemd-analyze isn't there");
    };
    for calendar in calendars {
        let output =
            std::process::Command::new("systemd-analyze").args(["calendar", "--iterations=2", &calendar]).output();
        let output = output.expect("run systemd-analyze");
        assert!(output.status.success(), "{calendar}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
