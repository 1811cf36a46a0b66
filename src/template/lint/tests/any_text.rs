use super::*;
use proptest::prelude::*;

const WORDS: [&str; 72] = [
    "SELECT",
    "WITH",
    "AS",
    "(",
    ")",
    ",",
    "FROM",
    "ORDER",
    "BY",
    "GROUP",
    "LIMIT",
    "DISTINCT",
    "ON",
    "*",
    ".",
    "a",
    "b",
    "region",
    "topic",
    "c.name",
    "count(*)",
    "avg(",
    "1",
    "99999999999999999999",
    "'",
    "''",
    "'now'",
    "\"",
    "\"a\"",
    "$1",
    "$$",
    "$",
    ":",
    "::",
    "{",
    "{{",
    "}}",
    "%s",
    "?",
    "JOIN",
    "LEFT",
    "LATERAL",
    "UNION",
    "OVER",
    "PARTITION",
    "COLLATE",
    "DESC",
    "NULLS",
    "CASE",
    "END",
    "now(",
    "date(",
    "GROUPING",
    "SETS",
    "ROLLUP(",
    "MATERIALIZED",
    "NOT",
    "/*:keys topic=t.slug */",
    "-- x\n",
    "VALUES",
    "string_agg(",
    "row_number()",
    "[",
    "]",
    "|",
    "EXISTS",
    "TABLESAMPLE",
    "名",
    "é",
    "cast(",
    "round(",
    "age(",
];

fn soup() -> impl Strategy<Value = String> {
    let word = prop_oneof![8 => prop::sample::select(&WORDS[..]).prop_map(ToOwned::to_owned), 1 => "\\PC{0,4}"];
    let space = prop_oneof![Just(" "), Just(""), Just("\n")];
    prop::collection::vec((word, space), 0..40)
        .prop_map(|words| words.into_iter().map(|(word, space)| word + space).collect())
}

proptest! {
    #[test]
    fn no_soup_of_tokens_makes_the_lints_panic(sql in soup(), domain in soup(), columns in prop::collection::vec("[a-c]{1,2}|region|topic", 0..5)) {
        let text = format!(
            "/*---\npath = \"m/{{region}}/{{topic}}.json\"\n[keys.topic]\nsql = {}\n---*/\nSELECT {sql}",
            toml::Value::String(domain.replace("*/", ""))
        );
        let source: std::sync::Arc<str> = text.as_str().into();
        if let Ok(template) = crate::template::parse::parse(Path::new("m.sql"), &source) {
            for finding in lint(&template).into_iter().chain(lint_columns(&template, &columns)) {
                // Every span lies on whole characters.
                prop_assert!(finding.position().is_some(), "{}", finding.message);
                prop_assert!(finding.hint.is_some(), "{}", finding.message);
            }
            lint_domains(&template, &[(&template.domains[0], columns.clone())]);
            lint_float_sums(&template, &["a", "b"]);
            table_names(&template);
            function_names(&template);
            marker(&template);
        }
    }
}
