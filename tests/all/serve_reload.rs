//! A large release: `tintype serve` answers on while it takes one over from the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::http;
use crate::support::project::Project;
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

/// Documents of the site.
const KEYS: usize = 100_000;

const TEMPLATE: &str = "/*---
path = \"item/{item}.json\"
[guard]
changed = \"off\"
[keys.item]
sql = \"SELECT item FROM item ORDER BY item\"
---*/
SELECT item, size FROM item ORDER BY item
";

#[test]
fn readers_are_answered_while_a_large_release_is_read() {
    let project = Project::sqlite(&format!(
        "CREATE TABLE item (item INTEGER PRIMARY KEY, size INTEGER NOT NULL); \
         INSERT INTO item WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {KEYS}) SELECT i, 0 FROM n"
    ));
    project.configure("sqlite:file.db", "[fallback]\nfollow = \"1s\"\n");
    project.template("item", TEMPLATE);
    project.publish();
    let server = Serving::start(&project);
    let path = "/item/1.json";
    wait_until("the first release", Duration::from_mins(2), || server.get(path).header("x-tintype-source") == "memory");
    project.execute("UPDATE item SET size = 1");
    let done = AtomicBool::new(false);
    let (answers, longest) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut answers, mut longest) = (Vec::new(), Duration::ZERO);
            while !done.load(Ordering::Relaxed) {
                let asked = Instant::now();
                assert_eq!(http::get(server.address, path, &[]).status, 200);
                longest = longest.max(asked.elapsed());
                answers.push(Instant::now());
            }
            (answers, longest)
        });
        project.publish();
        let committed = Instant::now();
        wait_until("the new release", Duration::from_mins(2), || server.metric("tintype_release_serial") == 2);
        let read = Instant::now();
        done.store(true, Ordering::Relaxed);
        let (answers, longest) = reader.join().expect("a reader");
        (answers.iter().filter(|at| (committed..read).contains(*at)).count(), longest)
    });
    println!("{answers} answers while the release was read, the longest took {longest:?}");
    assert!(longest < Duration::from_millis(500), "somebody waited {longest:?}");
    assert!(answers > 50, "{answers} answers");
    server.end().expect(0);
}
