//! Database URLs: what is understood, and a clear refusal of what would otherwise be ignored.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::postgres::connect::Server;
use super::{Database, DatabaseError, Servers};
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
            Some((scheme, _)) if scheme == "postgres" || scheme == "postgresql" => postgres(text, folder),
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

fn postgres(text: &str, folder: &Path) -> Result<Database, DatabaseError> {
    let usage = "write postgres://user:password@host:5432/database?sslmode=verify-full";
    if !text.contains("://") {
        return refuse("has no `//` behind the scheme", usage);
    }
    // The host list of `a:1,b:2` is no URL at all, so it is looked for before the text is taken apart.
    let authority = text.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
    if authority.rsplit('@').next().is_some_and(|hosts| hosts.contains(',')) {
        return refuse("names several hosts", "name one host; further standbys go into [database] replicas");
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
    refuse_parameters(&url)?;
    match PgConnectOptions::from_str(text) {
        Ok(options) => {
            let options = options.extra_float_digits(None).disable_statement_logging();
            Ok(Database::Postgres(Box::new(Servers::alone(with_tls(options, &url, folder)?))))
        }
        Err(error) => refuse(format!("can't be understood: {}", without_secret(&error.to_string(), &url)), usage),
    }
}

/// Refuses every parameter that would not have the effect that its author expects.
fn refuse_parameters(url: &Url) -> Result<(), DatabaseError> {
    for (name, value) in url.query_pairs() {
        if name == "options" || name.starts_with("options[") {
            return refuse(
                "has the parameter `options`, which PgBouncer refuses",
                "put settings into [database.build] settings, for `serve` [database.serve] settings: they hold for the transaction",
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
            return refuse("names several hosts", "name one host; further standbys go into [database] replicas");
        }
        if name == "hostaddr"
            && (url.host_str().is_some_and(|host| !host.is_empty()) || parameter(url, &["host"]).is_some())
        {
            return refuse(
                "names both a host and `hostaddr`",
                "name one of them: the certificate is checked against the name that is connected to",
            );
        }
    }
    Ok(())
}

fn parameter(url: &Url, names: &[&str]) -> Option<String> {
    url.query_pairs().find(|(name, _)| names.contains(&name.as_ref())).map(|(_, value)| value.into_owned())
}

/// Gives the parameters of TLS the meaning that they have in libpq, where sqlx has another one or none.
fn with_tls(mut options: PgConnectOptions, url: &Url, folder: &Path) -> Result<Server, DatabaseError> {
    let mut files = Vec::new();
    let mut file = |name: &'static str, names: &[&str], variable: &str| {
        let given = parameter(url, names).map(|path| folder.join(path));
        // The variable's path counts from where the process runs, as for every program that reads it.
        let path = given.or_else(|| std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from))?;
        files.push((name, path.clone()));
        Some(path)
    };
    let root = file("sslrootcert", &["sslrootcert", "ssl-root-cert"], "PGSSLROOTCERT");
    let certificate = file("sslcert", &["sslcert"], "PGSSLCERT");
    let key = file("sslkey", &["sslkey"], "PGSSLKEY");
    if certificate.is_some() != key.is_some() {
        return refuse("names one of sslcert and sslkey", "a client certificate needs both, its file and its key's");
    }
    if let Some(root) = root {
        if root.file_name().is_some_and(|name| name == "system") {
            return refuse(
                "has sslrootcert=system",
                "leave sslrootcert out: without it sslmode=verify-full trusts the CAs of this system",
            );
        }
        options = match options.get_ssl_mode() {
            // So it is in libpq: who names a CA wants it to be asked.
            PgSslMode::Require => options.ssl_mode(PgSslMode::VerifyCa),
            PgSslMode::VerifyCa | PgSslMode::VerifyFull => options,
            PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => {
                return refuse(
                    "names an sslrootcert, which nobody asks without sslmode=verify-full",
                    "add sslmode=verify-full, or verify-ca where the host's name isn't in the certificate",
                );
            }
        };
        options = options.ssl_root_cert(root);
    }
    if matches!(options.get_ssl_mode(), PgSslMode::Allow) {
        return refuse(
            "has sslmode=allow, which would never use TLS here",
            "write sslmode=prefer or, better, verify-full",
        );
    }
    if let (Some(certificate), Some(key)) = (certificate, key) {
        options = options.ssl_client_cert(certificate).ssl_client_key(key);
    }
    Ok(Server { options, files })
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
    fn tls_means_what_it_means_elsewhere() {
        let mode = |text: &str| match Database::from_url(text, Path::new("/base")) {
            Ok(Database::Postgres(servers)) => {
                (format!("{:?}", servers.primary.options.get_ssl_mode()), servers.primary.files)
            }
            other => panic!("{text} gave {other:?}"),
        };
        assert_eq!(mode("postgres://u@h/d?sslmode=require").0, "Require");
        let (checked, files) = mode("postgres://u@h/d?sslmode=require&sslrootcert=ca.crt");
        assert_eq!((checked.as_str(), files), ("VerifyCa", vec![("sslrootcert", PathBuf::from("/base/ca.crt"))]));
        let (checked, files) = mode("postgres://u@h/d?sslmode=verify-full&sslcert=/c&sslkey=k");
        assert_eq!((checked.as_str(), files.len()), ("VerifyFull", 2));
        assert!(reason("postgres://u@h/d?sslmode=allow").contains("never use TLS"));
        assert!(reason("postgres://u@h/d?sslrootcert=ca.crt").contains("add sslmode=verify-full"));
        assert!(reason("postgres://u@h/d?sslmode=verify-full&sslrootcert=system").contains("leave sslrootcert out"));
        assert!(reason("postgres://u@h/d?sslcert=c").contains("needs both"));
        assert!(reason("postgres://u@h/d?hostaddr=10.0.0.1").contains("both a host and `hostaddr`"));
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
