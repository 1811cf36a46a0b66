//! The transaction that writes the table on PostgreSQL.

use std::time::Duration;

use chrono::SecondsFormat;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};
use tokio::time::timeout;

use super::failure::Failed;
use super::{PATIENCE, TableServer, close, sql, state};
use crate::database::DatabaseError;
use crate::database::fallback_table::{TableDocument, TableMark, TableState};

/// A transaction that holds the one row.
pub struct TableTransaction {
    server: TableServer,
    connection: PgConnection,
}

impl TableTransaction {
    /// Takes the one row; none if it isn't the expected one.
    pub(super) async fn begin(
        server: &TableServer,
        mut connection: PgConnection,
        expected: &TableState,
    ) -> Result<Option<TableTransaction>, Failed> {
        let begun = server.send(&mut connection, sql::begin(server.timeout)).await;
        let is_expected = begun.map(|rows| {
            let found = rows.first().and_then(|row| state(row).ok());
            // Whether there are documents is seen as of before the wait for the row, and says nothing about it.
            found.is_some_and(|found| TableState { is_empty: expected.is_empty, ..found } == *expected)
        });
        match is_expected {
            Ok(true) => Ok(Some(TableTransaction { server: server.clone(), connection })),
            Ok(false) => {
                // A pooler throws away a server's connection whose transaction was left open.
                let _ = server.send(&mut connection, "ROLLBACK".to_owned()).await;
                let _ = close(connection).await;
                Ok(None)
            }
            Err(failed) => {
                let _ = close(connection).await;
                Err(failed)
            }
        }
    }

    /// See [`crate::database::TableWrite::upsert`].
    pub async fn upsert(&mut self, release: &str, documents: Vec<TableDocument>) -> Result<(), DatabaseError> {
        let count = documents.len();
        let mut texts: [Vec<String>; 7] = std::array::from_fn(|_| Vec::with_capacity(count));
        let mut bodies = Vec::with_capacity(count);
        for document in documents {
            let as_of = document.as_of.to_rfc3339_opts(SecondsFormat::Micros, true);
            let TableDocument { path, template, key, body_gzip, digest, cache_control, cache_tags, .. } = document;
            let row = [path.to_string(), template, key, digest, cache_control, cache_tags, as_of];
            texts.iter_mut().zip(row).for_each(|(column, text)| column.push(text));
            bodies.push(body_gzip);
        }
        let [paths, templates, keys, digests, cache_controls, cache_tags, as_ofs] = texts;
        let query = sqlx::query(AssertSqlSafe(sql::upsert()))
            .persistent(false)
            .bind(paths)
            .bind(templates)
            .bind(keys)
            .bind(bodies)
            .bind(digests)
            .bind(cache_controls)
            .bind(cache_tags)
            .bind(as_ofs)
            .bind(release.to_owned());
        self.execute(query).await
    }

    /// See [`crate::database::TableWrite::remove`].
    pub async fn remove(&mut self, paths: &[String]) -> Result<(), DatabaseError> {
        let query = sqlx::query(AssertSqlSafe(sql::remove())).persistent(false).bind(paths.to_vec());
        self.execute(query).await
    }

    /// See [`crate::database::TableWrite::commit`].
    pub async fn commit(mut self, mark: &TableMark) -> Result<(), DatabaseError> {
        let committed = self.server.send(&mut self.connection, sql::commit(mark)).await;
        let _ = close(self.connection).await;
        match committed {
            Ok(_) => Ok(()),
            Err(failed) => Err(self.server.error(failed).await),
        }
    }

    async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<(), DatabaseError> {
        let limit: Duration = self.server.timeout * (PATIENCE + 1);
        let failed = match timeout(limit, query.execute(&mut self.connection)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => Failed::of(&error),
            Err(_) => self.server.silent(),
        };
        Err(self.server.error(failed).await)
    }
}
