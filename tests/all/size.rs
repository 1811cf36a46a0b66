//! Documents that are too large: refused while they stream, with flat memory.

use std::time::Duration;

use crate::support::places;

/// 300 rows of a megabyte each, all of one key, then a key of no size.
const SQLITE: &str = "/*---
path = \"big/{k}.json\"
---*/
WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 300)
SELECT 'a' AS k, replace(hex(zeroblob(500000)), '00', 'xy') AS v FROM r
UNION ALL SELECT 'b', 'small'";

const POSTGRES: &str = "/*---
path = \"big/{k}.json\"
---*/
SELECT 'a' AS k, repeat('xy', 500000) AS v FROM generate_series(1, 300)
UNION ALL SELECT 'b', 'small'";

#[test]
fn three_hundred_megabytes_are_refused_in_flat_memory() {
    for (engine, project) in places::projects_over("CREATE TABLE t (x INTEGER)") {
        let text = if engine == "SQLite" { SQLITE } else { POSTGRES };
        project.template("big", text);
        let ended = project.tintype(&["publish"]).timeout(Duration::from_mins(5)).run().expect(1);
        ended.explains(&["big.sql:", "16", "MiB", "max_size", "k = a"]);
        // The body may be held once, and rows in flight (sqlx buffers fifty of SQLite's) take some more: far from the 300 MB
        // of the document, which encoding would double.
        let mib = ended.peak_memory_bytes >> 20;
        assert!(mib > 0 && mib < 200, "{engine}: {mib} MiB");
        assert!(project.public().paths().is_empty(), "{engine}");
    }
}

#[test]
fn max_size_is_the_bodys_and_can_be_raised_and_lowered() {
    for (engine, project) in places::projects_over("CREATE TABLE t (x INTEGER)") {
        let text = |limit: &str| {
            format!(
                "/*---\npath = \"t/{{k}}.json\"\n[guard]\nmax_size = \"{limit}\"\n---*/\n\
                 SELECT 'a' AS k, replace('1234567890', '5', 'some more text') AS v"
            )
        };
        project.template("t", &text("1 MiB")).publish();
        let size = project.public().body("t/a.json").len();
        project.template("t", &text(&format!("{size} B")));
        project.json(&["publish", "--force"], 0);
        project.template("t", &text(&format!("{} B", size - 10)));
        project.run(&["publish", "--force"]).expect(1).explains(&["t.sql:", "max_size"]);
        assert!(project.public().has("t/a.json"), "{engine}: the last good document stays");
    }
}
