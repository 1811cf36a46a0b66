use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    items: 5,
    paths_per_request: 3,
    bulk_per_request: 2,
    folders: Some(2),
    most_tags: usize::MAX,
    tags: true,
    everything: true,
};

fn paths(texts: &[&str]) -> Vec<Arc<str>> {
    texts.iter().map(|text| Arc::from(*text)).collect()
}

/// `map/REGION/TOPIC.json`: ten regions with ten topics, of which these are stale; tagged with the region and with `map`.
fn maps<'a>(stale: impl Iterator<Item = (usize, usize)>) -> Group<'a> {
    let path = |(region, topic)| Arc::from(format!("map/r{region}/t{topic}.json"));
    Group {
        stale: stale.map(path).collect(),
        shown: (0..100).map(|number| path((number / 10, number % 10))).collect(),
        tags: vec![
            Box::new(|path| format!("region:{}", path.split('/').nth(1).unwrap_or_default())),
            Box::new(|_| "map".to_owned()),
        ],
    }
}

#[test]
fn as_long_as_there_are_few_each_is_named() {
    let plan = Plan::new(&LIMITS, &[maps((0..5).map(|topic| (0, topic)))]);
    assert_eq!((plan.paths, plan.besides), (Some(5), Some(0)));
    assert_eq!(
        plan.requests,
        [
            Request::Paths(paths(&["map/r0/t0.json", "map/r0/t1.json", "map/r0/t2.json"])),
            Request::Paths(paths(&["map/r0/t3.json", "map/r0/t4.json"])),
        ]
    );
    assert_eq!(Plan::new(&LIMITS, &[]), Plan { requests: Vec::new(), paths: Some(0), besides: Some(0) });
}

#[test]
fn more_give_way_to_the_folders_or_tags_that_hold_the_fewest_others() {
    // Eight of one region and one of another: two folders, and eleven others go with them.
    let stale = || (0..8).map(|topic| (3, topic)).chain([(4, 0)]);
    let folders = ["map/r3/", "map/r4/"].map(str::to_owned).to_vec();
    let plan = Plan::new(&LIMITS, &[maps(stale())]);
    assert_eq!(plan, Plan { requests: vec![Request::Folders(folders)], paths: Some(9), besides: Some(11) });
    // Without folders, their tags; without tags for regions, the template's.
    let no_folders = Limits { folders: None, ..LIMITS };
    let tags = ["region:r3", "region:r4"].map(str::to_owned).to_vec();
    assert_eq!(Plan::new(&no_folders, &[maps(stale())]).requests, [Request::Tags(tags)]);
    let mut group = maps((0..6).map(|region| (region, 0)));
    let plan = Plan::new(&no_folders, std::slice::from_ref(&group));
    assert_eq!((plan.requests, plan.besides), (vec![Request::Tags(vec!["map".to_owned()])], Some(94)));
    group.tags.clear();
    let plan = Plan::new(&no_folders, &[group]);
    assert_eq!((plan.requests, plan.besides), (vec![Request::Everything], Some(94)));
}

#[test]
fn another_template_keeps_its_exact_paths() {
    let index = Group { stale: paths(&["index.json"]), shown: paths(&["index.json"]), tags: Vec::new() };
    let plan = Plan::new(&LIMITS, &[maps((0..8).map(|topic| (3, topic))), index]);
    let expected = vec![Request::Paths(paths(&["index.json"])), Request::Folders(vec!["map/r3/".to_owned()])];
    assert_eq!((plan.requests, plan.besides), (expected, Some(2)));
}

#[test]
fn where_nothing_else_is_known_every_path_is_named() {
    let bare = Limits { folders: None, tags: false, everything: false, ..LIMITS };
    let plan = Plan::new(&bare, &[maps((0..100).map(|number| (number / 10, number % 10)))]);
    assert_eq!((plan.requests.len(), plan.paths, plan.besides), (34, Some(100), Some(0)));
    let no_everything = Limits { everything: false, items: 1, folders: Some(1), tags: false, ..LIMITS };
    let two = [maps((0..3).map(|topic| (0, topic))), Group { stale: paths(&["a/b.json"]), ..Group::default() }];
    let plan = Plan::new(&no_everything, &two);
    assert_eq!((plan.requests.len(), plan.besides), (2, Some(0)), "{plan:?}");
}

/// Whether something in a plan names a path of a group.
fn names(plan: &Plan, group: &Group<'_>, path: &str) -> bool {
    plan.requests.iter().any(|request| match request {
        Request::Paths(paths) => paths.iter().any(|named| **named == *path),
        Request::Folders(folders) => folders.iter().any(|folder| path.starts_with(folder.as_str())),
        Request::Tags(tags) => group.tags.iter().any(|tag| tags.contains(&tag(path))),
        Request::Everything => true,
    })
}

fn size(request: &Request) -> usize {
    match request {
        Request::Paths(paths) => paths.len(),
        Request::Folders(folders) => folders.len(),
        Request::Tags(tags) => tags.len(),
        Request::Everything => 1,
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    let folders = proptest::option::of(1_usize..6);
    let sizes = (1_usize..40, 1_usize..20, 1_usize..20, 0_usize..10);
    (sizes, folders, any::<bool>(), any::<bool>()).prop_map(|(sizes, folders, tags, everything)| {
        let (items, paths_per_request, bulk_per_request, most_tags) = sizes;
        Limits { items, paths_per_request, bulk_per_request, folders, most_tags, tags, everything }
    })
}

/// Paths of a template: `tN/A/B.json`, or `tN/A.json`, or `tN.json`; each is shown, stale, or both.
fn group(number: usize) -> impl Strategy<Value = Group<'static>> {
    let path = (0_usize..4, 0_usize..8, 0_usize..3, any::<bool>(), any::<bool>());
    let tagging = proptest::collection::vec(0_usize..4, 0..3);
    (proptest::collection::btree_set(path, 0..60), tagging).prop_map(move |(found, tagging)| {
        let mut group = Group::default();
        let mut seen = HashSet::new();
        for (folder, leaf, depth, is_stale, is_shown) in found {
            let path: Arc<str> = match depth {
                0 => format!("t{number}.json").into(),
                1 => format!("t{number}/{folder}.json").into(),
                _ => format!("t{number}/{folder}/{leaf}.json").into(),
            };
            if seen.insert(Arc::clone(&path)) {
                group.stale.extend(is_stale.then(|| Arc::clone(&path)));
                group.shown.extend((is_shown || !is_stale).then_some(path));
            }
        }
        for kind in tagging {
            group.tags.push(Box::new(move |path: &str| match kind {
                0 => "all".to_owned(),
                1 => format!("t{number}"),
                2 => format!("folder:{}", path.split('/').nth(1).unwrap_or_default()),
                _ => format!("path:{path}"),
            }));
        }
        group
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_stale_is_left_out_and_no_limit_is_passed(limits in limits(), a in group(0), b in group(1), c in group(2)) {
        let groups = [a, b, c];
        let plan = Plan::new(&limits, &groups);
        let all = || groups.iter().flat_map(|group| group.stale.iter().map(move |path| (group, path)));
        for (group, path) in all() {
            prop_assert!(names(&plan, group, path), "{path} is left out: {plan:?}");
        }
        let is_stale = |path: &str| all().any(|(_, stale)| **stale == *path);
        let besides = groups.iter().flat_map(|group| group.shown.iter().map(move |path| (group, path)))
            .filter(|(group, path)| !is_stale(path) && names(&plan, group, path)).count();
        prop_assert_eq!((plan.paths, plan.besides), (Some(all().count() as u64), Some(besides as u64)));
        let items: usize = plan.requests.iter().map(size).sum();
        let is_exact = plan.requests.iter().all(|request| matches!(request, Request::Paths(_)));
        if all().count() <= limits.items {
            prop_assert!(is_exact && besides == 0 && items == all().count());
        }
        prop_assert!(items <= limits.items || (is_exact && !limits.everything && items == all().count()), "{plan:?}");
        let folders: usize = plan.requests.iter().filter(|request| matches!(request, Request::Folders(_))).map(size).sum();
        prop_assert!(folders <= limits.folders.unwrap_or(0));
        let tags: usize = plan.requests.iter().filter(|request| matches!(request, Request::Tags(_))).map(size).sum();
        prop_assert!(tags <= limits.most_tags);
        let within = |request: &Request| match request {
            Request::Paths(paths) => (1..=limits.paths_per_request).contains(&paths.len()),
            other => (1..=limits.bulk_per_request).contains(&size(other)),
        };
        prop_assert!(plan.requests.iter().all(within), "{plan:?}");
        prop_assert!(limits.tags || !plan.requests.iter().any(|request| matches!(request, Request::Tags(_))));
        prop_assert!(limits.everything || !plan.requests.contains(&Request::Everything));
    }
}
