use std::path::Path;
use std::time::Duration;

use super::*;
use crate::database::{Database, ReadSettings};
use crate::key::KeyValue;

const TWICE: &str = "/*---\npath = \"twice/{topic}.json\"\n---*/
WITH base AS (SELECT t.slug, a.country, a.author_id FROM authorship a JOIN paper p ON p.pmid = a.pmid JOIN topic t ON t.topic_id = p.topic_id)
SELECT b.slug AS topic, b.country, count(*) AS n, max(x.total) AS total
FROM base b JOIN (SELECT slug, count(*) AS total FROM base GROUP BY slug) x ON x.slug = b.slug
GROUP BY b.slug, b.country ORDER BY b.slug, b.country";
const NO_INDEX: &str = "/*---\npath = \"noindex/{institution}.json\"\n---*/
SELECT a.institution_id AS institution, a.country, count(*) AS n
FROM authorship a GROUP BY a.institution_id, a.country ORDER BY institution, country COLLATE \"C\"";
const SHIPPED: [(&str, &str); 3] = [
    ("world-map.sql", include_str!("../../../templates/world-map.sql")),
    ("country-map.sql", include_str!("../../../templates/country-map.sql")),
    ("city-map.sql", include_str!("../../../templates/city-map.sql")),
];

fn template(file: &str, text: &str) -> Template {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file);
    std::fs::write(&path, text).unwrap();
    Template::load(&path, Path::new(file)).unwrap()
}

/// Plans of the demo's data, as PostgreSQL 15 and the bundled SQLite printed them.
fn plan(engine: Engine, template: &Template, text: &str) -> Explained {
    let lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    read_plan(engine, &lines, &lint::table_names(template))
}

fn names(template: &Template) -> Vec<String> {
    template.columns().to_vec()
}

#[test]
fn postgres_plans() {
    let template = template(SHIPPED[1].0, SHIPPED[1].1);
    let all = plan(Engine::Postgres, &template, include_str!("plans/postgres-country-map-all.txt"));
    assert_eq!(all.full_scans, ["country", "authorship", "paper", "topic", "city"]);
    assert_eq!(all.rows["authorship"], 239_742);
    assert_eq!(all.cost, Some(42608.21));
    let leading = plan(Engine::Postgres, &template, include_str!("plans/postgres-country-map-leading.txt"));
    assert!(leading.searched.contains(&"authorship".to_owned()), "{leading:?}");
    assert_eq!(leading.full_scans, ["paper", "topic", "country"]);
}

#[test]
fn parallel_scans_count_the_rows_of_every_process() {
    let template = template("noindex.sql", NO_INDEX);
    let one = plan(Engine::Postgres, &template, include_str!("plans/postgres-noindex-one.txt"));
    assert_eq!(one.full_scans, ["authorship"]);
    // One worker and 0.7 of the leader, 65 rows each.
    assert_eq!(one.rows["authorship"], 111);
}

#[test]
fn quoted_names_and_index_scans_without_a_condition() {
    let template = template("noindex.sql", NO_INDEX);
    let text = "Merge Join  (cost=0.57..99.00 rows=9 width=4)\n  ->  Index Only Scan using \"My index\" on \"My Table\" m  (cost=0.29..40.00 rows=20000 width=4)\n  ->  Index Scan using b_pkey on public.b  (cost=0.29..40.00 rows=1 width=4)\n        Index Cond: (x = 'Seq Scan on c  (cost=1..2 rows=3'::text)\n  ->  CTE Scan on d  (cost=0.00..1.00 rows=1 width=4)";
    let explained = plan(Engine::Postgres, &template, text);
    assert_eq!(explained.full_scans, ["My Table"]);
    assert_eq!(explained.searched, ["b"]);
}

#[test]
fn sqlite_plans() {
    let world = template(SHIPPED[0].0, SHIPPED[0].1);
    let all = plan(Engine::Sqlite, &world, include_str!("plans/sqlite-world-map-all.txt"));
    assert_eq!(all.full_scans, ["paper"], "names of WITH and subqueries aren't tables");
    let one = plan(Engine::Sqlite, &world, include_str!("plans/sqlite-world-map-one.txt"));
    // The automatic index on `p` is on the name of WITH, though another `p` is the table paper.
    assert_eq!(one.full_scans, Vec::<String>::new());
    assert!(one.searched.contains(&"authorship".to_owned()), "{one:?}");
    let no_index = template("noindex.sql", NO_INDEX);
    let lines = "SCAN a USING COVERING INDEX idx_authorship_place\nSCAN 3 CONSTANT ROWS\nSCAN TABLE topic AS t\nSEARCH c USING AUTOMATIC COVERING INDEX (x=?)";
    assert_eq!(plan(Engine::Sqlite, &no_index, lines).full_scans, ["authorship", "topic", "c"]);
}

#[test]
fn a_shared_cte_is_reported_with_the_marker_to_add() {
    let template = template("twice.sql", TWICE);
    let full = plan(Engine::Postgres, &template, include_str!("plans/postgres-twice-all.txt"));
    let keyed = plan(Engine::Postgres, &template, include_str!("plans/postgres-twice-one.txt"));
    // Avoiding scans turns them into lookups, all of which the whole of `topic` drives.
    let forced = Explained { searched: vec!["authorship".into(), "paper".into()], ..Explained::default() };
    let findings = keyed_scan_warnings(&template, &names(&template), &full, &keyed, Some(&forced));
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(
        findings[0].message,
        "the statement for topic alone reads all of `authorship` (about 240000 rows) and `paper` (about 44779 rows), as a full build does"
    );
    assert!(findings[0].hint.as_ref().unwrap().contains("/*:keys topic=b.slug */"));
    assert_eq!(findings[0].position(), Some((4, 1)));
}

#[test]
fn a_missing_index_is_reported_and_a_large_share_of_the_table_is_not() {
    let template = template("noindex.sql", NO_INDEX);
    let full = plan(Engine::Postgres, &template, include_str!("plans/postgres-noindex-all.txt"));
    let keyed = plan(Engine::Postgres, &template, include_str!("plans/postgres-noindex-one.txt"));
    let lookup = |rows: &str, cost: &str| {
        let text = format!(
            "GroupAggregate  (cost=0.00..{cost} rows=9 width=4)\n  ->  Bitmap Heap Scan on authorship a  (cost=100.00..{cost} rows={rows} width=9)\n        Recheck Cond: (institution_id = '2'::bigint)"
        );
        plan(Engine::Postgres, &template, &text)
    };
    let warnings =
        |forced: &Explained| keyed_scan_warnings(&template, &names(&template), &full, &keyed, Some(forced)).len();
    // PostgreSQL's own answer: an index whose second column is compared, read from end to end for 110 rows.
    assert_eq!(warnings(&lookup("110", "8380.55")), 1);
    assert_eq!(warnings(&lookup("60926", "8380.55")), 0);
    assert_eq!(warnings(&lookup("110", "330.00")), 0);
}

#[test]
fn small_tables_may_be_read_in_full() {
    let template = template("noindex.sql", NO_INDEX);
    let small = "Seq Scan on authorship a  (cost=0.00..9.00 rows=500 width=9)";
    let explained = plan(Engine::Postgres, &template, small);
    assert!(keyed_scan_warnings(&template, &names(&template), &explained, &explained, None).is_empty());
    let larger = plan(Engine::Postgres, &template, &small.replace("500", "1500"));
    assert_eq!(keyed_scan_warnings(&template, &names(&template), &larger, &larger, None).len(), 1);
}

#[tokio::test]
async fn the_demo_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("demo.db");
    crate::demo::data::create_sqlite(&file).await.unwrap();
    let settings = ReadSettings {
        connect_timeout: Duration::from_secs(5),
        statement_timeout: Duration::ZERO,
        longest_idle: Duration::from_mins(10),
        settings: Vec::new(),
    };
    let mut transaction = Database::Sqlite(file).begin(&settings, "test").await.unwrap();
    let unmarked = ("unmarked.sql", NO_INDEX.replace("noindex/", "unmarked/"));
    let shipped = SHIPPED.map(|(file, text)| (file, text.to_owned()));
    for (file, text) in shipped.into_iter().chain([unmarked]) {
        let template = template(file, &text);
        let columns = transaction.columns(&Statement::verbatim(template.sql_text())).await.unwrap();
        let value = |column: &String| match column.as_str() {
            "region" => KeyValue::Text("United States".into()),
            "city" => KeyValue::Text("Boston".into()),
            "topic" => KeyValue::Text("crispr".into()),
            "institution" => KeyValue::Integer(2),
            _ => KeyValue::Text("low".into()),
        };
        let sample = Key(template.columns().iter().map(value).collect());
        let keys = KeyColumns::new(&template, &columns).unwrap();
        let findings = explain_template(&mut transaction, &template, &keys, Some(&sample)).await.unwrap();
        let expected = usize::from(file == "unmarked.sql");
        assert_eq!(findings.len(), expected, "{file}: {findings:?}");
        assert!(explain_template(&mut transaction, &template, &keys, None).await.unwrap().is_empty());
    }
    transaction.finish().await.unwrap();
}
