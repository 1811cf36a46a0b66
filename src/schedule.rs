//! Schedules: what is published when, without anybody.
//!
//! `file` reads them, `crontab` understands their five fields, and `due` turns civil times of a time zone into instants.
//! `keeper` decides what to do next, without a clock, a store or a process of its own; `daemon` gives it those, `owner` is
//! how one process is told from another, and `attempt` is a child that publishes. `export` writes schedules for those who
//! have cron or systemd for it.

use std::time::Duration;

use url::Url;

mod attempt;
mod crontab;
mod daemon;
#[cfg(test)]
mod decade_tests;
mod due;
mod export;
mod file;
mod keeper;
mod owner;

pub use attempt::Starter;
pub use crontab::Crontab;
pub use daemon::{Daemon, Last, Setup, Wish};
pub use due::{Due, DueTimes, Kind};
pub use export::{Command, Unit, crontab, systemd};
pub use file::{load_all, names};

/// One schedule, as its file describes it.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The slug of its file's name without `.toml`.
    pub name: String,
    /// When it is due.
    pub due: DueTimes,
    /// What it publishes; every template if none is named.
    pub templates: Vec<String>,
    /// How late a run may still begin, 1 minute to 7 days. Default 1 hour. Short: a machine that was down over night has
    /// no run that day. Long: one that was down in the night publishes in the middle of the day.
    pub starting_deadline: Duration,
    /// Runs begin up to so much later than they are due, always by the same part of it for one due time. Default 0.
    pub jitter: Duration,
    /// True while it is not to run.
    pub suspend: bool,
    /// How often a run that failed is tried again. Default 3.
    pub retries: u32,
    /// The wait before the first retry, which doubles with each. Default 1 minute.
    pub retry_after: Duration,
    /// How long a run may go on after a SIGTERM to whoever started it. Default 1 minute.
    pub grace: Duration,
    /// How long an attempt may take, 1 second to 7 days. Default 6 hours. Longer, it is stopped and has failed: something
    /// that hangs would otherwise keep every later run away, unseen. Short: a slow day is taken for that.
    pub time_limit: Duration,
    /// Whether a good run is followed by a prune.
    pub prune: bool,
    /// Who is told that a run begins and how it ended.
    pub ping: Option<Ping>,
}

/// The address of a check that is pinged, which is a secret: whoever knows it can ping too.
#[derive(Clone, PartialEq, Eq)]
pub struct Ping(Url);

impl Ping {
    /// Takes the address in.
    pub fn new(url: Url) -> Ping {
        Ping(url)
    }

    /// The address itself: for whoever pings, never for a message.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl std::fmt::Debug for Ping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}
