use std::time::Duration;

use super::*;
use crate::schedule::Crontab;

fn schedule(name: &str, cron: &str, zone: chrono_tz::Tz) -> Schedule {
    Schedule {
        name: name.to_owned(),
        due: DueTimes { crontab: Crontab::parse(cron).unwrap(), zone },
        templates: Vec::new(),
        starting_deadline: Duration::from_hours(1),
        jitter: Duration::ZERO,
        suspend: false,
        retries: 3,
        retry_after: Duration::from_mins(1),
        grace: Duration::from_mins(1),
        time_limit: Duration::from_hours(6),
        prune: false,
        ping: None,
    }
}

fn command() -> Command {
    Command { program: "/usr/bin/tintype".to_owned(), config: "/srv/my site/100%.toml".to_owned(), metrics_file: None }
}

#[test]
fn the_file_for_metrics_goes_along() {
    let command = Command { metrics_file: Some("/var/lib/my metrics/100%.prom".to_owned()), ..command() };
    let schedules = [schedule("nightly", "30 2 * * *", chrono_tz::UTC)];
    let text = crontab(&schedules, &command, now());
    assert!(text.ends_with(" schedule --once nightly --metrics-file '/var/lib/my metrics/100\\%.prom'\n"), "{text}");
    let service = &systemd(&schedules, &command, now())[0].text;
    let line = "schedule --once nightly --metrics-file \"/var/lib/my metrics/100%%.prom\"\n";
    assert!(service.contains(line), "{service}");
}

fn now() -> DateTime<Utc> {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

#[test]
fn a_crontab() {
    let schedules = [
        schedule("nightly", "30 2 * * *", chrono_tz::America::New_York),
        Schedule { suspend: true, jitter: Duration::from_secs(90), ..schedule("hourly", "@hourly", chrono_tz::UTC) },
    ];
    let text = crontab(&schedules, &command(), now());
    let tail = text.split_once("\n\n").unwrap().1;
    assert_eq!(
        tail,
        "# nightly\n\
         # the clocks of America/New_York change: 2026-03-08 02:30 doesn't come, and is due right after the clocks went forward; others may do it otherwise\n\
         CRON_TZ=America/New_York\n\
         30 2 * * * /usr/bin/tintype -c '/srv/my site/100\\%.toml' schedule --once nightly\n\
         \n# hourly\n# suspended\n# without its jitter of 1m 30s\nCRON_TZ=UTC\n\
         #0 * * * * /usr/bin/tintype -c '/srv/my site/100\\%.toml' schedule --once hourly\n"
    );
}

#[test]
fn units() {
    let schedules =
        [Schedule { jitter: Duration::from_mins(5), ..schedule("nightly", "30 2 * * 1-5", chrono_tz::Europe::London) }];
    let units = systemd(&schedules, &command(), now());
    let names: Vec<_> = units.iter().map(|unit| unit.name.as_str()).collect();
    assert_eq!(names, ["tintype-nightly.service", "tintype-nightly.timer"]);
    let has = |unit: usize, line: &str| units[unit].text.lines().any(|found| found == line);
    assert!(has(0, "ExecStart=/usr/bin/tintype -c \"/srv/my site/100%%.toml\" schedule --once nightly"), "{units:?}");
    assert!(has(0, "Type=oneshot") && has(0, "TimeoutStopSec=160"));
    assert!(has(1, "OnCalendar=mon,tue,wed,thu,fri *-*-* 02:30:00 Europe/London"), "{units:?}");
    assert!(has(1, "RandomizedDelaySec=300") && has(1, "WantedBy=timers.target"));
    let suspended = [Schedule { suspend: true, ..schedules[0].clone() }];
    assert!(!systemd(&suspended, &command(), now())[1].text.contains("WantedBy"));
}

#[test]
fn calendars() {
    let calendars = |cron| Crontab::parse(cron).unwrap().calendars();
    assert_eq!(calendars("*/20 * * * *"), ["*-*-* *:00,20,40:00"]);
    assert_eq!(calendars("0 9 13 * 5"), ["*-*-13 09:00:00", "fri *-*-* 09:00:00"]);
    assert_eq!(calendars("0 0 */15 1,2 sun"), ["sun *-01,02-01,16,31 00:00:00"]);
    assert_eq!(calendars("0 0 * * 0-7"), ["*-*-* 00:00:00"]);
}
