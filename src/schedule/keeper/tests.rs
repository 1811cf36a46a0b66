use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::release::head::claim::Trouble;
use crate::schedule::{Crontab, DueTimes};

mod absence;
mod attempts;
mod world;

use world::World;

const NIGHTLY: &str = "30 2 * * *";

fn schedule(name: &str, cron: &str) -> Schedule {
    Schedule {
        name: name.to_owned(),
        due: DueTimes { crontab: Crontab::parse(cron).unwrap(), zone: chrono_tz::UTC },
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

fn nightly() -> Schedule {
    schedule("nightly", NIGHTLY)
}

#[test]
fn what_was_due_before_anybody_watched_is_not_made_up_for() {
    let mut world = World::new("2026-01-01T03:00");
    world.start("a", [nightly()]);
    world.until("2026-01-02T12:00");
    assert_eq!(world.runs(), ["01-02T02:30 a nightly"]);
}

#[test]
fn killed_before_a_run_and_started_an_hour_later() {
    for (back_at, expected) in [
        ("2026-01-02T03:15", &["01-02T03:15 a nightly", "01-03T02:30 a nightly"][..]),
        ("2026-01-02T03:31", &["01-03T02:30 a nightly"]),
    ] {
        let mut world = World::new("2026-01-01T12:00");
        let daemon = world.start("a", [nightly()]);
        world.until("2026-01-02T02:15");
        world.kill(daemon);
        world.until(back_at);
        world.start("a", [nightly()]);
        world.until("2026-01-03T12:00");
        assert_eq!(world.runs(), expected, "back at {back_at}");
        let missed = if expected.len() == 1 { vec!["nightly 01-02T02:30"] } else { vec![] };
        assert_eq!(world.missed, missed);
    }
}

#[test]
fn of_many_that_were_missed_the_last_is_run_once() {
    let mut world = World::new("2026-01-01T12:02");
    let daemon = world.start("a", [schedule("often", "*/5 * * * *")]);
    world.until("2026-01-01T12:06");
    world.kill(daemon);
    world.until("2026-01-01T12:44");
    world.start("a", [schedule("often", "*/5 * * * *")]);
    world.until("2026-01-01T12:46");
    assert_eq!(world.runs(), ["01-01T12:05 a often", "01-01T12:44 a often", "01-01T12:45 a often"]);
    assert_eq!(world.claims["often"].due, world::at("2026-01-01T12:45"));
}

#[test]
fn two_daemons_one_run() {
    let mut world = World::new("2026-01-01T12:00");
    world.start("a", [nightly(), schedule("often", "*/20 * * * *")]);
    world.start("b", [nightly(), schedule("often", "*/20 * * * *")]);
    world.until("2026-01-08T12:00");
    assert_eq!(world.runs().iter().filter(|run| run.contains("nightly")).count(), 7);
    assert_eq!(world.runs().len(), 7 + 7 * 72);
}

#[test]
fn a_clock_that_was_set_back_repeats_nothing() {
    let mut world = World::new("2026-01-01T12:00");
    let daemon = world.start("a", [nightly(), schedule("hourly", "0 * * * *")]);
    world.until("2026-01-02T02:45");
    world.set_clock(daemon, -TimeDelta::hours(1));
    let before = world.runs();
    world.until("2026-01-02T03:59");
    assert_eq!(world.runs(), before, "by its clock it is 02:59, and 02:00 and 02:30 were run");
    world.until("2026-01-02T05:01");
    // 03:00 and 04:00 by its clock.
    let new: Vec<_> = world.runs()[before.len()..].to_vec();
    assert_eq!(new, ["01-02T04:00 a hourly", "01-02T05:00 a hourly"]);
    // A second one with the right clock is ahead, and again each time is run once.
    world.start("b", [nightly()]);
    world.until("2026-01-03T12:00");
    assert_eq!(world.runs().iter().filter(|run| run.contains("nightly")).count(), 2);
}

#[test]
fn a_clock_that_was_a_year_ahead_is_not_believed_for_a_year() {
    let mut world = World::new("2026-01-01T12:00");
    let daemon = world.start("a", [nightly()]);
    world.set_clock(daemon, TimeDelta::days(365));
    world.until("2026-01-02T12:00");
    assert_eq!(world.claims["nightly"].due, world::at("2027-01-02T02:30"));
    world.set_clock(daemon, TimeDelta::zero());
    world.until("2026-01-04T12:00");
    assert_eq!(world.runs()[1..], ["01-03T02:30 a nightly", "01-04T02:30 a nightly"]);
}

#[test]
fn a_run_whose_owner_died_is_begun_again() {
    for (place, expected) in [("here", "01-02T02:40 b nightly"), ("elsewhere", "01-02T02:45 b nightly")] {
        let mut world = World::new("2026-01-01T12:00");
        world.takes(Duration::from_mins(30));
        let daemon = world.start("a", [nightly()]);
        world.until("2026-01-02T02:35");
        world.kill(daemon);
        world.until("2026-01-02T02:40");
        world.start_at("b", place, [nightly()]);
        world.until("2026-01-02T12:00");
        assert_eq!(world.runs(), ["01-02T02:30 a nightly", expected], "{place}");
        assert_eq!(world.claims["nightly"].outcome, Some(RunOutcome::Done));
    }
}

#[test]
fn a_run_whose_owner_died_is_not_begun_after_its_deadline() {
    let mut world = World::new("2026-01-01T12:00");
    world.takes(Duration::from_hours(2));
    let daemon = world.start("a", [nightly()]);
    world.until("2026-01-02T02:35");
    world.kill(daemon);
    world.until("2026-01-02T03:31");
    world.start("b", [nightly()]);
    world.until("2026-01-02T12:00");
    assert_eq!(world.runs(), ["01-02T02:30 a nightly"]);
    assert_eq!(world.claims["nightly"].outcome, Some(RunOutcome::Lost));
    world.until("2026-01-03T12:00");
    assert_eq!(world.runs().len(), 2, "and the next night is like any other");
}

#[test]
fn an_owner_elsewhere_that_lives_is_left_alone_whatever_its_clock_says() {
    let mut world = World::new("2026-01-01T12:00");
    world.takes(Duration::from_mins(50));
    let slow = world.start("a", [nightly()]);
    world.set_clock(slow, -TimeDelta::minutes(10));
    world.start_at("b", "elsewhere", [schedule("nightly", "35 2 * * *")]);
    world.until("2026-01-02T12:00");
    // The second is due five minutes after the first by the right clock, which is before it by the wrong one.
    assert_eq!(world.overlaps, 0);
}

#[test]
fn runs_of_a_schedule_never_overlap() {
    let mut world = World::new("2026-01-01T12:01");
    world.takes(Duration::from_mins(25));
    world.start("a", [schedule("often", "*/10 * * * *"), schedule("other", "*/10 * * * *")]);
    world.start("b", [schedule("often", "*/10 * * * *")]);
    world.until("2026-01-01T13:30");
    assert_eq!(world.overlaps, 0);
    let often: Vec<_> = world.runs().into_iter().filter(|run| run.contains("often")).collect();
    assert_eq!(often[..3], ["01-01T12:10 a often", "01-01T12:35 a often", "01-01T13:00 a often"]);
    assert!(world.runs().contains(&"01-01T12:10 a other".to_owned()), "another schedule doesn't wait");
}

#[test]
fn a_store_that_is_away_delays_runs_and_doubles_none() {
    let mut world = World::new("2026-01-01T12:00");
    world.takes(Duration::from_mins(5));
    world.start("a", [nightly()]);
    world.start("b", [nightly()]);
    world.until("2026-01-02T02:20");
    world.is_away = true;
    world.until("2026-01-02T02:50");
    assert!(world.runs().is_empty());
    world.is_away = false;
    world.until("2026-01-02T02:52");
    assert_eq!(world.runs().len(), 1, "{:?}", world.runs());
    // And when it goes away in a run, the end is recorded later.
    world.is_away = true;
    world.until("2026-01-02T03:10");
    world.is_away = false;
    world.until("2026-01-02T12:00");
    assert_eq!((world.runs().len(), world.claims["nightly"].outcome), (1, Some(RunOutcome::Done)));
}

#[test]
fn a_lease_of_another_is_waited_for() {
    let mut world = World::new("2026-01-01T12:00");
    world.start("a", [nightly()]);
    world.until("2026-01-02T02:20");
    world.is_leased = true;
    world.until("2026-01-02T02:45");
    world.is_leased = false;
    world.until("2026-01-02T12:00");
    assert_eq!(world.runs(), ["01-02T02:45 a nightly"]);
}

#[test]
fn a_part_of_the_jitter_that_all_agree_on() {
    let jittery = || Schedule { jitter: Duration::from_mins(30), ..nightly() };
    let mut world = World::new("2026-01-01T12:00");
    world.start("a", [jittery()]);
    world.start("b", [jittery()]);
    world.until("2026-01-11T12:00");
    let runs = world.runs();
    assert_eq!(runs.len(), 10);
    let minutes: BTreeSet<&str> = runs.iter().map(|run| &run[6..11]).collect();
    assert!(minutes.len() > 5 && minutes.iter().all(|time| ("02:30"..="03:00").contains(time)), "{minutes:?}");
}

#[test]
fn suspended_it_runs_only_when_asked() {
    let mut world = World::new("2026-01-01T12:00");
    let daemon = world.start("a", [Schedule { suspend: true, ..nightly() }]);
    world.until("2026-01-03T12:00");
    assert!(world.runs().is_empty());
    world.ask(daemon, "nightly");
    world.until("2026-01-03T12:01");
    assert_eq!(world.runs(), ["01-03T12:00 a nightly"]);
    assert_eq!(world.claims["nightly"].due, world::at("2026-01-03T02:30"));
}

#[test]
fn what_was_asked_for_counts_for_the_last_due_time() {
    let mut world = World::new("2026-01-02T02:20");
    let daemon = world.start("a", [nightly()]);
    world.until("2026-01-02T02:29");
    world.kill(daemon);
    world.until("2026-01-02T02:31");
    let once = world.start("cron", []);
    world.add(once, nightly());
    world.ask(once, "nightly");
    world.until("2026-01-02T02:32");
    world.kill(once);
    world.start("a", [nightly()]);
    world.until("2026-01-02T12:00");
    assert_eq!(world.runs(), ["01-02T02:31 cron nightly"]);
}

#[test]
fn without_conditional_writes_one_at_a_time_and_no_write_meanwhile() {
    let mut world = World::new("2026-01-02T02:20");
    world.is_alone = true;
    world.takes(Duration::from_mins(15));
    world.start("a", [nightly(), schedule("too", NIGHTLY)]);
    world.until("2026-01-02T02:44");
    let written = world.written;
    assert_eq!(world.runs(), ["01-02T02:30 a nightly"]);
    world.until("2026-01-02T12:00");
    assert_eq!(written, 3, "two that were noted, and one claim");
    assert_eq!(world.runs(), ["01-02T02:30 a nightly", "01-02T02:45 a too"]);
}

#[test]
fn alone_it_sleeps_until_the_next_attempt() {
    let mut world = World::new("2026-01-02T02:20");
    world.is_alone = true;
    world.answers([(RunOutcome::Failed, Work::Publish)]);
    let daemon = world.start("a", [Schedule { retry_after: Duration::from_mins(10), ..nightly() }]);
    world.until("2026-01-02T02:35");
    assert!(world.wake(daemon) > Some(world::at("2026-01-02T02:39")), "and isn't awake all the time");
}

#[test]
fn a_run_that_lives_is_not_taken_for_dead() {
    // The clock of the one that looks on goes forward, or the store is away, or leased, for longer than five minutes.
    for what in ["clock", "away", "leased", "same machine"] {
        let mut world = World::new("2026-01-02T02:00");
        world.takes(Duration::from_mins(50));
        world.start("a", [nightly()]);
        let place = if what == "same machine" { "here" } else { "elsewhere" };
        let other = world.start_at("b", place, [nightly()]);
        world.until("2026-01-02T02:35");
        match what {
            "clock" => world.set_clock(other, TimeDelta::minutes(15)),
            "leased" => world.is_leased = true,
            _ => world.is_away = true,
        }
        world.until("2026-01-02T02:50");
        (world.is_away, world.is_leased) = (false, false);
        world.until("2026-01-02T12:00");
        assert_eq!((world.overlaps, world.runs().len()), (0, 1), "{what}: {:?}", world.runs());
    }
}

#[test]
fn the_jitter_is_the_same_in_every_version() {
    let task = Task::new(Arc::new(Schedule { jitter: Duration::from_secs(1000), ..nightly() }));
    let due = world::at("2026-01-02T02:30");
    assert_eq!((task.start(due) - due).num_seconds(), 700);
}
