//! Nights in which nothing ran, or nothing to its end.

use super::*;

#[test]
fn a_run_that_is_lost_is_told_by_one_and_once() {
    let mut world = World::new("2026-01-01T12:00");
    world.takes(Duration::from_hours(2));
    let daemon = world.start("a", [nightly()]);
    world.until("2026-01-02T02:35");
    world.kill(daemon);
    world.until("2026-01-02T03:31");
    let others = [world.start_at("b", "elsewhere", [nightly()]), world.start("c", [nightly()])];
    world.until("2026-01-02T12:00");
    assert_eq!((&world.missed[..], world.told), (&["nightly 01-02T02:30 lost".to_owned()][..], 1));
    assert_eq!(world.claims["nightly"].trouble, Some(Trouble::Failure));
    // The next night is missed as well, which people expect by now.
    for other in others {
        world.kill(other);
    }
    world.until("2026-01-03T12:00");
    world.start("d", [nightly()]);
    world.until("2026-01-03T12:01");
    assert_eq!((world.missed.len(), world.told), (2, 1), "{:?}", world.missed);
    let claim = &world.claims["nightly"];
    assert_eq!((claim.outcome, claim.due), (Some(RunOutcome::Missed), world::at("2026-01-03T02:30")));
    world.until("2026-01-04T12:00");
    assert_eq!((world.claims["nightly"].outcome, world.claims["nightly"].trouble), (Some(RunOutcome::Done), None));
}

#[test]
fn a_night_that_is_missed_is_told_by_one_and_once() {
    let mut world = World::new("2026-01-01T12:00");
    let daemon = world.start("a", [nightly()]);
    world.until("2026-01-01T12:30");
    world.kill(daemon);
    world.until("2026-01-03T12:00");
    world.start("b", [nightly()]);
    world.start_at("c", "elsewhere", [nightly()]);
    world.until("2026-01-03T13:00");
    assert_eq!(world.missed, ["nightly 01-02T02:30 to 01-03T02:30 (2)"]);
    assert_eq!((world.told, world.runs().len()), (1, 0));
    // As long as the store is there nothing is missed, and the good run ends the trouble.
    world.until("2026-01-05T12:00");
    assert_eq!((world.told, world.runs().len(), world.claims["nightly"].trouble), (1, 2, None));
}

#[test]
fn a_store_that_is_not_there_from_the_beginning_is_told_once() {
    let mut world = World::new("2026-01-01T12:00");
    let daemon = world.start("a", [nightly()]);
    world.until("2026-01-01T12:30");
    world.kill(daemon);
    world.is_away = true;
    let suspended = Schedule { suspend: true, ..schedule("off", NIGHTLY) };
    world.start("b", [nightly(), suspended]);
    world.until("2026-01-01T12:34");
    assert_eq!(world.told, 0);
    world.until("2026-01-01T12:36");
    assert_eq!(world.told, 1);
    world.until("2026-01-02T12:00");
    world.is_away = false;
    world.until("2026-01-02T12:10");
    assert_eq!((&world.missed[..], world.told), (&["nightly 01-02T02:30".to_owned()][..], 1), "people know");
    assert_eq!(world.claims["nightly"].trouble, Some(Trouble::Failure), "and the others see that they do");
}

#[test]
fn a_store_that_goes_away_for_a_night_is_told_once() {
    let mut world = World::new("2026-01-01T12:00");
    world.start("a", [nightly()]);
    world.until("2026-01-02T02:20");
    world.is_away = true;
    world.until("2026-01-02T12:00");
    assert_eq!(world.told, 1);
    world.is_away = false;
    world.until("2026-01-02T12:10");
    assert_eq!((&world.missed[..], world.told), (&["nightly 01-02T02:30".to_owned()][..], 1));
    world.until("2026-01-03T12:00");
    assert_eq!((world.runs().len(), world.claims["nightly"].trouble), (1, None));
}

#[test]
fn an_end_that_can_not_be_recorded_is_told_once() {
    let mut world = World::new("2026-01-01T12:00");
    world.takes(Duration::from_mins(10));
    world.start("a", [nightly()]);
    world.until("2026-01-02T02:35");
    world.is_away = true;
    world.until("2026-01-02T02:44");
    assert_eq!(world.told, 0);
    world.until("2026-01-02T12:00");
    assert_eq!(world.told, 1);
    world.is_away = false;
    world.until("2026-01-02T12:10");
    let claim = &world.claims["nightly"];
    assert_eq!((claim.outcome, claim.trouble, world.told), (Some(RunOutcome::Done), None, 1));
    // The next outage is news again.
    world.until("2026-01-03T02:35");
    world.is_away = true;
    world.until("2026-01-03T12:00");
    assert_eq!((world.runs().len(), world.told), (2, 2));
}

#[test]
fn what_was_due_while_it_was_suspended_is_not_missed() {
    let suspended = || Schedule { suspend: true, ..schedule("often", "*/5 * * * *") };
    let often = || Schedule { suspend: false, jitter: Duration::from_mins(4), ..suspended() };
    let mut world = World::new("2026-01-01T12:00");
    let daemon = world.start("a", [often()]);
    world.until("2026-01-01T12:30");
    world.kill(daemon);
    let daemon = world.start("a", [suspended()]);
    world.until("2026-01-02T12:30");
    assert!(world.claims["often"].suspended);
    world.kill(daemon);
    world.until("2026-01-12T12:30");
    let written = world.written;
    let daemon = world.start("a", [often()]);
    world.until("2026-01-12T13:30");
    assert_eq!((&world.missed[..], world.told), (&[][..], 0));
    assert!(!world.claims["often"].suspended && world.written > written);
    // And it counts again from then on.
    world.kill(daemon);
    world.until("2026-01-13T13:30");
    world.start("a", [Schedule { starting_deadline: Duration::from_mins(1), jitter: Duration::ZERO, ..often() }]);
    world.until("2026-01-13T13:34");
    assert_eq!(world.told, 0, "{:?}", world.missed);
    assert_eq!(world.runs().last().unwrap(), "01-13T13:30 a often");
}

#[test]
fn whether_it_is_suspended_is_a_matter_of_each_file() {
    let mut world = World::new("2026-01-01T12:00");
    let other = world.start("a", [nightly()]);
    world.until("2026-01-01T12:30");
    for day in 2..9 {
        // A machine with an older file, which is started every day.
        let daemon = world.start("b", [Schedule { suspend: true, ..nightly() }]);
        world.until(&format!("2026-01-0{day}T12:30"));
        world.kill(daemon);
    }
    world.kill(other);
    assert_eq!((world.runs().len(), &world.missed[..]), (7, &[][..]));
}

#[test]
fn many_that_were_missed_are_told_in_one_line() {
    let mut world = World::new("2026-01-01T12:00");
    let daemon = world.start("a", [schedule("hourly", "0 * * * *")]);
    world.until("2026-01-01T12:30");
    world.kill(daemon);
    world.until("2026-01-02T12:30");
    world.start("a", [Schedule { starting_deadline: Duration::from_mins(5), ..schedule("hourly", "0 * * * *") }]);
    world.until("2026-01-02T12:40");
    assert_eq!(world.missed, ["hourly 01-01T13:00 to 01-02T12:00 (24)"]);
}
