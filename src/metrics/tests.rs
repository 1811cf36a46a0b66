use serde_json::json;

use super::*;
use crate::release::head::Checked;

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
        "seconds": { "query": 1.25, "total": 2 },
        "store": { "puts": 3 },
    });
    let mut head = Head::default();
    let checked = |as_of, at| Checked { as_of, at, looked_at: None, refresh: None };
    head.checked.insert("map".to_owned(), checked(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:01.5Z")));
    let run = Ended { command: "publish", code: 4, document: Some(&document), at: at("2026-01-02T00:00:00Z") };
    let text = text(&run, Some(&head), true);
    for line in [
        "# TYPE tintype_run_exit_code gauge",
        "tintype_run_exit_code{command=\"publish\"} 4",
        "tintype_run_timestamp_seconds{command=\"publish\"} 1767312000",
        "tintype_run_duration_seconds{phase=\"query\"} 1.25",
        "tintype_run_snapshots{template=\"map\",outcome=\"changed\"} 2",
        "tintype_run_rows{template=\"map\"} 7",
        "tintype_run_templates{outcome=\"failed\"} 1",
        "tintype_run_store_requests{op=\"puts\"} 3",
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
    let run = Ended { command: "publish", code: 2, document: None, at: at("2026-01-02T00:00:00Z") };
    let text = text(&run, None, false);
    assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 2, "{text}");
    assert_eq!(shown(&[("a", "x\"\\\ny".to_owned())]), "{a=\"x\\\"\\\\\\ny\"}");
}

#[test]
fn the_file_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tintype.prom");
    write(&path, "a 1\n").unwrap();
    write(&path, "a 2\n").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a 2\n");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let error = write(&folder.path().join("none/x.prom"), "").unwrap_err().to_string();
    assert!(error.contains("none/x.prom"), "{error}");
}
