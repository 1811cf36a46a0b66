//! What makes a standby fit to be read: it follows its primary, and not too far behind.
//!
//! "Time since the last replayed commit" alone says nothing: on an idle primary it grows although nothing is missing,
//! and it stands at zero lag where the WAL receiver is down and everything is missing. So three things are asked:
//! whether the server is in recovery, whether its receiver is streaming, and, only where received WAL waits to be
//! replayed, how old the last replayed commit is.
//!
//! The instant of a standby's data is the commit that it replayed last, by the primary's clock, also where the primary
//! has been idle since. A later one can't be had from a standby alone: what its receiver knows of "now" comes from the
//! server it streams from, which may be a standby itself and cut off. An instant that is too old only means that a
//! newer observation of another run keeps its place; one that is too late would let stale data win.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::connect::{instant, row};

/// A standby that is a moment behind is looked at again: the first commit after an idle night seems a night old.
const LOOKS: u32 = 8;
/// How long to wait between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(120);

/// A standby's data is at least as new as this.
#[derive(Debug, Clone, Copy)]
pub struct Horizon(pub DateTime<Utc>);

/// Why a server isn't fit to be read as a replica.
pub struct Unfit {
    /// Completes "the server …".
    pub words: String,
    /// What to do.
    pub hint: String,
}

impl Unfit {
    fn new(words: impl Into<String>, hint: impl Into<String>) -> Unfit {
        Unfit { words: words.into(), hint: hint.into() }
    }
}

/// Microseconds since 1970 of an instant in SQL.
pub fn micros(instant: &str) -> String {
    format!("(extract(epoch FROM {instant}) * 1000000)::int8")
}

/// The newest instant of which the standby surely has everything. A standby that was just restarted has replayed no
/// commit yet; its last restart point is a checkpoint of the primary, which has a time too.
fn horizon_text() -> String {
    micros("greatest(pg_last_xact_replay_timestamp(), (SELECT checkpoint_time FROM pg_control_checkpoint()))")
}

/// How far a standby is, for a server that nobody asked to be one.
pub async fn horizon(connection: &mut PgConnection) -> Result<Horizon, sqlx::Error> {
    let row = row(connection, format!("SELECT {}", horizon_text())).await?;
    Ok(Horizon(instant(row.try_get(0)?)))
}

/// Asks a server whether it can be read as a replica, and begins the transaction with the statements of `begin`, all in
/// one message: a lease is worth no second round trip. The question has a transaction of its own, so that its answer can't
/// be later than what the other one sees. Returns the row of the last of the statements.
///
/// Where the server is no replica to be read, a transaction is open all the same.
pub async fn begin(
    connection: &mut PgConnection,
    max_lag: Duration,
    begin: &str,
) -> Result<Result<(Horizon, PgRow), Unfit>, sqlx::Error> {
    let text = format!("BEGIN READ ONLY; {}; COMMIT; {begin}", standing_text());
    for looks in 1.. {
        let rows = sqlx::raw_sql(AssertSqlSafe(text.clone())).fetch_all(&mut *connection).await?;
        let Ok([stood, row]) = <[PgRow; 2]>::try_from(rows) else { break };
        let standing = Standing::of(&stood)?;
        let is_behind = standing.lag.is_some_and(|lag| lag > max_lag);
        match standing.judge(max_lag) {
            Ok(()) => return Ok(Ok((Horizon(standing.horizon), row))),
            Err(unfit) if !is_behind || looks == LOOKS => return Ok(Err(unfit)),
            Err(_) => {
                sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
    Err(sqlx::Error::RowNotFound)
}

/// How old the last replayed commit of a standby is, where received WAL waits to be replayed.
pub async fn lag(connection: &mut PgConnection) -> Result<Option<Duration>, sqlx::Error> {
    Ok(Standing::of(&row(connection, standing_text()).await?)?.lag)
}

/// The question by which [`Standing`] is known.
fn standing_text() -> String {
    format!(
        "SELECT pg_is_in_recovery(), EXISTS (SELECT FROM pg_stat_wal_receiver), (SELECT status FROM pg_stat_wal_receiver), \
         CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END, \
         coalesce(pg_last_wal_replay_lsn() < pg_last_wal_receive_lsn(), false), {}, {}",
        horizon_text(),
        micros("clock_timestamp()")
    )
}

/// What a server says of itself.
struct Standing {
    in_recovery: bool,
    /// A WAL receiver is at work; its state is told to members of `pg_read_all_stats` only.
    has_receiver: bool,
    receiver_state: Option<String>,
    is_paused: bool,
    /// How old the last replayed commit is, where received WAL waits to be replayed.
    lag: Option<Duration>,
    horizon: DateTime<Utc>,
}

impl Standing {
    fn of(row: &PgRow) -> Result<Standing, sqlx::Error> {
        let (horizon, now): (i64, i64) = (row.try_get(5)?, row.try_get(6)?);
        let waits: bool = row.try_get(4)?;
        Ok(Standing {
            in_recovery: row.try_get(0)?,
            has_receiver: row.try_get(1)?,
            receiver_state: row.try_get(2)?,
            is_paused: row.try_get(3)?,
            lag: waits.then(|| Duration::from_micros(u64::try_from(now - horizon).unwrap_or(0))),
            horizon: instant(horizon),
        })
    }

    fn judge(&self, max_lag: Duration) -> Result<(), Unfit> {
        if !self.in_recovery {
            // It may be the new primary, or a copy that somebody made writable; only a person knows.
            return Err(Unfit::new(
                "is no replica: it isn't in recovery, so it is a primary, or was promoted to one",
                "name the primary in [database] url, and only its standbys in replicas",
            ));
        }
        let state = self.receiver_state.as_deref().unwrap_or("streaming");
        if !self.has_receiver || state != "streaming" {
            let state = if self.has_receiver { format!(" (its WAL receiver is {state})") } else { String::new() };
            return Err(Unfit::new(
                format!("receives nothing from its primary{state}, so its data may be of any age"),
                "see the replica's log for why replication stands; pg_stat_wal_receiver must have a row there",
            ));
        }
        match self.lag {
            Some(lag) if lag > max_lag => {
                let shown = |duration: Duration| humantime::format_duration(Duration::from_secs(duration.as_secs()));
                let paused = if self.is_paused { "; its replay is paused" } else { "" };
                Err(Unfit::new(
                    format!("is {} behind its primary, more than max_lag = {}{paused}", shown(lag), shown(max_lag)),
                    match self.is_paused {
                        true => "pg_wal_replay_resume() on the replica lets it catch up",
                        false => "wait until it has caught up; [database] max_lag says how far behind is too far",
                    },
                ))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> Standing {
        Standing {
            in_recovery: true,
            has_receiver: true,
            receiver_state: Some("streaming".to_owned()),
            is_paused: false,
            lag: None,
            horizon: instant(0),
        }
    }

    fn judged(standing: &Standing) -> Option<String> {
        standing.judge(Duration::from_mins(5)).err().map(|unfit| unfit.words)
    }

    #[test]
    fn a_standby_that_streams_is_fit_however_idle_its_primary() {
        assert_eq!(judged(&standing()), None);
        assert_eq!(
            judged(&Standing { receiver_state: None, ..standing() }),
            None,
            "an unprivileged role sees no state"
        );
        assert_eq!(judged(&Standing { lag: Some(Duration::from_mins(5)), is_paused: true, ..standing() }), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let words = |standing: Standing| judged(&standing).unwrap_or_default();
        assert!(words(Standing { in_recovery: false, ..standing() }).contains("no replica"));
        assert!(
            words(Standing { has_receiver: false, receiver_state: None, ..standing() }).contains("receives nothing")
        );
        let waiting = Standing { receiver_state: Some("waiting".to_owned()), ..standing() };
        assert!(words(waiting).contains("receiver is waiting"));
        let late = Standing { lag: Some(Duration::from_millis(301_400)), is_paused: true, ..standing() };
        assert_eq!(words(late), "is 5m 1s behind its primary, more than max_lag = 5m; its replay is paused");
    }
}
