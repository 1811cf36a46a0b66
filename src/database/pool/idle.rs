//! Connections that lie ready, on a stack, and the task that closes those that lie there for too long.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::figures::Closed;
use super::file::FileId;
use super::shared::{Place, Shared};
use crate::database::Connection;

/// The shortest time between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A connection without a transaction.
#[derive(Debug)]
pub struct Link {
    pub connection: Connection,
    /// The number of its target.
    pub target: usize,
    /// When it has lived for long enough.
    pub expires: Instant,
    /// The file that was opened, if it is one.
    pub file: Option<FileId>,
}

/// Those that lie ready, the one that came back last on top.
#[derive(Debug, Default)]
pub struct Stack(Vec<(Link, Instant)>);

impl Stack {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn push(&mut self, link: Link, now: Instant) {
        self.0.push((link, now));
    }

    /// True if one to this target lies ready.
    pub fn has(&self, target: usize) -> bool {
        self.0.iter().any(|(link, _)| link.target == target)
    }

    /// The topmost to this target.
    pub fn pop(&mut self, target: usize) -> Option<Link> {
        let at = self.0.iter().rposition(|(link, _)| link.target == target)?;
        Some(self.0.remove(at).0)
    }

    /// The lowest, whatever its target.
    pub fn pop_lowest(&mut self) -> Option<Link> {
        (!self.0.is_empty()).then(|| self.0.remove(0).0)
    }

    /// The first that is to be closed, with the reason.
    pub fn pop_due(&mut self, now: Instant, idle_timeout: Duration) -> Option<(Link, Closed)> {
        let at = self.0.iter().position(|(link, since)| now >= link.expires.min(*since + idle_timeout))?;
        let (link, _) = self.0.remove(at);
        let reason = if now >= link.expires { Closed::Age } else { Closed::Idle };
        Some((link, reason))
    }

    /// When the next one is to be closed.
    fn next_due(&self, idle_timeout: Duration) -> Option<Instant> {
        self.0.iter().map(|(link, since)| link.expires.min(*since + idle_timeout)).min()
    }
}

/// Closes connections when they are due. Ends when none is left; whoever puts one on the stack starts it again.
pub async fn sweep(pool: Weak<Shared>) {
    loop {
        let due = {
            let Some(shared) = pool.upgrade() else { return };
            let mut state = shared.state();
            let Some(due) = state.idle.next_due(shared.settings.idle_timeout) else {
                state.sweeper = None;
                return;
            };
            due
        };
        sleep_until(due.max(Instant::now() + BETWEEN_LOOKS)).await;
        let Some(shared) = pool.upgrade() else { return };
        close_due(&shared);
    }
}

fn close_due(shared: &Arc<Shared>) {
    loop {
        // A connection that is being closed counts, so it takes a slot. Where all are taken, readers are about to take what
        // lies ready, and see for themselves how old it is.
        let Some(place) = Place::at_once(shared) else { return };
        let Some((link, reason)) = shared.state().idle.pop_due(Instant::now(), shared.settings.idle_timeout) else {
            return;
        };
        place.close(link.connection, reason, false);
    }
}
