//! `[fallback]`: where the table is.

use super::*;

#[test]
fn a_file_needs_no_setting_and_a_server_does() {
    let table = |text: &str| Case::new(text).config().fallback.table;
    let sqlite = "[database]\nurl = \"sqlite:a.db\"\n";
    let case = Case::new(sqlite);
    assert_eq!(case.config().fallback.table, TablePlace::File(case.folder.path().join(".tintype/fallback.db")));
    let case = Case::new(&format!("{sqlite}[store]\ncontrol = \"records\"\n"));
    assert_eq!(case.config().fallback.table, TablePlace::File(case.folder.path().join("records/fallback.db")));
    assert_eq!(table(&format!("{sqlite}[fallback]\ntable = false")), TablePlace::Off);
    assert_eq!(table(&format!("{sqlite}[store]\nurl = \"s3://bucket/site\"")), TablePlace::None, "no place here");
    let server = "[database]\nurl = \"postgres://u@h/d\"\n";
    assert_eq!(table(server), TablePlace::None);
    let url = "[fallback]\ntable_url = \"postgres://u:hunter2@h/d\"";
    let there = TablePlace::Database(Secret::new("postgres://u:hunter2@h/d"));
    for text in [format!("{server}{url}"), format!("{sqlite}{url}"), url.to_owned()] {
        assert_eq!(table(&text), there, "{text}");
    }
    assert_eq!(table(&format!("{url}\ntable = false")), TablePlace::Off);
    assert!(!format!("{:?}", Case::new(url).config()).contains("hunter2"));
    let variable = Case::new(server).with("TINTYPE_FALLBACK_TABLE_URL", "postgres://u:hunter2@h/d");
    assert_eq!(variable.config().fallback.table, there);
}

#[test]
fn what_is_no_place_is_refused() {
    assert_finding("[fallback]\ntable_url = \"mysql://u:hunter2@h/d\"", 2, &["[fallback] table_url", "mysql"]);
    assert_finding("[fallback]\ntable = \"no\"", 2, &["[fallback] table is true or false"]);
    assert_finding("[fallback]\ntable_timeout = \"1ms\"", 2, &["too short", "table_timeout"]);
}
