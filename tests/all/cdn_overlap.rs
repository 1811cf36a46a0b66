//! Publishers whose purges overlap: processes of their own, one of which a slow CDN keeps waiting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::support::cdn_api::{Asked, CdnApi, Play, behind_cdn, json, many, tintype};
use crate::support::process::Running;
use crate::support::project::Project;
use crate::support::wait::wait_until;

const BASE: &str = "/m%C3%A4ps/";

/// An edge that keeps whatever a reader was shown once, until it is told; its purges are answered as `play` says.
struct Edge {
    kept: Arc<Mutex<BTreeMap<String, Option<Vec<u8>>>>>,
    api: CdnApi,
}

impl Edge {
    fn start() -> Self {
        let edge = Self { kept: Arc::default(), api: CdnApi::start(|_| Play::Lose) };
        edge.play(|| Play::Say(200, Vec::new(), String::new()));
        edge
    }

    /// Forgets what it is told and answers like this.
    fn play(&self, mut answer: impl FnMut() -> Play + Send + 'static) {
        let kept = Arc::clone(&self.kept);
        self.api.play(move |asked: &Asked| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let told = asked.json();
            match told["paths"].as_array() {
                None => kept.clear(),
                Some(paths) => kept.retain(|path, _| !paths.contains(&format!("{BASE}{path}").into())),
            }
            answer()
        });
    }

    /// Readers fetch every document that there ever was.
    fn visit(&self, project: &Project) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for path in paths() {
            kept.entry(path.clone()).or_insert_with(|| shown(project, &path));
        }
    }

    /// The documents that readers get in another form than the store shows.
    fn stale(&self, project: &Project) -> Vec<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().filter(|(path, body)| **body != shown(project, path)).map(|(path, _)| path.clone()).collect()
    }
}

fn paths() -> Vec<String> {
    let documents = (1..=6).map(|i| format!("many/r{i}/k{i:04}.json"));
    documents.chain(["index.json".to_owned()]).collect()
}

fn shown(project: &Project, path: &str) -> Option<Vec<u8>> {
    std::fs::read(project.public().file(path)).ok()
}

fn change(project: &Project, key: usize, n: usize) {
    project.execute(&format!("UPDATE t SET n = {n} WHERE k = 'k{key:04}'"));
}

/// A published site, and a publisher of a change to the first document whose purge waits for a permit.
fn slow_publisher() -> (Project, Edge, Running, Arc<Semaphore>) {
    let (project, edge) = (many(5), Edge::start());
    let own = format!("purge_timeout = \"2m\"\n[cdn.webhook]\nurl = \"{}/hook\"", edge.api.url());
    behind_cdn(&project, &format!("purge = \"webhook\"\n{own}"));
    json(&project, &["publish"], 0);
    edge.visit(&project);
    let permit = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&permit);
    edge.play(move || Play::Hold(Arc::clone(&held), 200));
    edge.api.take();
    change(&project, 1, 1_000);
    let mut slow = tintype(&project, &["publish", "--format", "json"]).start();
    wait_until("the purge to be sent", Duration::from_mins(1), || edge.api.count() > 0 || slow.has_ended());
    edge.visit(&project);
    (project, edge, slow, permit)
}

#[test]
fn nothing_is_forgotten_whoever_ends_first() {
    let (project, edge, slow, permit) = slow_publisher();
    edge.play(|| Play::Say(200, Vec::new(), String::new()));
    // Each of them changes something while the first one waits, and readers come all the time.
    change(&project, 2, 1_000);
    json(&project, &["publish"], 0);
    assert_eq!(edge.stale(&project), [""; 0]);
    edge.visit(&project);
    change(&project, 1, 1);
    project.execute("INSERT INTO t VALUES ('r6', 'k0006', 6)");
    json(&project, &["publish"], 0);
    edge.visit(&project);
    json(&project, &["rollback", "-y"], 0);
    assert_eq!(edge.stale(&project), [""; 0]);
    edge.visit(&project);
    let file = project.public().file("many/r3/k0003.json");
    std::fs::remove_file(&file).expect("remove it");
    std::fs::write(&file, "half a docu").expect("spoil it");
    json(&project, &["purge", "many/r3/k0003"], 0);
    edge.visit(&project);
    json(&project, &["verify", "--repair"], 0);
    assert_eq!(edge.stale(&project), [""; 0]);
    let paid = project.head();
    permit.add_permits(1);
    assert_eq!(slow.finish().expect(0).json()["purge"]["outcome"], "done");
    edge.visit(&project);
    assert_eq!(edge.stale(&project), [""; 0]);
    assert_eq!(project.head(), paid, "who ends last takes nothing back");
    assert_eq!(json(&project, &["status"], 0)["purge"]["outcome"], "done");
}

#[test]
fn what_another_could_not_tell_stays_owed_when_the_first_ends() {
    let (project, edge, slow, permit) = slow_publisher();
    // What is refused isn't forgotten either.
    edge.api.play(|_| Play::Say(400, Vec::new(), String::new()));
    change(&project, 2, 1_000);
    json(&project, &["publish"], 4);
    let file = project.public().file("many/r3/k0003.json");
    std::fs::remove_file(&file).expect("remove it");
    std::fs::write(&file, "half a docu").expect("spoil it");
    edge.kept.lock().unwrap_or_else(PoisonError::into_inner).remove("many/r3/k0003.json");
    edge.visit(&project);
    json(&project, &["verify", "--repair"], 4);
    assert_eq!(edge.stale(&project), ["index.json", "many/r2/k0002.json", "many/r3/k0003.json"]);
    permit.add_permits(1);
    slow.finish().expect(0);
    assert_eq!(json(&project, &["status"], 0)["purge"]["outcome"], "pending", "it has paid for its own at most");
    edge.play(|| Play::Say(200, Vec::new(), String::new()));
    json(&project, &["purge", "--resume"], 0);
    edge.visit(&project);
    assert_eq!(edge.stale(&project), [""; 0]);
    assert_eq!(json(&project, &["status"], 0)["purge"]["outcome"], "done");
}

#[test]
fn an_owner_who_changes_the_cdn_meanwhile_is_told_everything() {
    let (project, edge, slow, permit) = slow_publisher();
    let text = std::fs::read_to_string(project.config()).expect("read tintype.toml");
    std::fs::write(project.config(), text.replace("/hook", "/other")).expect("write tintype.toml");
    edge.play(|| Play::Say(200, Vec::new(), String::new()));
    edge.api.take();
    change(&project, 2, 1_000);
    json(&project, &["publish"], 0);
    let told = edge.api.take();
    assert_eq!((told[0].path.as_str(), &told[0].json()["purge"]), ("/other", &"everything".into()));
    edge.visit(&project);
    // The other's CDN was told something of an earlier release only, and takes nothing away from this one's knowledge
    // but the right to name what it lacks.
    permit.add_permits(1);
    slow.finish().expect(0);
    change(&project, 3, 1_000);
    json(&project, &["publish"], 0);
    edge.visit(&project);
    assert_eq!(edge.stale(&project), [""; 0]);
    assert_eq!(json(&project, &["status"], 0)["purge"]["outcome"], "done");
}
