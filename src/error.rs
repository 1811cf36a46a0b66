//! The error of a command: everything below it ends here, and each kind has its exit code.

use std::time::Duration;

use crate::cdn::CdnError;
use crate::database::DatabaseError;
use crate::diagnostic::Diagnostic;
use crate::store::StoreError;

/// Why a command didn't do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line can't be understood. Exit code 2.
    #[error("{message}")]
    Usage {
        /// Names what was given.
        message: String,
        /// What to type instead.
        hint: Option<String>,
    },
    /// A config, template or schedule file is wrong. Exit code 2.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Diagnostic>),
    /// Nothing was committed because templates failed while they were read. Exit code 1.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Failed(Vec<Diagnostic>),
    /// The database. Exit code 1, but 2 for its URL.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The store. Exit code 1.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The CDN. Exit code 4 after a commit, because the next run purges what this one couldn't; else 1.
    #[error(transparent)]
    Cdn(#[from] CdnError),
    /// The store holds something that this version can't read. Exit code 1.
    #[error("{object} in the store {reason}")]
    Corrupt {
        /// The object's name.
        object: String,
        /// Completes "the object …".
        reason: String,
    },
    /// Others changed the head again and again. Exit code 1.
    #[error("others changed head.json {times} times in a row; {left}")]
    Busy {
        /// How often it was tried.
        times: usize,
        /// What that leaves.
        left: &'static str,
    },
    /// The fallback table holds something that a run doesn't overwrite. Exit code 1; 4 after a commit.
    #[error("{table} {reason}")]
    Table {
        /// What it is called.
        table: String,
        /// Completes "the table …".
        reason: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// The store has no release. Exit code 2.
    #[error("nothing is published yet")]
    Unpublished,
    /// The store has no release, and the fallback table shows one of this very site. Exit code 1.
    #[error("nothing is published in {store}, and yet the fallback table shows release {release} of this very site")]
    Lost {
        /// Where the documents should be.
        store: String,
        /// What the table shows.
        release: String,
    },
    /// A document of a release whose file is gone. Exit code 1.
    #[error("`{path}` is in the release {release} but not at its path")]
    Missing {
        /// Its object path.
        path: String,
        /// The release's id.
        release: String,
    },
    /// Another publisher holds the lease. Exit code 5.
    #[error("another publisher is committing: {holder}, for {}", humantime::format_duration(Duration::from_secs(.age.as_secs())))]
    Locked {
        /// Who.
        holder: String,
        /// How long it has held it.
        age: Duration,
    },
    /// A schedule is running already. Exit code 5.
    #[error("`{schedule}` is running already: {owner}, for {}", humantime::format_duration(Duration::from_secs(.age.as_secs())))]
    Running {
        /// Its name.
        schedule: String,
        /// Who runs it.
        owner: String,
        /// For how long.
        age: Duration,
    },
    /// What a run had read or staged can't be committed any more. Exit code 1.
    #[error("{reason}; nothing was committed")]
    Overtaken {
        /// By what.
        reason: String,
    },
    /// A local file or address. Exit code 1.
    #[error("can't {action} {object}: {reason}")]
    Local {
        /// "write", "listen on" …
        action: &'static str,
        /// The file or address.
        object: String,
        /// The system's own words.
        reason: String,
    },
    /// An address where nobody can be answered. Exit code 1.
    #[error("can't listen on {address}: {reason}")]
    Listen {
        /// The address and port.
        address: String,
        /// The system's own words.
        reason: String,
        /// What to do next.
        hint: String,
    },
    /// Ctrl-C. Exit code 130.
    #[error("interrupted; {left}")]
    Interrupted {
        /// What it leaves behind.
        left: LeftBehind,
    },
    /// SIGTERM. Exit code 143.
    #[error("terminated; {left}")]
    Terminated {
        /// What it leaves behind.
        left: LeftBehind,
    },
    /// The lease ran out while the release was being activated: the machine slept, or the store was away. Exit code 4 if
    /// this run committed the release, else 1.
    #[error(
        "the lease ran out: it couldn't be renewed for {}, so another publisher may be at work, and this one stopped \
         where it was",
        humantime::format_duration(*.ttl)
    )]
    LeaseLost {
        /// How long the lease lives.
        ttl: Duration,
    },
}

/// What a run that was interrupted leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftBehind {
    /// Nothing that readers could see, now or later.
    Nothing,
    /// The commit was sent, and no answer has come.
    Unknown,
    /// A committed release, some paths of which are still as before.
    Committed,
    /// What was to be published, live; the edges weren't all told.
    Unpurged,
    /// Edges that weren't all told what somebody asked for, and that nobody else will tell.
    Unforgotten,
    /// A release that every path shows, and a fallback table that may not.
    Untabled,
    /// Both of these.
    UnpurgedUntabled,
    /// What the run was to do, done.
    Finished,
}

impl std::fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LeftBehind::Nothing => "nothing was activated",
            LeftBehind::Unknown => {
                "it is unknown whether the release was committed: `tintype status` tells, and the next publish goes on \
                 from what it finds"
            }
            LeftBehind::Unpurged => {
                "what was published is live, and the edges weren't all told: `tintype purge --resume` does that, and so \
                 does the next publish"
            }
            LeftBehind::Unforgotten => "the edges weren't all told what was named: run the command again",
            LeftBehind::Untabled => {
                "the release is live, but the fallback table may still show an older one; `tintype resume` or the next \
                 publish writes it"
            }
            LeftBehind::UnpurgedUntabled => {
                "what was published is live, but the edges weren't all told, and the fallback table may still show an \
                 older release: `tintype resume` does both, and so does the next publish"
            }
            LeftBehind::Finished => "the run had done its work",
            LeftBehind::Committed => "the release is committed and partly activated, and the next publish finishes it",
        })
    }
}

impl Error {
    /// An error about the command line.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Usage { message: message.into(), hint: Some(hint.into()) }
    }

    /// The process's exit code: a contract, which scripts rely on.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage { .. }
            | Error::Unpublished
            | Error::Invalid(_)
            | Error::Database(DatabaseError::Url { .. }) => 2,
            Error::Locked { .. } | Error::Running { .. } => 5,
            Error::Interrupted { .. } => 130,
            Error::Terminated { .. } => 143,
            _ => 1,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Usage { hint, .. } | Error::Table { hint, .. } => hint.clone(),
            Error::Listen { hint, .. } => Some(hint.clone()),
            Error::Database(error) => error.hint(),
            Error::Store(error) => error.hint.clone(),
            Error::Cdn(error) => error.hint.clone(),
            Error::Corrupt { reason, .. } if reason.starts_with("has format") => {
                Some("it was written by a newer tintype; `tintype --version` tells this one's version".to_owned())
            }
            Error::Corrupt { object, .. } if object.starts_with("blob/") => {
                Some("nothing was changed; `tintype publish --force` writes every document anew".to_owned())
            }
            Error::Corrupt { .. } => Some(
                "nothing was changed; restore the object from a backup of the control folder. Without one, begin anew: \
                 remove the control folder with all that is in it, and the catalogue (index.json and index.json.gz); \
                 then `tintype publish --begin-anew` writes every document over itself, and `tintype verify --repair --yes` removes those \
                 that are no more"
                    .to_owned(),
            ),
            Error::Unpublished => Some("`tintype publish` makes the first release".to_owned()),
            Error::Lost { .. } => Some(
                "is its file system mounted? If the site is lost indeed, `tintype publish --begin-anew` makes a first \
                 release, whose number follows the table's"
                    .to_owned(),
            ),
            Error::Missing { path, .. } => Some(format!("`tintype republish {path}` writes it again")),
            Error::Running { .. } => Some(
                "runs of a schedule never overlap. If that process is dead, on another machine, its claim is free five \
                 minutes after it was last renewed, and `tintype schedule` takes it; `tintype publish` doesn't ask for it"
                    .to_owned(),
            ),
            Error::Busy { .. } => Some("run the command again when they have come to their end".to_owned()),
            Error::Overtaken { .. } => Some("run the command again: it starts from what is there now".to_owned()),
            Error::LeaseLost { .. } => Some(
                "the next publish finishes the release; [store] lease_ttl lets a lease live longer without a renewal"
                    .to_owned(),
            ),
            Error::Locked { .. } => Some(
                "wait for it and run the command again; `tintype status` shows whether it is still at work. If its process \
                 is dead, a bucket's lease expires by itself, [store] lease_ttl and half a minute after it was taken or \
                 renewed, and `tintype resume --take-over` takes it at once"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
