//! Signals: how a command ends that is told to.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Outcome;
use crate::error::{Error, LeftBehind};
use crate::release::{Phase, Progress};
use crate::schedule::Wish;

/// How long an interrupted commit or activation may take to come to an orderly end.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Runs a command until it ends or is interrupted.
///
/// Dropping it closes its connection, which ends the statement on the server. A commit that is under way gets a moment
/// for its answer, and an activation one to end what it has begun and free the lease, unless a second signal comes.
pub async fn until_signal(
    progress: &Progress,
    has_parent: bool,
    command: impl Future<Output = Result<Outcome, Error>>,
) -> Result<Outcome, Error> {
    // With a handler, a file that may not grow any more is an error like a full disk, and not the end of the process.
    let _handled = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    let mut command = std::pin::pin!(command);
    let is_interrupt = tokio::select! {
        result = &mut command => return result,
        is_interrupt = interrupted(progress) => is_interrupt,
        () = orphaned(has_parent) => false,
    };
    if matches!(progress.phase(), Phase::Commit | Phase::Activate) {
        progress.stop();
        tokio::select! {
            biased;
            result = &mut command => return result,
            () = progress.stopped() => {}
            _ = interrupted(progress) => {}
            () = tokio::time::sleep(LAST_WORDS) => {}
        }
    }
    let left = match progress.phase() {
        _ if progress.is_in(Phase::Purge) && progress.is_in(Phase::Table) => LeftBehind::UnpurgedUntabled,
        Phase::Commit => LeftBehind::Unknown,
        Phase::Activate => LeftBehind::Committed,
        Phase::Purge => LeftBehind::Unpurged,
        Phase::PurgeNamed => LeftBehind::Unforgotten,
        Phase::Table => LeftBehind::Untabled,
        Phase::Done | Phase::Serve => LeftBehind::Finished,
        Phase::Prepare | Phase::Build | Phase::Stage | Phase::Verify | Phase::Remove => LeftBehind::Nothing,
    };
    Err(if is_interrupt { Error::Interrupted { left } } else { Error::Terminated { left } })
}

/// Waits for the end of stdin, which is that of the process at its other end.
async fn orphaned(has_parent: bool) {
    if !has_parent {
        return std::future::pending().await;
    }
    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
}

/// Waits for Ctrl-C (true) or SIGTERM (false).
async fn interrupted(progress: &Progress) -> bool {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    let is_interrupt = tokio::select! {
        _ = interrupt.recv() => true,
        _ = terminate.recv() => false,
    };
    if progress.phase() == Phase::Serve {
        // A server hears the signal too, answers what it has begun, and ends by itself.
        return std::future::pending().await;
    }
    is_interrupt
}

/// Ctrl-C and SIGTERM, for a command that hears them itself.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    was_interrupt: bool,
}

impl Signals {
    /// Listens from now on.
    pub fn new() -> Result<Signals, Error> {
        let listen = |kind| {
            signal(kind).map_err(|error| Error::Local {
                action: "listen for",
                object: "signals".to_owned(),
                reason: error.to_string(),
            })
        };
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Signals { interrupt, terminate, was_interrupt: false })
    }

    /// Waits for the next.
    pub async fn next(&mut self) -> Wish {
        self.was_interrupt = tokio::select! {
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => false,
        };
        Wish::End
    }

    /// Whether the last one was Ctrl-C.
    pub fn was_interrupt(&self) -> bool {
        self.was_interrupt
    }

    /// The error of a command that the last one has ended.
    pub fn error(&self, left: LeftBehind) -> Error {
        if self.was_interrupt { Error::Interrupted { left } } else { Error::Terminated { left } }
    }
}
