//! Database URLs: what is understood, and a clear refusal of what would otherwise be ignored.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::{Database, DatabaseError};
use crate::diagnostic::did_you_mean;

/// Connection parameters that sqlx honours; it ignores every other one with a warning that prints its value.
const POSTGRES_PARAMETERS: [&str; 13] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "ssl-mode",
    "ssl-root-cert",
];

fn refuse<T>(reason: impl Into<String>, hint: impl Into<String>) -> Result<T, DatabaseError> {
    Err(DatabaseError::Url { reason: reason.into(), hint: hint.into() })
}

impl Database {
    /// Understands `postgres://…` and `sqlite:file`; a relative file counts from `folder`.
    pub fn from_url(text: &str, folder: &Path) -> Result<Database, DatabaseError> {
        match text.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest)) {
            Some((scheme, rest)) if scheme == "sqlite" => sqlite(rest, folder),
            Some((scheme, _)) if scheme == "postgres" || scheme == "postgresql" => postgres(text),
            Some((scheme, _)) => {
                refuse(format!("has the scheme `{scheme}`"), "write postgres://user@host/database or sqlite:file.db")
            }
            None => refuse("has no scheme", "write postgres://user@host/database or sqlite:file.db"),
        }
    }
}

fn sqlite(rest: &str, folder: &Path) -> Result<Database, DatabaseError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if let Some((_, parameters)) = path.split_once('?') {
        // The value may be a key to the file, so only the names are repeated.
        let quoted = |parameter: &str| parameter.split('=').next().map(|name| format!("`{name}`"));
        let names: Vec<String> = parameters.split('&').filter_map(quoted).collect();
        let noun = if names.len() == 1 { "parameter" } else { "parameters" };
        return refuse(
            format!("has the {noun} {}, which SQLite files don't take here", names.join(", ")),
            "write sqlite:file.db; it is always opened read-only",
        );
    }
    if path.is_empty() || path == ":memory:" {
        return refuse("names no SQLite file", "write sqlite:file.db");
    }
    let path: PathBuf = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned().into();
    Ok(Database::Sqlite(folder.join(path)))
}

fn postgres(text: &str) -> Result<Database, DatabaseError> {
    let usage = "write postgres://user:password@host:5432/database?sslmode=verify-full";
    if !text.contains("://") {
        return refuse("has no `//` behind the scheme", usage);
    }
    // The host list of `a:1,b:2` is no URL at all, so it is looked for before the text is taken apart.
    let authority = text.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
    if authority.rsplit('@').next().is_some_and(|hosts| hosts.contains(',')) {
        return refuse("names several hosts", "name one host");
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => {
            return refuse(
                format!("isn't a URL: {error}"),
                format!("{usage}; write special characters of a password as %40"),
            );
        }
    };
    for (name, value) in url.query_pairs() {
        if name == "options" || name.starts_with("options[") {
            return refuse(
                "has the parameter `options`, which PgBouncer refuses",
                "put settings into [database.build] settings: they hold for the transaction",
            );
        }
        if !POSTGRES_PARAMETERS.contains(&name.as_ref()) {
            let hint = match did_you_mean(&name, POSTGRES_PARAMETERS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}", POSTGRES_PARAMETERS[..11].join(", ")),
            };
            return refuse(format!("has the unknown connection parameter `{name}`"), hint);
        }
        if name == "host" && value.contains(',') {
            return refuse("names several hosts", "name one host");
        }
    }
    match PgConnectOptions::from_str(text) {
        Ok(options) => Ok(Database::Postgres(Box::new(options.extra_float_digits(None).disable_statement_logging()))),
        Err(error) => refuse(format!("can't be understood: {}", without_secret(&error.to_string(), &url)), usage),
    }
}

/// An error text never repeats the password, whoever wrote it.
fn without_secret(message: &str, url: &Url) -> String {
    let query = url.query_pairs().find(|(name, _)| name == "password").map(|(_, value)| value.into_owned());
    // sqlx decodes the password, and what it complains of may be either form.
    let decoded =
        url.password().map(|text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned());
    let written = url.password().map(ToOwned::to_owned);
    let secrets = written.into_iter().chain(decoded).chain(query).filter(|secret| !secret.is_empty());
    secrets.fold(message.to_owned(), |message, secret| message.replace(&secret, "…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        match Database::from_url(text, Path::new("/base")) {
            Err(error) => format!("{error} {}", error.hint().unwrap_or_default()),
            Ok(database) => panic!("{text} gave {database:?}"),
        }
    }

    #[test]
    fn files_count_from_the_folder() {
        for (text, path) in
            [("sqlite:a.db", "/base/a.db"), ("sqlite://a/b.db", "/base/a/b.db"), ("sqlite:///x/a.db", "/x/a.db")]
        {
            let Ok(Database::Sqlite(found)) = Database::from_url(text, Path::new("/base")) else { panic!("{text}") };
            assert_eq!(found, Path::new(path));
        }
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        assert!(reason("postgres://u@h/d?sslmod=require").contains("did you mean `sslmode`?"));
        assert!(reason("postgres://u@h/d?target_session_attrs=read-only").contains("target_session_attrs"));
        assert!(reason("postgres://u@h/d?options=-c%20x").contains("settings"));
        assert!(reason("postgres://u@a,b/d").contains("several hosts"));
        assert!(reason("mysql://u@h/d").contains("mysql"));
        assert!(reason("sqlite:a.db?mode=rw").contains("`mode`"));
    }

    #[test]
    fn passwords_are_never_repeated() {
        assert!(!reason("postgres://u:hunter2@h/d?sslmode=hunter2x").contains("hunter2"));
        assert!(!reason("postgres://u:hunter%32@h/d?sslmode=hunter2x").contains("hunter2"));
        let refused = reason("sqlite:f.db?key=hunter2&cipher=hunter2");
        assert!(refused.contains("`key`, `cipher`") && !refused.contains("hunter2"), "{refused}");
        for url in ["postgres://u:hunter2@h/d", "postgres://u@h/d?password=hunter2"] {
            let shown = format!("{:?}", Database::from_url(url, Path::new("/base")).unwrap());
            assert!(shown.contains("h:5432") && !shown.contains("hunter2"), "{shown}");
        }
    }
}
