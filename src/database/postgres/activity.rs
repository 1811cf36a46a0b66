//! A look at the clients of a server, once or again and again over one connection.
//!
//! A question is one message of the simple protocol, a short read-only transaction with its own time limit, so that it
//! works through a pooler and leaves nothing there.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use tokio::time::timeout;

use super::close;
use super::connect::Server;
use super::failure::statement_error;
use crate::database::DatabaseError;
use crate::database::activity::{Activity, Limits, Session, State};

/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How many characters of a statement are shown.
const QUERY_CHARACTERS: u32 = 120;

/// Somebody who looks at a server.
pub struct Watch {
    server: Server,
    application: String,
    /// The longest wait for a connection.
    wait: Duration,
    connection: Option<PgConnection>,
}

impl Watch {
    /// Nobody is asked yet. `application` is what the server shows for the connection.
    pub fn new(server: Server, application: &str, wait: Duration) -> Watch {
        Watch { server, application: application.to_owned(), wait, connection: None }
    }

    /// Host, port and database.
    pub fn describe(&self) -> String {
        self.server.describe()
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Looks, over the connection of the last time if there is one. After an error the next look opens another.
    pub async fn look(&mut self) -> Result<Activity, DatabaseError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open().await?,
        };
        let rows = ask(&mut connection, &activity_text()).await?;
        let activity = activity(&rows).map_err(|error| statement_error(&error, ""))?;
        self.connection = Some(connection);
        Ok(activity)
    }

    async fn open(&self) -> Result<PgConnection, DatabaseError> {
        let hint = "is the server up and reachable from here? [database.build] acquire_timeout sets the wait";
        self.server.connect(&self.application, self.wait, hint).await.map_err(|refusal| refusal.error)
    }

    /// Gives the connection back.
    pub async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = close(connection).await;
        }
    }
}

/// The rows of one question, which has a few seconds. After an error the connection isn't to be used any more.
pub async fn ask(connection: &mut PgConnection, sql: &str) -> Result<Vec<PgRow>, DatabaseError> {
    let text = format!("BEGIN READ ONLY; SET LOCAL statement_timeout = '{}ms'; {sql}; COMMIT", ANSWER.as_millis());
    let Ok(rows) = timeout(ANSWER * 2, sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection)).await else {
        let limit = humantime::format_duration(ANSWER * 2);
        return Err(DatabaseError::Lost { reason: format!("it didn't answer a small question within {limit}") });
    };
    rows.map_err(|error| statement_error(&error, ""))
}

/// A role without the right to know is told no `backend_type`; what has neither a database nor a role is no client.
fn activity_text() -> String {
    let age = |of: &str| format!("extract(epoch FROM clock_timestamp() - {of})::float8");
    format!(
        "SELECT current_setting('max_connections')::int8, current_setting('superuser_reserved_connections')::int8, \
         coalesce(current_setting('reserved_connections', true), '0')::int8, session_user::text, \
         CASE WHEN r.rolsuper OR r.rolconnlimit < 0 THEN NULL ELSE r.rolconnlimit::int8 END, current_database()::text, \
         CASE WHEN r.rolsuper OR d.datconnlimit < 0 THEN NULL ELSE d.datconnlimit::int8 END, \
         pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), \
         a.pid::int8, a.datname::text, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), host(a.client_addr), \
         a.state, {}, {}, {}, coalesce(a.wait_event_type = 'Lock' AND a.state = 'active', false), \
         CASE WHEN a.state IS NOT NULL THEN left(a.query, {QUERY_CHARACTERS}) END, a.pid = pg_backend_pid() \
         FROM pg_stat_activity a, pg_roles r, pg_database d \
         WHERE r.rolname = session_user AND d.datname = current_database() AND a.datid IS NOT NULL AND a.usesysid IS NOT NULL \
         AND coalesce(a.backend_type, 'client backend') = 'client backend' ORDER BY a.backend_start, a.pid",
        age("a.state_change"),
        age("a.xact_start"),
        age("a.backend_start"),
    )
}

fn activity(rows: &[PgRow]) -> Result<Activity, sqlx::Error> {
    // The session that asks is always among them.
    let limits = limits(rows.first().ok_or(sqlx::Error::RowNotFound)?)?;
    let sessions = rows.iter().map(session).collect::<Result<_, _>>()?;
    Ok(Activity { limits, sessions })
}

fn limits(row: &PgRow) -> Result<Limits, sqlx::Error> {
    let number = |column| row.try_get::<i64, _>(column).map(|number| u64::try_from(number).unwrap_or(0));
    let limit = |column| {
        let limit: Option<i64> = row.try_get(column)?;
        Ok::<_, sqlx::Error>(limit.map(|limit| u64::try_from(limit).unwrap_or(0)))
    };
    Ok(Limits {
        max: number(0)?,
        superuser_reserved: number(1)?,
        reserved: number(2)?,
        user: row.try_get(3)?,
        user_limit: limit(4)?,
        database: row.try_get(5)?,
        database_limit: limit(6)?,
        sees_all: row.try_get(7)?,
    })
}

fn session(row: &PgRow) -> Result<Session, sqlx::Error> {
    let age = |column| {
        let seconds: Option<f64> = row.try_get(column)?;
        // A clock that was set back makes an age negative.
        Ok::<_, sqlx::Error>(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
    };
    Ok(Session {
        pid: row.try_get(8)?,
        database: row.try_get(9)?,
        user: row.try_get(10)?,
        application: row.try_get(11)?,
        client: row.try_get(12)?,
        state: State::of(row.try_get::<Option<&str>, _>(13)?),
        in_state: age(14)?,
        transaction: age(15)?,
        connected: age(16)?,
        waits_for_lock: row.try_get(17)?,
        query: row.try_get(18)?,
        is_this: row.try_get(19)?,
    })
}
