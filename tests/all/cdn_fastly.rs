//! Purging Fastly: URL by URL, by surrogate keys where the documents carry them, and the service as a whole.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::cdn_api::{Asked, CdnApi, Play, behind_cdn, json, many, names};

fn settings(api: &CdnApi, more: &str, own: &str) -> String {
    format!(
        "purge = \"fastly\"\n{more}\n[cdn.fastly]\nservice = \"S1\"\ntoken = \"hunter2\"\napi_url = \"{}\"\n{own}",
        api.url()
    )
}

fn done() -> Play {
    Play::Say(200, Vec::new(), "{\"status\":\"ok\",\"id\":\"1\"}".to_owned())
}

fn check(asked: &Asked) {
    assert_eq!((asked.method.as_str(), asked.header("fastly-key")), ("POST", "hunter2"));
}

/// What was asked, in the order of the paths: some of it goes out at the same time.
fn by_path(api: &CdnApi) -> Vec<Asked> {
    let mut asked = api.take();
    asked.sort_by(|a, b| a.path.cmp(&b.path));
    asked
}

#[test]
fn five_thousand_urls() {
    let api = CdnApi::start(|_| done());
    let project = many(5_000);
    behind_cdn(&project, &settings(&api, "", "soft = true"));
    json(&project, &["publish"], 0);
    let [first] = api.take().try_into().expect("one purge of everything");
    check(&first);
    assert_eq!((first.path.as_str(), first.header("fastly-soft-purge")), ("/service/S1/purge_all", ""));
    project.execute("UPDATE t SET n = -n");
    let mut times = 0;
    api.play(move |_| {
        times += 1;
        match times {
            1_000 => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs();
                let reset = ("fastly-ratelimit-reset", (now + 1).to_string());
                Play::Say(
                    429,
                    vec![("fastly-ratelimit-remaining", "0".to_owned()), reset],
                    "{\"msg\":\"slow\"}".to_owned(),
                )
            }
            3_000 => Play::Say(503, Vec::new(), String::new()),
            _ => done(),
        }
    });
    let document = json(&project, &["publish"], 0);
    assert_eq!((&document["purge"]["paths"], &document["purge"]["requests"]), (&5_001.into(), &5_001.into()));
    let asked = api.take();
    assert_eq!(asked.len(), 5_003);
    asked.iter().for_each(check);
    assert!(asked.iter().all(|asked| asked.header("fastly-soft-purge") == "1"));
    let named: BTreeSet<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    let expected: Vec<String> =
        names(5_000).iter().map(|name| format!("/purge/cdn.example.org/m%C3%A4ps/{name}")).collect();
    assert!(named.iter().eq(expected.iter()), "exactly the changed URLs");
}

#[test]
fn keys_stand_for_documents_only_as_long_as_every_copy_has_them() {
    let api = CdnApi::start(|_| done());
    let project = many(100);
    behind_cdn(&project, &settings(&api, "max_paths = 5", "tags = true"));
    json(&project, &["publish"], 0);
    api.take();
    project.execute("UPDATE t SET n = -n WHERE r IN ('r1', 'r2')");
    let plan = json(&project, &["publish", "--no-purge"], 0);
    assert_eq!((&plan["purge"]["outcome"], &plan["purge"]["paths"]), (&"pending".into(), &21.into()));
    assert_eq!(api.count(), 0);
    let planned = json(&project, &["purge", "--resume", "-n"], 0);
    assert_eq!(
        (&planned["outcome"], &planned["plan"]),
        (&"planned".into(), &serde_json::json!([{ "paths": ["index.json"] }, { "tags": ["r:r1", "r:r2"] }]))
    );
    let document = json(&project, &["purge", "--resume"], 0);
    assert_eq!((&document["purge"]["paths"], &document["purge"]["besides"]), (&21.into(), &0.into()));
    let [index, asked] = by_path(&api).try_into().expect("two purges");
    check(&asked);
    assert_eq!(index.path, "/purge/cdn.example.org/m%C3%A4ps/index.json");
    assert_eq!((asked.path.as_str(), asked.header("fastly-soft-purge")), ("/service/S1/purge", ""));
    assert_eq!(asked.json(), serde_json::json!({ "surrogate_keys": ["r:r1", "r:r2"] }));
    // Copies at the edge were fetched with other tags than the documents have now.
    let text = std::fs::read_to_string(project.template_file("many")).expect("read the template");
    project.template("many", &text.replace("r:{r}", "region:{r}"));
    let document = json(&project, &["publish"], 0);
    assert_eq!(document["purge"]["requests"], 1);
    let [asked] = api.take().try_into().expect("one purge");
    assert_eq!(asked.path, "/service/S1/purge_all");
    project.execute("UPDATE t SET n = 0 WHERE r = 'r3'");
    json(&project, &["publish"], 0);
    assert_eq!(by_path(&api)[1].json(), serde_json::json!({ "surrogate_keys": ["region:r3"] }), "now they have them");
}

#[test]
fn keys_of_a_policy_that_only_another_template_had_are_not_trusted() {
    let api = CdnApi::start(|_| done());
    let project = many(100);
    let text = std::fs::read_to_string(project.template_file("many")).expect("read the template");
    let text = text.replace("[\"many\", \"r:{r}\"]", "[\"many\"]");
    project.template("many", &text);
    let other = text.replace("many/{r}", "other/{r}");
    project.template("other", &other.replace("[\"many\"]", "[\"other\"]"));
    behind_cdn(&project, &settings(&api, "max_paths = 5", "tags = true"));
    json(&project, &["publish"], 0);
    api.take();
    // Every policy of the release was there before, and the copies of these documents carry another's tags.
    project.template("other", &other);
    json(&project, &["publish"], 0);
    let [asked] = api.take().try_into().expect("one purge");
    assert_eq!(asked.path, "/service/S1/purge_all");
}
