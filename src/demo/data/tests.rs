use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use deunicode::deunicode;
use sha2::{Digest, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row};

use super::{Cell, Counts, TABLES, World, create_sqlite, generate, load, places};

const TEMPLATES: [&str; 3] = [
    include_str!("../../../templates/world-map.sql"),
    include_str!("../../../templates/country-map.sql"),
    include_str!("../../../templates/city-map.sql"),
];

fn slug(text: &str) -> String {
    let mut slug = String::new();
    for letter in deunicode(text).to_lowercase().chars() {
        match letter {
            'a'..='z' | '0'..='9' => slug.push(letter),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[test]
fn the_places_are_enough_and_their_slugs_differ() {
    let countries = places::countries().unwrap();
    let cities = places::cities(&countries).unwrap();
    let topics = places::topics().unwrap();
    assert!(countries.len() >= 65 && cities.len() >= 450 && topics.len() >= 22);

    let country_slugs: BTreeSet<_> = countries.iter().map(|country| slug(country.name)).collect();
    assert_eq!(country_slugs.len(), countries.len());
    let city_slugs: BTreeSet<_> = cities.iter().map(|city| (city.country, slug(city.name))).collect();
    assert_eq!(city_slugs.len(), cities.len());
    let ids: BTreeSet<_> = cities.iter().map(|city| city.id).collect();
    assert_eq!(ids.len(), cities.len());
    assert!(topics.iter().all(|topic| slug(topic.slug) == topic.slug));
    assert!(topics.iter().any(|topic| (topic.slug, topic.name) == ("crispr", "CRISPR")));
}

#[test]
fn the_places_are_where_they_are() {
    let countries = places::countries().unwrap();
    let cities = places::cities(&countries).unwrap();
    let place = |code: &str, name: &str| {
        let city = cities.iter().find(|city| countries[city.country].code == code && city.name == name).unwrap();
        (Cell::Decimal(city.lat).to_string(), Cell::Decimal(city.lon).to_string())
    };
    assert_eq!(place("US", "Boston"), ("42.3584".to_owned(), "-71.0598".to_owned()));
    assert_eq!(place("BR", "São Paulo"), ("-23.5475".to_owned(), "-46.6361".to_owned()));
    for (code, name) in [
        ("CH", "Zürich"),
        ("US", "Cambridge"),
        ("GB", "Cambridge"),
        ("ES", "Córdoba"),
        ("AR", "Córdoba"),
        ("MX", "Córdoba"),
    ] {
        place(code, name);
    }
    assert!(cities.iter().all(|city| city.lat.abs() <= 900_000 && city.lon.abs() <= 1_800_000));
}

#[test]
fn decimals_have_four_digits_and_a_sign() {
    for (number, text) in
        [(0, "0.0000"), (-1, "-0.0001"), (423_584, "42.3584"), (-710_598, "-71.0598"), (-10_000, "-1.0000")]
    {
        assert_eq!(Cell::Decimal(number).to_string(), text);
    }
}

/// Whoever changes the generator or the lists sees it here, and changes every published example knowingly.
#[test]
fn the_same_rows_on_every_machine() {
    let world = generate::world().unwrap();
    let mut digest = Sha256::new();
    for (table, _) in TABLES {
        for chunk in load::copy_chunks(&world, table) {
            assert!(!chunk.contains('\\') && !chunk.contains('\r'), "{table} would need escaping");
            digest.update(chunk);
        }
    }
    let digest = format!("{:x}", digest.finalize());
    assert_eq!(
        (world.counts(), digest.as_str()),
        (
            Counts { countries: 85, cities: 664, institutions: 1907, topics: 24, papers: 44_779, authorships: 240_000 },
            "f02d0009b32774d69560762b85c974e9233ceb21b7c07c8aa95e53b34f6a489f",
        )
    );
}

#[test]
fn the_skew_is_like_the_real_worlds() {
    let world = generate::world().unwrap();
    let total = world.authorships.len();
    let mut of_country = vec![0_usize; world.countries.len()];
    let mut best: BTreeMap<(u32, usize), BTreeSet<u8>> = BTreeMap::new();
    for authorship in &world.authorships {
        let city = world.institutions[authorship.institution].city;
        of_country[world.cities[city].country] += 1;
        best.entry((authorship.author_id, city)).or_default().insert(authorship.confidence);
    }
    let united_states = world.countries.iter().position(|country| country.code == "US").unwrap();
    assert!(
        (22..=28).contains(&(of_country[united_states] * 100 / total)),
        "{}",
        of_country[united_states] * 100 / total
    );
    assert!(of_country.iter().all(|count| *count > 0));
    assert!(
        best.values().filter(|levels| levels.len() > 1).count() > 10_000,
        "authors differ in confidence within a city"
    );
    let crispr = world.topics[0].papers as usize * 100 / world.papers.len();
    assert!((9..=20).contains(&crispr), "{crispr}");
}

/// The statement of a scope: as written, or wrapped and with its markers replaced by conditions on the given keys.
fn statement(template: &str, keys: &[(&str, &str)]) -> String {
    let (_, sql) = template.split_once("*/").unwrap();
    if keys.is_empty() {
        return sql.to_owned();
    }
    let mut text = String::new();
    let mut rest = sql;
    while let Some((before, marker)) = rest.split_once("/*:keys ") {
        let (columns, after) = marker.split_once("*/").unwrap();
        text.push_str(before);
        for column in columns.split(',') {
            let (name, expression) = column.trim().split_once('=').unwrap();
            if let Some(at) = keys.iter().position(|(key, _)| *key == name) {
                write!(text, " AND ({expression} = ?{})", at + 1).unwrap();
            }
        }
        rest = after;
    }
    text.push_str(rest);
    let conditions: Vec<_> =
        keys.iter().enumerate().map(|(at, (key, _))| format!("t.\"{key}\" = ?{}", at + 1)).collect();
    format!("SELECT * FROM (\n{text}\n) AS t WHERE {}", conditions.join(" AND "))
}

async fn read(connection: &mut SqliteConnection, sql: String, keys: &[(&str, &str)]) -> Vec<Vec<String>> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for (_, value) in keys {
        query = query.bind((*value).to_owned());
    }
    let rows = query.fetch_all(connection).await.unwrap();
    let text = |row: &sqlx::sqlite::SqliteRow, at: usize| {
        let text = row.try_get::<String, _>(at);
        let number = row.try_get::<i64, _>(at).map(|number| number.to_string());
        text.or(number).or_else(|_| row.try_get::<f64, _>(at).map(|number| number.to_string())).unwrap()
    };
    rows.iter().map(|row| (0..row.len()).map(|at| text(row, at)).collect()).collect()
}

async fn database(folder: &tempfile::TempDir) -> SqliteConnection {
    let path = folder.path().join("demo.db");
    let counts = create_sqlite(&path).await.unwrap();
    assert!(!folder.path().join("demo.db.tmp").exists());
    let options = SqliteConnectOptions::new().filename(&path).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let rows = read(&mut connection, "SELECT count(*) FROM authorship".to_owned(), &[]).await;
    assert_eq!(rows[0][0], counts.authorships.to_string());
    connection
}

/// The same counts, written down the slow and obvious way; in order of keys and ids, not of the document.
const BY_HAND: [&str; 3] = [
    "SELECT t.slug, l.confidence, c.name, c.country_code, count(DISTINCT a.author_id), count(DISTINCT a.pmid)
     FROM (SELECT 1 AS level, 'low' AS confidence UNION ALL SELECT 2, 'medium' UNION ALL SELECT 3, 'high') AS l
     JOIN authorship a ON a.affiliation_confidence >= l.level
     JOIN paper p ON p.pmid = a.pmid JOIN topic t ON t.topic_id = p.topic_id JOIN country c ON c.name = a.country
     GROUP BY 1, 2, 3, 4 ORDER BY t.topic_id, l.level, 5 DESC, c.iso_numeric",
    "SELECT c.country, t.slug, l.confidence, c.name, c.lat, c.lon, count(DISTINCT a.author_id)
     FROM (SELECT 1 AS level, 'low' AS confidence UNION ALL SELECT 2, 'medium' UNION ALL SELECT 3, 'high') AS l
     JOIN authorship a ON a.affiliation_confidence >= l.level
     JOIN paper p ON p.pmid = a.pmid JOIN topic t ON t.topic_id = p.topic_id
     JOIN institution i ON i.institution_id = a.institution_id JOIN city c ON c.city_id = i.city_id
     JOIN country k ON k.name = c.country
     GROUP BY c.city_id, t.slug, l.confidence ORDER BY k.iso_numeric, t.topic_id, l.level, 7 DESC, c.city_id",
    "SELECT c.country, c.name, t.slug, l.confidence, i.name, count(DISTINCT a.author_id)
     FROM (SELECT 1 AS level, 'low' AS confidence UNION ALL SELECT 2, 'medium' UNION ALL SELECT 3, 'high') AS l
     JOIN authorship a ON a.affiliation_confidence >= l.level
     JOIN paper p ON p.pmid = a.pmid JOIN topic t ON t.topic_id = p.topic_id
     JOIN institution i ON i.institution_id = a.institution_id JOIN city c ON c.city_id = i.city_id
     GROUP BY i.institution_id, t.slug, l.confidence ORDER BY c.city_id, t.topic_id, l.level, 6 DESC, i.institution_id",
];

/// Equal to the query by hand in content and order: the order by hand is total, since it ends in an id within a key.
#[tokio::test]
async fn the_templates_count_what_a_query_by_hand_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut connection = database(&folder).await;
    for ((template, by_hand), key_columns) in TEMPLATES.iter().zip(BY_HAND).zip([2, 3, 4]) {
        let rows = read(&mut connection, statement(template, &[]), &[]).await;
        let expected = read(&mut connection, by_hand.to_owned(), &[]).await;
        assert!(rows.len() > 1_000);
        assert_eq!(rows.len(), expected.len());
        for (at, (row, wanted)) in rows.iter().zip(&expected).enumerate() {
            assert_eq!(row, wanted, "row {at}");
        }
        let mut keys: Vec<_> = rows.iter().map(|row| &row[..key_columns]).collect();
        keys.dedup();
        let distinct: BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "the rows of a key stand together");
    }
}

#[tokio::test]
async fn a_keyed_statement_gives_the_rows_of_the_full_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut connection = database(&folder).await;
    let scopes: [(usize, &[(&str, &str)]); 7] = [
        (0, &[("topic", "crispr")]),
        (0, &[("topic", "malaria"), ("confidence", "high")]),
        (1, &[("topic", "crispr")]),
        (1, &[("region", "United States")]),
        (1, &[("region", "Iceland"), ("topic", "crispr"), ("confidence", "medium")]),
        (2, &[("region", "United States"), ("city", "Boston")]),
        (2, &[("region", "Spain"), ("city", "Córdoba"), ("topic", "crispr"), ("confidence", "low")]),
    ];
    let columns: [&[&str]; 3] =
        [&["topic", "confidence"], &["region", "topic", "confidence"], &["region", "city", "topic", "confidence"]];
    for (template, keys) in scopes {
        let full = read(&mut connection, statement(TEMPLATES[template], &[]), &[]).await;
        let at = |name: &str| columns[template].iter().position(|column| *column == name).unwrap();
        let wanted: Vec<_> =
            full.into_iter().filter(|row| keys.iter().all(|(key, value)| row[at(key)] == *value)).collect();
        let rows = read(&mut connection, statement(TEMPLATES[template], keys), keys).await;
        assert!(!rows.is_empty(), "{keys:?}");
        assert_eq!(rows, wanted, "{keys:?}");
    }
}

#[tokio::test]
async fn a_file_of_that_name_is_replaced_and_both_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.db");
    std::fs::write(&path, b"not a database").unwrap();
    create_sqlite(&path).await.unwrap();
    let first = std::fs::read(&path).unwrap();
    create_sqlite(&path).await.unwrap();
    assert!(first == std::fs::read(&path).unwrap());
}

#[test]
fn the_world_fills_every_column() {
    let world: World = generate::world().unwrap();
    for (table, columns) in TABLES {
        assert!(world.rows(table).all(|row| row.len() == columns.len()), "{table}");
    }
}
