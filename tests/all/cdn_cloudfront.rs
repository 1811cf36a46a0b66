//! Purging CloudFront: signed invalidations within its limits, which are played.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::cdn_api::{Asked, CdnApi, Play, behind_cdn, hash, hex, hmac, json, many, names, tintype};

const CREATED: &str = "<?xml version=\"1.0\"?>\n<Invalidation xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Id>I1</Id><Status>InProgress</Status></Invalidation>";

fn settings(api: &CdnApi, more: &str) -> String {
    format!("purge = \"cloudfront\"\n{more}\n[cdn.cloudfront]\ndistribution = \"E1ABC\"\napi_url = \"{}\"", api.url())
}

fn created() -> Play {
    Play::Say(201, Vec::new(), CREATED.to_owned())
}

fn refused(status: u16, code: &str, message: &str) -> Play {
    let body = format!(
        "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
    );
    Play::Say(status, Vec::new(), body)
}

/// What stands between two tags, every time that they do.
fn between<'a>(text: &'a str, tag: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    text.split(&open).skip(1).map(|rest| rest.split_once(&close).expect("it is closed").0).collect()
}

fn items(asked: &Asked) -> Vec<&str> {
    between(&asked.body, "Path")
}

/// Checks the form of an invalidation and its signature, by the steps of AWS's documentation.
fn check(asked: &Asked) {
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/2020-05-31/distribution/E1ABC/invalidation"));
    assert!(asked.body.contains("<InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">"));
    let quantity: usize = between(&asked.body, "Quantity")[0].parse().expect("a number");
    assert_eq!(quantity, items(asked).len());
    let authorization = asked.header("authorization");
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}=")).expect("the part is there");
        rest.split(',').next().expect("the rest begins").to_owned()
    };
    let (credential, signed) = (part("Credential"), part("SignedHeaders"));
    let (at, date) = (asked.header("x-amz-date"), &asked.header("x-amz-date")[..8]);
    let scope = format!("{date}/us-east-1/cloudfront/aws4_request");
    assert_eq!(credential, format!("AKIDEXAMPLE/{scope}"));
    assert!(["host", "x-amz-date"].iter().all(|name| signed.split(';').any(|header| header == *name)), "{signed}");
    let headers: String = signed.split(';').map(|name| format!("{name}:{}\n", asked.header(name))).collect();
    let canonical = format!("POST\n{}\n\n{headers}\n{signed}\n{}", asked.path, hash(asked.body.as_bytes()));
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hash(canonical.as_bytes()));
    let key = ["us-east-1", "cloudfront", "aws4_request"]
        .iter()
        .fold(hmac(b"AWS4secret", date.as_bytes()), |key, part| hmac(&key, part.as_bytes()));
    assert_eq!(part("Signature"), hex(&hmac(&key, to_sign.as_bytes())));
}

/// The first release is behind; what is asked from now on is about the second.
fn published(keys: usize, more: &str) -> (crate::support::project::Project, CdnApi) {
    let api = CdnApi::start(|_| created());
    let project = many(keys);
    behind_cdn(&project, &settings(&api, more));
    let document = json(&project, &["publish"], 0);
    assert_eq!(document["purge"]["outcome"], "done");
    let [first] = api.take().try_into().expect("one invalidation of everything");
    check(&first);
    assert_eq!(items(&first), ["/m%C3%A4ps/*"]);
    project.execute("UPDATE t SET n = -n");
    (project, api)
}

#[test]
fn five_thousand_paths_wait_for_each_other() {
    let (project, api) = published(5_000, "max_paths = 6000");
    // No more than 3,000 at a time; each takes two seconds until it is complete.
    let mut running: Vec<(Instant, usize)> = Vec::new();
    api.play(move |asked| {
        running.retain(|(at, _)| at.elapsed() < Duration::from_secs(2));
        let paths = items(asked).len();
        match running.iter().map(|(_, paths)| paths).sum::<usize>() + paths {
            0..=3_000 => {
                running.push((Instant::now(), paths));
                created()
            }
            _ => refused(
                400,
                "TooManyInvalidationsInProgress",
                "Processing your request will cause you to exceed the maximum",
            ),
        }
    });
    json(&project, &["publish", "--no-purge"], 0);
    let planned = json(&project, &["purge", "--resume", "-n"], 0);
    assert_eq!(api.count(), 0, "nothing is sent yet");
    let document = json(&project, &["purge", "--resume"], 0);
    let (planned, purge) = (&planned["purge"], &document["purge"]);
    assert_eq!((&planned["outcome"], &purge["outcome"]), (&"planned".into(), &"done".into()));
    for (name, expected) in [("paths", 5_001), ("requests", 6), ("besides", 0)] {
        assert_eq!((&planned[name], &purge[name]), (&expected.into(), &expected.into()), "{name}");
    }
    let asked = api.take();
    asked.iter().for_each(check);
    assert!(asked.len() > 6, "the limit was met");
    let named: BTreeSet<&str> = asked.iter().flat_map(items).collect();
    let expected: Vec<String> = names(5_000).iter().map(|name| format!("/m%C3%A4ps/{name}")).collect();
    assert!(named.iter().eq(expected.iter()), "exactly the changed paths");
    let references: BTreeSet<&str> = asked.iter().map(|asked| between(&asked.body, "CallerReference")[0]).collect();
    assert_eq!(references.len(), 6, "a batch keeps its name however often it is sent");
    assert_eq!(project.head()["purged"], project.head()["active"]);
}

#[test]
fn by_default_a_folder_stands_for_many() {
    let (project, api) = published(100, "");
    let document = json(&project, &["publish"], 0);
    assert_eq!((&document["purge"]["paths"], &document["purge"]["besides"]), (&101.into(), &0.into()));
    let [index, asked] = api.take().try_into().expect("two invalidations");
    check(&asked);
    assert_eq!(items(&index), ["/m%C3%A4ps/index.json"]);
    let folders: Vec<String> = (0..10).map(|r| format!("/m%C3%A4ps/many/r{r}/*")).collect();
    assert_eq!(items(&asked), folders, "ten folders, in which everything has changed");
    project.execute("UPDATE t SET n = 0 WHERE k <= 'k0031'");
    behind_cdn(&project, &format!("{}\ntags = true", settings(&api, "max_paths = 5")));
    let document = json(&project, &["publish"], 0);
    let [_, asked] = api.take().try_into().expect("two invalidations");
    assert_eq!((items(&asked), &document["purge"]["besides"]), (vec!["/m%C3%A4ps/many/*"], &69.into()));
}

#[test]
fn a_lost_answer_is_asked_for_again_under_the_same_name() {
    let (project, api) = published(3, "");
    let mut times = 0;
    api.play(move |_| {
        times += 1;
        if times == 1 { Play::Lose } else { created() }
    });
    json(&project, &["publish"], 0);
    let [first, second] = api.take().try_into().expect("sent twice");
    check(&second);
    assert_eq!(first.body, second.body);
    json(&project, &["purge", "many/r1/k0001"], 0);
    let [third] = api.take().try_into().expect("another one");
    assert_eq!(items(&third), ["/m%C3%A4ps/many/r1/k0001.json"]);
    let name = |asked: &Asked| between(&asked.body, "CallerReference")[0].to_owned();
    assert_ne!(name(&first), name(&third));
}

#[test]
fn who_may_not_is_told_at_once() {
    let (project, api) = published(3, "");
    api.play(|_| refused(403, "AccessDenied", "User is not authorized"));
    let ended = tintype(&project, &["publish"]).run().expect(4);
    ended.explains(&["403 AccessDenied", "cloudfront:CreateInvalidation", "purge --resume"]);
    assert_eq!(api.take().len(), 1);
    api.play(|_| refused(404, "NoSuchDistribution", "The specified distribution does not exist."));
    tintype(&project, &["purge", "--resume"])
        .run()
        .expect(4)
        .explains(&["NoSuchDistribution", "[cdn.cloudfront] distribution"]);
    // Without credentials nothing is sent at all.
    api.take();
    let ended = project.tintype(&["purge", "--resume"]).env("AWS_EC2_METADATA_DISABLED", "true").run().expect(4);
    ended.explains(&["no credentials", "AWS_ACCESS_KEY_ID"]);
    assert_eq!(api.count(), 0);
}

#[test]
fn whoever_has_credentials_asks_no_machine() {
    let (project, api) = published(3, "");
    let metadata = CdnApi::start(|_| Play::Say(403, Vec::new(), String::new()));
    let ended = tintype(&project, &["publish"]).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url()).run();
    let ended = ended.expect(0);
    assert_eq!((api.count(), metadata.count()), (1, 0));
    assert!(!ended.stderr.contains("region"), "{ended}");
}

#[test]
fn credentials_are_asked_for_once_and_not_for_ever() {
    let (project, api) = published(2_500, "max_paths = 6000\npurge_timeout = \"3s\"");
    let metadata = CdnApi::start(|_| Play::Hang);
    let run = |command: &str, code| {
        let own = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/role", metadata.url()));
        project.tintype(&[command, "--format", "json"]).env(own.0, &own.1).run().expect(code)
    };
    let began = Instant::now();
    run("publish", 4).explains(&["no credentials for CloudFront", "purge_timeout is 3s"]);
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(api.count(), 0);
    metadata.take();
    let role =
        r#"{"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"secret","Token":"t","Expiration":"2999-01-01T00:00:00Z"}"#;
    metadata.play(move |_| Play::Say(200, Vec::new(), role.to_owned()));
    assert_eq!(run("publish", 0).json()["purge"]["requests"], 3);
    assert_eq!((api.count(), metadata.count()), (3, 1), "one name for three requests");
}
