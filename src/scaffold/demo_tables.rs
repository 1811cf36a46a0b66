//! The demo's tables in a PostgreSQL database, so that the shipped templates can be seen at work there.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::DemoData;
use crate::database::{Database, DatabaseError};
use crate::demo::data::load_postgres;
use crate::error::Error;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest time for all rows; it takes seconds.
const LOAD: Duration = Duration::from_mins(5);
/// SQLSTATE `duplicate_table`.
const TAKEN: &str = "42P07";

/// Makes the tables and fills them, all or nothing; a database that has one of that name is left as it is.
pub async fn load(url: &str) -> Result<DemoData, Error> {
    let database = Database::from_url(url, Path::new(""))?;
    let began = Instant::now();
    let Some(mut connection) = database.writer("tintype/init", CONNECT).await? else {
        let hint = "leave --database and --demo-data out: the demo's data then comes as a SQLite file";
        return Err(Error::usage("--demo-data fills a PostgreSQL database, and this is a SQLite file", hint));
    };
    let loaded = timeout(LOAD, load_postgres(&mut connection)).await;
    let silent = || Error::Local {
        action: "fill",
        object: database.describe(),
        reason: format!("no end of it within {}; nothing was kept", humantime::format_duration(LOAD)),
    };
    let counts = loaded.map_err(|_| silent())?.map_err(|error| failed(&error))?;
    Ok(DemoData { counts, took: began.elapsed() })
}

fn failed(error: &sqlx::Error) -> DatabaseError {
    let said = error.as_database_error();
    let sqlstate = said.and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned);
    let hint = match sqlstate.as_deref() {
        Some(TAKEN) => {
            "nothing was changed; if these are the demo's tables already, leave --demo-data out, else name an empty database"
        }
        _ => "nothing was kept; the role must be allowed to create tables in its schema",
    };
    let message = said.map_or_else(|| error.to_string(), |said| said.message().to_owned());
    DatabaseError::Statement { message, sqlstate, position: None, hint: Some(hint.to_owned()) }
}
