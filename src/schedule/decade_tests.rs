//! Ten years of due times, against the rule spelt out minute by minute.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveDateTime, TimeDelta, TimeZone as _, Timelike as _, Utc, Weekday,
};
use chrono_tz::Tz;

use super::crontab::Crontab;
use super::due::{DueTimes, Kind};

/// An expression, its civil times spelt out, and whether its hour field begins with a star.
type Case = (&'static str, fn(NaiveDateTime) -> bool, bool);

const CASES: [Case; 7] = [
    ("30 2 * * *", |t| (t.hour(), t.minute()) == (2, 30), false),
    ("*/20 * * * *", |t| t.minute() % 20 == 0, true),
    ("0 9 13 * 5", |t| (t.hour(), t.minute()) == (9, 0) && (t.day() == 13 || t.weekday() == Weekday::Fri), false),
    ("0 0 31 * *", |t| (t.hour(), t.minute(), t.day()) == (0, 0, 31), false),
    (
        "15 10 * * 1-5",
        |t| (t.hour(), t.minute()) == (10, 15) && !matches!(t.weekday(), Weekday::Sat | Weekday::Sun),
        false,
    ),
    // What the gaps and the folds of these zones are about.
    ("*/30 0-2,23 * * *", |t| t.minute() % 30 == 0 && matches!(t.hour(), 0..=2 | 23), false),
    ("10 */2 * * *", |t| t.minute() == 10 && t.hour() % 2 == 0, true),
];

/// With a gap at midnight in Santiago and Beirut, and one of half an hour on Lord Howe.
const ZONES: [Tz; 7] = [
    Tz::UTC,
    Tz::America__New_York,
    Tz::Europe__London,
    Tz::Australia__Lord_Howe,
    Tz::Asia__Shanghai,
    Tz::America__Santiago,
    Tz::Asia__Beirut,
];

fn due(expression: &str, zone: Tz) -> DueTimes {
    DueTimes { crontab: Crontab::parse(expression).unwrap(), zone }
}

fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

fn minutes_of(day: NaiveDate) -> impl Iterator<Item = NaiveDateTime> {
    (0..24 * 60).map(move |minute| day.and_hms_opt(minute / 60, minute % 60, 0).unwrap())
}

/// What the clocks of a zone show around one day, minute by minute: each civil time with its instants.
fn clocks(zone: Tz, day: NaiveDate) -> BTreeMap<NaiveDateTime, Vec<DateTime<Utc>>> {
    let noon = day.and_hms_opt(12, 0, 0).unwrap().and_utc();
    let mut shown: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for minute in -40 * 60..40 * 60 {
        let instant = noon + TimeDelta::minutes(minute);
        shown.entry(instant.with_timezone(&zone).naive_local()).or_default().push(instant);
    }
    shown
}

/// The due times of one day with these civil times, by the rule.
fn expected(civil: &[NaiveDateTime], is_every_hour: bool, zone: Tz, day: NaiveDate) -> BTreeSet<DateTime<Utc>> {
    let civil = civil.iter().copied();
    let ends = [
        day.and_hms_opt(0, 0, 0).unwrap() - TimeDelta::days(1),
        day.and_hms_opt(0, 0, 0).unwrap() + TimeDelta::days(2),
    ];
    let offsets = ends.map(|end| zone.offset_from_utc_datetime(&end).to_string());
    if offsets[0] == offsets[1] {
        return civil.map(|civil| zone.from_local_datetime(&civil).single().unwrap().to_utc()).collect();
    }
    let shown = clocks(zone, day);
    civil
        .flat_map(|civil| match shown.get(&civil) {
            // The minute after the last one before the gap.
            None => {
                vec![*shown.range(..civil).flat_map(|(_, instants)| instants).max().unwrap() + TimeDelta::minutes(1)]
            }
            Some(instants) if is_every_hour => instants.clone(),
            Some(instants) => instants[..1].to_vec(),
        })
        .collect()
}

#[test]
fn a_decade_by_the_rule() {
    let (first, last) = (date(2015, 1, 1), date(2024, 12, 31));
    let (mut runs, mut gaps, mut folds) = (0, 0, 0);
    for case in &CASES {
        let days: Vec<(NaiveDate, Vec<NaiveDateTime>)> = first
            .iter_days()
            .take_while(|day| *day <= last)
            .map(|day| (day, minutes_of(day).filter(|civil| case.1(*civil)).collect()))
            .collect();
        for zone in ZONES {
            // A day is left out at each end, where the zone's civil decade and ours differ.
            let (from, until) = (date(2015, 1, 2), date(2024, 12, 30));
            let (start, end) =
                (from.and_hms_opt(0, 0, 0).unwrap().and_utc(), until.and_hms_opt(0, 0, 0).unwrap().and_utc());
            let found: Vec<_> = due(case.0, zone).from(start).take_while(|due| due.at <= end).collect();
            assert!(found.windows(2).all(|pair| pair[0].at < pair[1].at), "{} in {zone}: not increasing", case.0);
            let all = days.iter().flat_map(|(day, civil)| expected(civil, case.2, zone, *day));
            let expected: BTreeSet<_> = all.filter(|at| *at > start && *at <= end).collect();
            let found_at: BTreeSet<_> = found.iter().map(|due| due.at).collect();
            let differ: Vec<_> = found_at.symmetric_difference(&expected).take(5).collect();
            assert!(differ.is_empty(), "{} in {zone}: {differ:?}", case.0);
            runs += found.len();
            gaps += found.iter().filter(|due| due.kind == Kind::Gap).count();
            folds += found.iter().filter(|due| due.kind == Kind::Second).count();
        }
    }
    println!("{runs} due times, {gaps} of them after a gap, {folds} the second time");
    assert!(runs > 2_000_000 && gaps > 50 && folds > 100, "{runs} {gaps} {folds}");
}

fn instants(expression: &str, zone: Tz, from: &str, count: usize) -> Vec<String> {
    let from: DateTime<Utc> = from.parse().unwrap();
    let shown = |due: super::Due| format!("{} {:?}", due.at.format("%m-%dT%H:%M"), due.kind);
    due(expression, zone).from(from).take(count).map(shown).collect()
}

#[test]
fn a_gap_is_passed_once_and_no_day_is_lost() {
    // New York goes from 02:00 to 03:00 on 8 March 2026, which is 07:00 UTC.
    let found = instants("30 2 * * *", Tz::America__New_York, "2026-03-07T00:00:00Z", 3);
    assert_eq!(found, ["03-07T07:30 Usual", "03-08T07:00 Gap", "03-09T06:30 Usual"]);
    let found = instants("*/20 * * * *", Tz::America__New_York, "2026-03-08T06:30:00Z", 3);
    assert_eq!(found, ["03-08T06:40 Usual", "03-08T07:00 Usual", "03-08T07:20 Usual"]);
    // Midnight itself is left out in Santiago on 6 September 2026, which is 04:00 UTC.
    let found = instants("0 0 * * *", Tz::America__Santiago, "2026-09-05T00:00:00Z", 3);
    assert_eq!(found, ["09-05T04:00 Usual", "09-06T04:00 Gap", "09-07T03:00 Usual"]);
    // Lord Howe leaves out half an hour from 02:00 on, on 4 October 2026 at 15:30 UTC of the day before.
    let found = instants("15 2 * * *", Tz::Australia__Lord_Howe, "2026-10-03T00:00:00Z", 2);
    assert_eq!(found, ["10-03T15:30 Gap", "10-04T15:15 Usual"]);
}

#[test]
fn a_fold_repeats_a_rhythm_and_nothing_else() {
    // New York has 01:00 to 02:00 twice on 1 November 2026, from 05:00 UTC on.
    let found = instants("30 1 * * *", Tz::America__New_York, "2026-10-31T12:00:00Z", 2);
    assert_eq!(found, ["11-01T05:30 First", "11-02T06:30 Usual"]);
    let found = instants("*/30 * * * *", Tz::America__New_York, "2026-11-01T04:45:00Z", 5);
    assert_eq!(
        found,
        ["11-01T05:00 First", "11-01T05:30 First", "11-01T06:00 Second", "11-01T06:30 Second", "11-01T07:00 Usual"]
    );
    let found = instants("*/30 1 * * *", Tz::America__New_York, "2026-11-01T04:45:00Z", 3);
    assert_eq!(found, ["11-01T05:00 First", "11-01T05:30 First", "11-02T06:00 Usual"]);
}

#[test]
fn a_day_that_a_zone_left_out() {
    // Samoa went from the end of 29 December 2011 to 31 December.
    let found = instants("0 12 * * *", Tz::Pacific__Apia, "2011-12-29T00:00:00Z", 3);
    assert_eq!(found, ["12-29T22:00 Usual", "12-30T10:00 Gap", "12-30T22:00 Usual"]);
}

#[test]
fn what_is_unusual_within_a_year() {
    let from: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
    let unusual = |expression, zone| {
        let found = due(expression, zone).unusual(from, from + TimeDelta::days(365));
        found.iter().map(|due| format!("{} {:?}", due.at.format("%m-%d"), due.kind)).collect::<Vec<_>>()
    };
    assert_eq!(unusual("30 2 * * *", Tz::America__New_York), ["03-08 Gap"]);
    assert_eq!(unusual("30 1 * * *", Tz::America__New_York), ["11-01 First"]);
    assert!(unusual("30 2 * * *", Tz::UTC).is_empty());
    assert_eq!(unusual("* * * * *", Tz::America__New_York).len(), 120, "of an hour that comes twice");
    assert!(unusual("0 9 * * *", Tz::Europe__London).is_empty());
}
