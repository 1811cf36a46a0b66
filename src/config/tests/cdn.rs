//! `[cdn] purge`, and what each driver needs.

use super::*;
use crate::cdn::{Driver, Service};

fn service(config: &Config) -> &Service {
    let Cdn::Service(service) = &config.cdn.purge else { panic!("{:?}", config.cdn) };
    service
}

const URL: &str = "[cdn]\nurl = \"https://cdn.example.org/maps\"\n";

#[test]
fn each_driver_with_what_it_needs() {
    let load = |purge: &str, more: &str| Case::new(&format!("{URL}purge = \"{purge}\"\n{more}")).config();
    assert!(load("none", "[cdn.cloudfront]\ndistribution = \"E1\"").cdn.purge.is_none());
    let config = load("cloudfront", "max_paths = 7\n[cdn.cloudfront]\ndistribution = \"E1\"\ntags = true");
    let found = service(&config);
    assert_eq!((found.site.as_str(), found.max_paths), ("https://cdn.example.org/maps/", Some(7)));
    assert_eq!(found.patience.limit, Duration::from_mins(2));
    let Driver::CloudFront(cloudfront) = &found.driver else { panic!("{found:?}") };
    assert_eq!((cloudfront.distribution.as_str(), cloudfront.tags, cloudfront.profile.as_ref()), ("E1", true, None));
    assert_eq!(cloudfront.api.as_str(), "https://cloudfront.amazonaws.com/");
    let config = load("fastly", "[cdn.fastly]\nservice = \"S1\"\ntoken = \"hunter2\"\nsoft = true");
    let Driver::Fastly(fastly) = &service(&config).driver else { panic!("{config:?}") };
    assert_eq!((fastly.token.expose(), fastly.soft, service(&config).max_paths), ("hunter2", true, None));
    assert!(!format!("{config:?}").contains("hunter2"));
    let webhook = "[cdn.webhook]\nurl = \"http://c:6081/{path}?t=hunter2\"\nheader = \"X-Key: hunter2 x\"\n\
                   secret = \"hunter2\"\neverything = \"http://c/hunter2\"";
    let config = load("webhook", webhook);
    let Driver::Webhook(webhook) = &service(&config).driver else { panic!("{config:?}") };
    assert_eq!(
        webhook.header.as_ref().map(|(name, value)| (name.as_str(), value.expose())),
        Some(("x-key", "hunter2 x"))
    );
    assert_eq!(webhook.everything.as_ref().map(|(method, _)| method.as_str()), Some("BAN"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_token_may_stand_in_a_file() {
    let case = Case::new(&format!(
        "{URL}purge = \"cloudflare\"\n[cdn.cloudflare]\nzone = \"z1\"\norigins = \"https://a.org http://b.org:8080\""
    ));
    let path = case.folder.path().join("token");
    std::fs::write(&path, "hunter2\n").unwrap();
    let config = case.with("TINTYPE_CDN_CLOUDFLARE_TOKEN_FILE", path.display().to_string()).config();
    let Driver::Cloudflare(cloudflare) = &service(&config).driver else { panic!("{config:?}") };
    assert_eq!((cloudflare.token.expose(), cloudflare.zone.as_str()), ("hunter2", "z1"));
    assert_eq!(cloudflare.origins, ["https://a.org", "http://b.org:8080"]);
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn what_is_missing_or_wrong_is_told_where_it_stands() {
    let refused = |more: &str, line: usize, parts: &[&str]| assert_finding(&format!("{URL}{more}"), line, parts);
    refused("purge = \"cloudfrnt\"", 3, &["isn't known", "did you mean \"cloudfront\"?"]);
    refused("purge = \"cloudfront\"", 3, &["needs [cdn.cloudfront] distribution", "under [cdn.cloudfront]"]);
    refused("purge = \"cloudflare\"\n[cdn.cloudflare]\nzone = \"z\"", 3, &["needs [cdn.cloudflare] token"]);
    refused("purge = \"webhook\"", 3, &["needs [cdn.webhook] url", "{path}"]);
    assert_finding("[cdn]\npurge = \"fastly\"\n[cdn.fastly]\nservice = \"s\"\ntoken = \"t\"", 2, &["needs [cdn] url"]);
    refused("[cdn.fastly]\nservice = \"a/b\"", 4, &["`a/b` isn't an id"]);
    refused("[cdn.cloudflare]\ntoken = \"hunter2 hunter2\"", 4, &["[cdn.cloudflare] token holds blanks"]);
    refused("[cdn.cloudflare]\norigins = \"https://a.org/x\"", 4, &["its origin is https://a.org"]);
    refused("[cdn.fastly]\napi_url = \"ftp://a\"", 4, &["isn't the address of an API"]);
    refused("[cdn.webhook]\nurl = \"hunter2://x\"", 4, &["[cdn.webhook] url isn't an address"]);
    refused("[cdn.webhook]\nheader = \"hunter2\"", 4, &["isn't a header"]);
    refused("[cdn.webhook]\nmethod = \"ban it\"", 4, &["`ban it` isn't a method"]);
    refused("[cdn.webhook]\nmethod = \"CONNECT\"", 4, &["CONNECT names a server and no path"]);
    refused("[cdn.webhook]\nheader = \"Content-Length: 7\"", 4, &["names Content-Length, which every request has"]);
    refused("[cdn.webhook]\nurl = \"http://{path}:81/x\"", 4, &["isn't an address over http"]);
    refused("[cdn.webhook]\nurl = \"http://h/\"\neverything = \"http://h/hunter2\"", 5, &["url has no {path}"]);
    let origins: Vec<String> = (0..100).map(|n| format!("https://h{n}.org")).collect();
    let origins = format!("[cdn.cloudflare]\nzone = \"z\"\ntoken = \"t\"\norigins = \"{}\"", origins.join(" "));
    refused(&origins, 6, &["origins are 100", "no more than 99"]);
    refused("max_paths = 0", 3, &["[cdn] max_paths can't be 0"]);
    refused("purge_timeout = \"10ms\"", 3, &["too short"]);
}
