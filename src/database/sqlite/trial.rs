//! The trial of a file, where a connection is an open file; see [`Trial`].

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::sqlite::SqliteConnection;

use super::{begin, close, execute, version};
use crate::database::trial::{Leases, Pings, Plan, Trial};
use crate::database::{DatabaseError, Facts, ReadSettings};

/// Tries everything that a file can.
pub async fn trial(path: &Path, name: String, settings: &ReadSettings, plan: &Plan) -> Trial {
    let mut trial = Trial::new(name, false, true);
    let mut connection = match opened(path, settings).await {
        Ok((connection, took)) => {
            trial.connect = Ok(took);
            connection
        }
        Err(error) => {
            trial.connect = Err(error);
            return trial;
        }
    };
    let version = version(&mut connection).await;
    let of = |version| Facts { version: format!("SQLite {version}"), in_recovery: false, lag: None, tls: None };
    trial.facts = Some(version.map(of));
    trial.pings = Some(pings(&mut connection, plan).await);
    let _ = close(connection).await;
    trial.leases = Some(leases(path, settings, plan.concurrency).await);
    trial
}

async fn opened(path: &Path, settings: &ReadSettings) -> Result<(SqliteConnection, Duration), DatabaseError> {
    let began = Instant::now();
    let (connection, _) = begin(path, settings).await?;
    Ok((connection, began.elapsed()))
}

async fn pings(connection: &mut SqliteConnection, plan: &Plan) -> Pings {
    let mut pings = Pings::default();
    for number in 0..plan.count {
        if number > 0 {
            tokio::time::sleep(plan.interval).await;
        }
        let began = Instant::now();
        match execute(connection, "SELECT count(*) FROM sqlite_schema").await {
            Ok(()) => pings.times.add(began.elapsed()),
            Err(error) => pings.failures.push(error),
        }
    }
    pings
}

/// Holds so many readers at the same time; each has begun its transaction when it is opened.
async fn leases(path: &Path, settings: &ReadSettings, wanted: u64) -> Leases {
    let mut leases = Leases { wanted, ..Leases::default() };
    for reader in join_all((0..wanted).map(|_| opened(path, settings))).await {
        let (mut connection, took) = match reader {
            Ok(reader) => reader,
            Err(error) => {
                leases.failures.push(error);
                continue;
            }
        };
        leases.held += 1;
        leases.connects.add(took);
        let began = Instant::now();
        match execute(&mut connection, "COMMIT").await {
            Ok(()) => leases.transactions.add(began.elapsed()),
            Err(error) => leases.failures.push(error),
        }
        let _ = close(connection).await;
    }
    leases
}
