use std::path::Path;

use super::*;
use crate::template::parse::parse;

const PAIRS: &str = r#"/*---
path = "m/{region}/{city}/{level}.json"
[keys.city]
sql = "…"
publish = 3
[keys.level]
values = ["low", "high"]
---*/
SELECT 1"#;

fn template(text: &str) -> Template {
    parse(Path::new("m.sql"), &text.into()).map_err(|findings| format!("{findings:?}")).unwrap()
}

fn text(value: &str) -> KeyValue {
    KeyValue::Text(value.into())
}

fn key(values: &[&str]) -> Key {
    Key(values.iter().map(|value| text(value)).collect())
}

fn rows(columns: &[usize], rows: &[(&[&str], Option<&str>)]) -> DomainRows {
    let row = |(values, slug): &(&[&str], Option<&str>)| DomainRow {
        values: values.iter().map(|value| text(value)).collect(),
        label: None,
        slug: slug.map(str::to_owned),
    };
    DomainRows { columns: columns.to_vec(), rows: rows.iter().map(row).collect() }
}

fn levels() -> DomainRows {
    rows(&[2], &[(&["low"], None), (&["high"], None)])
}

fn domains(template: &Template, answers: &[(&str, DomainRows)]) -> Result<Domains, DomainError> {
    let source = |name: &str| template.domains.iter().find(|source| source.column == name).unwrap();
    let answers: Vec<_> = answers.iter().map(|(name, rows)| (source(name), rows.clone())).collect();
    Domains::new(template, &answers)
}

fn published(domains: &Domains, seen: &[Places], limit: usize) -> Option<Vec<Places>> {
    let mut found = Vec::new();
    let seen = || seen.iter().map(|places| &places.0[..]);
    domains.each_published(seen(), &mut |places| {
        found.push(places.clone());
        true
    });
    assert_eq!(domains.count_published(seen(), limit), Some(found.len()).filter(|count| *count <= limit));
    (found.len() <= limit).then_some(found)
}

#[test]
fn a_domain_of_pairs_knows_only_its_combinations() {
    let template = template(PAIRS);
    let cities = rows(
        &[0, 1],
        &[
            (&["UK", "Cambridge"], None),
            (&["US", "Boston"], None),
            (&["US", "Cambridge"], None),
            (&["US", "Austin"], None),
        ],
    );
    let mut domains = domains(&template, &[("city", cities), ("level", levels())]).unwrap();
    let path = |domains: &mut Domains, values: &[&str]| {
        let places = domains.locate(&key(values))?;
        Ok((domains.path(&template.pattern, &places), domains.is_published(&places)))
    };
    assert_eq!(path(&mut domains, &["US", "Cambridge", "low"]), Ok(("m/us/cambridge/low.json".to_owned(), true)));
    assert_eq!(
        path(&mut domains, &["US", "Austin", "low"]),
        Ok(("m/us/austin/low.json".to_owned(), false)),
        "the hot set has three"
    );
    let outside = Err(DomainError::Outside { column: 1, value: text("Boston"), listed: None });
    assert_eq!(path(&mut domains, &["UK", "Boston", "low"]), outside);
    let shown = published(&domains, &[], 100).unwrap();
    let mut paths: Vec<String> = shown.iter().map(|places| domains.path(&template.pattern, places)).collect();
    paths.sort();
    assert_eq!(
        paths,
        [
            "m/uk/cambridge/high.json",
            "m/uk/cambridge/low.json",
            "m/us/boston/high.json",
            "m/us/boston/low.json",
            "m/us/cambridge/high.json",
            "m/us/cambridge/low.json",
        ]
    );
    assert_eq!(published(&domains, &[], 5), None, "more than max_keys");
}

#[test]
fn one_slug_for_two_values_is_mended_by_a_slug_column() {
    let template = template(PAIRS);
    let without = rows(&[0, 1], &[(&["China", "苏州"], None), (&["China", "宿州"], None)]);
    let collision = domains(&template, &[("city", without), ("level", levels())]).unwrap_err();
    let finding = collision.diagnostic(&template);
    assert!(finding.message.contains("苏州") && finding.message.contains("宿州"), "{}", finding.message);
    assert!(finding.hint.as_ref().unwrap().contains("`slug`"));
    let with = rows(&[0, 1], &[(&["China", "苏州"], None), (&["China", "宿州"], Some("suzhou-anhui"))]);
    assert!(domains(&template, &[("city", with), ("level", levels())]).is_ok());
    let elsewhere = rows(&[0, 1], &[(&["China", "苏州"], None), (&["Utopia", "宿州"], None)]);
    assert!(domains(&template, &[("city", elsewhere), ("level", levels())]).is_ok(), "one region each is no collision");
    let odd = rows(&[0, 1], &[(&["China", "苏州"], Some("Su Zhou"))]);
    assert!(matches!(domains(&template, &[("city", odd), ("level", levels())]), Err(DomainError::Slug { .. })));
}

#[test]
fn an_open_column_takes_what_it_sees_and_makes_no_document_by_itself() {
    let template = template(
        "/*---\npath = \"m/{topic}/{level}.json\"\n[keys.level]\nvalues = [\"low\", \"high\"]\n---*/\nSELECT 1",
    );
    let mut domains = domains(&template, &[("level", rows(&[1], &[(&["low"], None), (&["high"], None)]))]).unwrap();
    assert_eq!(published(&domains, &[], 10), Some(Vec::new()));
    let seen = domains.locate(&key(&["crispr", "low"])).unwrap();
    let published = published(&domains, std::slice::from_ref(&seen), 10).unwrap();
    assert_eq!(published.len(), 2, "both levels of the one topic that was seen");
    let collision = domains.locate(&key(&["CRISPR", "low"])).unwrap_err();
    assert!(matches!(collision, DomainError::Collision { column: 0, .. }));
}

#[test]
fn domains_that_share_a_column_are_joined() {
    let template = template(
        "/*---\npath = \"m/{region}/{city}.json\"\n[keys.region]\nvalues = [\"US\"]\n[keys.city]\nsql = \"…\"\n---*/\nSELECT 1",
    );
    let cities = rows(&[0, 1], &[(&["US", "Boston"], None), (&["UK", "Leeds"], None)]);
    let domains = domains(&template, &[("region", rows(&[0], &[(&["US"], None)])), ("city", cities)]).unwrap();
    let published = published(&domains, &[], 10).unwrap();
    assert_eq!(published.iter().map(|places| domains.key(places)).collect::<Vec<_>>(), [key(&["US", "Boston"])]);
}

#[test]
fn a_template_without_key_columns_has_one_document() {
    let template = template("/*---\npath = \"totals.json\"\n---*/\nSELECT 1");
    let domains = domains(&template, &[]).unwrap();
    let published = published(&domains, &[], 10).unwrap();
    assert_eq!(published.len(), 1);
    assert_eq!(domains.path(&template.pattern, &published[0]), "totals.json");
}
