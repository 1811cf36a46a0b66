use proptest::prelude::*;

use super::*;

fn processes(all: &[(&str, u64, u64)]) -> Vec<Process> {
    all.iter().map(|(name, count, pool)| Process { name: (*name).to_owned(), count: *count, pool: *pool }).collect()
}

fn server(max: u64) -> Room {
    Room { max, kept: 3, ..Room::default() }
}

#[test]
fn a_process_too_many_is_seen() {
    let all = processes(&[("api", 4, 60), ("logs", 4, 60), ("content", 6, 60), ("workflow", 4, 60)]);
    let room = server(200);
    assert_eq!((most(&all), room.ceiling(), room.budget()), (1080, (200, Bound::Server), (157, Bound::Server)));
    assert_eq!(judge(&all, &room), Verdict::AboveCeiling);
    assert_eq!(judge(&processes(&[("all", 18, 8)]), &room), Verdict::Fits);
    assert_eq!(judge(&processes(&[("all", 18, 5)]), &server(100)), Verdict::AboveBudget, "90 > 77");
    assert_eq!(judge(&processes(&[("all", 21, 5)]), &server(60)), Verdict::AboveCeiling, "105 > 60");
    assert_eq!(judge(&processes(&[("all", 21, 4)]), &server(60)), Verdict::AboveCeiling, "84 > 60");
}

#[test]
fn a_recommendation_fits() {
    for (max, count, pool) in [(100, 18, 4), (60, 21, 2), (200, 18, 8)] {
        let all = processes(&[("all", count, 60)]);
        assert_eq!(largest_pool(&all, server(max).budget().0), Some(pool), "{count} processes of {max}");
    }
    assert_eq!(largest_pool(&processes(&[("all", 100, 1)]), 77), None, "not even one each");
    // Those that want little leave more to the others: 2 × 2 + 2 × 18 = 40.
    assert_eq!(largest_pool(&processes(&[("logs", 2, 2), ("api", 2, 60)]), 40), Some(18));
    assert_eq!(largest_pool(&[], 40), None);
}

/// A share of a server of 400, of which "60 %" was thought to be enough.
#[test]
fn experience_is_no_worst_case() {
    let share = |limit, reserved| Room { limit: Some(limit), reserved, others: 280, ..server(400) };
    let development = processes(&[("sqlalchemy", 21, 7), ("langgraph", 1, 10)]);
    assert_eq!(most(&development) + 10, 167);
    assert_eq!(share(120, 10).ceiling(), (120, Bound::Limit));
    assert_eq!(judge(&development, &share(120, 10)), Verdict::AboveCeiling);
    let production = processes(&[("sqlalchemy", 35, 10), ("langgraph", 1, 20)]);
    assert_eq!(judge(&production, &Room { others: 120, ..share(280, 20) }), Verdict::AboveCeiling);
    // What others hold isn't part of one's own share.
    assert_eq!(share(120, 10).budget(), (88, Bound::Limit));
}

#[test]
fn the_narrowest_limit_counts() {
    let room = Room { role: Some(7), database: Some(30), ..server(100) };
    assert_eq!((room.ceiling(), room.budget()), ((7, Bound::Role), (7, Bound::Role)));
    let room = Room { database: Some(30), others: 60, ..server(100) };
    assert_eq!((room.ceiling(), room.budget()), ((30, Bound::Database), (29, Bound::Server)));
    assert_eq!(Room { others: 500, ..server(100) }.budget().0, 0);
}

#[test]
fn connections_have_owners() {
    let declared = processes(&[("api", 2, 5), ("worker", 1, 4)]);
    assert!(declared[0].is_of("API") && declared[0].is_of("api-3") && !declared[0].is_of("apiary"));
    let count = |names: &[&str]| others(names.iter().copied(), &declared);
    assert_eq!(count(&["tintype/serve/1", "tintype", "api", "api/2"]), 0);
    assert_eq!(count(&["api", "psql", "psql"]), 0, "they may be the worker's, which nobody was found of");
    assert_eq!(count(&["api", "worker", "psql", "", ""]), 3);
    assert_eq!(count(&[""; 16]), 2, "14 may be the declared");
    assert_eq!(others(["psql", "tintyper"], &[]), 2);
}

fn any_processes() -> impl Strategy<Value = Vec<Process>> {
    let one = (0..200_u64, 1..500_u64).prop_map(|(count, pool)| Process { name: "p".to_owned(), count, pool });
    proptest::collection::vec(one, 1..6)
}

fn any_room() -> impl Strategy<Value = Room> {
    let limit = || proptest::option::of(0..2000_u64);
    (0..2000_u64, 0..20_u64, 0..2000_u64, limit(), limit(), limit(), 0..50_u64).prop_map(
        |(max, kept, others, role, database, limit, reserved)| Room {
            max,
            kept,
            others,
            role,
            database,
            limit,
            reserved,
        },
    )
}

proptest! {
    #[test]
    fn what_is_recommended_fits_and_one_more_does_not(all in any_processes(), budget in 0..3000_u64) {
        let capped = |cap: u64| -> u64 { all.iter().map(|process| process.count * process.pool.min(cap)).sum() };
        match largest_pool(&all, budget) {
            Some(pool) => {
                prop_assert!(capped(pool) <= budget);
                prop_assert!(capped(pool + 1) > budget || capped(pool + 1) == capped(pool));
            }
            None => prop_assert!(capped(1) > budget || capped(1) == 0),
        }
    }

    #[test]
    fn no_budget_is_above_any_limit(room in any_room()) {
        let (budget, _) = room.budget();
        prop_assert!(budget <= room.ceiling().0);
        prop_assert!(budget * 100 <= (room.max.saturating_sub(room.kept + room.others.max(room.reserved))) * SHARE_PERCENT);
        for limit in [room.role, room.database, room.limit].into_iter().flatten() {
            prop_assert!(budget <= limit);
        }
    }

    #[test]
    fn what_fits_can_all_be_opened(all in any_processes(), room in any_room()) {
        if judge(&all, &room) == Verdict::Fits {
            prop_assert!(most(&all) <= room.budget().0);
            prop_assert!(most(&all) + room.reserved <= room.ceiling().0);
            prop_assert!(most(&all) + room.others.max(room.reserved) + room.kept <= room.max || most(&all) == 0);
        }
    }

    #[test]
    fn more_connections_never_fit_better(all in any_processes(), room in any_room(), at in 0..6_usize) {
        let mut more = all.clone();
        let at = at % more.len();
        more[at].pool += 1;
        let worth = |verdict| match verdict { Verdict::Fits => 0, Verdict::AboveBudget => 1, Verdict::AboveCeiling => 2 };
        prop_assert!(worth(judge(&more, &room)) >= worth(judge(&all, &room)));
    }
}
