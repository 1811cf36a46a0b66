use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::mpsc;

use chrono::TimeDelta;

use super::*;
use crate::cdn::Cdn;
use crate::notify::Event;
use crate::release::claims::Claims;
use crate::schedule::{Crontab, DueTimes};
use crate::store::Directory;

fn nightly() -> Schedule {
    Schedule {
        name: "nightly".to_owned(),
        due: DueTimes { crontab: Crontab::parse("30 2 * * *").unwrap(), zone: chrono_tz::UTC },
        templates: Vec::new(),
        starting_deadline: Duration::from_hours(1),
        jitter: Duration::ZERO,
        suspend: false,
        retries: 0,
        retry_after: Duration::from_mins(1),
        grace: Duration::from_hours(1),
        time_limit: Duration::from_hours(6),
        prune: false,
        ping: None,
    }
}

fn daemon() -> Daemon {
    daemon_for(nightly(), PathBuf::from("nowhere"), Notifier::default())
}

fn daemon_for(schedule: Schedule, folder: PathBuf, notifier: Notifier) -> Daemon {
    let setup = Setup {
        store: Arc::new(Store::Directory(Directory::new(folder.clone(), folder))),
        run: RunId::new(Utc::now(), 1),
        starter: Starter { config: PathBuf::new(), author: None },
        is_alone: false,
        notifier,
        metrics_file: None,
        cdn: Cdn::None,
        known: BTreeSet::new(),
    };
    Daemon::new(setup, vec![schedule])
}

/// A daemon in the middle of a run.
fn working() -> Daemon {
    working_in(daemon())
}

fn working_in(mut daemon: Daemon) -> Daemon {
    let now = Utc::now();
    daemon.keeper.ask("nightly");
    let claim = daemon.keeper.proposal("nightly", None, now).unwrap().claim;
    daemon.keeper.looked(&Claims::from([("nightly".to_owned(), claim)]), now);
    assert!(matches!(daemon.keeper.steps(now)[..], [Step::Begin(..)]));
    daemon.keeper.begun("nightly");
    daemon
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_stopped_run_has_its_time_to_be_recorded() {
    let mut daemon = working();
    daemon.stop();
    // It uses its grace.
    tokio::time::advance(LAST_RECORDS * 10).await;
    assert!(!daemon.is_over(false), "it isn't at its end");
    daemon.ended("nightly", Ended::nothing());
    assert!(!daemon.is_over(false), "the store may not have taken it at the first try");
    tokio::time::advance(LAST_RECORDS + Duration::from_secs(1)).await;
    assert!(daemon.is_over(false), "and isn't waited for without end");
}

/// A webhook, and the texts of its messages.
fn people() -> (Notifier, mpsc::Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (sender, messages) = mpsc::channel();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut asked = String::new();
            // A message is one JSON object.
            while !asked.ends_with('}') {
                let mut bytes = [0; 4096];
                let length = client.read(&mut bytes).unwrap();
                asked.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
            }
            // Before the answer, after which nobody waits.
            sender.send(asked).unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        }
    });
    (Notifier::new(Some(url), BTreeSet::from([Event::Failure])), messages)
}

/// A daemon over a store whose head can't be read, and who is told. Its schedule was due ten minutes ago.
fn without_a_head() -> (Daemon, mpsc::Receiver<String>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("head.json"), "{").unwrap();
    let due = Utc::now() - TimeDelta::minutes(10);
    let crontab = Crontab::parse(&due.format("%-M %-H * * *").to_string()).unwrap();
    let schedule = Schedule { due: DueTimes { crontab, zone: chrono_tz::UTC }, ..nightly() };
    let (notifier, messages) = people();
    (daemon_for(schedule, folder.path().to_owned(), notifier), messages, folder)
}

async fn told(daemon: &Daemon, messages: &mpsc::Receiver<String>) -> Vec<String> {
    daemon.setup.notifier.finish().await;
    messages.try_iter().collect()
}

#[tokio::test]
async fn a_store_that_never_answered_is_told_once() {
    let (mut daemon, messages, _folder) = without_a_head();
    assert!(daemon.perform(Step::Look).await.is_err());
    assert_eq!(told(&daemon, &messages).await, Vec::<String>::new(), "it may have stumbled");
    let (mut daemon, messages, _folder) = without_a_head();
    daemon.keeper.look_later(Utc::now() - TimeDelta::minutes(6));
    for _ in 0..2 {
        assert!(daemon.perform(Step::Look).await.is_err());
    }
    let [message] = told(&daemon, &messages).await.try_into().unwrap();
    assert!(message.contains("schedule nightly can't be looked after: head.json in the store"), "{message}");
}

#[tokio::test]
async fn a_run_that_the_store_keeps_off_is_told_once() {
    let (mut daemon, messages, _folder) = without_a_head();
    // It was there, and said that the schedule hasn't run since yesterday.
    let yesterday = (Utc::now() - TimeDelta::days(1)).to_rfc3339();
    let claim = serde_json::json!({
        "due": yesterday, "began_at": yesterday, "renewed_at": yesterday, "ended_at": yesterday,
    });
    let claims = Claims::from([("nightly".to_owned(), serde_json::from_value(claim).unwrap())]);
    daemon.keeper.looked(&claims, Utc::now());
    for _ in 0..2 {
        assert!(daemon.write("nightly").await.is_err());
    }
    let [message] = told(&daemon, &messages).await.try_into().unwrap();
    assert!(message.contains("schedule nightly can't begin: head.json in the store"), "{message}");
}

#[tokio::test]
async fn an_end_that_the_store_does_not_take_is_told_once() {
    let (notifier, messages) = people();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("head.json"), "{").unwrap();
    let mut daemon = working_in(daemon_for(nightly(), folder.path().to_owned(), notifier));
    daemon.ended("nightly", Ended::nothing());
    let since = Utc::now() - TimeDelta::minutes(6);
    assert!(daemon.keeper.kept_by_store("nightly", since).is_none(), "since then it can't be recorded");
    for _ in 0..2 {
        assert!(daemon.write("nightly").await.is_err());
    }
    let [message] = told(&daemon, &messages).await.try_into().unwrap();
    assert!(message.contains("schedule nightly is over, and its end can't be recorded: head.json"), "{message}");
}
