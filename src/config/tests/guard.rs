use super::*;
use crate::template::guard::Guard;

fn written(config: &Config, guard: Guard) -> String {
    guard.written(config.guard.levels[&guard])
}

#[test]
fn guards_are_written_the_same_everywhere() {
    let text = "[guard]\nrows_drop = \"20%\"\nkeys_drop = \"warn 5%, error 8%\"\nempty = \"off\"\nmax_size = \"2 MiB\"\n\
                source_age = \"2d\"\nsource_age_sql = \" SELECT max(loaded_at) FROM load_log \"";
    let case = Case::new(text)
        .with("TINTYPE_GUARD_KEYS_DROP", "warn 1%, error 2%")
        .with("TINTYPE_GUARD_PATH", "warn")
        .with("TINTYPE_GUARD_MAX_DELETE", "500");
    let config = case.config();
    let cases = [
        (Guard::RowsDrop, "error 20%"),
        (Guard::KeysDrop, "warn 1%, error 2%"),
        (Guard::Empty, "off"),
        (Guard::Path, "warn"),
        (Guard::SourceAge, "error 2days"),
        (Guard::MaxDelete, "error 500"),
        (Guard::Changed, "warn 60%"),
    ];
    for (guard, expected) in cases {
        assert_eq!(written(&config, guard), expected, "{guard}");
    }
    assert_eq!(config.guard.source_age_sql.as_deref(), Some("SELECT max(loaded_at) FROM load_log"));
    assert_eq!(config.guard.max_size_bytes, Some(2 << 20));
    let defaults = Case::new("").config();
    for guard in Guard::ALL {
        assert_eq!(defaults.guard.levels[&guard], guard.default(), "{guard}");
    }
    assert_eq!(defaults.guard.source_age_sql, None);
}

#[test]
fn wrong_levels_give_their_line_and_an_example() {
    assert_finding(
        "[guard]\nrows_drop = \"20\"",
        2,
        &["[guard] rows_drop: `20` isn't a percentage", "rows_drop = \"20%\""],
    );
    assert_finding("[guard]\n\nrows_drop = 20", 3, &["is text in quotes", "warn 10%, error 30%"]);
    assert_finding("[guard]\nrows_drop = { warn = \"1%\" }", 2, &["is text in quotes", "warn 10%, error 30%"]);
    assert_finding("[guard]\nkeys_drop = \"warn 9%, error 1%\"", 2, &["would never warn"]);
    assert_finding("[guard]\nempty = \"10%\"", 2, &["isn't a level", "empty = \"error\""]);
    assert_finding("[guard]\nrow_drop = \"20%\"", 2, &["`row_drop` in [guard]", "did you mean `rows_drop`?"]);
    assert_finding("[guard]\nmax_size = \"2 GiB\"", 2, &["more than 1.0 GiB"]);
    assert_finding("[guard]\nmax_size = \"big\"", 2, &["isn't a size", "1 MiB"]);
    let usage = Case::new("").with("TINTYPE_GUARD_ROWS_DROP", "half").usage();
    assert!(usage.starts_with("TINTYPE_GUARD_ROWS_DROP: [guard] rows_drop: `half` isn't a percentage"), "{usage}");
    assert!(
        Case::new("").with("TINTYPE_GUARD_ROW_DROP", "1%").usage().contains("did you mean TINTYPE_GUARD_ROWS_DROP?")
    );
}
