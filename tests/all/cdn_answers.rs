//! What a CDN's API may answer besides yes and no: nothing that isn't its own promise counts as one.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::cdn_api::{Asked, CdnApi, Play, behind_cdn, json, many, tintype};
use crate::support::project::Project;

/// Each driver's settings, and what its CDN promises in.
fn drivers(api: &CdnApi) -> [(&'static str, String, &'static str); 4] {
    let url = api.url();
    [
        (
            "cloudfront",
            format!("distribution = \"E1\"\napi_url = \"{url}\""),
            "<Invalidation><Id>I1</Id></Invalidation>",
        ),
        ("cloudflare", format!("zone = \"Z1\"\ntoken = \"t\"\napi_url = \"{url}\""), "{\"success\":true}"),
        ("fastly", format!("service = \"S1\"\ntoken = \"t\"\napi_url = \"{url}\""), "{\"status\":\"ok\"}"),
        ("webhook", format!("url = \"{url}/services/T0KEN\""), ""),
    ]
}

/// A published project behind each of them.
fn published(api: &CdnApi) -> Vec<(&'static str, Project)> {
    drivers(api)
        .into_iter()
        .map(|(driver, own, promise)| {
            let project = many(3);
            behind_cdn(&project, &format!("purge = \"{driver}\"\npurge_timeout = \"2s\"\n[cdn.{driver}]\n{own}"));
            api.play(move |_| Play::Say(200, Vec::new(), promise.to_owned()));
            json(&project, &["publish"], 0);
            project.execute("UPDATE t SET n = -n WHERE k = 'k0001'");
            json(&project, &["publish", "--no-purge"], 0);
            (driver, project)
        })
        .collect()
}

fn say(status: u16, body: &'static str) -> impl Fn(&Asked) -> Play {
    move |_| Play::Say(status, Vec::new(), body.to_owned())
}

#[test]
fn a_success_that_promises_nothing_is_none() {
    let api = CdnApi::start(say(200, ""));
    for (driver, project) in published(&api) {
        if driver == "webhook" {
            // It promises by its status.
            continue;
        }
        for body in [
            "<html>Please log in</html>",
            "",
            "{\"status\":\"error\",\"msg\":\"Provided credentials are missing or invalid\"}",
            "{\"success\":false,\"errors\":[{\"code\":10000,\"message\":\"Authentication error\"}]}",
            "[]",
        ] {
            api.play(say(200, body));
            let ended = tintype(&project, &["purge", "--resume"]).run().expect(4);
            ended.explains(&["answered 200", "api_url", "purge --resume"]);
            assert_eq!(json(&project, &["status"], 0)["purge"]["outcome"], "pending", "{driver}: {body}");
        }
    }
}

#[test]
fn a_redirection_is_told_as_one_without_its_secrets() {
    let api = CdnApi::start(say(200, ""));
    for (driver, project) in published(&api) {
        api.play(|asked| {
            let to = format!("https://proxy.example.org/login?back={}", asked.path);
            Play::Say(302, vec![("location", to)], format!("<a href=\"{}\">Found</a>", asked.path))
        });
        let ended = tintype(&project, &["purge", "--resume"]).run().expect(4);
        ended.explains(&["answered 302", "https://proxy.example.org", "isn't followed"]);
        assert!(!ended.stderr.contains("T0KEN") && !ended.stderr.contains("login"), "{driver}: {ended}");
        api.play(|asked| Play::Say(404, Vec::new(), format!("Cannot {} {}", asked.method, asked.path)));
        let ended = tintype(&project, &["purge", "--resume"]).run().expect(4);
        ended.explains(&["answered 404: Cannot POST"]);
        assert!(!ended.stderr.contains("T0KEN"), "{driver}: {ended}");
    }
}

#[test]
fn times_are_told_in_words_that_mean_something() {
    let api = CdnApi::start(say(200, ""));
    for (driver, project) in published(&api) {
        api.play(|_| Play::Say(429, vec![("retry-after", "1000000000".to_owned())], String::new()));
        let ended = tintype(&project, &["purge", "--resume"]).run().expect(4);
        ended.explains(&["asks to wait for 11574 days", "purge_timeout is 2s"]);
        api.play(|_| Play::Hang);
        let began = Instant::now();
        let ended = tintype(&project, &["purge", "--resume"]).run().expect(4);
        ended.explains(&["no answer within 2s;"]);
        assert!(began.elapsed() < Duration::from_secs(20), "{driver}");
        for wait in ["-5", "Wed, 21 Oct 2099 07:28:00 GMT", "1e9", "99999999999999999999999"] {
            // What can't be understood doesn't count: the waits are tintype's own.
            let mut times = 0;
            let (_, _, promise) = drivers(&api).into_iter().find(|(name, ..)| *name == driver).expect("it is there");
            api.play(move |_| {
                times += 1;
                match times {
                    1 => Play::Say(429, vec![("retry-after", wait.to_owned())], String::new()),
                    _ => Play::Say(200, Vec::new(), promise.to_owned()),
                }
            });
            json(&project, &["purge", "--resume"], 0);
            project.execute("UPDATE t SET n = n + 1 WHERE k = 'k0001'");
            json(&project, &["publish", "--no-purge"], 0);
        }
    }
}

/// A server that says this to everybody, a byte at a time with `pause` after each; it lives as long as the tests.
fn raw(answer: &'static [u8], pause: Duration) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("listen");
    let url = format!("http://{}", listener.local_addr().expect("it has an address"));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { break };
            std::thread::spawn(move || {
                // The request comes in one piece, and whether it does doesn't matter here.
                let _ = client.read(&mut [0; 4_096]);
                for byte in answer.chunks(if pause.is_zero() { answer.len() } else { 1 }) {
                    if client.write_all(byte).is_err() {
                        break;
                    }
                    std::thread::sleep(pause);
                }
            });
        }
    });
    url
}

#[test]
fn what_is_no_http_is_told_in_one_sentence() {
    let api = CdnApi::start(say(200, ""));
    let (_, project) = published(&api).pop().expect("there is one");
    let drip = Duration::from_millis(100);
    for (answer, pause, told) in [
        (&b"\0\x01 nonsense\r\n\r\n"[..], Duration::ZERO, "HTTP version"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", Duration::ZERO, "end of file"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\nabcdefghijklmnopqrstuvwxyz", drip, "no answer within 2s"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1", drip, "no answer within 2s"),
    ] {
        let own = format!("[cdn.webhook]\nurl = \"{}/hook\"", raw(answer, pause));
        behind_cdn(&project, &format!("purge = \"webhook\"\npurge_timeout = \"2s\"\n{own}"));
        let ended = tintype(&project, &["purge", "--resume"]).run().expect(4);
        ended.explains(&["can't purge everything", told, "purge --resume"]);
        assert!(!ended.stderr.contains("file an issue"), "{ended}");
    }
}
