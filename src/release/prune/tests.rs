//! Random histories of publishes, rollbacks, staged releases, builds that die or take days, and prunes: what a kept
//! release or a running build needs is there afterwards, and nothing else that is old.

use proptest::prelude::*;

use super::super::head::Head;
use super::super::manifest::Root;
use super::*;

mod world;

use world::{BODIES, HOUR, RETENTION, World};

#[derive(Debug, Clone)]
enum Step {
    Publish(Vec<(usize, Option<u8>)>),
    /// Stages a release that is never committed.
    Refused(Vec<(usize, Option<u8>)>),
    /// Writes blobs and dies.
    Dies(Vec<(usize, Option<u8>)>),
    Begin(Vec<(usize, Option<u8>)>),
    /// The oldest build that is under way commits.
    End,
    RollBack(usize),
    Hours(u32),
    Prune,
    /// The oldest build that is under way commits between the plan of a prune and its floor.
    PruneMeanwhile,
}

fn edits() -> impl Strategy<Value = Vec<(usize, Option<u8>)>> {
    // More keys than stand in a root, and now and then few enough.
    let few = prop::collection::btree_map(0..40_usize, prop::option::weighted(0.85, 0..BODIES), 1..5);
    let many = prop::collection::btree_map(0..40_usize, prop::option::weighted(0.9, 0..BODIES), 10..40);
    prop_oneof![4 => few, 1 => many].prop_map(|edits| edits.into_iter().collect())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => edits().prop_map(Step::Publish),
        1 => edits().prop_map(Step::Refused),
        1 => edits().prop_map(Step::Dies),
        2 => edits().prop_map(Step::Begin),
        2 => Just(Step::End),
        1 => (0..4_usize).prop_map(Step::RollBack),
        4 => (1..60_u32).prop_map(Step::Hours),
        2 => Just(Step::Prune),
        1 => Just(Step::PruneMeanwhile),
    ]
}

async fn run(steps: Vec<Step>) -> u64 {
    let mut world = World::new();
    let mut pruned = 0;
    world.publish(&(0..20).map(|key| (key, Some(0))).collect::<Vec<_>>()).await;
    for step in steps {
        match step {
            Step::Publish(edits) => world.publish(&edits).await,
            Step::Refused(edits) => {
                let build = world.build(&edits).await;
                let _ = world.stage(&build).await;
            }
            Step::Dies(edits) => drop(world.build(&edits).await),
            Step::Begin(edits) => {
                let build = world.build(&edits).await;
                world.builds.push(build);
            }
            Step::End if !world.builds.is_empty() => {
                let build = world.builds.remove(0);
                world.commit(&build).await;
            }
            Step::RollBack(back) => world.roll_back(back).await,
            Step::Hours(hours) => world.now += HOUR * hours,
            Step::PruneMeanwhile if !world.builds.is_empty() => {
                let build = world.builds.remove(0);
                pruned += world.prune(Some(build)).await.swept.tally.objects();
                world.check().await;
            }
            Step::Prune => {
                pruned += world.prune(None).await.swept.tally.objects();
                world.check().await;
            }
            Step::End | Step::PruneMeanwhile => {}
        }
    }
    world.now += LEFT_ALONE + HOUR;
    pruned += world.prune(None).await.swept.tally.objects();
    world.check().await;
    // A second one finds nothing.
    assert_eq!(world.prune(None).await.swept.tally.objects(), 0);
    pruned
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn what_is_needed_stays_and_the_rest_goes() {
    let pruned = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..40))| {
        pruned.set(pruned.get() + runtime().block_on(run(steps)));
    });
    assert!(pruned.get() > 64 * 20, "only {} objects were pruned in all", pruned.get());
}

#[test]
fn a_commit_that_was_formed_before_a_prune_comes_to_nothing() {
    runtime().block_on(async {
        let mut world = World::new();
        for body in 0..3 {
            world.publish(&[(0, Some(body))]).await;
            world.now += LEFT_ALONE + HOUR;
        }
        let (read, id) = {
            let build = world.build(&[(1, Some(1))]).await;
            world.stage(&build).await.unwrap()
        };
        let kept = world.kept().await.len();
        let few = Retention { releases: 1, age: Duration::ZERO, unpurged: true };
        let planned = plan(&world.store, &few, Some(world.now)).await.unwrap();
        assert!(!planned.is_empty() && planned.kept < kept);
        execute(&world.store, &few, planned, Some(world.now), &Progress::default()).await.unwrap();
        let late = Head { desired: Some(id), ..read.head.clone() };
        assert!(read.swap(&world.store, late).await.unwrap().is_none(), "a late commit landed over a prune");
    });
}

#[test]
fn a_commit_that_lands_between_the_plan_and_the_floor_is_seen() {
    runtime().block_on(async {
        let mut world = World::new();
        world.publish(&(0..30).map(|key| (key, Some(0))).collect::<Vec<_>>()).await;
        world.now += LEFT_ALONE * 2;
        // It goes on for five days, and finds what the first release shows.
        let slow = world.build(&[]).await;
        for body in [1, 2] {
            world.now += HOUR * 40;
            world.publish(&[(0, Some(body))]).await;
        }
        world.now += HOUR * 40;
        let first = slow.base.clone().unwrap();
        let pruned = world.prune(Some(slow)).await;
        world.check().await;
        assert!(pruned.releases.contains(&first));
        assert_eq!(world.state(&world.kept().await[0]).await[&0], 0, "what it found isn't shown");
    });
}

#[test]
fn a_staged_release_keeps_what_it_names_for_a_week() {
    runtime().block_on(async {
        let mut world = World::new();
        let all = |body| (0..30).map(|key| (key, Some(body))).collect::<Vec<_>>();
        world.publish(&all(0)).await;
        world.now += LEFT_ALONE * 2;
        let refused = world.build(&[(0, Some(1))]).await;
        let (_, refused) = world.stage(&refused).await.unwrap();
        for body in [1, 2] {
            world.now += HOUR * 40;
            world.publish(&all(body)).await;
        }
        world.now += HOUR * 40;
        world.prune(None).await;
        world.check().await;
        // Twenty-nine of its documents are those of a release that is gone.
        assert_eq!(world.state(&refused).await.values().filter(|body| **body == 0).count(), 29);
        assert_eq!(world.kept().await.len(), 2);
        world.now += LEFT_ALONE;
        world.prune(None).await;
        world.check().await;
        assert!(Root::read_if_there(&world.store, &refused).await.unwrap().is_none());
    });
}

#[test]
fn without_a_head_nothing_is_garbage() {
    runtime().block_on(async {
        let mut world = World::new();
        let is_nothing = async |world: &World| {
            let plan = plan(&world.store, &RETENTION, Some(world.now + LEFT_ALONE * 2)).await.unwrap();
            plan.is_empty() && plan.releases.is_empty() && plan.floor.is_none()
        };
        assert!(is_nothing(&world).await);
        let staged = world.build(&[(0, Some(0))]).await;
        world.stage(&staged).await.unwrap();
        assert!(is_nothing(&world).await, "nothing is committed yet");
        world.publish(&[(0, Some(1))]).await;
        assert!(!is_nothing(&world).await);
        std::fs::remove_file(world.folder.path().join(".tintype/head.json")).unwrap();
        assert!(is_nothing(&world).await, "the head is lost");
    });
}

#[test]
fn a_list_that_is_lost_stops_a_prune() {
    runtime().block_on(async {
        let mut world = World::new();
        world.publish(&(0..30).map(|key| (key, Some(0))).collect::<Vec<_>>()).await;
        let shard = world.objects().await.into_keys().find(|name| name.ends_with("/m.jsonl.gz")).unwrap();
        std::fs::remove_file(world.folder.path().join(".tintype").join(&shard)).unwrap();
        let error = plan(&world.store, &RETENTION, Some(world.now + LEFT_ALONE * 2)).await.unwrap_err();
        assert!(error.to_string().contains(&shard), "{error}");
    });
}
