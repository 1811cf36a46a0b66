//! Due times against croniter, which reads crontabs in another language: they are the same wherever no clock is changed.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeDelta, TimeZone as _, Utc,
};
use chrono_tz::Tz;
use serde_json::{Value, json};
use tintype::schedule::{Crontab, DueTimes};

use crate::support::skip::skip;

const EXPRESSIONS: [&str; 5] = ["30 2 * * *", "*/20 * * * *", "0 9 13 * 5", "0 0 31 * *", "15 10 * * 1-5"];
/// With a gap at midnight in Santiago and Beirut.
const ZONES: [&str; 7] = [
    "UTC",
    "America/New_York",
    "Europe/London",
    "Australia/Lord_Howe",
    "Asia/Shanghai",
    "America/Santiago",
    "Asia/Beirut",
];
const FROM: (i32, u32, u32) = (2015, 1, 1);
const UNTIL: (i32, u32, u32) = (2025, 1, 1);

fn date((year, month, day): (i32, u32, u32)) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("a date")
}

/// What croniter says; none, loudly, where it isn't there.
fn croniter(order: &Value) -> Option<Value> {
    let python = std::env::var("TINTYPE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let is_there = Command::new(&python).args(["-c", "import croniter"]).output();
    if !is_there.is_ok_and(|output| output.status.success()) {
        skip("Python with croniter isn't there (tests/run.sh makes one)");
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/all/support/croniter_due.py");
    let mut command = Command::new(python);
    let mut child = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start Python");
    child.stdin.take().expect("stdin is piped").write_all(order.to_string().as_bytes()).expect("write to Python");
    let output = child.wait_with_output().expect("wait for Python");
    assert!(output.status.success(), "the script failed");
    Some(serde_json::from_slice(&output.stdout).expect("one JSON document"))
}

/// The days of a zone on which its clocks change.
fn changes(zone: Tz) -> BTreeSet<NaiveDate> {
    let offset = |day: NaiveDate| zone.offset_from_utc_datetime(&day.and_time(NaiveTime::MIN)).fix();
    let days = date(FROM).iter_days().take_while(|day| *day <= date(UNTIL));
    // A change within the day in UTC falls on that day, or one beside it, in the zone.
    let changed = days.filter(|day| offset(*day) != offset(*day + TimeDelta::days(1)));
    changed.flat_map(|day| [day - TimeDelta::days(1), day, day + TimeDelta::days(1)]).collect()
}

#[test]
fn a_decade_is_that_of_croniter_wherever_no_clock_changes() {
    let cases: Vec<(&str, &str)> = EXPRESSIONS.iter().flat_map(|cron| ZONES.map(|zone| (*cron, zone))).collect();
    let order = json!({ "from": "2015-01-01", "until": "2025-01-01", "cases": cases, "civil": [] });
    let Some(said) = croniter(&order) else { return };
    let (mut compared, mut left_out) = (0, 0);
    for ((expression, name), theirs) in cases.iter().zip(said["cases"].as_array().expect("a list")) {
        let zone: Tz = name.parse().expect("a zone");
        let changes = changes(zone);
        let day = |at: &DateTime<Utc>| at.with_timezone(&zone).date_naive();
        let is_plain = |at: &DateTime<Utc>| !changes.contains(&day(at));
        let due = DueTimes { crontab: Crontab::parse(expression).expect("it is right"), zone };
        // croniter doesn't say what is due at the very beginning.
        let start =
            zone.from_local_datetime(&date(FROM).and_time(NaiveTime::MIN)).earliest().expect("it comes").to_utc();
        let ours: Vec<_> = due.from(start).map(|due| due.at).take_while(|at| day(at) < date(UNTIL)).collect();
        assert!(ours.is_sorted_by(|a, b| a < b), "{expression} in {name} doesn't increase");
        let theirs: BTreeSet<_> =
            theirs.as_array().expect("a list").iter().map(|at| at.as_i64().expect("a number")).collect();
        let theirs: BTreeSet<_> = theirs
            .into_iter()
            .map(|at| DateTime::from_timestamp(at, 0).expect("an instant"))
            .filter(is_plain)
            .collect();
        let plain: BTreeSet<_> = ours.iter().copied().filter(is_plain).collect();
        let differ: Vec<_> = plain.symmetric_difference(&theirs).take(4).collect();
        assert!(differ.is_empty(), "{expression} in {name}: {differ:?}");
        compared += plain.len();
        left_out += ours.len() - plain.len();
    }
    println!("{compared} due times are those of croniter; {left_out} near changes of clocks were left out");
    assert!(compared > 1_800_000 && left_out > 0, "{compared} {left_out}");
}

/// A field of a crontab, made up from numbers.
fn field(random: &mut impl FnMut(u32) -> u32, least: u32, most: u32) -> String {
    let mut value = || least + random(most - least + 1);
    let (a, b) = (value(), value());
    let (low, high) = (a.min(b), a.max(b));
    match random(7) {
        0 | 1 => "*".to_owned(),
        2 => format!("*/{}", 1 + random((most - least).min(12))),
        // A range of one is all of them to croniter.
        3 | 4 if low == high => low.to_string(),
        3 => format!("{low}-{high}"),
        4 => format!("{low}-{high}/{}", 1 + random(5)),
        5 => format!("{a},{b}"),
        _ => a.to_string(),
    }
}

#[test]
fn made_up_expressions_are_read_as_croniter_reads_them() {
    let mut state = 0x2545_f491_u32;
    let mut random = move |below: u32| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % below
    };
    let mut expressions = Vec::new();
    while expressions.len() < 300 {
        // One time of day, so that the days are what differs.
        let (minute, hour) = (random(60), random(24));
        let days = [field(&mut random, 1, 31), field(&mut random, 1, 12), field(&mut random, 0, 6)];
        let expression = format!("{minute} {hour} {}", days.join(" "));
        if Crontab::parse(&expression).is_ok() {
            expressions.push(expression);
        }
    }
    let times = ["*/7 3,4 * * *", "5-50/15 */5 1 * *", "0-59/59 0-23/11 * 2 *"].map(str::to_owned);
    expressions.extend(times);
    let order = json!({ "from": "2015-01-01", "until": "2025-01-01", "cases": [], "civil": expressions });
    let Some(said) = croniter(&order) else { return };
    for (expression, theirs) in expressions.iter().zip(said["civil"].as_array().expect("a list")) {
        let crontab = Crontab::parse(expression).expect("it is right");
        let start = date(FROM).and_time(NaiveTime::MIN);
        let ours: Vec<NaiveDateTime> = std::iter::successors(crontab.after(start), |civil| crontab.after(*civil))
            .take_while(|civil| civil.year() < 2025)
            .collect();
        let ours: Vec<String> = ours.iter().map(|civil| civil.format("%Y-%m-%d %H:%M").to_string()).collect();
        let theirs: Vec<&str> = theirs.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        assert!(ours == theirs, "{expression}: {:?}", ours.iter().zip(&theirs).find(|(ours, theirs)| ours != *theirs));
    }
}
