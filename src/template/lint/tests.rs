use std::path::Path;

use super::*;

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
