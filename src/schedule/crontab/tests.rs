use chrono::{Datelike as _, NaiveDate, Weekday};

use super::*;

fn civil(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap()
}

/// The first times after the beginning of 2026, which is a Thursday.
fn times(expression: &str, count: usize) -> Vec<String> {
    let crontab = Crontab::parse(expression).unwrap_or_else(|wrong| panic!("{expression}: {wrong:?}"));
    let first = crontab.after(civil("2025-12-31 23:59"));
    let all = std::iter::successors(first, |civil| crontab.after(*civil));
    all.take(count).map(|civil| civil.format("%m-%d %H:%M").to_string()).collect()
}

#[track_caller]
fn refused(expression: &str, marked: &str, says: &[&str]) {
    let wrong = Crontab::parse(expression).expect_err(expression);
    assert_eq!(&expression[wrong.span.clone()], marked, "{expression}: {wrong:?}");
    for text in says {
        assert!(format!("{} | {}", wrong.message, wrong.hint).contains(text), "{expression}: {wrong:?} lacks {text}");
    }
}

#[test]
fn plain_fields() {
    assert_eq!(times("30 2 * * *", 2), ["01-01 02:30", "01-02 02:30"]);
    assert_eq!(times("*/20 * * * *", 4), ["01-01 00:00", "01-01 00:20", "01-01 00:40", "01-01 01:00"]);
    assert_eq!(times("*/60 */24 * * *", 2), ["01-01 00:00", "01-02 00:00"]);
    assert_eq!(times("0 8-18/5,23 * * *", 4), ["01-01 08:00", "01-01 13:00", "01-01 18:00", "01-01 23:00"]);
    assert_eq!(times("0 0 31 * *", 3), ["01-31 00:00", "03-31 00:00", "05-31 00:00"]);
    assert_eq!(times("  5\t4  1 JAN,mar-Apr *\n", 4), ["01-01 04:05", "03-01 04:05", "04-01 04:05", "01-01 04:05"]);
    assert_eq!(Crontab::parse(" 5\t4  1 1 * ").unwrap().text(), "5 4 1 1 *");
}

#[test]
fn monday_is_monday_and_sunday_has_two_numbers() {
    let days = [Weekday::Sun, Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat];
    let names = ["sun", "Mon", "TUE", "wed", "thu", "fri", "sat"];
    for (number, (day, name)) in days.into_iter().zip(names).enumerate() {
        for written in [number.to_string(), name.to_owned()] {
            let crontab = Crontab::parse(&format!("0 0 * * {written}")).unwrap();
            let found = crontab.after(civil("2026-01-01 00:00")).unwrap();
            assert_eq!(found.weekday(), day, "{written}");
        }
    }
    assert_eq!(times("0 0 * * 7", 2), times("0 0 * * 0", 2));
    assert_eq!(times("0 0 * * 5-7", 4), ["01-02 00:00", "01-03 00:00", "01-04 00:00", "01-09 00:00"]);
    assert_eq!(times("0 0 * * */7", 9), times("0 0 * * sun", 9), "steps count from 0 to 7");
    assert_eq!(times("15 10 * * 1-5", 3), ["01-01 10:15", "01-02 10:15", "01-05 10:15"]);
}

#[test]
fn two_restricted_day_fields_are_either_and_a_star_makes_them_both() {
    // The 13th and every Friday.
    assert_eq!(times("0 9 13 * 5", 4), ["01-02 09:00", "01-09 09:00", "01-13 09:00", "01-16 09:00"]);
    // A field that begins with a star restricts the other, whatever comes behind the star.
    assert_eq!(times("0 0 */2 * 1", 3), ["01-05 00:00", "01-19 00:00", "02-09 00:00"]);
    assert_eq!(times("0 0 13 * */5", 2), ["02-13 00:00", "03-13 00:00"], "Sundays and Fridays that are a 13th");
    assert_eq!(times("0 0 *,5 * 1", 2), ["01-05 00:00", "01-12 00:00"]);
    assert_eq!(times("0 0 1-31/2 * 1", 3), ["01-01 00:00", "01-03 00:00", "01-05 00:00"]);
    // All of them are named, and yet the field doesn't begin with a star.
    assert_eq!(times("0 0 13 * 0-6", 2), ["01-01 00:00", "01-02 00:00"]);
}

#[test]
fn nicknames() {
    assert_eq!(times("@daily", 2), times("@midnight", 2));
    assert_eq!(times("@annually", 1), times("@yearly", 1));
    assert_eq!(times("@hourly", 2), ["01-01 00:00", "01-01 01:00"]);
    assert_eq!(times("@weekly", 1), ["01-04 00:00"]);
    assert_eq!(times("@Monthly", 2), ["01-01 00:00", "02-01 00:00"]);
    refused("@dayly", "@dayly", &["isn't known", "did you mean @daily?"]);
    refused(" @reboot", "@reboot", &["no time"]);
}

#[test]
fn what_is_wrong_is_marked() {
    refused("61 * * * *", "61", &["61 isn't a minute", "0 to 59"]);
    refused("0 24 * * *", "24", &["24 isn't an hour", "0 to 23"]);
    refused("0 0 1,32 * *", "32", &["32 isn't a day of the month"]);
    refused("0 0 0 * *", "0", &["0 isn't a day of the month", "1 to 31"]);
    refused("0 0 * 13 *", "13", &["jan to dec"]);
    refused("0 0 * * 8", "8", &["day of the week", "sun to sat"]);
    refused("0 0 * jna *", "jna", &["did you mean jan?"]);
    refused("0 0 * * fri-mon", "fri-mon", &["ends before it begins"]);
    refused("0 0 * * 1-", "", &["a value is missing"]);
    refused("0, 0 * * *", "", &["a value is missing"]);
    refused("5/10 * * * *", "5/10", &["behind a single value", "5-59/"]);
    refused("*/0 * * * *", "0", &["the step in `*/0` is 0"]);
    refused("0 0 * * fri-sun", "fri-sun", &["write fri-7"]);
    refused("*/61 * * * *", "61", &["longer than the whole field"]);
    refused("*/x * * * *", "x", &["isn't a step"]);
    refused("-1 * * * *", "", &["a value is missing"]);
    refused("+1 * * * *", "+1", &["`+1` isn't a minute"]);
    refused("99999999999 * * * *", "99999999999", &["isn't a minute"]);
    refused("0 0 L * ?", "L", &["knows no ?, #, L and W"]);
    refused("0 0 * * 5#2", "5#2", &["knows no ?, #, L and W"]);
    refused("30 2 * *", "30 2 * *", &["five fields", "these are 4", "30 2 * * *"]);
    refused("0 30 2 * * *", "0 30 2 * * *", &["neither seconds nor years"]);
    refused("   ", "", &["is empty"]);
    refused("ü * * * *", "ü", &["`ü` isn't a minute"]);
}

#[test]
fn what_never_comes_is_refused() {
    refused("0 0 31 2 *", "31 2", &["day 31 never comes", "29 days at most"]);
    refused("0 0 30,31 feb *", "30,31 feb", &["day 30 never comes"]);
    refused("0 0 31 4,6,9,11 *", "31 4,6,9,11", &["these months have 30"]);
    refused("0 0 31 2 */2", "31 2", &["never comes"]);
    assert_eq!(times("0 0 31 2 1", 1), ["02-02 00:00"], "or a Monday");
    assert_eq!(times("0 0 31 2,3 *", 1), ["03-31 00:00"]);
    let leap = Crontab::parse("0 0 29 2 *").unwrap();
    assert_eq!(leap.after(civil("2026-01-01 00:00")).unwrap().date(), NaiveDate::from_ymd_opt(2028, 2, 29).unwrap());
}

#[test]
fn a_minute_that_has_begun_is_over() {
    let crontab = Crontab::parse("* * * * *").unwrap();
    let after = |second| crontab.after(civil("2026-01-01 10:00").with_second(second).unwrap()).unwrap();
    assert_eq!(after(0), civil("2026-01-01 10:01"));
    assert_eq!(after(59), civil("2026-01-01 10:01"));
}
