//! The site at rest: after two clean nights over unchanged data, store, release, database and edge say the same.

use std::collections::BTreeMap;

use serde_json::Value;

use super::actors::End;
use super::data::{Data, KEYS, TEMPLATE, digest, path};
use super::judge::{Judge, Promise, free};
use crate::release::catalogue;
use crate::release::manifest::Manifest;
use crate::snapshot::{Digest, gunzip};
use crate::store::Event;

/// Compares everything with everything.
pub fn check(judge: &mut Judge, data: Data) {
    nights(judge);
    head(judge);
    let Some(release) = judge.releases.pop() else {
        return judge.find(Promise::RestIsReached, "nothing was ever committed");
    };
    store(judge, &release.manifest);
    database(judge, &release.manifest, data);
    judge.releases.push(release);
    objects(judge);
    let stale: Vec<String> = judge.world.stale().into_iter().map(str::to_owned).collect();
    for path in stale {
        judge.find(Promise::EdgesAreFresh, format!("{path} may be answered as it was"));
    }
}

fn nights(judge: &mut Judge) {
    let Some([first, second]) = judge.deeds.last_chunk().cloned() else { return };
    for night in [&first, &second] {
        if !matches!(night.end, Some(End::Done { .. })) {
            judge.find(Promise::RestIsReached, format!("a clean night ended as {:?}", night.end));
        }
    }
    let events = &judge.world.journal()[second.began_at..];
    if events.iter().any(|event| matches!(event, Event::Public { .. })) {
        judge.find(Promise::RestIsKept, "an unchanged night wrote documents");
    }
    let is_its = |run: &str| run == second.run.as_str();
    if judge.releases.last().is_some_and(|release| is_its(release.manifest.root.id.run.as_str())) {
        judge.find(Promise::RestIsKept, "an unchanged night made a release");
    }
}

fn head(judge: &mut Judge) {
    let head = judge.head.clone();
    if head.active != head.desired {
        judge.find(Promise::RestIsReached, format!("{:?} never became active", head.desired));
    }
    if let Some(lease) = head.lease {
        judge.find(Promise::RestIsReached, format!("the lease stays with {}", lease.holder));
    }
    if head.purged != head.active {
        judge.find(Promise::RestIsReached, format!("purged only up to {:?}", head.purged));
    }
    if head.suspect.is_some() {
        judge.find(Promise::RestIsReached, "the doubt about late requests stays");
    }
}

/// Every stable path shows what the release says, with its headers, and there are no others.
fn store(judge: &mut Judge, manifest: &Manifest) {
    let mut wrong = Vec::new();
    let mut shown = judge.world.public().clone();
    for row in manifest.rows.values().flat_map(|rows| rows.iter()).filter(|row| row.document.is_some()) {
        let path = row.path.as_ref();
        let Some(shown) = shown.remove(path) else {
            wrong.push(format!("{path} isn't there"));
            continue;
        };
        let body = gunzip(&shown.bytes, 1 << 20).unwrap_or_default();
        if Some(Digest::of(&body)) != row.digest() {
            wrong.push(format!("{path} shows {}", String::from_utf8_lossy(&body)));
        }
        let policy = manifest.root.policies.get(row.origin.policy.as_ref());
        if policy.map(|policy| &policy.cache_control) != Some(&shown.attributes.cache_control) {
            wrong.push(format!("{path} has the headers of another release"));
        }
    }
    wrong.extend(shown.keys().map(|path| format!("{path} belongs to no release")));
    for wrong in wrong {
        judge.find(Promise::StoreShowsTheRelease, wrong);
    }
}

/// The release, and the catalogue that stands for it, say what the database says.
fn database(judge: &mut Judge, manifest: &Manifest, data: Data) {
    for key in free(manifest) {
        let row = manifest.row(&path(key)).and_then(|row| row.digest());
        if row != digest(data, key) {
            judge.find(Promise::ReleaseIsTheDatabase, format!("{key} of {data} is another in {}", manifest.root.id));
        }
    }
    let shown = judge.world.public().get(catalogue::PATH);
    let body = shown.and_then(|shown| gunzip(&shown.bytes, 1 << 20).ok()).unwrap_or_default();
    let catalogue: Value = serde_json::from_slice(&body).unwrap_or_default();
    let entry = &catalogue["templates"][&TEMPLATE.name];
    let listed: Vec<&Value> =
        entry["keys"][0]["values"].as_array().into_iter().flatten().map(|key| &key["slug"]).collect();
    let is_there = |key: &&str| manifest.row(&path(key)).is_some_and(|row| row.document.is_some());
    let there: Vec<&str> = KEYS.into_iter().filter(is_there).collect();
    if listed != there || entry["count"] != there.len() {
        judge.find(Promise::ReleaseIsTheDatabase, format!("the catalogue lists {listed:?}, and there are {there:?}"));
    }
}

/// Whatever a kept release names is there.
fn objects(judge: &mut Judge) {
    let kept = judge.releases.iter().filter(|release| release.is_kept(&judge.head));
    let named: BTreeMap<String, String> =
        kept.flat_map(|release| release.names().map(|name| (name, release.id().to_string()))).collect();
    for (name, id) in named {
        if judge.world.control(&name).is_none() {
            judge.find(Promise::ObjectsAreThere, format!("{name} of {id} is gone"));
        }
    }
}
