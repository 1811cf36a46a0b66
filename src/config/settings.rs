//! Which PostgreSQL settings a transaction may change for itself.

/// Settings that are part of what tintype promises.
const FIXED: [&str; 9] = [
    "bytea_output",
    "client_encoding",
    "datestyle",
    "extra_float_digits",
    "intervalstyle",
    "standard_conforming_strings",
    "timezone",
    "transaction_isolation",
    "transaction_read_only",
];

/// Says why a setting of a section can't be taken, and what to do instead.
///
/// Names become part of a `SET LOCAL` statement, where nothing can be bound, so only plain names pass.
pub fn refuse(section: &str, name: &str, value: &str) -> Option<(String, String)> {
    let lower = name.to_ascii_lowercase();
    let plain = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !name.split('.').all(plain) {
        let hint = "names are letters, digits and `_`, with a dot for extensions: work_mem, pg_hint_plan.enable_hint";
        return Some((format!("`{name}` isn't the name of a PostgreSQL setting"), hint.to_owned()));
    }
    if lower == "statement_timeout" {
        let hint = format!("write statement_timeout = \"10s\" in [{section}]");
        return Some(("`statement_timeout` has a key of its own".to_owned(), hint));
    }
    if FIXED.contains(&lower.as_str()) {
        let reason = format!("the setting `{name}` can't be changed: the same data must always give the same bytes");
        return Some((reason, "remove the line; a template can format values in its own SQL".to_owned()));
    }
    value
        .contains('\0')
        .then(|| (format!("the setting `{name}` holds a NUL character"), "PostgreSQL takes none in text".to_owned()))
}
