//! Key columns without a domain: `tintype serve` knows their values from the release, and answers for combinations that
//! nobody has published.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::Response;
use crate::support::places;
use crate::support::serving::Serving;
use crate::support::wait::wait_for;

/// Regions have no domain; of the topics the first is published.
const TEMPLATE: &str = r#"/*---
path = "open/{region}/{topic}.json"
[limits]
per_minute = 1000
[keys.topic]
sql = "SELECT slug AS topic FROM topic ORDER BY papers DESC, slug"
publish = 1
---*/
SELECT f.region, f.topic, count(*) AS facts FROM fact AS f
WHERE 1 = 1 /*:keys region=f.region, topic=f.topic */
GROUP BY f.region, f.topic ORDER BY f.region, f.topic
"#;

fn document(answer: &Response) -> Value {
    let mut text = String::new();
    let mut decoder = flate2::read::GzDecoder::new(answer.body.as_slice());
    std::io::Read::read_to_string(&mut decoder, &mut text).expect("gzip");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_value_that_the_release_shows_is_valid_with_every_other() {
    for (engine, project) in places::projects_over(places::ROWS) {
        project.execute("INSERT INTO fact VALUES (6, 'Côte d''Ivoire', 'crispr', 3, 'Abidjan', 104, 3)");
        project.template("open", TEMPLATE);
        project.publish();
        assert_eq!(project.public().paths(), ["open/cote-divoire/crispr.json", "open/united-states/crispr.json"]);
        let follow = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_FOLLOW", "1s");
        let server = Serving::of(follow.env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1"));
        assert_eq!(server.get("/open/united-states/crispr.json").header("x-tintype-source"), "store");
        for (path, region, topic, facts) in [
            ("/open/united-states/malaria.json", "United States", "malaria", 1),
            ("/open/cote-divoire/malaria.json", "Côte d'Ivoire", "malaria", 1),
            ("/open/united-states/sepsis.json", "United States", "sepsis", 0),
        ] {
            let answer = server.get(path);
            assert_eq!((answer.status, answer.header("x-tintype-source")), (200, "live"), "{engine}: {path}");
            let document = document(&answer);
            assert_eq!(document["key"], json!({ "region": region, "topic": topic }), "{engine}: {path}");
            let rows = if facts == 0 { json!([]) } else { json!([{ "facts": facts }]) };
            assert_eq!(document["rows"], rows, "{engine}: {path}");
        }
        // What nobody has seen is no value: the keys are read again once, and no more.
        let unknown = |path: &str| assert_eq!(server.get(path).status, 404, "{engine}: {path}");
        unknown("/open/atlantis/malaria.json");
        let leases = server.leases();
        for number in 0..200 {
            unknown(&format!("/open/region-{number}/malaria.json"));
            unknown(&format!("/open/united-states/topic-{number}.json"));
            unknown(&format!("/open/region-{number}/crispr.json"));
        }
        assert_eq!(server.leases(), leases, "{engine}: a database was asked");
        // A release that shows another value makes it valid.
        project.execute("INSERT INTO fact VALUES (7, 'Atlantis', 'crispr', 4, 'Poseidonis', 105, 3)");
        project.publish();
        wait_for("the new value", Duration::from_secs(30), || {
            (server.get("/open/atlantis/sepsis.json").status == 200).then_some(())
        });
        server.end().expect(0);
    }
}

#[test]
fn without_a_release_nobody_knows_them() {
    for (engine, project) in places::projects_over(places::ROWS) {
        project.template("open", TEMPLATE);
        let server = Serving::start(&project);
        let answer = server.get("/open/united-states/malaria.json");
        assert_eq!((answer.status, answer.text().contains("unsettled")), (503, true), "{engine}: {}", answer.text());
        server.end().expect(0);
    }
}
