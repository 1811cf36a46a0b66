use std::path::Path;

use super::*;

mod any_text;

fn template(sql: &str) -> Template {
    with_front("path = \"m/{region}/{topic}.json\"", sql)
}

fn with_front(front: &str, sql: &str) -> Template {
    let text = format!("/*---\n{front}\n---*/\n{sql}\n");
    crate::template::parse::parse(Path::new("m.sql"), &text.as_str().into())
        .map_err(|findings| format!("{findings:?}"))
        .unwrap()
}

fn messages(template: &Template) -> Vec<String> {
    lint(template).into_iter().map(|finding| finding.message).collect()
}

/// Asserts that the only finding holds a text, and points at the given word of the file.
#[track_caller]
fn only(template: &Template, holds: &str) {
    let found = messages(template);
    assert!(found.len() == 1 && found[0].contains(holds), "{found:#?}");
}

#[track_caller]
fn silent(template: &Template) {
    assert_eq!(messages(template), Vec::<String>::new());
}

#[test]
fn the_shipped_templates_have_none() {
    for (name, text) in [
        ("world-map.sql", include_str!("../../../templates/world-map.sql")),
        ("country-map.sql", include_str!("../../../templates/country-map.sql")),
        ("city-map.sql", include_str!("../../../templates/city-map.sql")),
    ] {
        let template = crate::template::parse::parse(Path::new(name), &text.into()).unwrap();
        silent(&template);
    }
}

const KEYS: &str = "SELECT c.name AS region, t.slug AS topic, ";

/// A query over both key columns with further columns and what follows FROM.
fn keyed(columns: &str, rest: &str) -> Template {
    template(&format!("{KEYS}{columns} FROM c JOIN t ON true {rest}"))
}

#[test]
fn order() {
    only(&keyed("c.city_id", ""), "has no ORDER BY");
    only(
        &keyed("c.city_id, count(*) AS n", "GROUP BY 1, 2, 3 ORDER BY region, topic, n DESC"),
        "ends in `n`, a computed value",
    );
    only(&keyed("c.city_id, c.population", "ORDER BY region, topic, c.population DESC"), "ends in `c.population`");
    only(&keyed("c.year", "ORDER BY region, topic, 3"), "ends in `3`");
    only(&keyed("c.city_id", "ORDER BY region, topic"), "which all rows of one key have in common");
    only(&keyed("c.city_id", "ORDER BY c.name, t.slug"), "which all rows of one key have in common");
    silent(&keyed("c.city_id", "ORDER BY region, topic, c.city_id"));
    silent(&keyed("c.city_id", "ORDER BY region, topic, (c.population) DESC, \"cityId\""));
    silent(&keyed("c.pmid AS paper", "ORDER BY region, topic, paper"));
    silent(&keyed("c.year, count(*) AS n", "GROUP BY region, t.slug, 3 ORDER BY region, topic, n DESC, c.year"));
    silent(&with_front("path = \"m.json\"", "SELECT count(*) AS n FROM a"));
    silent(&with_front("path = \"m/{region}.json\"\nshape = \"json\"", "SELECT region, data FROM a"));
    silent(&template("(SELECT region, topic, a_id FROM a ORDER BY region, topic, a_id)"));
    silent(&template("SELECT region, topic, a_id FROM a UNION ALL SELECT region, topic, a_id FROM b ORDER BY 1, 2, 3"));
}

#[test]
fn collation() {
    only(&keyed("c.city", "ORDER BY region, topic, c.city"), "looks like text");
    only(&keyed("c.id", "ORDER BY region, topic, lower(c.x), c.id"), "`lower(c.x)` looks like text");
    silent(&keyed("c.city", "ORDER BY region, topic, c.city COLLATE \"C\""));
    // Key columns may come in any order.
    silent(&keyed("c.id", "ORDER BY c.name, t.slug, c.id"));
}

#[test]
fn nulls() {
    let outer = |order: &str| {
        keyed("x.n AS n, c.id", &format!("LEFT OUTER JOIN x ON x.id = c.id ORDER BY region, topic, {order}, c.id"))
    };
    only(&outer("n DESC"), "is NULL where the outer join finds no `x`");
    only(&outer("x.n"), "is NULL where the outer join finds no `x`");
    silent(&outer("n DESC NULLS LAST"));
    silent(&outer("coalesce(x.n, 0) DESC"));
    silent(&keyed("x.n, c.id", "JOIN x ON x.id = c.id ORDER BY region, topic, x.n, c.id"));
    only(&keyed("c.id", "RIGHT JOIN x ON true ORDER BY region, topic, c.n, x.id"), "finds no `c`");
    only(&keyed("c.id", "ORDER BY region, topic, nullif(c.a, 0), c.id"), "nullif");
    only(&keyed("c.id", "ORDER BY region, topic, CASE WHEN c.a THEN 1 END, c.id"), "CASE without ELSE");
}

#[test]
fn floats() {
    let avg = |column: &str| keyed(&format!("{column} AS mean, c.id"), "ORDER BY region, topic, c.id");
    only(&avg("avg(c.x)"), "`avg` makes the column `mean` a float");
    only(&avg("avg(c.x)::numeric"), "`avg`");
    only(&avg("sum(c.x::float8)"), "`sum`");
    only(&avg("percentile_cont(0.5) WITHIN GROUP (ORDER BY c.x)"), "`percentile_cont`");
    silent(&avg("round(avg(c.x)::numeric, 2)"));
    silent(&avg("CAST(avg(c.x) AS int)"));
    silent(&avg("avg(c.x)::numeric(10, 2)"));
    silent(&avg("sum(c.x)"));
    silent(&with_front(
        "path = \"m/{region}.json\"\ndecimals = { mean = 2 }",
        "SELECT region, id, avg(x) AS mean FROM a GROUP BY region, id ORDER BY region, id",
    ));
    only(
        &template(
            "WITH s AS (SELECT id, avg(x) AS mean FROM a GROUP BY id) SELECT region, topic, s.id, s.mean AS m FROM s ORDER BY region, topic, s.id",
        ),
        "makes the column `m` a float",
    );
    let sums = keyed("sum(c.x) AS total, sum(c.y) AS whole, c.id", "ORDER BY region, topic, c.id");
    let found = lint_float_sums(&sums, &["total", "id"]);
    assert!(found.len() == 1 && found[0].message.contains("`sum` makes the column `total`"), "{found:?}");
}

#[test]
fn volatile() {
    let now = |column: &str| keyed(&format!("{column} AS v, c.id"), "ORDER BY region, topic, c.id");
    for column in [
        "now()",
        "pg_catalog.now()",
        "CURRENT_DATE",
        "date('now')",
        "datetime()",
        "strftime('%Y')",
        "random ( )",
        "'now'::timestamptz",
        "DATE 'today'",
        "age(c.born)",
        "gen_random_uuid()",
    ] {
        only(&now(column), "another answer in every run");
    }
    for column in [
        "c.current_date",
        "c.random",
        "date(c.day)",
        "strftime('%Y', c.day)",
        "'now'",
        "age(c.a, c.b)",
        "'random()' /* now() */",
    ] {
        silent(&now(column));
    }
    only(
        &with_front(
            "path = \"m/{region}.json\"\n[keys.region]\nsql = \"SELECT region FROM r WHERE day < now() ORDER BY region\"",
            "SELECT region, id FROM a ORDER BY region, id",
        ),
        "`now()`",
    );
    only(&keyed("c.id", "TABLESAMPLE system (1) ORDER BY region, topic, c.id"), "TABLESAMPLE");
}

#[test]
fn lists_and_chosen_rows_need_an_order() {
    let column = |column: &str| keyed(&format!("{column} AS v, c.id"), "ORDER BY region, topic, c.id");
    only(&column("string_agg(c.a, ',')"), "the list of `string_agg` has no order");
    silent(&column("string_agg(c.a, ',' ORDER BY c.a)"));
    silent(&template(
        "SELECT region, topic, group_concat(x) AS v, id FROM (SELECT * FROM a ORDER BY id) GROUP BY region, topic, id ORDER BY region, topic, id",
    ));
    only(&column("row_number() OVER (PARTITION BY c.name)"), "`row_number` counts rows in no order");
    silent(&column("row_number() OVER (PARTITION BY c.name ORDER BY c.id)"));
    only(&column("(SELECT x FROM y LIMIT 1)"), "LIMIT without ORDER BY");
    silent(&column("EXISTS (SELECT 1 FROM y LIMIT 1)"));
}

#[test]
fn stars() {
    only(&template("SELECT * FROM a ORDER BY region, topic, a_id"), "with `*`");
    only(&template("SELECT a.* FROM a ORDER BY region, topic, a_id"), "with `*`");
    silent(&template("WITH a AS (SELECT region, topic, a_id FROM x) SELECT * FROM a ORDER BY region, topic, a_id"));
    silent(&template("SELECT * FROM (SELECT region, topic, a_id FROM x) AS a ORDER BY region, topic, a_id"));
    silent(&keyed("count(*) * 2 AS n, c.id", "ORDER BY region, topic, c.id"));
}

#[test]
fn placeholders() {
    let with = |condition: &str| keyed("c.id", &format!("WHERE {condition} ORDER BY region, topic, c.id"));
    for condition in [
        "t.slug = $1",
        "t.slug = :topic",
        "t.slug = {{ topic }}",
        "t.slug = {topic}",
        "t.slug = %s",
        "t.slug = %(topic)s",
        "t.slug = ?",
        "t.slug IN (?)",
    ] {
        only(&with(condition), "is a placeholder");
        assert_eq!(lint(&with(condition))[0].severity, crate::diagnostic::Severity::Error);
    }
    only(&with("t.slug = '{{ topic }}'"), "looks like a placeholder");
    for condition in [
        "t.a::text = 'x'",
        "t.a[1:n] IS NULL",
        "t.a %s = 0",
        "t.a ? 'x'",
        "t.a ?| '{a}'",
        "t.a = '{{1,2},{3,4}}'",
        "t.a = $x$ $1 $x$",
        "t.a = ':x'",
    ] {
        silent(&with(condition));
    }
    only(&keyed("c.id", "WHERE true /*:keys topic=$1 */ ORDER BY region, topic, c.id"), "the marker's expression");
}

#[test]
fn what_keeps_a_key_out() {
    let limited = keyed("c.id", "ORDER BY region, topic, c.id LIMIT 10");
    only(&limited, "LIMIT counts the rows of all keys, so");
    let marked = keyed("c.id", "WHERE true /*:keys topic=t.slug */ ORDER BY region, topic, c.id LIMIT 10");
    only(&marked, "the same key gets other rows");
    silent(&keyed(
        "c.id",
        "CROSS JOIN LATERAL (SELECT 1 FROM y ORDER BY y_id LIMIT 3) AS z ORDER BY region, topic, c.id",
    ));
    let sets = keyed(
        "c.id, count(*) AS n",
        "GROUP BY GROUPING SETS ((c.name), (c.name, t.slug)) ORDER BY region, topic, c.id",
    );
    only(&sets, "no condition gets through GROUPING SETS");
    assert!(lint(&sets)[0].hint.as_ref().unwrap().contains("/*:keys region=c.name, topic=t.slug */"));
    let twice = |with: &str, marker: &str| {
        template(&format!(
            "WITH b AS {with} (SELECT * FROM a WHERE true {marker}) SELECT b.region, b.topic, b.id FROM b JOIN b AS c ON c.id = b.id ORDER BY 1, 2, 3"
        ))
    };
    only(&twice("", ""), "`b` is used more than once");
    silent(&twice("NOT MATERIALIZED", ""));
    silent(&twice("", "/*:keys topic=topic */"));
    only(
        &keyed(
            "rank() OVER (ORDER BY c.n) AS r, c.id",
            "WHERE true /*:keys topic=t.slug */ ORDER BY region, topic, c.id",
        ),
        "the window counts over all keys",
    );
}

#[test]
fn columns_of_the_result() {
    let names = |columns: &[&str]| columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let found = |template: &Template, columns: &[&str]| -> Vec<String> {
        lint_columns(template, &names(columns))
            .into_iter()
            .map(|f| format!("{}: {} ({})", f.position().map_or(0, |at| at.0), f.message, f.hint.unwrap_or_default()))
            .collect()
    };
    let rules = with_front(
        "path = \"m/{region}.json\"\ndecimals = { latt = 4 }\nbool = [\"flag\"]",
        "SELECT region, lat, flag FROM a ORDER BY region, id",
    );
    assert_eq!(
        found(&rules, &["region", "lat", "flag"]),
        [
            "3: `decimals` names the column `latt`, which the query doesn't return (did you mean `lat`? the query returns region, lat, flag)"
        ]
    );
    assert_eq!(
        found(&rules, &["latt", "flag"]),
        ["2: the query doesn't return the key column `region`, which the path names (the query returns latt, flag)"]
    );
    assert_eq!(found(&rules, &["region", "latt", "latt", "flag"]).len(), 1);
    let json = with_front("path = \"m/{region}.json\"\nshape = \"json\"", "SELECT region, a, b FROM a");
    assert!(found(&json, &["region", "a", "b"])[0].contains("returns 2 columns besides the key columns"));
    let map = with_front("path = \"m/{region}.json\"\nshape = \"geojson\"", "SELECT region, lat, lng FROM a");
    assert!(found(&map, &["region", "lat", "lng"])[0].contains("(write lng AS lon)"));
    assert!(found(&map, &["region", "lat", "Lon"]).is_empty());
}

#[test]
fn domains_by_themselves() {
    let domain = |front: &str| {
        with_front(
            &format!("path = \"m/{{region}}.json\"\n[keys.region]\n{front}"),
            "SELECT region, id FROM a ORDER BY region, id",
        )
    };
    only(&domain("values = []"), "lists no values");
    only(&domain("values = [\"a\"]\npublish = 2"), "publishes the first 2 of 1 values");
    only(&domain("values = [\"a\", \"a\"]"), "lists `a` twice");
    only(&domain("values = [\"a\"]\npublish = 0"), "publishes none");
    only(&domain("sql = \"SELECT region FROM r\"\npublish = 5"), "`publish` takes other values in every run");
    only(
        &domain("sql = \"SELECT region FROM r ORDER BY papers DESC\"\npublish = 5"),
        "which of them are published is chance",
    );
    only(&domain("sql = \"SELECT region FROM r ORDER BY region; SELECT 1\""), "more than one statement");
    assert_eq!(messages(&domain("sql = \"DELETE FROM r\"")), ["the `sql` of [keys.region] isn't a query"]);
    silent(&domain("sql = \"SELECT region FROM r ORDER BY papers DESC, region\"\npublish = 5"));
    silent(&domain("sql = \"SELECT region FROM r ORDER BY papers DESC\""));
}

#[test]
fn domains_together() {
    let template = with_front(
        "path = \"m/{region}/{city}/{street}.json\"\n[keys.region]\nsql = \"SELECT 1\"\n[keys.city]\nsql = \"SELECT 1\"\n[keys.street]\nsql = \"SELECT 1\"",
        "SELECT region, city, street FROM a ORDER BY 1, 2, 3",
    );
    let found = |columns: [&[&str]; 3]| -> Vec<String> {
        let domains: Vec<_> = template
            .domains
            .iter()
            .map(|domain| {
                let at = ["region", "city", "street"].iter().position(|name| *name == domain.column).unwrap();
                (domain, columns[at].iter().map(|name| (*name).to_owned()).collect())
            })
            .collect();
        lint_domains(&template, &domains).into_iter().map(|finding| finding.message).collect()
    };
    assert!(found([&["region", "label", "slug"], &["region", "city"], &["region", "city", "street"]]).is_empty());
    let one = |columns, holds: &str| {
        let found = found(columns);
        assert!(found.len() == 1 && found[0].contains(holds), "{found:?}");
    };
    one([&["name", "region"], &["city"], &["street"]], "the column `name`, which is neither");
    one([&["label"], &["city"], &["street"]], "doesn't return the column `region`");
    one([&["region", "region"], &["city"], &["street"]], "two columns `region`");
    one([&["region", "city"], &["region", "city"], &["street"]], "in a circle");
    one(
        [&["region", "street"], &["region", "city"], &["street", "city"]],
        "[keys.city] and [keys.region] and [keys.street]",
    );
    one([&["region"], &["region", "city"], &["city", "street"]], "returns `city` without `region`");
}
