use serde_json::json;

use super::*;
use crate::release::head::Checked;
use crate::release::head::claim::{Claim, Trouble};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn a_run_and_what_is_live() {
    let document = json!({
        "templates": [
            { "name": "map", "outcome": "published", "rows": 7, "added": 1, "changed": 2, "removed": 0, "unchanged": 4 },
            { "name": "odd\"name\\", "outcome": "failed", "reason": "x" },
        ],
        "seconds": { "query": 1.25, "wait": 0.5, "hold": 1.5, "total": 2 },
        "store": { "puts": 5, "answers": { "puts": { "503": 2, "ok": 3 } } },
        "connections": 2,
    });
    let mut head = Head::default();
    let checked = |as_of, at| Checked { as_of, at, looked_at: None, refresh: None };
    head.checked.insert("map".to_owned(), checked(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:01.5Z")));
    let run = Ended {
        command: "publish",
        schedule: None,
        code: 4,
        document: Some(&document),
        tried: Vec::new(),
        at: at("2026-01-02T00:00:00Z"),
    };
    let text = text(&run, &Site { head: Some(head), is_owed: true, schedules: None }, "");
    for line in [
        "# TYPE tintype_run_exit_code gauge",
        "tintype_run_exit_code{command=\"publish\"} 4",
        "tintype_run_timestamp_seconds{command=\"publish\"} 1767312000",
        "tintype_run_duration_seconds{phase=\"query\"} 1.25",
        "tintype_run_snapshots{template=\"map\",outcome=\"changed\"} 2",
        "tintype_run_rows{template=\"map\"} 7",
        "tintype_run_templates{outcome=\"failed\"} 1",
        "tintype_run_store_requests{op=\"puts\",status=\"503\"} 2",
        "tintype_run_store_requests{op=\"puts\",status=\"ok\"} 3",
        "db_pool_size{pool=\"build\"} 1",
        "db_pool_connections_opened{pool=\"build\"} 2",
        "db_pool_acquire_seconds{pool=\"build\"} 0.5",
        "db_connection_hold_seconds{pool=\"build\"} 1.5",
        "tintype_last_success_timestamp_seconds{template=\"map\"} 1767225601.5",
        "tintype_last_attempt_timestamp_seconds{template=\"map\"} 1767225601.5",
        "tintype_data_as_of_timestamp_seconds{template=\"map\"} 1767225600",
        "tintype_release_active 1",
        "tintype_purge_pending 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
    assert!(text.ends_with('\n'));
}

#[test]
fn a_run_that_never_began_has_metrics_too() {
    let text = text(&ended(None, 2), &Site::default(), "");
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!((samples.len(), samples[2]), (3, "tintype_store_up 0"), "{text}");
    assert_eq!(shown(&[("a", "x\"\\\ny".to_owned())]), "{a=\"x\\\"\\\\\\ny\"}");
}

fn ended(schedule: Option<&str>, code: u8) -> Ended<'_> {
    Ended { command: "publish", schedule, code, document: None, tried: Vec::new(), at: at("2026-01-02T00:00:00Z") }
}

fn codes(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("tintype_run_exit_code")).collect()
}

fn site(schedules: &[&str]) -> Site {
    let names = schedules.iter().map(ToString::to_string).collect();
    Site { head: Some(Head::default()), is_owed: false, schedules: Some(names) }
}

#[test]
fn a_good_run_of_one_schedule_hides_no_bad_one_of_another() {
    let both = site(&["hourly", "nightly"]);
    let bad = text(&ended(Some("nightly"), 1), &both, "garbage\ntintype_run_exit_code{x 7\n");
    let good = text(&ended(Some("hourly"), 0), &both, &bad);
    let hourly = "{schedule=\"hourly\",command=\"publish\"} 0";
    assert_eq!(codes(&good), [hourly, "{schedule=\"nightly\",command=\"publish\"} 1"]);
    let by_hand = text(&ended(None, 5), &both, &good);
    assert_eq!(codes(&by_hand).len(), 3, "{by_hand}");
    let recovered = text(&ended(Some("nightly"), 0), &both, &by_hand);
    assert!(codes(&recovered).iter().all(|code| !code.ends_with(" 1")) && codes(&recovered).len() == 3, "{recovered}");
    // The file of a schedule is gone, and its samples with it.
    let without = text(&ended(Some("hourly"), 0), &site(&["hourly"]), &by_hand);
    assert_eq!(codes(&without), [hourly, "{command=\"publish\"} 5"]);
}

#[test]
fn what_was_live_stays_while_the_store_does_not_answer() {
    let mut known = site(&["nightly"]);
    let head = known.head.as_mut().unwrap();
    let trouble = |trouble| Claim {
        due: at("2026-01-01T00:00:00Z"),
        by: None,
        began_at: at("2026-01-01T00:00:00Z"),
        renewed_at: at("2026-01-01T00:00:00Z"),
        ended_at: None,
        outcome: None,
        attempts: 1,
        trouble,
        suspended: false,
    };
    head.schedules.insert("nightly".to_owned(), trouble(Some(Trouble::Failure)));
    head.schedules.insert("renamed".to_owned(), trouble(Some(Trouble::Failure)));
    let is_up = text(&ended(Some("nightly"), 0), &known, "");
    let live = |text: &str| {
        let run = |line: &&str| !line.starts_with('#') && !line.starts_with("tintype_run_");
        text.lines().filter(run).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert!(live(&is_up).contains(&"tintype_schedule_in_trouble{schedule=\"nightly\"} 1".to_owned()), "{is_up}");
    assert!(!is_up.contains("renamed"), "its file is gone: {is_up}");
    let is_down = text(&ended(Some("nightly"), 1), &Site { head: None, ..known.clone() }, &is_up);
    assert_eq!((live(&is_up)[0].as_str(), live(&is_down)[0].as_str()), ("tintype_store_up 1", "tintype_store_up 0"));
    assert_eq!(live(&is_up)[1..], live(&is_down)[1..]);
    let types = is_down.lines().filter(|line| line.starts_with("# TYPE")).collect::<Vec<_>>();
    assert_eq!(types.len(), types.iter().collect::<BTreeSet<_>>().len(), "{is_down}");
}

#[test]
fn an_attempt_of_which_no_head_knows_counts_and_stays() {
    let mut known = site(&[]);
    let head = known.head.as_mut().unwrap();
    for name in ["city", "map"] {
        let read = at("2026-01-01T00:00:00Z");
        head.checked.insert(name.to_owned(), Checked { as_of: read, at: read, looked_at: None, refresh: None });
    }
    let attempts = |text: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(LAST_ATTEMPT)).map(ToOwned::to_owned);
        lines.collect::<Vec<_>>()
    };
    let is_live = text(&ended(None, 0), &known, "");
    let (city, map) = ("{template=\"city\"} 1767225600", "{template=\"map\"} 1767225600");
    assert_eq!(attempts(&is_live), [city, map]);
    let in_vain = Ended { tried: vec!["map".to_owned()], ..ended(None, 1) };
    let tried = text(&in_vain, &known, &is_live);
    let map = "{template=\"map\"} 1767312000";
    assert_eq!(attempts(&tried), [city, map]);
    // Another run knows nothing of it, nor does one to whom the store says nothing.
    let later = Ended { at: at("2026-01-03T00:00:00Z"), ..ended(None, 0) };
    assert_eq!(attempts(&text(&later, &known, &tried)), [city, map]);
    let away = Site { head: None, ..known.clone() };
    assert_eq!(attempts(&text(&later, &away, &tried)), [city, map]);
    assert_eq!(attempts(&text(&in_vain, &away, &is_live)), attempts(&is_live), "it didn't get so far");
    // What a wrong clock said isn't believed, and what the head says later counts.
    let earlier = Ended { at: at("2026-01-01T12:00:00Z"), ..ended(None, 0) };
    assert_eq!(attempts(&text(&earlier, &known, &tried)), attempts(&is_live));
    let head = known.head.as_mut().unwrap();
    head.checked.get_mut("map").unwrap().at = at("2026-01-04T00:00:00Z");
    assert_eq!(attempts(&text(&later, &known, &tried)), [city, "{template=\"map\"} 1767484800"]);
}

#[test]
fn the_file_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tintype.prom");
    file::replace(&path, |before| format!("a 1{before}\n")).unwrap();
    file::replace(&path, |before| format!("b 2{before}")).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "b 2a 1\n");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let error = file::replace(&folder.path().join("none/x.prom"), |_| String::new()).unwrap_err().to_string();
    assert!(error.contains("none/x.prom"), "{error}");
}
