//! The closed table of keys: `tintype.toml`, the environment and the file that `init` writes all go by it.

use std::fmt::Write as _;
use std::time::Duration;

use super::masked::holds_password;
use crate::diagnostic::did_you_mean;

pub mod budget;
mod cdn;
mod database;
mod fallback;
mod guard;
mod head;
mod notify;
mod paths;
mod retention;
mod serve;
mod store;

pub use budget::{LIMIT, PROCESSES, RESERVED};
pub use cdn::{
    CDN_PURGE, CDN_URL, CLOUDFLARE_API, CLOUDFLARE_TAGS, CLOUDFLARE_TOKEN, CLOUDFRONT_API, CLOUDFRONT_TAGS,
    DISTRIBUTION, EVERYTHING, EVERYTHING_METHOD, FASTLY_API, FASTLY_TAGS, FASTLY_TOKEN, HEADER, MAX_PATHS, METHOD,
    ORIGINS, PROFILE, PURGE_TIMEOUT, SERVICE, SOFT, WEBHOOK_SECRET, WEBHOOK_URL, ZONE,
};
pub use database::{ACQUIRE_TIMEOUT, DATABASE_URL, MAX_LAG, READ, REPLICAS, SETTINGS, STATEMENT_TIMEOUT};
pub use fallback::{
    ADMIN_LISTEN, CONNECTIONS, CORS_ORIGINS, FOLLOW, HEALTH_PREFIX, LINGER, LISTEN, MEMORY, REREAD, TABLE,
    TABLE_TIMEOUT, TABLE_URL, TRUSTED_PROXIES,
};
pub use guard::{LEVELS, MAX_SIZE, SOURCE_AGE_SQL};
pub use head::{HEAD, HEAD_URL, UNSAFE_SINGLE_PUBLISHER};
pub use notify::{NOTIFY_ON, NOTIFY_WEBHOOK};
pub use paths::{SCHEDULES, TEMPLATES};
pub use retention::{RETENTION_AGE, RETENTION_RELEASES};
pub use serve::{
    SERVE_ACQUIRE_TIMEOUT, SERVE_CONNECT_TIMEOUT, SERVE_IDLE_TIMEOUT, SERVE_MAX, SERVE_MAX_LIFETIME, SERVE_QUEUE,
    SERVE_SETTINGS, SERVE_STATEMENT_TIMEOUT,
};
pub use store::{
    LEASE_TTL, LEASE_WAIT, STORE_CONCURRENCY, STORE_CONTROL, STORE_ENDPOINT, STORE_REGION, STORE_TIMEOUT, STORE_URL,
};

/// What a key's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text that is never shown; the environment can also name a file that holds it.
    Secret,
    /// A list of such texts; in the environment they are separated by commas or white space.
    Secrets,
    /// A list of texts; in the environment they are separated by commas or white space.
    Texts,
    /// Text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of some of these words; in the environment they are separated by commas or white space.
    Words(&'static [&'static str]),
    /// A duration, within these bounds.
    Duration {
        /// The shortest that works.
        min: Duration,
        /// The longest that works.
        max: Duration,
    },
    /// A whole number, within these bounds; in the environment its digits.
    Number {
        /// The least that works.
        min: usize,
        /// The most that works.
        max: usize,
    },
    /// `true` or `false`.
    Switch,
    /// A table of texts, which has no variable in the environment.
    Table,
    /// A list of processes, each a table, which has no variable either.
    Processes,
}

/// One key of `tintype.toml`.
#[derive(Debug)]
pub struct Key {
    /// The section without brackets: `database.build`.
    pub section: &'static str,
    /// The name within the section.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// The value without a setting, as text; `None` if there is none or if another key decides it.
    pub default: Option<&'static str>,
    /// What the written file shows, as TOML: the default, or an example where there is none.
    shown: &'static str,
    /// What the written file says about it.
    comment: &'static [&'static str],
}

const DAY: Duration = Duration::from_hours(24);

/// All keys, in the order of the written file.
pub static KEYS: [&Key; 84] = [
    &DATABASE_URL,
    &REPLICAS,
    &READ,
    &MAX_LAG,
    &ACQUIRE_TIMEOUT,
    &STATEMENT_TIMEOUT,
    &SETTINGS,
    &SERVE_MAX,
    &SERVE_QUEUE,
    &SERVE_ACQUIRE_TIMEOUT,
    &SERVE_CONNECT_TIMEOUT,
    &SERVE_STATEMENT_TIMEOUT,
    &SERVE_MAX_LIFETIME,
    &SERVE_IDLE_TIMEOUT,
    &SERVE_SETTINGS,
    &STORE_URL,
    &STORE_ENDPOINT,
    &STORE_REGION,
    &STORE_CONTROL,
    &STORE_CONCURRENCY,
    &STORE_TIMEOUT,
    &LEASE_WAIT,
    &LEASE_TTL,
    &HEAD,
    &HEAD_URL,
    &UNSAFE_SINGLE_PUBLISHER,
    &CDN_URL,
    &CDN_PURGE,
    &PURGE_TIMEOUT,
    &MAX_PATHS,
    &DISTRIBUTION,
    &PROFILE,
    &CLOUDFRONT_TAGS,
    &CLOUDFRONT_API,
    &ZONE,
    &CLOUDFLARE_TOKEN,
    &ORIGINS,
    &CLOUDFLARE_TAGS,
    &CLOUDFLARE_API,
    &SERVICE,
    &FASTLY_TOKEN,
    &SOFT,
    &FASTLY_TAGS,
    &FASTLY_API,
    &WEBHOOK_URL,
    &METHOD,
    &WEBHOOK_SECRET,
    &HEADER,
    &EVERYTHING,
    &EVERYTHING_METHOD,
    &TABLE,
    &TABLE_URL,
    &TABLE_TIMEOUT,
    &LISTEN,
    &ADMIN_LISTEN,
    &TRUSTED_PROXIES,
    &CORS_ORIGINS,
    &MEMORY,
    &CONNECTIONS,
    &LINGER,
    &FOLLOW,
    &REREAD,
    &HEALTH_PREFIX,
    &guard::ROWS_DROP,
    &guard::KEYS_DROP,
    &guard::EMPTY,
    &guard::CHANGED,
    &guard::SIZE_DROP,
    &guard::SIZE_GROWTH,
    &guard::COLUMNS,
    &guard::PATH,
    &guard::SOURCE_AGE,
    &guard::MAX_DELETE,
    &SOURCE_AGE_SQL,
    &MAX_SIZE,
    &RETENTION_RELEASES,
    &RETENTION_AGE,
    &LIMIT,
    &RESERVED,
    &PROCESSES,
    &NOTIFY_WEBHOOK,
    &NOTIFY_ON,
    &TEMPLATES,
    &SCHEDULES,
];

impl Key {
    /// `[store] url`, as messages name it.
    pub fn label(&self) -> String {
        format!("[{}] {}", self.section, self.name)
    }

    /// Its variable in the environment; tables have none.
    pub fn variable(&self) -> Option<String> {
        let name = || format!("TINTYPE_{}_{}", self.section.replace('.', "_"), self.name).to_ascii_uppercase();
        (!self.is_table()).then(name)
    }

    /// True if its value is made of tables.
    pub fn is_table(&self) -> bool {
        matches!(self.kind, Kind::Table | Kind::Processes)
    }

    /// True if its value is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::Secrets | Kind::Texts | Kind::Words(_))
    }

    /// True if a variable can name a file that holds it.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::Secrets)
    }

    /// The words that it takes, for a hint to whoever wrote `text`; the nearest only, if one is near.
    pub fn known_words(&self, text: &str) -> String {
        let Kind::Word(words) = self.kind else { return self.example() };
        let known = format!("write {}", words.join(", "));
        did_you_mean(text, words.iter().copied()).map_or(known, |near| format!("did you mean \"{near}\"?"))
    }

    /// A line of TOML that sets it, for hints.
    pub fn example(&self) -> String {
        format!("{} = {}", self.name, self.shown)
    }
}

const OPENING: &str = "\
# Settings of tintype. A key that is commented out shows its default, or an example where there is none.
# Relative paths count from this file's folder. The environment outranks this file: TINTYPE_STORE_URL is [store] url.
";

const PASSWORD_COMMENT: &str = "\
# The password stands here in plain text. Better: put the whole URL into a file that only tintype's user can read,
# name that file in the variable TINTYPE_DATABASE_URL_FILE, and remove this line.
";

/// The text of a new `tintype.toml`: every key with what it means, commented out but for the two URLs.
///
/// Without `database` the demo's own, without `store` a folder `public`.
pub fn file_text(database: Option<&str>, store: Option<&str>) -> String {
    let mut text = OPENING.to_owned();
    let mut section = "";
    for key in KEYS {
        if key.section != section {
            section = key.section;
            // Writing to a String cannot fail.
            let _ = write!(text, "\n[{section}]\n");
        }
        for line in key.comment {
            let _ = writeln!(text, "# {line}");
        }
        let given = match key {
            key if std::ptr::eq(key, &raw const DATABASE_URL) => Some(database),
            key if std::ptr::eq(key, &raw const STORE_URL) => Some(store),
            _ => None,
        };
        let _ = match given {
            None if std::ptr::eq(key, &raw const TABLE_URL) => writeln!(text, "#{}", table_line(key, database)),
            None => writeln!(text, "#{}", key.example()),
            Some(None) => writeln!(text, "{}", key.example()),
            Some(Some(url)) => {
                if holds_password(url) {
                    text.push_str(PASSWORD_COMMENT);
                }
                writeln!(text, "{} = {}", key.name, toml::Value::String(url.to_owned()))
            }
        };
    }
    text
}

/// The fallback table's line: in the same database, where that is a server and its URL no secret.
fn table_line(key: &Key, database: Option<&str>) -> String {
    match database.filter(|url| url.starts_with("postgres") && !holds_password(url)) {
        Some(url) => format!("{} = {}", key.name, toml::Value::String(url.to_owned())),
        None => key.example(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The written text with every key set, as (section, name).
    fn written(text: &str) -> Vec<(String, String)> {
        let mut section = String::new();
        let mut found = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                name.clone_into(&mut section);
            } else if let Some((name, _)) = line.split_once(" = ")
                && !line.starts_with("# ")
            {
                found.push((section.clone(), name.trim_start_matches('#').to_owned()));
            }
        }
        found
    }

    #[test]
    fn the_written_file_and_the_table_name_the_same_keys() {
        let known: Vec<_> = KEYS.iter().map(|key| (key.section.to_owned(), key.name.to_owned())).collect();
        assert_eq!(written(&file_text(None, None)), known);
        assert_eq!(written(&file_text(Some("postgres://u:p@h/d"), Some("file:out"))), known);
    }

    #[test]
    fn every_key_is_explained_and_shows_its_default() {
        for key in KEYS {
            assert!((1..=2).contains(&key.comment.len()), "{}", key.label());
            if let Some(default) = key.default {
                let is_bare = matches!(key.kind, Kind::Number { .. } | Kind::Switch);
                let shown = if is_bare { default.to_owned() } else { format!("\"{default}\"") };
                assert_eq!(key.shown, shown, "{}", key.label());
            }
        }
        assert!(file_text(None, None).lines().all(|line| line.chars().count() <= 120));
    }

    #[test]
    fn every_store_gets_a_file_that_can_be_read() {
        let text = file_text(None, Some("s3://bucket/site"));
        let table: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(table["store"]["url"].as_str(), Some("s3://bucket/site"));
    }

    #[test]
    fn a_password_gets_advice_and_odd_characters_are_quoted() {
        let text = file_text(Some("postgres://u:p\"\\'@h/d"), None);
        assert!(text.contains("TINTYPE_DATABASE_URL_FILE"));
        let table: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(table["database"]["url"].as_str(), Some("postgres://u:p\"\\'@h/d"));
        let text = file_text(Some("postgres://u@h/d"), None);
        assert!(!text.contains("TINTYPE_DATABASE_URL_FILE"));
        assert!(
            text.contains("GRANT SELECT ON tintype_snapshot") && text.contains("\n#table_url = \"postgres://u@h/d\"\n")
        );
    }
}
