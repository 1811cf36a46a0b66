//! One statement that asks a server what it is.

use sqlx::{PgConnection, Row as _};

use super::connect::row;
use super::failure::statement_error;
use super::replica;
use crate::database::DatabaseError;
use crate::database::examine::Facts;

/// Asks a server what it is.
pub async fn facts(connection: &mut PgConnection) -> Result<Facts, DatabaseError> {
    let failed = |error: sqlx::Error| statement_error(&error, "");
    // Everybody sees the line of their own connection there.
    let text = "SELECT current_setting('server_version'), pg_is_in_recovery(), \
                (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl)";
    let found = row(connection, text.to_owned()).await.map_err(failed)?;
    let in_recovery: bool = found.try_get(1).map_err(failed)?;
    let version: String = found.try_get(0).map_err(failed)?;
    let lag = match in_recovery {
        true => replica::lag(connection).await.map_err(failed)?,
        false => None,
    };
    let tls: Option<String> = found.try_get(2).map_err(failed)?;
    Ok(Facts { version: format!("PostgreSQL {version}"), in_recovery, lag, tls })
}
