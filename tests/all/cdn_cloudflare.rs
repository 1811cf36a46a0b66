//! Purging Cloudflare: a hundred URLs a request, and refusals that come with status 200.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::cdn_api::{Asked, CdnApi, Play, behind_cdn, json, many, names, tintype};

fn settings(api: &CdnApi, more: &str) -> String {
    format!(
        "purge = \"cloudflare\"\npurge_timeout = \"20s\"\n{more}\n[cdn.cloudflare]\nzone = \"z0ne\"\ntoken = \"hunter2\"\napi_url = \"{}/client/v4\"",
        api.url()
    )
}

fn done() -> Play {
    Play::Say(
        200,
        Vec::new(),
        "{\"success\":true,\"errors\":[],\"messages\":[],\"result\":{\"id\":\"z0ne\"}}".to_owned(),
    )
}

fn check(asked: &Asked) -> Value {
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/client/v4/zones/z0ne/purge_cache"));
    assert_eq!(asked.header("authorization"), "Bearer hunter2");
    assert_eq!(asked.header("content-type"), "application/json");
    asked.json()
}

#[test]
fn five_thousand_urls() {
    let api = CdnApi::start(|_| done());
    let project = many(5_000);
    behind_cdn(&project, &settings(&api, ""));
    json(&project, &["publish"], 0);
    let [first] = api.take().try_into().expect("one purge of everything");
    assert_eq!(check(&first), serde_json::json!({ "prefixes": ["cdn.example.org/m%C3%A4ps"] }), "never the whole zone");
    project.execute("UPDATE t SET n = -n");
    let mut times = 0;
    api.play(move |_| {
        times += 1;
        match times {
            7 => Play::Say(
                429,
                vec![("retry-after", "1".to_owned())],
                "{\"success\":false,\"errors\":[{\"code\":971,\"message\":\"slow down\"}]}".to_owned(),
            ),
            20 => Play::Lose,
            30 => Play::Say(502, Vec::new(), "<html>bad gateway</html>".to_owned()),
            _ => done(),
        }
    });
    let document = json(&project, &["publish"], 0);
    assert_eq!((&document["purge"]["paths"], &document["purge"]["requests"]), (&5_001.into(), &51.into()));
    let asked = api.take();
    assert_eq!(asked.len(), 54, "three of them twice");
    let bodies: Vec<Value> = asked.iter().map(check).collect();
    let files: Vec<&Vec<Value>> = bodies.iter().filter_map(|body| body["files"].as_array()).collect();
    assert!(files.iter().rev().skip(1).all(|files| files.len() == 100));
    let named: BTreeSet<&str> = files.iter().copied().flatten().filter_map(Value::as_str).collect();
    let expected: Vec<String> =
        names(5_000).iter().map(|name| format!("https://cdn.example.org/m%C3%A4ps/{name}")).collect();
    assert!(named.iter().eq(expected.iter()), "exactly the changed URLs");
}

#[test]
fn a_refusal_with_status_200_is_one() {
    let api = CdnApi::start(|_| done());
    let project = many(3);
    behind_cdn(&project, &format!("{}\norigins = \"https://www.example.org\"", settings(&api, "")));
    json(&project, &["publish"], 0);
    api.take();
    project.execute("UPDATE t SET n = -n WHERE k = 'k0001'");
    api.play(|_| {
        Play::Say(200, Vec::new(), "{\"success\":false,\"errors\":[{\"code\":1012,\"message\":\"no\"}]}".to_owned())
    });
    let document = json(&project, &["publish"], 4);
    assert_eq!((&document["outcome"], &document["purge"]["outcome"]), (&"published".into(), &"pending".into()));
    let error = document["purge"]["error"].as_str().expect("the error is told");
    assert!(error.contains("Cloudflare answered 200: 1012 no"), "{error}");
    let url = "https://cdn.example.org/m%C3%A4ps/many/r1/k0001.json";
    let copies =
        [serde_json::json!(url), serde_json::json!({ "url": url, "headers": { "Origin": "https://www.example.org" } })];
    assert_eq!(check(&api.take()[0])["files"].as_array().expect("a list")[2..], copies, "a page's own copy goes, too");
    api.play(|_| {
        Play::Say(
            403,
            Vec::new(),
            "{\"success\":false,\"errors\":[{\"code\":10000,\"message\":\"Authentication error\"}]}".to_owned(),
        )
    });
    let ended = tintype(&project, &["purge", "--resume"]).run().expect(4);
    ended.explains(&["403: 10000 Authentication error", "[cdn.cloudflare] token"]);
    assert_eq!(api.take().len(), 1, "it isn't tried again");
    assert!(!format!("{ended}").contains("hunter2"));
}
