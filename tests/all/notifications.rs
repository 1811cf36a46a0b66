//! Nights of `tintype schedule`: who is told what, and that nobody who is told can spoil a run.

use serde_json::Value;

use crate::support::cdn_api::{CdnApi, Play};
use crate::support::night::{night, told, write_schedule};
use crate::support::places;
use crate::support::postgres::Session;
use crate::support::process::closed_port;
use crate::support::project::Project;
use crate::support::servers::Replicas;

fn listener() -> CdnApi {
    CdnApi::start(|_| Play::Say(200, Vec::new(), "ok".to_owned()))
}

#[test]
fn nights_with_and_without_a_database() {
    let Some(mut servers) = Replicas::start() else { return };
    let mut session = Session::connect(&servers.primary);
    session.query("CREATE TABLE world (generation INTEGER)");
    session.query("INSERT INTO world VALUES (1)");
    drop(session);
    let listener = listener();
    let project = Project::at(&servers.primary);
    project.template("world", "/*---\npath = \"world/{k}.json\"\n---*/\nSELECT 'a' AS k, generation AS v FROM world");
    let notify = format!(
        "[notify]\nwebhook = \"{}/hook/hunter2\"\n[database.build]\nacquire_timeout = \"1s\"\n",
        listener.url()
    );
    project.configure(&servers.primary, &notify);
    let ping = format!("ping = \"{}/check/uuid\"\nretry_after = \"1s\"\n", listener.url());
    write_schedule(&project, &format!("{ping}retries = 1\n"));
    project.publish();

    // A good night is told to the check alone.
    let mut said = night(&project, "done", |_| ()).stderr;
    assert_eq!(told(&listener), (vec!["/start".to_owned(), String::new()], vec![]));

    // A bad one is told to people, once, with its reason and what comes next; and so is that it isn't told again.
    servers.command("stop primary");
    said += &night(&project, "failed", |_| ()).stderr;
    let (pings, messages) = told(&listener);
    assert_eq!(pings, ["/start", "/1"]);
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    for part in ["schedule nightly", "fails (exit code 1)", "refused", "tried again in 1s"] {
        assert!(message.contains(part), "no {part} in {message}");
    }
    assert_eq!(project.head()["schedules"]["nightly"]["attempts"], 2);
    said += &night(&project, "failed", |_| ()).stderr;
    assert_eq!(told(&listener), (vec!["/start".to_owned(), "/1".to_owned()], vec![]));

    // The database comes back between two attempts.
    write_schedule(&project, &format!("{ping}retries = 20\nstarting_deadline = \"7d\"\n"));
    let mut is_back = false;
    said += &night(&project, "done", |stderr| {
        if !is_back && stderr.contains("tried again") {
            servers.command("start primary");
            is_back = true;
        }
    })
    .stderr;
    let (pings, messages) = told(&listener);
    assert_eq!(pings, ["/start", ""]);
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    assert!(message.contains("schedule nightly is well again, release 1-"), "{message}");

    // From good to bad and back within one night.
    servers.command("stop primary");
    is_back = false;
    said += &night(&project, "done", |stderr| {
        if !is_back && stderr.contains("tried again") {
            servers.command("start primary");
            is_back = true;
        }
    })
    .stderr;
    let (pings, messages) = told(&listener);
    assert_eq!(pings, ["/start", ""]);
    assert!(messages.len() == 2 && messages[0].contains("fails") && messages[1].contains("well again"), "{messages:?}");

    assert_eq!(project.head()["schedules"]["nightly"]["trouble"], Value::Null);
    assert!(!said.contains("hunter2") && !said.contains("/check/"), "an address is in the log: {said}");
}

#[test]
fn a_refusal_is_told_once_and_success_if_asked_for() {
    let listener = listener();
    let project = places::sqlite();
    project.configure(
        "sqlite:file.db",
        &format!("[notify]\nwebhook = \"{}/hook/hunter2\"\non = [\"refused\", \"success\"]\n", listener.url()),
    );
    write_schedule(&project, &format!("ping = \"{}/check/uuid/\"\n", listener.url()));
    let once = |code| project.run(&["schedule", "--once", "nightly"]).expect(code);
    once(0);
    let (pings, messages) = told(&listener);
    assert_eq!(pings, ["/start", ""]);
    assert!(messages.len() == 1 && messages[0].contains("is done, release 1-"), "{messages:?}");
    let refusing =
        places::TEMPLATE.replace("---*/", "[[guard.assert]]\nname = \"a <b> & c\"\nsql = \"SELECT 1\"\n---*/");
    project.template("places", &refusing);
    once(3);
    once(3);
    let (pings, messages) = told(&listener);
    assert_eq!(pings, ["/start", "/3", "/start", "/3"]);
    assert!(messages.len() == 1 && messages[0].contains("is refused by a guard: places"), "{messages:?}");
    assert!(messages[0].contains("a &lt;b&gt; &amp; c"), "as Slack wants it: {messages:?}");
    // All is well again, and nobody asked to be told of that.
    project.template("places", places::TEMPLATE);
    once(0);
    let (_, messages) = told(&listener);
    assert!(messages.len() == 1 && messages[0].contains("is done"), "{messages:?}");
}

#[test]
fn whoever_is_told_can_not_spoil_a_run() {
    let project = places::sqlite();
    let nobody = format!("http://127.0.0.1:{}", closed_port());
    let notify = |url: &str| format!("[notify]\nwebhook = \"{url}/hook/hunter2\"\non = [\"success\"]\n");
    project.configure("sqlite:file.db", &notify(&nobody));
    write_schedule(&project, &format!("ping = \"{nobody}/check/uuid\"\n"));
    let ended = project.run(&["schedule", "--once", "nightly"]).expect(0);
    assert!(ended.stderr.contains("wasn't taken") && !ended.stderr.contains("hunter2"), "{ended}");
    assert_eq!(project.public().paths().len(), places::DOCUMENTS);

    // One that has a bad moment is told all the same, and one that says no isn't asked again.
    let mut left = 2;
    let listener = CdnApi::start(move |asked| match asked.method.as_str() {
        "GET" => Play::Say(404, Vec::new(), String::new()),
        _ if left > 0 => {
            left -= 1;
            if left == 1 { Play::Say(503, Vec::new(), String::new()) } else { Play::Lose }
        }
        _ => Play::Say(200, Vec::new(), String::new()),
    });
    project.configure("sqlite:file.db", &notify(listener.url()));
    write_schedule(&project, &format!("ping = \"{}/check/uuid\"\n", listener.url()));
    let ended = project.run(&["schedule", "--once", "nightly"]).expect(0);
    let (pings, messages) = told(&listener);
    assert_eq!(pings, ["/start", ""]);
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(ended.stderr.contains("its status is 404"), "{ended}");
}

#[test]
fn bad_settings_are_refused_without_the_address() {
    let project = places::sqlite();
    for (lines, says) in [
        ("webhook = \"gopher://h/hunter2\"", "http or https"),
        ("webhok = \"https://h/hunter2\"", "webhook"),
        ("on = [\"failures\"]", "\"failure\""),
    ] {
        project.configure("sqlite:file.db", &format!("[notify]\n{lines}\n"));
        let ended = project.run(&["check"]).expect(2);
        ended.explains(&[says, "tintype.toml:"]);
        assert!(!ended.stderr.contains("hunter2"), "{ended}");
    }
}
