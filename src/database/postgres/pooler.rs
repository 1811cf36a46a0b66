//! Whether a pooler stands between tintype and the server, and what it lets in.
//!
//! Nothing that a server can be asked tells the two apart for sure. So a connection is opened with a setting that only
//! the server itself would know what to do with: PostgreSQL takes it and shows it again; a pooler, which shares its
//! server connections between clients, refuses or forgets it. PgBouncer shows its own limits on a database of its own,
//! to users in its `stats_users` or `admin_users`.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Column as _, PgConnection, Row as _, ValueRef as _};
use tokio::time::timeout;

use super::activity::ask;
use super::close;
use super::connect::Server;
use super::failure::message;
use crate::database::DatabaseError;

/// The setting that goes along.
const MARK: &str = "tintype.line";
/// The database on which PgBouncer answers itself.
const CONSOLE: &str = "pgbouncer";
/// How long the pooler may take to answer a question.
const ANSWER: Duration = Duration::from_secs(5);

/// What stands between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pooler {
    /// Nothing: the line leads to the server itself.
    None,
    /// A pooler that doesn't tell this user of itself.
    Silent {
        /// Its own words.
        reason: String,
    },
    /// A PgBouncer that does.
    Told(Box<Told>),
}

/// What a PgBouncer tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// `PgBouncer 1.18.0`.
    pub version: String,
    /// `session`, `transaction` or `statement`, for this database.
    pub mode: String,
    /// `max_client_conn`.
    pub max_clients: u64,
    /// Clients of all databases that are connected now.
    pub clients: u64,
    /// Of these, those that wait for a server connection.
    pub waiting: u64,
    /// Server connections that each pool of this database may have, reserve included.
    pub pool_size: u64,
    /// Pools that lead to the same server: one for each database and user.
    pub pools: u64,
    /// Server connections that all of those pools may have together.
    pub servers_most: u64,
    /// Server connections that they have now.
    pub servers: u64,
    /// The roles that these pools connect as.
    pub users: Vec<String>,
}

impl Server {
    /// Finds out what stands between.
    pub async fn pooler(&self, application: &str, wait: Duration) -> Result<Pooler, DatabaseError> {
        let value = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())).to_string();
        let marked = Server { options: self.options.clone().options([(MARK, &value)]), files: self.files.clone() };
        match marked.connect(application, wait, "is the server up and reachable from here?").await {
            Ok(mut connection) => {
                let shown = ask(&mut connection, &format!("SELECT current_setting('{MARK}', true)")).await;
                let _ = close(connection).await;
                let shown = shown?.first().and_then(|row| row.try_get::<Option<String>, _>(0).ok().flatten());
                if shown.as_deref() == Some(&value) {
                    return Ok(Pooler::None);
                }
            }
            Err(refusal) if refusal.error.reason().contains("unsupported startup parameter") => {}
            Err(refusal) => return Err(refusal.error),
        }
        let told = self.console(application, wait).await;
        Ok(told.map_or_else(|reason| Pooler::Silent { reason }, |told| Pooler::Told(Box::new(told))))
    }

    /// Asks PgBouncer of itself.
    async fn console(&self, application: &str, wait: Duration) -> Result<Told, String> {
        let console = Server { options: self.options.clone().database(CONSOLE), files: self.files.clone() };
        let opened = console.connect(application, wait, "").await;
        let mut connection = opened.map_err(|refusal| refusal.error.reason())?;
        let asked = timeout(ANSWER, self.told(&mut connection)).await;
        let _ = close(connection).await;
        asked.unwrap_or_else(|_| Err("it didn't answer SHOW in time".to_owned()))
    }

    async fn told(&self, connection: &mut PgConnection) -> Result<Told, String> {
        let version = show(connection, "SHOW VERSION").await?;
        let settings: BTreeMap<String, String> = show(connection, "SHOW CONFIG")
            .await?
            .into_iter()
            .filter_map(|mut row| Some((row.remove("key")?, row.remove("value")?)))
            .collect();
        let databases = show(connection, "SHOW DATABASES").await?;
        let pools = show(connection, "SHOW POOLS").await?;
        let name = self.options.get_database().unwrap_or_else(|| self.options.get_username());
        let version = version.first().and_then(|row| row.values().next().cloned()).unwrap_or_default();
        Ok(summed(version, name, &settings, &databases, &pools))
    }
}

/// A row of an answer by the names of its columns.
type Shown = BTreeMap<String, String>;

async fn show(connection: &mut PgConnection, command: &str) -> Result<Vec<Shown>, String> {
    let rows = sqlx::raw_sql(AssertSqlSafe(command.to_owned())).fetch_all(connection).await;
    let cell = |row: &sqlx::postgres::PgRow, column: &sqlx::postgres::PgColumn| {
        let value = row.try_get_raw(column.ordinal()).ok()?;
        (!value.is_null()).then(|| value.as_str().ok().map(ToOwned::to_owned)).flatten()
    };
    let of = |row: &sqlx::postgres::PgRow| {
        row.columns().iter().filter_map(|column| Some((column.name().to_owned(), cell(row, column)?))).collect()
    };
    rows.map(|rows| rows.iter().map(of).collect()).map_err(|error| message(&error))
}

fn number(row: &Shown, name: &str) -> u64 {
    row.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn text<'a>(row: &'a Shown, name: &str) -> &'a str {
    row.get(name).map_or("", String::as_str)
}

/// Adds up what concerns the server behind the database `name`.
fn summed(version: String, name: &str, settings: &Shown, databases: &[Shown], pools: &[Shown]) -> Told {
    let of = |wanted: &str| databases.iter().find(|row| text(row, "name") == wanted);
    // Until 1.23 the one name, from 1.24 on the other: https://github.com/pgbouncer/pgbouncer/pull/1232
    let reserve = |row: &Shown| number(row, "reserve_pool").max(number(row, "reserve_pool_size"));
    let size = |row: &Shown| number(row, "pool_size") + reserve(row);
    let here = of(name);
    // One that its configuration names by `*` alone isn't listed before its first client is let in.
    let unlisted = || number(settings, "default_pool_size") + number(settings, "reserve_pool_size");
    let place = |row: &Shown| (text(row, "host").to_owned(), text(row, "port").to_owned());
    let mut told = Told {
        version,
        mode: here
            .map(|row| text(row, "pool_mode"))
            .filter(|mode| !mode.is_empty())
            .map_or_else(|| text(settings, "pool_mode").to_owned(), ToOwned::to_owned),
        max_clients: number(settings, "max_client_conn"),
        pool_size: here.map_or_else(unlisted, size),
        ..Told::default()
    };
    let mut most: BTreeMap<&str, u64> = BTreeMap::new();
    for pool in pools {
        told.clients += number(pool, "cl_active") + number(pool, "cl_waiting");
        told.waiting += number(pool, "cl_waiting");
        let Some(database) = of(text(pool, "database")) else { continue };
        if text(pool, "database") == CONSOLE || here.is_some_and(|here| place(here) != place(database)) {
            continue;
        }
        told.pools += 1;
        told.servers += ["sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login"]
            .map(|name| number(pool, name))
            .iter()
            .sum::<u64>();
        *most.entry(text(pool, "database")).or_default() += size(database);
        let user = Some(text(database, "force_user")).filter(|user| !user.is_empty());
        told.users.push(user.unwrap_or_else(|| text(pool, "user")).to_owned());
    }
    // A pool that nobody has used yet isn't listed: one user at least is to be expected of each database that is configured.
    for database in databases.iter().filter(|row| here.is_none_or(|here| place(here) == place(row))) {
        let name = text(database, "name");
        if name != CONSOLE && here.is_some() && !most.contains_key(name) {
            most.insert(name, size(database));
        }
    }
    told.users.sort();
    told.users.dedup();
    told.servers_most = most
        .into_iter()
        .map(|(name, sum)| match of(name).map_or(0, |row| number(row, "max_connections")) {
            0 => sum,
            limit => sum.min(limit),
        })
        .sum();
    // Nor is a database that its configuration names by `*` alone; tintype's own pool will be one of it.
    if told.servers_most == 0 {
        told.servers_most = told.pool_size;
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[(&str, &str)]) -> Shown {
        cells.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn database(name: &str, port: &str, size: &str, most: &str) -> Shown {
        row(&[
            ("name", name),
            ("host", "db"),
            ("port", port),
            ("pool_size", size),
            ("reserve_pool", "1"),
            ("max_connections", most),
        ])
    }

    fn pool(database: &str, user: &str, clients: &str, servers: &str) -> Shown {
        row(&[
            ("database", database),
            ("user", user),
            ("cl_active", clients),
            ("cl_waiting", "1"),
            ("sv_idle", servers),
        ])
    }

    #[test]
    fn pools_to_one_server_add_up() {
        let settings = row(&[
            ("max_client_conn", "1000"),
            ("default_pool_size", "20"),
            ("reserve_pool_size", "5"),
            ("pool_mode", "transaction"),
        ]);
        let databases = [
            database("site", "5432", "20", "0"),
            database("logs", "5432", "20", "15"),
            database("other", "5433", "20", "0"),
            database("pgbouncer", "", "2", "0"),
        ];
        let pools = [
            pool("site", "web", "5", "3"),
            pool("site", "tintype", "1", "1"),
            pool("logs", "web", "9", "2"),
            pool("other", "web", "9", "9"),
            pool("pgbouncer", "pgbouncer", "1", "0"),
        ];
        let told = summed("PgBouncer 1".to_owned(), "site", &settings, &databases, &pools);
        assert_eq!((told.max_clients, told.clients, told.waiting), (1000, 30, 5));
        assert_eq!((told.pool_size, told.pools, told.servers_most, told.servers), (21, 3, 42 + 15, 6));
        assert_eq!((told.mode.as_str(), told.users), ("transaction", vec!["tintype".to_owned(), "web".to_owned()]));
        let unused = [databases.as_slice(), &[database("site-2", "5432", "200", "0")]].concat();
        let more = summed(String::new(), "site", &settings, &unused, &pools);
        assert_eq!(more.servers_most, told.servers_most + 201, "one that nobody has used yet");
        let newer = |(name, value): (String, String)| (name.replace("reserve_pool", "reserve_pool_size"), value);
        let newer: Vec<Shown> = databases.iter().map(|row| row.clone().into_iter().map(newer).collect()).collect();
        let again = summed(String::new(), "site", &settings, &newer, &pools);
        assert_eq!((again.pool_size, again.servers_most), (told.pool_size, told.servers_most));
        let fresh = summed(String::new(), "new", &settings, &databases[3..], &pools[4..]);
        assert_eq!((fresh.pool_size, fresh.servers_most), (25, 25));
    }
}
