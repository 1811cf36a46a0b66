//! Nights of a daemon: a schedule that is due, and what it told a listener until its run was over.

use std::fs;

use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::{Value, json};

use super::cdn_api::{Asked, CdnApi};
use super::process::{Finished, Running};
use super::project::Project;

/// The path of the webhook at a listener; its last part is a secret.
pub const HOOK: &str = "/hook/hunter2";
/// The path of the check at a listener.
pub const CHECK: &str = "/check/uuid";

/// Writes the schedule `nightly`, which was due ten minutes ago and is due again tomorrow.
pub fn write_schedule(project: &Project, lines: &str) {
    fs::create_dir_all(project.root().join("schedules")).expect("make the folder");
    let due = chrono::Utc::now() - chrono::TimeDelta::minutes(10);
    let text = format!("cron = \"{}\"\n{lines}", due.format("%-M %-H * * *"));
    fs::write(project.root().join("schedules/nightly.toml"), text).expect("write the schedule");
}

/// Another day: what was run or seen was so long ago that the schedule is due.
pub fn day_passes(project: &Project) {
    let mut head = project.head();
    let before = json!((chrono::Utc::now() - chrono::TimeDelta::hours(2)).to_rfc3339());
    let claim = &mut head["schedules"]["nightly"];
    for instant in ["due", "began_at", "renewed_at", "ended_at"] {
        claim[instant] = before.clone();
    }
    claim["outcome"] = Value::Null;
    fs::write(project.root().join(".tintype/head.json"), head.to_string()).expect("write head.json");
}

/// One night of a daemon: from its start until the run has this outcome.
pub fn night(project: &Project, outcome: &str, mut meanwhile: impl FnMut(&str)) -> Finished {
    night_until(project, &[], &format!("a run that is {outcome}"), |daemon| {
        meanwhile(&daemon.stderr());
        project.head()["schedules"]["nightly"]["outcome"] == outcome
    })
}

/// The same until something else is true.
pub fn night_until(
    project: &Project,
    more: &[&str],
    what: &str,
    mut is_over: impl FnMut(&Running) -> bool,
) -> Finished {
    day_passes(project);
    let mut daemon = project.tintype(&["schedule", "-v"]).args(more).start();
    daemon.wait_for(what, |daemon| is_over(daemon).then_some(()));
    daemon.signal(Signal::TERM);
    daemon.finish().expect(0)
}

/// What a listener was told since: the pings by what follows the check's path, and the texts of messages.
pub fn told(listener: &CdnApi) -> (Vec<String>, Vec<String>) {
    let (messages, pings): (Vec<Asked>, Vec<Asked>) =
        listener.take().into_iter().partition(|asked| asked.method == "POST");
    (pings.iter().map(ping).collect(), messages.iter().map(message).collect())
}

/// What follows the check's path.
pub fn ping(asked: &Asked) -> String {
    assert_eq!((asked.method.as_str(), asked.body.as_str()), ("GET", ""));
    asked.path.strip_prefix(CHECK).unwrap_or_else(|| panic!("no ping: {}", asked.path)).to_owned()
}

/// The text of a message.
pub fn message(asked: &Asked) -> String {
    assert_eq!((asked.path.as_str(), asked.header("content-type")), (HOOK, "application/json"));
    let body = asked.json();
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
    body["text"].as_str().expect("a text").to_owned()
}

/// The only child of a process, whichever of its threads started it.
pub fn child_of(process: &Running) -> Pid {
    let threads = fs::read_dir(format!("/proc/{}/task", process.id())).expect("its threads").flatten();
    let children = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let children = children.collect::<Vec<_>>().join(" ");
    let ids: Vec<i32> = children.split_whitespace().filter_map(|id| id.parse().ok()).collect();
    let [id] = ids[..] else { panic!("a run is a process of its own, and there are {ids:?}") };
    Pid::from_raw(id).expect("a process")
}

/// True if there is no such process any more, but perhaps for its parent to hear of it.
pub fn is_gone(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(process).is_err() || status.contains("State:\tZ")
}
