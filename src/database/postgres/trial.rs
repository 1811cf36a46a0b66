//! The trial of one server; see [`Trial`].

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::{PgConnection, Row as _};
use tokio::time::timeout;

use super::activity::Watch;
use super::connect::{Role, Server, row};
use super::facts::facts;
use super::failure::statement_error;
use super::{close, execute};
use crate::database::activity::State;
use crate::database::trial::{Leases, Pings, Plan, Transaction, Trial};
use crate::database::{DatabaseError, ReadSettings};

/// How long the server may take to answer a small question.
const ANSWER: Duration = Duration::from_secs(5);
/// A connection that was lost is opened again within this time.
const RECONNECT: Duration = Duration::from_secs(5);
/// After so many failures in a row nobody is asked any more.
const FAILURES: usize = 5;
const HINT: &str = "is the server up and reachable from here? [database.build] acquire_timeout sets the wait";

impl Server {
    /// Tries everything.
    pub async fn trial(&self, role: Role, settings: &ReadSettings, application: &str, plan: &Plan) -> Trial {
        let mut trial = Trial::new(self.describe(), role != Role::Named, self.is_private());
        let wait = settings.connect_timeout;
        let began = Instant::now();
        let mut connection = match self.connect(application, wait, HINT).await {
            Ok(connection) => connection,
            Err(refusal) => {
                trial.connect = Err(refusal.error);
                return trial;
            }
        };
        trial.connect = Ok(began.elapsed());
        let facts = in_time(facts(&mut connection)).await;
        let is_silent = facts.is_err();
        trial.facts = Some(facts);
        if is_silent {
            let _ = close(connection).await;
            return trial;
        }
        trial.pooler = Some(self.pooler(application, wait).await);
        trial.transaction = Some(self.transaction(role, settings, application).await);
        let (pings, kept) = self.pings(connection, application, plan).await;
        trial.pings = Some(pings);
        if let Some(kept) = kept {
            let _ = close(kept).await;
        }
        trial.leases = Some(self.leases(role, settings, application, plan.concurrency).await);
        trial.left = Some(self.left(application, wait).await);
        trial
    }

    async fn transaction(
        &self,
        role: Role,
        settings: &ReadSettings,
        application: &str,
    ) -> Result<Transaction, DatabaseError> {
        let began = Instant::now();
        let opened = self.open(role, settings, application).await.map_err(|refusal| refusal.error)?;
        let mut connection = opened.connection;
        let names = settings.settings.iter().map(|(name, _)| name.as_str());
        let shown: Vec<String> = ["transaction_read_only", "transaction_isolation", "statement_timeout"]
            .into_iter()
            .chain(names.clone())
            .map(|name| format!("current_setting('{name}')"))
            .collect();
        let text = format!("SELECT {}", shown.join(", "));
        let row =
            in_time(async { row(&mut connection, text).await.map_err(|error| statement_error(&error, "")) }).await?;
        in_time(execute(&mut connection, "COMMIT")).await?;
        let _ = close(connection).await;
        let value = |column: usize| row.try_get::<String, _>(column).map_err(|error| statement_error(&error, ""));
        let names = std::iter::once("statement_timeout").chain(names).enumerate();
        Ok(Transaction {
            took: began.elapsed(),
            is_read_only: value(0)? == "on",
            isolation: value(1)?,
            settings: names.map(|(at, name)| Ok((name.to_owned(), value(at + 2)?))).collect::<Result<_, _>>()?,
        })
    }

    /// Asks over one connection again and again. One that is lost is a failure and is replaced by another; so it can be
    /// seen whether the server comes back by itself.
    async fn pings(&self, connection: PgConnection, application: &str, plan: &Plan) -> (Pings, Option<PgConnection>) {
        let mut pings = Pings::default();
        let mut kept = Some(connection);
        let mut in_a_row = 0;
        for number in 0..plan.count {
            if in_a_row == FAILURES {
                break;
            }
            if number > 0 {
                tokio::time::sleep(plan.interval).await;
            }
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => match self.connect(application, RECONNECT, HINT).await {
                    Ok(connection) => {
                        pings.reconnects += 1;
                        connection
                    }
                    Err(refusal) => {
                        pings.failures.push(refusal.error);
                        in_a_row += 1;
                        continue;
                    }
                },
            };
            let began = Instant::now();
            match in_time(execute(&mut connection, "SELECT 1")).await {
                Ok(()) => {
                    pings.times.add(began.elapsed());
                    kept = Some(connection);
                    in_a_row = 0;
                }
                Err(error) => {
                    pings.failures.push(error);
                    in_a_row += 1;
                }
            }
        }
        (pings, kept)
    }

    /// Opens so many connections and holds them all, then runs a transaction in each at the same time. Behind a pooler
    /// these take turns.
    async fn leases(&self, role: Role, settings: &ReadSettings, application: &str, wanted: u64) -> Leases {
        let mut leases = Leases { wanted, ..Leases::default() };
        let connect = async || {
            let began = Instant::now();
            let connected = self.connect(application, settings.connect_timeout, HINT).await;
            connected.map(|connection| (connection, began.elapsed())).map_err(|refusal| refusal.error)
        };
        let mut connections = Vec::new();
        for connected in join_all((0..wanted).map(|_| connect())).await {
            match connected {
                Ok((connection, took)) => {
                    leases.held += 1;
                    leases.connects.add(took);
                    connections.push(connection);
                }
                Err(error) => leases.failures.push(error),
            }
        }
        let transact = async |mut connection: PgConnection| {
            let began = Instant::now();
            let started = timeout(settings.connect_timeout, self.begin(&mut connection, role, settings)).await;
            let result = match started {
                Ok(Ok(_)) => in_time(execute(&mut connection, "COMMIT")).await,
                Ok(Err(refusal)) => Err(refusal.error),
                Err(_) => {
                    Err(self.silent("it takes connections, but answers no statement", settings.connect_timeout, HINT))
                }
            };
            let took = began.elapsed();
            let _ = close(connection).await;
            result.map(|()| took)
        };
        for result in join_all(connections.into_iter().map(transact)).await {
            match result {
                Ok(took) => leases.transactions.add(took),
                Err(error) => leases.failures.push(error),
            }
        }
        leases
    }

    /// How many sessions of this trial are left idle in a transaction.
    async fn left(&self, application: &str, wait: Duration) -> Result<u64, DatabaseError> {
        let mut watch = Watch::new(self.clone(), application, wait);
        let activity = watch.look().await;
        watch.close().await;
        let is_left = |session: &&crate::database::activity::Session| {
            session.application == application && session.state == State::IdleInTransaction
        };
        Ok(activity?.sessions.iter().filter(is_left).count() as u64)
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, DatabaseError>>) -> Result<T, DatabaseError> {
    timeout(ANSWER, answer).await.unwrap_or_else(|_| {
        let limit = humantime::format_duration(ANSWER);
        Err(DatabaseError::Lost { reason: format!("it didn't answer a small question within {limit}") })
    })
}
