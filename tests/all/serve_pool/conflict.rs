//! A standby that ends a read because replaying its primary's changes is more urgent (SQLSTATE 40001): the reader is told
//! nothing of it, for nothing was answered yet.

use super::*;

/// Stands still on a standby that shows the first generation. On a primary, and on the second, it doesn't.
const GATED: &str = "/*---
path = \"gated/{k}.json\"
[limits]
per_minute = 60000
timeout = \"6s\"
[keys.k]
values = [\"a\", \"b\"]
---*/
SELECT k, generation AS v,
       CASE WHEN generation = 1 AND pg_is_in_recovery() THEN pg_sleep(60)::text END AS gate
FROM world CROSS JOIN (VALUES ('a'), ('b')) AS key (k)
ORDER BY k
";

#[test]
fn a_conflict_with_recovery_is_followed_by_another_try() {
    let Some(servers) = Replicas::start() else { return };
    servers.execute(&["CREATE TABLE world (generation INTEGER)"]);
    let [standby, primary] = [servers.standbys[0].clone(), servers.primary.clone()];
    let before_the_primary = format!("{primary}\"\nreplicas = {:?}\nmax_lag = \"1m", [&standby]);
    // Where there is another server, that one is read; where there is none, the same once more.
    for (url, next) in [(&before_the_primary, &primary), (&standby, &standby)] {
        servers.execute(&["TRUNCATE world", "INSERT INTO world VALUES (1)"]);
        let project = Project::at(url);
        project.template("gated", GATED).make_public();
        let server = Serving::of(command(&project));
        let leases = || server.metric("db_pool_acquires_total{pool=\"serve\"}");
        let (address, before) = (server.address, leases());
        let answer = std::thread::scope(|scope| {
            let reader = scope.spawn(|| http::get(address, "/gated/a.json", &[]));
            wait_until("the query to stand still on the standby", Duration::from_secs(5), || {
                one(&standby, &format!("SELECT count(*)::text {OURS} AND wait_event = 'PgSleep'")) == "1"
            });
            // Rows that its snapshot needs are removed, and the standby has to choose.
            let mut changing = Session::connect(&primary);
            changing.query("UPDATE world SET generation = 2");
            changing.query("VACUUM world");
            reader.join().expect("an answer")
        });
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!((answer.status, answer.header("x-tintype-source")), (200, "live"), "{body}");
        assert!(body.contains("\"v\":2"), "{body}");
        assert_eq!(leases() - before, 2, "one more try");
        assert_ne!(one(next, &format!("SELECT count(*)::text {OURS}")), "0", "it was read elsewhere");
        quiet(&server, &standby);
        quiet(&server, &primary);
        server.end().expect(0);
    }
}
