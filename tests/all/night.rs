//! A whole night: schedule, publish, purge, ping, in this order; one after which the CDN's API is down, and the one after
//! that. What the metrics say is looked at as soon as they say anything, because a collector may come at any time.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::cdn_api::{Asked, CdnApi, Play, behind_cdn, many};
use crate::support::night::{self, CHECK, HOOK, night_until, write_schedule};
use crate::support::project::Project;

const PURGE: &str = "/purge";

fn ok(_: &Asked) -> Play {
    Play::Say(200, Vec::new(), String::new())
}

/// Only the CDN's API is down.
fn purges_fail(asked: &Asked) -> Play {
    if asked.path == PURGE { Play::Say(503, Vec::new(), "maintenance".to_owned()) } else { ok(asked) }
}

/// A project behind a CDN, whose API is the listener, as are the check and the webhook of people.
fn behind(listener: &CdnApi) -> Project {
    let project = many(20);
    let url = listener.url();
    project.configure("sqlite:file.db", &format!("[notify]\nwebhook = \"{url}{HOOK}\"\n"));
    let own = format!("purge = \"webhook\"\npurge_timeout = \"1s\"\n[cdn.webhook]\nurl = \"{url}{PURGE}\"");
    behind_cdn(&project, &own);
    project
}

/// Requests as a word each, one after the other: what was purged, what the check was told, and messages.
fn words(asked: &[Asked]) -> Vec<String> {
    let word = |asked: &Asked| match asked.path.as_str() {
        PURGE => format!("purge {}", asked.json()["paths"].as_array().map_or(0, Vec::len)),
        HOOK => "message".to_owned(),
        _ => format!("ping{}", night::ping(asked)),
    };
    asked.iter().map(word).collect()
}

fn messages(asked: &[Asked]) -> Vec<String> {
    asked.iter().filter(|asked| asked.path == HOOK).map(night::message).collect()
}

fn metrics_file(project: &Project) -> PathBuf {
    project.root().join("tintype.prom")
}

/// The metrics, as soon as there are any.
fn metrics_of(project: &Project, retries: &str, url: &str) -> (String, String) {
    write_schedule(project, &format!("ping = \"{url}{CHECK}\"\n{retries}"));
    let file = metrics_file(project);
    let _ = fs::remove_file(&file);
    let mut metrics = String::new();
    let more = ["--metrics-file", file.to_str().expect("a path")];
    let said = night_until(project, &more, "metrics", |_| {
        metrics = fs::read_to_string(&file).unwrap_or_default();
        !metrics.is_empty()
    });
    (metrics, said.stderr)
}

fn assert_says(metrics: &str, code: u8, is_pending: u8, is_in_trouble: u8) {
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let found = ["tintype_run_exit_code{", "tintype_purge_pending ", "tintype_schedule_in_trouble{"].map(value);
    assert_eq!(found, [code, is_pending, is_in_trouble].map(|value| value.to_string()), "{metrics}");
}

fn outcome(project: &Project) -> Value {
    project.head()["schedules"]["nightly"]["outcome"].clone()
}

#[test]
fn a_night_and_one_with_the_cdn_down_and_the_one_after() {
    let listener = CdnApi::start(ok);
    let project = behind(&listener);
    let url = listener.url().to_owned();
    project.publish();
    assert_eq!(words(&listener.take()), ["purge 0"], "everything, by hand");

    // A good night: begun, published, purged, and only then well.
    project.execute("UPDATE t SET n = -n WHERE k <= 'k0003'");
    let (metrics, _) = metrics_of(&project, "retries = 0", &url);
    assert_eq!(words(&listener.take()), ["ping/start", "purge 4", "ping"]);
    assert_says(&metrics, 0, 0, 0);
    assert_eq!(project.public().document("many/r1/k0001.json")["rows"][0]["n"], -1);

    // The documents are new, and the edges don't know: told once, with the reason.
    listener.play(purges_fail);
    project.execute("UPDATE t SET n = n * 2 WHERE k = 'k0001'");
    let (metrics, _) = metrics_of(&project, "retries = 0", &url);
    let asked = listener.take();
    let order: Vec<String> = words(&asked).into_iter().filter(|word| word != "message").collect();
    assert!(order.len() >= 3 && order[0] == "ping/start" && order[order.len() - 1] == "ping/4", "{order:?}");
    assert!(order[1..order.len() - 1].iter().all(|word| word == "purge 2"), "{order:?}");
    let [message] = messages(&asked).try_into().expect("one message");
    for part in ["schedule nightly", "fails (exit code 4)", "503: maintenance"] {
        assert!(message.contains(part), "no {part} in {message}");
    }
    assert_says(&metrics, 4, 1, 1);
    assert_eq!(outcome(&project), "behind");
    assert_eq!(project.json(&["status"], 0)["purge"]["outcome"], "pending");
    assert_eq!(project.public().document("many/r1/k0001.json")["rows"][0]["n"], -2);
    let (metrics, _) = metrics_of(&project, "retries = 0", &url);
    assert_eq!(messages(&listener.take()), Vec::<String>::new(), "it was told");
    assert_says(&metrics, 4, 1, 1);

    // The next night pays what is owed, and nothing else, and says so once.
    listener.play(ok);
    let (metrics, _) = metrics_of(&project, "retries = 0", &url);
    let asked = listener.take();
    let order: Vec<String> = words(&asked).into_iter().filter(|word| word != "message").collect();
    assert_eq!(order, ["ping/start", "purge 2", "ping"]);
    let [message] = messages(&asked).try_into().expect("one message");
    assert!(message.contains("schedule nightly is well again"), "{message}");
    assert_says(&metrics, 0, 0, 0);
    assert_eq!(
        (outcome(&project), project.json(&["status"], 0)["purge"]["outcome"].clone()),
        (json!("done"), json!("done"))
    );
    let (metrics, _) = metrics_of(&project, "retries = 0", &url);
    assert_eq!(words(&listener.take()), ["ping/start", "ping"]);
    assert_says(&metrics, 0, 0, 0);
}

#[test]
fn a_night_in_which_nothing_ran_is_told_once() {
    let listener = CdnApi::start(ok);
    let project = behind(&listener);
    project.publish();
    listener.take();
    // It was due ten minutes ago, nobody was there, and it is too late.
    write_schedule(&project, &format!("ping = \"{}{CHECK}\"\nstarting_deadline = \"1m\"\n", listener.url()));
    night::night(&project, "missed", |_| ());
    let asked = listener.take();
    assert_eq!(words(&asked), ["message"]);
    let [message] = messages(&asked).try_into().expect("one message");
    assert!(message.contains("schedule nightly fails: nothing ran that was due 20"), "{message}");
    let status = project.run(&["status"]).expect(0).text();
    assert!(status.contains("schedule nightly: missed, it was due "), "{status}");
    night::night(&project, "missed", |_| ());
    assert_eq!(words(&listener.take()), Vec::<String>::new(), "people know");
    write_schedule(&project, "");
    night::night(&project, "done", |_| ());
    let messages = messages(&listener.take());
    assert!(messages.len() == 1 && messages[0].contains("well again"), "{messages:?}");
}

#[test]
fn an_api_that_comes_back_in_the_night_is_told_by_the_next_attempt() {
    let listener = CdnApi::start(ok);
    let project = behind(&listener);
    let url = listener.url().to_owned();
    project.publish();
    listener.take();
    listener.play(purges_fail);
    project.execute("UPDATE t SET n = -n WHERE k = 'k0001'");
    write_schedule(
        &project,
        &format!("ping = \"{url}{CHECK}\"\nretries = 20\nretry_after = \"1s\"\nstarting_deadline = \"7d\"\n"),
    );
    let mut is_back = false;
    night::night(&project, "done", |stderr| {
        if !is_back && stderr.contains("tried again") {
            listener.play(ok);
            is_back = true;
        }
    });
    let asked = listener.take();
    let order: Vec<String> = words(&asked).into_iter().filter(|word| word != "message").collect();
    assert_eq!((order[0].as_str(), order[order.len() - 1].as_str()), ("ping/start", "ping"), "{order:?}");
    assert!(order[1..order.len() - 1].iter().all(|word| word == "purge 2"), "{order:?}");
    let messages = messages(&asked);
    assert!(
        messages.len() == 2 && messages[0].contains("exit code 4") && messages[1].contains("well again"),
        "{messages:?}"
    );
    assert_eq!(project.head()["schedules"]["nightly"]["trouble"], Value::Null);
}
