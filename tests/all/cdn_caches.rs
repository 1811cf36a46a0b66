//! Real caches in front of a published folder: what has changed is seen after a publish, and nothing else is fetched again.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::doctor::check;
use crate::support::directory::differences;
use crate::support::edge::{Edge, Kind};
use crate::support::places;
use crate::support::process::closed_port;
use crate::support::project::Project;

const ONE: &str = "places/united-states/crispr/low.json";
const KEY: &str = "places/united-states/crispr/low";

/// A site with a cache in front.
struct Site {
    project: Project,
    edge: Edge,
}

impl Site {
    fn start(kind: Kind) -> Option<Site> {
        let project = places::sqlite();
        fs::create_dir_all(project.root().join("public")).expect("make the folder");
        let edge = Edge::start(kind, &project.root().join("public"))?;
        edge.in_front_of(&project);
        Some(Site { project, edge })
    }

    /// Every document, and the catalogue.
    fn paths(&self) -> Vec<String> {
        let mut paths = self.project.public().paths();
        paths.push("index.json".to_owned());
        paths
    }

    /// Every path shows through the cache what the folder has.
    #[track_caller]
    fn is_fresh(&self) {
        for path in self.paths() {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
            assert_eq!(text(self.edge.body(&path)), text(self.project.public().body(&path)), "{path}");
        }
    }

    /// Every document lies in the cache.
    #[track_caller]
    fn warm(&self) {
        self.is_fresh();
        let asked = self.edge.asked().len();
        self.is_fresh();
        assert_eq!(self.edge.asked()[asked..], [""; 0], "the cache keeps what it has fetched");
    }

    /// Does something and looks at everything through the cache; the paths that differ, which are those that the origin
    /// was asked for, each once.
    #[track_caller]
    fn changes(&self, change: impl FnOnce(&Project)) -> BTreeSet<String> {
        let before = self.project.public().digests();
        let asked = self.edge.asked().len();
        change(&self.project);
        let mut expected = differences(&before, &self.project.public().digests());
        for path in expected.iter().filter(|path| !self.project.public().has(path)) {
            assert_eq!(self.edge.get(path).status, 404, "{path} is gone");
        }
        self.is_fresh();
        expected.push("index.json".to_owned());
        expected.sort();
        let mut fetched = self.edge.asked().split_off(asked);
        fetched.sort();
        assert_eq!(fetched, expected, "what has changed is fetched once, and nothing else");
        expected.into_iter().collect()
    }
}

fn purged(said: &Value) -> &str {
    said["purge"]["outcome"].as_str().expect("a word")
}

fn the_changed_and_nothing_else(kind: Kind) {
    let Some(site) = Site::start(kind) else { return };
    let project = &site.project;
    assert_eq!(purged(&project.publish()), "done", "nobody knows what a cache has kept before");
    site.warm();
    let changed = site.changes(|project| {
        project.execute("UPDATE fact SET city = 'Cambridge' WHERE city_id = 1");
        assert_eq!(purged(&project.publish()), "done");
    });
    assert_eq!(changed.len(), 4, "{changed:?}");
    let gone = site.changes(|project| {
        project.execute("DELETE FROM country WHERE country_id = 2");
        project.publish();
    });
    assert_eq!(gone.len(), 10, "{gone:?}");
    let said = project.json(&["verify", "--cdn"], 0);
    assert_eq!((&said["outcome"], &said["looked_at"]), (&"fresh".into(), &10.into()), "{said:#}");
    let back = site.changes(|project| drop(project.json(&["rollback", "--yes"], 0)));
    assert_eq!(back, gone);
    // An unchanged one is purged all the same, because an editor wants to be sure.
    let asked = site.edge.asked().len();
    project.json(&["republish", KEY], 0);
    site.is_fresh();
    let fetched = site.edge.asked().split_off(asked);
    assert!(fetched.iter().any(|path| path == ONE) && fetched.len() <= 2, "{fetched:?}");
    let said = project.json(&["verify", "--cdn", "--all"], 0);
    // What the last release removed is looked at as well.
    assert_eq!((&said["outcome"], &said["paths"]), (&"fresh".into(), &(places::DOCUMENTS + 1).into()), "{said:#}");
}

fn what_is_stale_is_found_and_purged_again(kind: Kind) {
    let Some(site) = Site::start(kind) else { return };
    let project = &site.project;
    project.publish();
    site.warm();
    project.execute("UPDATE fact SET city = 'Cambridge' WHERE city_id = 1");
    assert_eq!(purged(&project.json(&["publish", "--no-purge"], 0)), "pending");
    let said = project.json(&["verify", "--cdn", "-n"], 4);
    assert_eq!((&said["outcome"], &said["counts"]["stale"]), (&"stale".into(), &4.into()), "{said:#}");
    let asked = site.edge.asked().len();
    let said = project.json(&["verify", "--cdn"], 0);
    assert_eq!((&said["outcome"], &said["purge"]["paths"]), (&"purged".into(), &4.into()), "{said:#}");
    site.is_fresh();
    assert_eq!(site.edge.asked().len() - asked, 4);
}

fn a_cache_that_can_not_be_told(kind: Kind) {
    let Some(site) = Site::start(kind) else { return };
    let project = &site.project;
    project.publish();
    site.warm();
    site.edge.told_at(project, closed_port());
    let old = site.edge.body(ONE);
    project.execute("UPDATE fact SET city = 'Cambridge' WHERE city_id = 1");
    assert_eq!(purged(&project.json(&["publish"], 4)), "pending");
    assert_eq!(site.edge.body(ONE), old);
    let said = project.json(&["verify", "--cdn", "--wait", "0s"], 4);
    assert_eq!((&said["outcome"], &said["counts"]["stale"]), (&"stale".into(), &4.into()), "{said:#}");
    assert!(said["purge"]["error"]["message"].is_string(), "{said:#}");
    site.edge.in_front_of(project);
    project.json(&["purge", "--resume"], 0);
    site.is_fresh();
    assert_eq!(project.json(&["verify", "--cdn"], 0)["outcome"], "fresh");
}

fn a_query_makes_no_copy(kind: Kind) {
    let Some(site) = Site::start(kind) else { return };
    site.project.publish();
    let asked_for = format!("{ONE}?x=1");
    let old = site.edge.body(&asked_for);
    site.project.execute("UPDATE fact SET city = 'Cambridge' WHERE city_id = 1");
    site.project.publish();
    assert_ne!(site.edge.body(&asked_for), old, "a copy that no purge reaches");
}

fn everything_is_fetched_anew(kind: Kind) {
    let Some(site) = Site::start(kind) else { return };
    site.project.publish();
    site.warm();
    let asked = site.edge.asked().len();
    let said = site.project.json(&["purge", "--yes"], 0);
    assert_eq!(purged(&said), "done");
    site.is_fresh();
    let (mut fetched, mut all) = (site.edge.asked().split_off(asked), site.paths());
    fetched.sort();
    all.sort();
    assert_eq!(fetched, all);
}

fn the_doctor_finds_it_in_order(kind: Kind) {
    let Some(site) = Site::start(kind) else { return };
    site.project.publish();
    let said = site.project.json(&["doctor", "--cdn"], 0);
    for name in [
        "records-hidden",
        "answers",
        "current",
        "cached",
        "query",
        "gzip",
        "identity",
        "vary",
        "cors",
        "cache-control",
        "conditional",
        "not-found",
    ] {
        assert_eq!(check(&said, "cdn", name)["outcome"], "ok", "{said:#}");
    }
    assert!(said["store"].is_null(), "nothing else is looked at");
    // A CDN is a proxy, and it can unpack.
    let answer = site.edge.origin_through_proxy(ONE);
    assert_eq!((answer.status, answer.header("content-encoding")), (200, "gzip"));
}

#[test]
fn varnish_shows_the_changed_and_fetches_nothing_else() {
    the_changed_and_nothing_else(Kind::Varnish);
}

#[test]
fn nginx_shows_the_changed_and_fetches_nothing_else() {
    the_changed_and_nothing_else(Kind::Nginx);
}

#[test]
fn varnish_keeps_one_copy_whatever_the_query() {
    a_query_makes_no_copy(Kind::Varnish);
}

#[test]
fn nginx_keeps_one_copy_whatever_the_query() {
    a_query_makes_no_copy(Kind::Nginx);
}

#[test]
fn varnish_is_purged_again_where_it_is_stale() {
    what_is_stale_is_found_and_purged_again(Kind::Varnish);
}

#[test]
fn nginx_is_purged_again_where_it_is_stale() {
    what_is_stale_is_found_and_purged_again(Kind::Nginx);
}

#[test]
fn varnish_that_can_not_be_told() {
    a_cache_that_can_not_be_told(Kind::Varnish);
}

#[test]
fn nginx_that_can_not_be_told() {
    a_cache_that_can_not_be_told(Kind::Nginx);
}

#[test]
fn varnish_forgets_everything() {
    everything_is_fetched_anew(Kind::Varnish);
}

#[test]
fn nginx_fetches_everything_anew() {
    everything_is_fetched_anew(Kind::Nginx);
}

#[test]
fn varnish_as_the_doctor_sees_it() {
    the_doctor_finds_it_in_order(Kind::Varnish);
}

#[test]
fn nginx_as_the_doctor_sees_it() {
    the_doctor_finds_it_in_order(Kind::Nginx);
}
