//! Every built-in type against a real PostgreSQL: the token that we make of the binary cell is the
//! one that the server's own text of the same value asks for.
//!
//! Runs where `TINTYPE_TEST_POSTGRES_URL` names a server (UTF-8) on which it may create temporary
//! objects; `tests/run.sh` sets it.

mod literals;
mod random;
mod refusals;

use super::{Encoder, Rule};
use literals::{JSON, TYPES};
use refusals::{ERRORS, UNSUPPORTED};
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Column as _, Connection as _, Executor as _, Postgres, Row as _};

/// Connects with the settings that the expected texts need, or says that the test is skipped.
async fn connect() -> Option<PgConnection> {
    let Ok(url) = std::env::var("TINTYPE_TEST_POSTGRES_URL") else {
        eprintln!("SKIPPED: TINTYPE_TEST_POSTGRES_URL names no PostgreSQL server to compare values with");
        return None;
    };
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let settings =
        "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'iso_8601'; SET extra_float_digits = 1;
        SET search_path = pg_catalog, pg_temp";
    connection.execute(settings).await.unwrap();
    Some(connection)
}

fn query(sql: String) -> Query<'static, Postgres, PgArguments> {
    sqlx::query(AssertSqlSafe(sql))
}

/// The first column's type and cell.
fn cell(row: &PgRow) -> (u32, Option<&[u8]>) {
    let oid = row.column(0).type_info().oid().unwrap().0;
    let value = row.try_get_raw(0).unwrap();
    let bytes = if sqlx::ValueRef::is_null(&value) { None } else { Some(value.as_bytes().unwrap()) };
    (oid, bytes)
}

fn token(row: &PgRow, rule: Rule) -> Result<String, String> {
    let (oid, cell) = cell(row);
    token_of(oid, cell, rule)
}

fn token_of(oid: u32, cell: Option<&[u8]>, rule: Rule) -> Result<String, String> {
    let encoder = Encoder::postgres(oid, rule).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    encoder.write(cell, &mut out).map_err(|error| error.to_string())?;
    let token = String::from_utf8(out).unwrap();
    serde_json::from_str::<serde_json::Value>(&token).unwrap_or_else(|error| panic!("{token} is no JSON: {error}"));
    Ok(token)
}

/// The result columns of `v`: the value, or what its type's `send` function makes of it where sqlx
/// refuses to prepare a statement that returns the type (0.9 knows no `typtype = 'm'`), and its
/// type.
fn sent(type_name: &str, is_array: bool) -> &'static str {
    match (type_name.ends_with("multirange"), is_array) {
        (false, _) => "v, pg_typeof(v)::oid",
        (true, false) => "multirange_send(v), pg_typeof(v)::oid",
        (true, true) => "array_send(v), pg_typeof(v)::oid",
    }
}

/// The token of a row whose first columns are those of [`sent`].
fn sent_token(row: &PgRow) -> Result<String, String> {
    token_of(row.get::<Oid, _>(1).0, cell(row).1, Rule::Plain)
}

/// The tokens of `$1::text[]` as `type_name`, each compared with the expected one.
async fn compare(connection: &mut PgConnection, type_name: &str, expected: &str, literals: &[String]) -> Vec<String> {
    let columns = sent(type_name, false);
    let sql = format!(
        "SELECT {columns}, {expected} FROM (SELECT t::{type_name} FROM unnest($1::text[]) WITH ORDINALITY AS u(t, n) ORDER BY n) AS s(v)"
    );
    let rows =
        query(sql).bind(literals).fetch_all(connection).await.unwrap_or_else(|error| panic!("{type_name}: {error}"));
    assert_eq!(rows.len(), literals.len());
    let mut tokens = Vec::new();
    for (row, literal) in rows.iter().zip(literals) {
        let token = sent_token(row).unwrap_or_else(|error| panic!("{type_name} {literal:?}: {error}"));
        assert_eq!(token, row.get::<String, _>(2), "{type_name} {literal:?}");
        tokens.push(token);
    }
    tokens
}

#[tokio::test]
async fn every_type_prints_the_text_of_the_server() {
    let Some(mut connection) = connect().await else {
        return;
    };
    for (type_name, expected, literals) in TYPES {
        let literals: Vec<String> = literals.iter().map(ToString::to_string).collect();
        let tokens = compare(&mut connection, type_name, expected, &literals).await;
        // The same values in arrays: with a NULL at the end, of two dimensions, with another lower
        // bound, empty.
        let list = tokens.join(",");
        let columns = sent(type_name, true);
        let sql = format!(
            "SELECT {columns} FROM (VALUES (1, (($1::text[]) || NULL::text)::{type_name}[]), (2, ARRAY[$1::text[], $1::text[]]::{type_name}[]),
                (3, '[-3:-3]={{NULL}}'::{type_name}[]), (4, '{{}}'::{type_name}[])) AS s(n, v) ORDER BY n"
        );
        let rows = query(sql).bind(&literals).fetch_all(&mut connection).await;
        let rows = rows.unwrap_or_else(|error| panic!("{type_name}[]: {error}"));
        let expected = [format!("[{list},null]"), format!("[[{list}],[{list}]]"), "[null]".to_owned(), "[]".to_owned()];
        for (row, expected) in rows.iter().zip(expected) {
            assert_eq!(sent_token(row).unwrap(), expected, "{type_name}[]");
        }
        let columns = sent(type_name, false);
        let null = query(format!("SELECT {columns} FROM (SELECT NULL::{type_name}) AS s(v)"))
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(sent_token(&null).unwrap(), "null");
    }
}

#[tokio::test]
async fn every_type_of_the_catalogue_is_written_or_refused_by_name() {
    let Some(mut connection) = connect().await else {
        return;
    };
    let sql = "SELECT t.oid, coalesce(e.typname || '[]', t.typname), (e.typname IS NOT NULL) FROM pg_type t
        LEFT JOIN pg_type e ON e.typarray = t.oid
        WHERE t.oid < 10000 AND t.typtype IN ('b', 'r', 'm') AND coalesce(e.typtype, 'b') IN ('b', 'r', 'm')";
    let rows = query(sql.to_owned()).fetch_all(&mut connection).await.unwrap();
    assert!(rows.len() > 130, "{}", rows.len());
    let tried: Vec<String> = {
        let names: Vec<&str> = TYPES.iter().map(|(name, ..)| *name).collect();
        let sql = "SELECT format_type(to_regtype(n), NULL)::regtype::oid::text FROM unnest($1::text[]) AS u(n)";
        let rows = query(sql.to_owned()).bind(names).fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    for row in rows {
        let oid = row.get::<Oid, _>(0).0;
        let (name, is_array): (String, bool) = (row.get(1), row.get(2));
        assert_eq!(super::type_oid::name(oid).unwrap_or("no name").replace('"', ""), name);
        if Encoder::postgres(oid, Rule::Plain).is_ok() && !is_array {
            let is_json = matches!(name.as_str(), "json" | "jsonb");
            assert!(is_json || tried.contains(&oid.to_string()), "{name} is supported, but not compared");
        }
    }
}

#[tokio::test]
async fn what_has_no_token_is_an_error() {
    let Some(mut connection) = connect().await else {
        return;
    };
    for (type_name, literal, message) in ERRORS {
        let sql = format!("SELECT v FROM (SELECT $1::text::{type_name}) AS s(v)");
        let row = query(sql).bind(literal).fetch_one(&mut connection).await.unwrap();
        assert_eq!(token(&row, Rule::Plain).unwrap_err(), *message, "{type_name} {literal}");
    }
    for (expression, message, hint) in UNSUPPORTED {
        // The server cannot even send some of these types, so that it is asked for the type alone.
        let sql = format!("SELECT pg_typeof({expression})::oid");
        let row = query(sql).fetch_one(&mut connection).await.unwrap();
        let oid = row.get::<Oid, _>(0).0;
        let error = Encoder::postgres(oid, Rule::Plain).unwrap_err();
        assert_eq!(error.to_string(), *message);
        assert_eq!(error.hint("v"), *hint);
        // What the hint advises must work.
        if let Some(cast) = hint.strip_prefix("cast it: v") {
            let row = query(format!("SELECT ({expression}){cast}")).fetch_one(&mut connection).await.unwrap();
            token(&row, Rule::Plain).unwrap();
        }
    }
    let types = "CREATE TYPE pg_temp.mood AS ENUM ('low', 'high'); CREATE DOMAIN pg_temp.year AS int4";
    connection.execute(types).await.unwrap();
    let row = query("SELECT 'low'::pg_temp.mood".to_owned()).fetch_one(&mut connection).await.unwrap();
    assert_eq!(
        token(&row, Rule::Plain).unwrap_err(),
        "has a user-defined type (enum, composite or extension type); cast it to text"
    );
    let row = query("SELECT 2026::pg_temp.year".to_owned()).fetch_one(&mut connection).await.unwrap();
    assert_eq!(token(&row, Rule::Plain).unwrap(), "2026");
}

#[tokio::test]
async fn json_is_canonical_and_equal_to_the_value() {
    let Some(mut connection) = connect().await else {
        return;
    };
    for (text, canonical) in JSON {
        for type_name in ["json", "jsonb"] {
            let row =
                query(format!("SELECT $1::text::{type_name}")).bind(text).fetch_one(&mut connection).await.unwrap();
            assert_eq!(token(&row, Rule::Plain).unwrap(), *canonical, "{type_name} {text}");
            let row = query(format!("SELECT ARRAY[$1::text::{type_name}, NULL]"))
                .bind(text)
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert_eq!(token(&row, Rule::Plain).unwrap(), format!("[{canonical},null]"));
        }
        let row = query("SELECT $1::text".to_owned()).bind(text).fetch_one(&mut connection).await.unwrap();
        assert_eq!(token(&row, Rule::Json).unwrap(), *canonical);
        let row = query("SELECT $1::text".to_owned()).bind(canonical).fetch_one(&mut connection).await.unwrap();
        assert_eq!(token(&row, Rule::Json).unwrap(), *canonical, "canonical JSON is its own canonical form");
        let sql = "SELECT $1::text::jsonb = $2::text::jsonb".to_owned();
        let row = query(sql).bind(text).bind(canonical).fetch_one(&mut connection).await.unwrap();
        assert!(row.get::<bool, _>(0), "{canonical} is not {text}");
    }
}
