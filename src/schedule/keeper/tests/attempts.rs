//! Runs of more than one attempt: what follows on which, and what ends them.

use super::*;

#[test]
fn a_failure_is_tried_again_with_longer_waits() {
    let mut world = World::new("2026-01-02T02:00");
    world.answers([(RunOutcome::Failed, Work::Publish); 4]);
    world.start("a", [nightly()]);
    world.until("2026-01-02T12:00");
    let expected = ["02:30", "02:31", "02:33", "02:38"].map(|time| format!("01-02T{time} a nightly"));
    assert_eq!(world.runs(), expected);
    let claim = &world.claims["nightly"];
    assert_eq!((claim.outcome, claim.attempts), (Some(RunOutcome::Failed), 4));
    assert_eq!(claim.trouble, Some(Trouble::Failure));
    world.until("2026-01-03T12:00");
    assert_eq!((world.runs().len(), world.claims["nightly"].trouble), (5, None));
}

#[test]
fn no_attempt_begins_after_the_deadline() {
    let mut world = World::new("2026-01-02T02:00");
    world.answers([(RunOutcome::Failed, Work::Publish); 9]);
    world.start("a", [Schedule { retry_after: Duration::from_mins(25), ..nightly() }]);
    world.until("2026-01-02T12:00");
    assert_eq!(world.runs().len(), 2, "02:30, 02:55, and 03:45 would be too late");
}

#[test]
fn what_another_attempt_is_about() {
    let mut world = World::new("2026-01-02T02:00");
    let answers =
        [(RunOutcome::Behind, Work::Failed), (RunOutcome::Failed, Work::Publish), (RunOutcome::Behind, Work::Resume)];
    world.answers(answers);
    world.start("a", [nightly()]);
    world.until("2026-01-02T12:00");
    assert_eq!(world.works, [Work::Publish, Work::Failed, Work::Publish, Work::Resume]);
    assert_eq!(world.claims["nightly"].outcome, Some(RunOutcome::Done));
    for outcome in [RunOutcome::Refused, RunOutcome::Invalid] {
        let mut world = World::new("2026-01-02T02:00");
        world.answers([(outcome, Work::Publish)]);
        world.start("a", [nightly()]);
        world.until("2026-01-02T12:00");
        assert_eq!((world.runs().len(), world.claims["nightly"].outcome), (1, Some(outcome)), "isn't tried again");
    }
}

#[test]
fn stopped_while_it_waits_another_goes_on() {
    let mut world = World::new("2026-01-02T02:00");
    world.answers([(RunOutcome::Failed, Work::Publish)]);
    let daemon = world.start("a", [Schedule { retry_after: Duration::from_mins(10), ..nightly() }]);
    world.until("2026-01-02T02:35");
    world.stop(daemon);
    world.until("2026-01-02T02:36");
    assert!(world.is_at_rest(daemon));
    assert_eq!(world.claims["nightly"].outcome, Some(RunOutcome::Stopped));
    world.kill(daemon);
    world.start_at("b", "elsewhere", [nightly()]);
    world.until("2026-01-02T12:00");
    assert_eq!(world.runs(), ["01-02T02:30 a nightly", "01-02T02:36 b nightly"]);
}

#[test]
fn stopped_in_a_run_it_records_the_end_and_begins_nothing() {
    let mut world = World::new("2026-01-01T12:00");
    world.takes(Duration::from_mins(30));
    let daemon = world.start("a", [nightly(), schedule("later", "40 2 * * *")]);
    world.until("2026-01-02T02:35");
    world.stop(daemon);
    assert!(!world.is_at_rest(daemon));
    world.until("2026-01-02T03:30");
    assert!(world.is_at_rest(daemon));
    assert_eq!(world.runs(), ["01-02T02:30 a nightly"]);
    assert_eq!(world.claims["nightly"].outcome, Some(RunOutcome::Done));
}

#[test]
fn whoever_lost_its_claim_begins_no_other_attempt() {
    let mut world = World::new("2026-01-02T02:00");
    world.answers([(RunOutcome::Failed, Work::Publish); 3]);
    world.takes(Duration::from_mins(10));
    world.start("a", [nightly()]);
    world.until("2026-01-02T02:35");
    // Somebody has taken over, and runs.
    let taken = |world: &mut World| {
        let claim = world.claims.get_mut("nightly").unwrap();
        claim.by.as_mut().unwrap().run = "another".to_owned();
        claim.by.as_mut().unwrap().place = "elsewhere".to_owned();
    };
    taken(&mut world);
    // The next attempt would begin at 02:41; later, the other counts as gone, because nobody renews its claim here.
    world.until("2026-01-02T02:42");
    assert_eq!(world.runs(), ["01-02T02:30 a nightly"], "in an attempt");
    let mut world = World::new("2026-01-02T02:00");
    world.answers([(RunOutcome::Failed, Work::Publish); 3]);
    world.start("a", [Schedule { retry_after: Duration::from_mins(4), ..nightly() }]);
    world.until("2026-01-02T02:32");
    taken(&mut world);
    world.until("2026-01-02T02:36");
    assert_eq!(world.runs(), ["01-02T02:30 a nightly"], "between two attempts");
}

#[test]
fn a_machine_that_slept_begins_no_attempt_after_the_deadline() {
    let mut world = World::new("2026-01-02T02:00");
    world.answers([(RunOutcome::Locked, Work::Publish); 3]);
    let daemon = world.start("a", [Schedule { retry_after: Duration::from_mins(10), ..nightly() }]);
    world.until("2026-01-02T02:35");
    world.set_clock(daemon, TimeDelta::hours(2));
    world.until("2026-01-02T06:00");
    assert_eq!(world.runs(), ["01-02T02:30 a nightly"]);
    let claim = &world.claims["nightly"];
    assert_eq!((claim.outcome, claim.trouble), (Some(RunOutcome::Locked), Some(Trouble::Failure)));
}

#[test]
fn what_is_told_is_recorded_at_once() {
    let mut world = World::new("2026-01-02T02:00");
    world.answers([(RunOutcome::Failed, Work::Publish)]);
    world.start("a", [Schedule { retry_after: Duration::from_mins(10), ..nightly() }]);
    world.until("2026-01-02T02:31");
    let claim = &world.claims["nightly"];
    let ended = world::at("2026-01-02T02:30") + TimeDelta::seconds(20);
    assert_eq!((claim.trouble, claim.renewed_at), (Some(Trouble::Failure), ended), "and not with the next renewal");
}
