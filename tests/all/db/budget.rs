//! The worst case against what there is.

use serde_json::{Value, json};

use super::{World, number};
use crate::support::places;
use crate::support::servers::Bouncer;

/// `[budget]` with processes, each name, count and pool.
fn budget(more: &str, processes: &[(&str, u64, u64)]) -> String {
    let one = |(name, count, pool): &(&str, u64, u64)| {
        format!("[[budget.processes]]\nname = \"{name}\"\ncount = {count}\npool = {pool}\n")
    };
    format!("[budget]\n{more}\n{}", processes.iter().map(one).collect::<String>())
}

impl World {
    fn budget(&self, url: &str, config: &str, code: i32) -> Value {
        self.project.configure(url, config);
        self.project.json(&["db", "budget"], code)
    }

    fn shown(&self, code: i32) -> String {
        self.project.run(&["db", "budget"]).expect(code).text()
    }
}

#[test]
fn eighteen_processes_are_too_many_for_any_server() {
    let Some(world) = World::start() else { return };
    let url = world.server.url.clone();
    let max = number(&world.session("x").query("SHOW max_connections"));
    let may = (max - 3) * 8 / 10;
    let said = world.budget(&url, "", 0);
    assert_eq!((&said["max_connections"], &said["room"]["kept"]), (&json!(max), &json!(3)), "{said:#}");
    assert_eq!((&said["budget"]["connections"], &said["most"]), (&json!(may), &json!(5)), "{said:#}");
    assert!(world.shown(0).contains("fits: 1 × 1 + 1 × 4 = 5"), "{}", world.shown(0));
    let all = [("api", 4, 60), ("logs", 4, 60), ("content", 6, 60), ("workflow", 4, 60)];
    let said = world.budget(&url, &budget("", &all), 2);
    assert_eq!((&said["outcome"], &said["declared"]), (&json!("refused"), &json!(1080)), "{said:#}");
    let shown = world.shown(2);
    assert!(shown.contains(&format!("18 × 60 = 1080 > {max}, the server's max_connections")), "{shown}");
    assert!(shown.contains(&format!("1080 > {may}, which is what may be used")), "{shown}");
    // What is recommended fits, tintype's own connections included.
    let pool = said["recommended_pool"].as_u64().expect("a size");
    assert!(shown.contains(&format!("a pool of {pool} in each process")), "{shown}");
    assert_eq!(pool, (may - 5) / 18);
    world.budget(&url, &budget("", &all.map(|(name, count, _)| (name, count, pool))), 0);
    world.budget(&url, &budget("", &all.map(|(name, count, _)| (name, count, pool + 1))), 2);
    // Between the budget and what there is.
    world.budget(&url, &budget("", &[("api", 1, 50)]), 2);
    let shown = world.shown(2);
    assert!(shown.contains(&format!("1 × 50 = 50 > {may}")) && !shown.contains(&format!("> {max}")), "{shown}");
    world.budget(&url, &budget("", &[("api", 21, 4)]), 2);
    assert!(world.shown(2).contains("21 × 4 = 84 > 60"));
    world.budget(&url, &budget("", &[("api", 100, 1)]), 2);
    assert!(world.shown(2).contains("100 processes can't have one connection each"));
    // A head and a table on the same server take their own, by whatever role and database.
    let same = format!(
        "[fallback]\ntable_url = \"{}\"\n[budget]\nreserved = 0\n",
        world.server.url.replacen("/postgres", "/template1", 1)
    );
    let said = world.budget(&url, &same, 0);
    assert_eq!(said["most"], 9, "{said:#}");
    let other = same.replace("127.0.0.1", "127.0.0.2");
    assert_eq!(world.budget(&url, &other, 0)["most"], 5);
    // What `serve` may have is what its settings say.
    assert_eq!(world.budget(&url, "[database.serve]\nmax = 11\n", 0)["most"], 12);
    assert_eq!(world.project.json(&["db", "test"], 0)["servers"][0]["concurrency"]["held"], 11);
    // A site without `serve` says so.
    let said = world.budget(&url, &budget("", &[("tintype serve", 0, 4), ("api", 4, 10)]), 0);
    assert_eq!(said["most"], 41, "{said:#}");
}

#[test]
fn a_superuser_who_asks_for_once_counts_what_serve_has() {
    let Some(world) = World::start() else { return };
    let (web, table) = (world.role("web", -1), world.role("tables", -1));
    let with_table = |url: &str| format!("[fallback]\ntable_url = \"{url}\"\n");
    // `serve` finds the table over the pool that it has, or needs another one, whoever asks.
    for (table, most) in [(&web, 5), (&table, 9)] {
        assert_eq!(world.budget(&web, &with_table(table), 0)["most"], most, "as the role of `serve`");
        let asked = world.project.tintype(&["db", "budget", "--format", "json"]);
        let said = asked.env("TINTYPE_DATABASE_URL", &world.server.url).run().expect(0).json();
        assert_eq!(said["most"], most, "as a superuser: {said:#}");
    }
    // The file of another server says nothing of this one's processes.
    let elsewhere = web.replace("127.0.0.1", "127.0.0.2");
    world.project.configure(&elsewhere, &with_table(&web));
    let asked = world.project.tintype(&["db", "budget", "--format", "json"]);
    let said = asked.env("TINTYPE_DATABASE_URL", &world.server.url).run().expect(0).json();
    assert_eq!(said["most"], 9, "{said:#}");
}

#[test]
fn limits_of_role_and_database_and_config_count() {
    let Some(world) = World::start() else { return };
    let url = world.role("web", 7);
    let said = world.budget(&url, "", 0);
    assert_eq!(said["budget"], json!({ "connections": 7, "by": "role" }), "{said:#}");
    let said = world.budget(&url, &budget("", &[("api", 2, 4)]), 2);
    assert!(
        said["reasons"][0]
            .as_str()
            .is_some_and(|reason| reason.contains("8 > 7, the CONNECTION LIMIT of the role web"))
    );
    let mut admin = world.session("x");
    admin.query("ALTER DATABASE postgres CONNECTION LIMIT 6");
    let said = world.budget(&url, "", 0);
    assert_eq!(said["budget"], json!({ "connections": 6, "by": "database" }), "{said:#}");
    // Nothing limits a superuser.
    let said = world.budget(&world.server.url, "", 0);
    assert_eq!(said["budget"]["by"], "server");
    // A share of 120 of a larger server, of which 10 are kept.
    admin.query("ALTER DATABASE postgres CONNECTION LIMIT -1");
    let table = [("api", 4, 7), ("logs", 5, 7), ("content", 7, 7), ("workflow", 5, 7), ("langgraph", 1, 10)];
    let said = world.budget(&world.server.url, &budget("limit = 40\nreserved = 10", &table), 2);
    assert_eq!(
        (&said["ceiling"], &said["budget"]["connections"]),
        (&json!({ "connections": 40, "by": "limit" }), &json!(24))
    );
    let shown = world.shown(2);
    assert!(shown.contains("21 × 7 + 1 × 10 + 10 reserved = 167 > 40, [budget] limit"), "{shown}");
}

#[test]
fn others_are_those_that_nobody_declared() {
    let Some(world) = World::start() else { return };
    let url = world.server.url.clone();
    let _sessions =
        [("psql", 3), ("api", 2)].map(|(name, count)| (0..count).map(|_| world.session(name)).collect::<Vec<_>>());
    let said = world.budget(&url, "", 0);
    assert_eq!((&said["room"]["others"], &said["used"]), (&json!(5), &json!(6)), "{said:#}");
    assert_eq!(said["budget"]["connections"], (60 - 3 - 5) * 8 / 10);
    let said = world.budget(&url, &budget("", &[("api", 2, 5)]), 0);
    assert_eq!((&said["room"]["others"], &said["processes"][0]["now"]), (&json!(3), &json!(2)), "{said:#}");
    // Those without a name may be the worker's, as long as no connection has its name.
    let said = world.budget(&url, &budget("", &[("api", 2, 5), ("worker", 1, 2)]), 0);
    assert_eq!(said["room"]["others"], 1, "{said:#}");
    let said = world.budget(&url, &budget("reserved = 20", &[("api", 2, 5)]), 0);
    assert_eq!(said["budget"]["connections"], (60 - 3 - 20) * 8 / 10, "what is reserved is there for those three too");
}

#[test]
fn behind_a_pooler_its_limits_count_where_they_are_told() {
    let Some(world) = World::start() else { return };
    for user in ["seen", "unseen"] {
        world.role(user, -1);
    }
    let users = "\"seen\" \"pass\"\n\"unseen\" \"pass\"";
    let more = "stats_users = seen\ndefault_pool_size = 20\nreserve_pool_size = 5\nmax_client_conn = 1000";
    let Some(bouncer) = Bouncer::before(&world.server.url, more, users) else { return };
    let seen = bouncer.url("seen", "pass", "postgres");
    let declared = budget("", &[("api", 18, 40)]);
    let said = world.budget(&seen, &declared, 0);
    assert_eq!((&said["ceiling"]["connections"], &said["declared"]), (&json!(1000), &json!(720)), "{said:#}");
    let behind = &said["behind_pooler"];
    assert_eq!((&behind["most"], &behind["budget"]["connections"]), (&json!(25), &json!(45)), "{said:#}");
    let said = world.budget(&seen, &budget("", &[("api", 18, 60)]), 2);
    assert!(
        said["reasons"][0].as_str().is_some_and(|reason| reason.starts_with("18 × 60 = 1080 > 1000, the pooler's"))
    );
    // Not told: the server's own, unless the config knows the pooler's.
    let unseen = bouncer.url("unseen", "pass", "postgres");
    let said = world.budget(&unseen, &declared, 2);
    assert_eq!((&said["pooler"]["told"], &said["ceiling"]["connections"]), (&json!(false), &json!(60)), "{said:#}");
    assert!(world.shown(2).contains("whose own limits can't be seen"), "{}", world.shown(2));
    let said = world.budget(&unseen, &budget("limit = 1000", &[("api", 18, 40)]), 0);
    assert_eq!(said["ceiling"], json!({ "connections": 1000, "by": "server" }), "{said:#}");
    // Pools that are larger than the server.
    let more = "stats_users = seen\ndefault_pool_size = 50\nmax_client_conn = 1000";
    let Some(bouncer) = Bouncer::before(&world.server.url, more, users) else { return };
    let said = world.budget(&bouncer.url("seen", "pass", "postgres"), &declared, 2);
    assert_eq!(said["behind_pooler"]["outcome"], "refused");
    assert!(world.shown(2).contains("behind the pooler 1 × 50 = 50 > 45"), "{}", world.shown(2));
}

#[test]
fn a_file_needs_no_budget() {
    let project = places::sqlite();
    let shown = project.run(&["db", "budget"]).expect(0).text();
    assert!(shown.contains("no connections to run out of"), "{shown}");
    let said = project.json(&["db", "budget"], 0);
    assert_eq!((&said["outcome"], &said["engine"]), (&json!("fits"), &json!("sqlite")));
}
