//! A trial of each configured server, in the ways in which tintype uses it: alone, again and again, many at a time.
//!
//! Every step has its own result, so that one that fails doesn't hide the others, and every wait has an end.

use std::time::Duration;

use super::postgres::connect::Role;
use super::{Database, DatabaseError, Facts, Pooler, ReadFrom, ReadSettings, sqlite};

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How often a connection that is kept is asked something.
    pub count: u64,
    /// How long to wait between two questions.
    pub interval: Duration,
    /// How many connections are held at a time.
    pub concurrency: u64,
}

/// What became of it with one server.
#[derive(Debug)]
pub struct Trial {
    /// Host, port and database, or the file; never a password.
    pub server: String,
    /// True for one of `[database] replicas`.
    pub is_replica: bool,
    /// True where nobody can read along.
    pub is_private: bool,
    /// How long connecting took. After an error nothing else was tried.
    pub connect: Result<Duration, DatabaseError>,
    /// What the server says of itself.
    pub facts: Option<Result<Facts, DatabaseError>>,
    /// What stands between; none for a file.
    pub pooler: Option<Result<Pooler, DatabaseError>>,
    /// The read transaction of a build.
    pub transaction: Option<Result<Transaction, DatabaseError>>,
    /// One connection, kept.
    pub pings: Option<Pings>,
    /// Many connections.
    pub leases: Option<Leases>,
    /// Sessions of this trial that are left idle in a transaction; none for a file.
    pub left: Option<Result<u64, DatabaseError>>,
}

/// A read transaction, begun and ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// From connecting to the end.
    pub took: Duration,
    /// True if the server refuses to write in it.
    pub is_read_only: bool,
    /// Its isolation level.
    pub isolation: String,
    /// The settings of `[database.build]` as the server understands them.
    pub settings: Vec<(String, String)>,
}

/// A connection that was asked again and again.
#[derive(Debug, Default)]
pub struct Pings {
    /// How long the answers took.
    pub times: Times,
    /// What failed.
    pub failures: Vec<DatabaseError>,
    /// How often another connection had to be opened.
    pub reconnects: u64,
}

/// Connections that were held at the same time, with a transaction in each.
#[derive(Debug, Default)]
pub struct Leases {
    /// How many were to be held.
    pub wanted: u64,
    /// How many were.
    pub held: u64,
    /// How long connecting took.
    pub connects: Times,
    /// How long the transactions took.
    pub transactions: Times,
    /// What failed.
    pub failures: Vec<DatabaseError>,
}

/// Durations, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        let at = self.0.partition_point(|other| *other <= time);
        self.0.insert(at, time);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The least duration that at least this percentage of them don't exceed; 0 gives the shortest.
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied()
    }
}

impl Trial {
    pub(super) fn new(server: String, is_replica: bool, is_private: bool) -> Trial {
        Trial {
            server,
            is_replica,
            is_private,
            connect: Ok(Duration::ZERO),
            facts: None,
            pooler: None,
            transaction: None,
            pings: None,
            leases: None,
            left: None,
        }
    }
}

impl Database {
    /// Tries every server that reads may go to, and the primary in any case, one after the other.
    pub async fn trials(&self, settings: &ReadSettings, application: &str, plan: &Plan) -> Vec<Trial> {
        let servers = match self {
            Database::Sqlite(path) => return vec![sqlite::trial(path, self.describe(), settings, plan).await],
            Database::Postgres(servers) => servers,
        };
        let mut trials = vec![servers.primary.trial(Role::Named, settings, application, plan).await];
        if servers.read != ReadFrom::Primary {
            for replica in &servers.replicas {
                trials.push(replica.trial(Role::Replica(servers.max_lag), settings, application, plan).await);
            }
        }
        trials
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_those_that_were_measured() {
        let mut times = Times::default();
        assert_eq!(times.percentile(95), None);
        for millis in [50, 10, 40, 20, 30, 60, 70, 80, 90, 100] {
            times.add(Duration::from_millis(millis));
        }
        let at = |percent| times.percentile(percent).map(|time| time.as_millis());
        assert_eq!([at(0), at(10), at(50), at(95), at(100)], [Some(10), Some(10), Some(50), Some(100), Some(100)]);
    }
}
