//! Purging through an address of one's own: JSON for a program, or a request for every path as a cache takes it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::support::cdn_api::{Asked, CdnApi, Play, behind_cdn, hex, hmac, json, many, names, tintype};

fn ok() -> Play {
    Play::Say(204, Vec::new(), String::new())
}

fn ok_to_all(_: &Asked) -> Play {
    ok()
}

#[test]
fn a_program_gets_json_and_knows_who_sends_it() {
    let api = CdnApi::start(|_| ok());
    let project = many(1_500);
    let own = format!(
        "[cdn.webhook]\nurl = \"{}/hook?key=hunter2\"\nsecret = \"s3cret\"\nheader = \"X-Key: k y\"",
        api.url()
    );
    behind_cdn(&project, &format!("purge = \"webhook\"\n{own}"));
    json(&project, &["publish"], 0);
    project.execute("UPDATE t SET n = -n");
    let document = json(&project, &["publish"], 0);
    assert_eq!((&document["purge"]["paths"], &document["purge"]["requests"]), (&1_501.into(), &2.into()));
    let asked = api.take();
    for one in &asked {
        assert_eq!((one.method.as_str(), one.path.as_str(), one.header("x-key")), ("POST", "/hook", "k y"));
        let signature = format!("sha256={}", hex(&hmac(b"s3cret", one.body.as_bytes())));
        assert_eq!(one.header("x-tintype-signature"), signature);
    }
    let site = "https://cdn.example.org/m%C3%A4ps/";
    assert_eq!(asked[0].json(), serde_json::json!({ "version": 1, "purge": "everything", "site": site }));
    let told: Vec<_> = asked[1..].iter().map(Asked::json).collect();
    assert!(told.iter().all(|told| told["purge"] == "paths" && told["site"] == site));
    let paths: BTreeSet<&str> =
        told.iter().filter_map(|told| told["paths"].as_array()).flatten().filter_map(|path| path.as_str()).collect();
    let expected: Vec<String> = names(1_500).iter().map(|name| format!("/m%C3%A4ps/{name}")).collect();
    assert!(paths.iter().eq(expected.iter()));
    api.play(|_| Play::Say(401, Vec::new(), "who are you?".to_owned()));
    let ended = tintype(&project, &["purge", "-y"]).run().expect(4);
    ended.explains(&["401: who are you?", "[cdn.webhook] header", "can't purge everything"]);
    assert!(!format!("{ended}").contains("hunter2"));
}

#[test]
fn a_cache_gets_a_request_for_every_path() {
    let api = CdnApi::start(|_| ok());
    let project = many(30);
    let own = |more: &str| format!("purge = \"webhook\"\n[cdn.webhook]\nurl = \"{}/{{path}}\"\n{more}", api.url());
    behind_cdn(&project, &own(&format!("secret = \"s3cret\"\neverything = \"{}/all\"", api.url())));
    json(&project, &["publish"], 0);
    let [everything] = api.take().try_into().expect("one request");
    assert_eq!((everything.method.as_str(), everything.path.as_str()), ("BAN", "/all"));
    assert_eq!(everything.header("host"), "cdn.example.org", "a cache keeps documents by the readers' host");
    project.execute("UPDATE t SET n = -n WHERE k <= 'k0009'");
    // Some aren't in the cache at all.
    api.play(|asked| if asked.path.ends_with("7.json") { Play::Say(404, Vec::new(), String::new()) } else { ok() });
    json(&project, &["publish"], 0);
    let asked = api.take();
    assert!(
        asked.iter().all(|one| one.method == "PURGE" && one.header("host") == "cdn.example.org" && one.body.is_empty())
    );
    for one in &asked {
        let signature = format!("sha256={}", hex(&hmac(b"s3cret", format!("PURGE {}", one.path).as_bytes())));
        assert_eq!(one.header("x-tintype-signature"), signature, "each says what it is for");
    }
    let paths: BTreeSet<&str> = asked.iter().map(|one| one.path.as_str()).collect();
    let expected: Vec<String> = names(9).iter().map(|name| format!("/m%C3%A4ps/{name}")).collect();
    assert!(paths.iter().eq(expected.iter()) && asked.len() == 10);
    // A method that no cache answers 404 to means what it says.
    api.play(|_| ok());
    // Without an address for everything, every path is named.
    behind_cdn(&project, &own("method = \"BAN\""));
    json(&project, &["purge", "-y"], 0);
    let asked = api.take();
    let paths: BTreeSet<&str> = asked.iter().map(|one| one.path.as_str()).collect();
    assert!(asked.iter().all(|one| one.method == "BAN"));
    assert_eq!((paths.len(), paths.contains("/m%C3%A4ps/index.json")), (31, true));
}

#[test]
fn a_server_that_has_nothing_of_the_site_is_no_cache() {
    let api = CdnApi::start(|_| ok());
    let project = many(30);
    let own = |more: &str| format!("purge = \"webhook\"\n[cdn.webhook]\nurl = \"{}/{{path}}\"\n{more}", api.url());
    behind_cdn(&project, &own("method = \"HEAD\""));
    json(&project, &["publish"], 0);
    project.execute("UPDATE t SET n = -n");
    api.play(|_| Play::Say(404, Vec::new(), String::new()));
    let ended = tintype(&project, &["publish"]).run().expect(4);
    ended.explains(&["404 to HEAD of index.json", "has to lead to the cache"]);
    assert_eq!(json(&project, &["status"], 0)["purge"]["outcome"], "pending");
    // Also where only other documents are named.
    api.take();
    let ended = tintype(&project, &["purge", "many/r1/*"]).run().expect(4);
    ended.explains(&["404 to HEAD of index.json", "run the command again"]);
    assert_eq!(api.count(), 1, "nothing else is sent to nobody");
    // A cache answers a purge so if it keeps nothing at the moment.
    behind_cdn(&project, &own(""));
    let ended = tintype(&project, &["purge", "--resume"]).run().expect(0);
    assert!(format!("{ended}").contains("answers 404 to PURGE, and to GET of index.json"), "{ended}");
}

#[test]
fn a_purge_that_is_cut_off_goes_on_where_it_was() {
    let api = CdnApi::start(|_| ok());
    let project = many(60);
    let own = format!("[cdn.webhook]\nurl = \"{}/{{path}}\"", api.url());
    behind_cdn(&project, &format!("purge = \"webhook\"\npurge_timeout = \"1s\"\n{own}"));
    let paths = |asked: Vec<Asked>| asked.into_iter().map(|asked| asked.path).collect::<BTreeSet<String>>();
    // What comes first in the order of the paths goes well, and only then the others are refused.
    let breaking = || {
        let (mut times, refused) = (0, Arc::new(Semaphore::new(0)));
        move |asked: &Asked| {
            if asked.path.as_str() >= "/m%C3%A4ps/many/r5/" {
                return Play::Hold(Arc::clone(&refused), 400);
            }
            times += 1;
            refused.add_permits(usize::from(times == 31));
            ok()
        }
    };
    api.play(breaking());
    json(&project, &["publish"], 4);
    let first = paths(api.take());
    // Some may have been on their way when it ended.
    let carried_out = project.head()["sending"]["requests"].as_u64().expect("it is noted");
    assert!((20..=31).contains(&carried_out), "{carried_out}");
    api.play(ok_to_all);
    let document = json(&project, &["purge", "--resume"], 0);
    assert_eq!(document["purge"]["paths"], 61, "that is what was owed");
    let second = paths(api.take());
    assert_eq!(second.len() as u64, 61 - carried_out);
    assert_eq!(first.union(&second).count(), 61);
    assert!(project.head()["sending"].is_null());
    // What has changed meanwhile may have been kept once more.
    project.execute("UPDATE t SET n = -n");
    api.play(breaking());
    json(&project, &["publish"], 4);
    api.take();
    project.execute("UPDATE t SET n = n - 1000");
    json(&project, &["publish", "--no-purge"], 0);
    api.play(ok_to_all);
    json(&project, &["purge", "--resume"], 0);
    assert_eq!(paths(api.take()).len(), 61);
}

#[test]
fn a_server_that_asks_to_wait_for_ever_is_not_waited_for() {
    let api = CdnApi::start(|_| Play::Say(429, vec![("Retry-After", u64::MAX.to_string())], String::new()));
    let project = many(3);
    behind_cdn(&project, &format!("purge = \"webhook\"\n[cdn.webhook]\nurl = \"{}/hook\"", api.url()));
    let ended = tintype(&project, &["publish"]).run().expect(4);
    ended.explains(&["answered 429, and asks to wait for", "purge_timeout is 2m"]);
}
