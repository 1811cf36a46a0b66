//! What the head remembers of a schedule.
//!
//! A due time is *claimed* before its run begins, by the same compare-and-swap that commits releases. So of two who want
//! to begin it one does, and one that was begun isn't begun again, whatever happens to clocks and processes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The last due time of a schedule that somebody took upon himself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What was due up to this instant needs no run any more, unless this one was given up. Before the first run it is
    /// when the schedule was first seen: nothing is made up for that was due before anybody watched.
    pub due: DateTime<Utc>,
    /// Who runs it, or ran it; none before the first run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Owner>,
    /// When it was claimed.
    pub began_at: DateTime<Utc>,
    /// When whoever runs it last said so.
    pub renewed_at: DateTime<Utc>,
    /// When it came to its end; none while it is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<RunOutcome>,
    /// How often it was tried.
    #[serde(default)]
    pub attempts: u32,
    /// What people were last told of the schedule; none if all has been well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// True while it is suspended: nobody misses what is due.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
}

/// A process that runs schedules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its host's name, for people.
    pub host: String,
    /// The machine, its boot and its namespace of processes: within one of these, a number names one process.
    pub place: String,
    /// The number of the process.
    pub process: u32,
    /// When the process began, in ticks since the boot, where the system says so: numbers are given again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// A name that no other process has had.
    pub run: String,
}

impl Owner {
    /// True of the same process, also if an older tintype has left out of its name what that didn't know.
    pub fn is(&self, other: &Owner) -> bool {
        (&self.place, self.process, &self.run) == (&other.place, other.process, &other.run)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// All is published.
    Done,
    /// Nothing was published.
    Failed,
    /// A file, or the configuration, is wrong.
    Invalid,
    /// A guard refused something.
    Refused,
    /// Published, but something is behind.
    Behind,
    /// Another publisher was in the way for too long.
    Locked,
    /// It was stopped before its end, because whoever ran it was to end. It may be run again.
    Stopped,
    /// Whoever ran it is gone, and it is too late to run it again.
    Lost,
    /// Nothing ran when it was due, and it is too late to.
    Missed,
    /// Something that a newer tintype knows.
    #[serde(other)]
    Other,
}

/// What people have been told that isn't over yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Runs fail.
    Failure,
    /// A guard refuses.
    Refusal,
    /// Something that a newer tintype knows.
    #[serde(other)]
    Other,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} process {}", self.host, self.process)
    }
}

impl std::fmt::Display for RunOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RunOutcome::Done => "done",
            RunOutcome::Failed => "failed",
            RunOutcome::Invalid => "invalid",
            RunOutcome::Refused => "refused",
            RunOutcome::Behind => "behind",
            RunOutcome::Locked => "locked",
            RunOutcome::Stopped => "stopped",
            RunOutcome::Lost => "lost",
            RunOutcome::Missed => "missed",
            RunOutcome::Other => "ended",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_older_ones_wrote_is_read() {
        let old = r#"{"host":"a","place":"b","process":7,"run":"c"}"#;
        let owner: Owner = serde_json::from_str(old).unwrap();
        assert_eq!((owner.started, serde_json::to_string(&owner).unwrap().as_str()), (None, old));
        assert!(owner.is(&Owner { started: Some(1), ..owner.clone() }));
        assert!(!owner.is(&Owner { run: "d".to_owned(), ..owner.clone() }));
    }
}
