//! `doctor --cdn`: what is wrong with an edge is found by looking at one document.

use serde_json::{Value, json};

use crate::doctor::{check, with_cdn};
use crate::support::frozen_edge::{FrozenEdge, Reply};
use crate::support::places;
use crate::support::process::closed_port;
use crate::support::project::Project;
use crate::support::site::Site;

fn site() -> (Project, FrozenEdge) {
    let project = places::sqlite();
    project.publish();
    let edge = FrozenEdge::before(project.public());
    with_cdn(&project, Some(&format!("http://{}", edge.address)));
    (project, edge)
}

#[track_caller]
fn outcome(said: &Value, name: &str) -> String {
    check(said, "cdn", name)["outcome"].as_str().expect("a word").to_owned()
}

#[test]
fn an_edge_that_says_little_is_warned_of() {
    let (project, _edge) = site();
    let said = project.json(&["doctor", "--cdn"], 0);
    assert_eq!(said["outcome"], "ok", "nothing of it keeps documents from readers");
    for (name, expected) in [
        ("answers", "ok"),
        ("current", "ok"),
        ("cached", "ok"),
        ("gzip", "ok"),
        ("identity", "ok"),
        ("vary", "ok"),
        ("cors", "warning"),
        ("cache-control", "warning"),
        ("conditional", "warning"),
        ("not-found", "ok"),
    ] {
        assert_eq!(outcome(&said, name), expected, "{name} in {said:#}");
        assert_eq!(check(&said, "cdn", name)["hint"].is_string(), expected == "warning", "{name} says what to do");
    }
    assert!(said["cdn"]["path"].as_str().is_some_and(|path| path.starts_with("places/")), "{said:#}");
    let finished = project.run(&["doctor", "--cdn"]).expect(0);
    let text = finished.text();
    assert!(text.contains("cors") && text.contains("hint") && text.contains("warning"), "{text}");
}

#[test]
fn cloudflare_before_anybody_has_made_a_rule() {
    let (project, edge) = site();
    let path = "places/united-states/crispr/low.json";
    let packed = std::fs::read(project.public().file(path)).expect("read a document");
    let headers = [
        ("Content-Type", "application/json"),
        ("Content-Encoding", "gzip"),
        ("CF-Cache-Status", "DYNAMIC"),
        ("CF-RAY", "x-AMS"),
        ("Cache-Control", "public, max-age=14400"),
    ];
    edge.keep(path, Reply::new(200, &headers, &packed));
    let url = format!("http://{}/{path}", edge.address);
    let said = project.json(&["doctor", "--cdn", &url], 0);
    assert_eq!((&said["cdn"]["document"], &said["cdn"]["path"]), (&json!(url), &json!(path)));
    let hint = |name| check(&said, "cdn", name)["hint"].as_str().unwrap_or_default().to_owned();
    assert!(hint("cached").contains("Cache Rule"), "{said:#}");
    assert!(hint("cache-control").contains("Browser Cache TTL"), "{said:#}");
}

#[test]
fn a_bucket_keeps_headers_and_tags() {
    let site = Site::in_bucket();
    let text = places::TEMPLATE.replace("page_url", "cache_tags = [\"places\", \"topic-{topic}\"]\npage_url");
    site.project.template("places", &text);
    site.project.publish();
    let path = "places/united-states/crispr/low.json";
    let kept = site.bucket().headers(path);
    let edge = FrozenEdge::before_bucket(site.bucket());
    let url = format!("http://{}/{path}", edge.address);
    let packed = std::fs::read(site.file(path)).expect("read a document");
    let said = |tags: &str, control: &str| {
        let headers = [
            ("Content-Type", "application/json"),
            ("Content-Encoding", "gzip"),
            ("x-amz-meta-cache-tag", tags),
            ("Cache-Control", control),
        ];
        edge.keep(path, Reply::new(200, &headers, &packed));
        site.project.json(&["doctor", "--cdn", &url], 0)
    };
    let good = said(&kept["x-amz-meta-cache-tag"], &kept["cache-control"]);
    assert_eq!((outcome(&good, "cache-tags"), outcome(&good, "cache-control")), ("ok".to_owned(), "ok".to_owned()));
    let bad = said("places", "public, max-age=5");
    assert!(check(&bad, "cdn", "cache-tags")["detail"].as_str().is_some_and(|detail| detail.contains("topic-crispr")));
    assert!(check(&bad, "cdn", "cache-control")["hint"].as_str().is_some_and(|hint| hint.contains("no purge reaches")));
}

#[test]
fn what_no_reader_can_use_is_broken() {
    let (project, edge) = site();
    let path = "places/united-states/crispr/low.json";
    let url = format!("http://{}/{path}", edge.address);
    let packed = std::fs::read(project.public().file(path)).expect("read a document");
    edge.keep(path, Reply::new(200, &[("Content-Type", "application/json")], &packed));
    let said = project.json(&["doctor", "--cdn", &url], 1);
    assert_eq!((outcome(&said, "gzip"), outcome(&said, "identity")), ("broken".to_owned(), "broken".to_owned()));
    assert_eq!(outcome(&said, "current"), "skipped");
    edge.keep(path, Reply::new(200, &[("Content-Type", "application/json")], b"{}"));
    let said = project.json(&["doctor", "--cdn", &url], 0);
    assert!(check(&said, "cdn", "current")["hint"].as_str().is_some_and(|hint| hint.contains("verify --cdn")));
    // A page for everything.
    edge.always(Some(Reply::new(200, &[("Content-Type", "text/html")], b"<!doctype html>")));
    let said = project.json(&["doctor", "--cdn"], 1);
    assert_eq!((outcome(&said, "answers"), outcome(&said, "not-found")), ("warning".to_owned(), "broken".to_owned()));
    edge.always(Some(Reply::new(301, &[("Location", "https://elsewhere.example/")], b"")));
    let said = project.json(&["doctor", "--cdn"], 1);
    let answers = check(&said, "cdn", "answers");
    assert!(answers["detail"].as_str().is_some_and(|detail| detail.contains("elsewhere.example")), "{answers}");
    assert_eq!(said["cdn"]["checks"].as_array().map(Vec::len), Some(2), "there is nothing to look at closely");
}

#[test]
fn another_url_than_a_document_of_the_release() {
    let (project, edge) = site();
    edge.keep("other.json", Reply::new(200, &[("Content-Type", "application/json"), ("ETag", "\"a\"")], b"{}"));
    let said = project.json(&["doctor", "--cdn", &format!("http://{}/other.json", edge.address)], 0);
    assert_eq!(said["cdn"]["path"], Value::Null);
    assert_eq!((outcome(&said, "gzip"), outcome(&said, "conditional")), ("warning".to_owned(), "warning".to_owned()));
    let away = format!("http://127.0.0.1:{}/a.json", closed_port());
    assert_eq!(outcome(&project.json(&["doctor", "--cdn", &away], 1), "answers"), "broken");
    let shown = project.run(&["doctor", "--cdn", &away]).expect(1);
    let command = format!("`tintype -c {} verify`", project.config().display());
    assert!(shown.text().contains(&command), "a hint names commands as they have to be typed: {shown}");
    for url in ["ftp://h/a.json", "nowhere"] {
        assert_eq!(project.run(&["doctor", "--cdn", url]).code(), 2, "{url}");
    }
}

#[test]
fn without_a_url_or_a_release() {
    let project = places::sqlite();
    project.run(&["doctor", "--cdn"]).expect(2).explains(&["nothing is published yet"]);
    project.publish();
    with_cdn(&project, None);
    project.run(&["doctor", "--cdn"]).expect(2).explains(&["no [cdn] url"]);
}
