//! File descriptors: each connection takes one, and so does each file of the store and each connection to a database.
//!
//! Systems start processes with a low limit that these may raise themselves, because some old programs can't do with
//! more. It is raised here. Where that isn't enough, fewer connections are held than was configured: a server that
//! accepts everybody and then can't open a document helps nobody.

/// Kept free for everything but readers' connections.
const OTHERS: u64 = 192;
/// Part of a small limit that is kept free all the same.
const OTHERS_PART: u64 = 2;

/// How many of so many connections can be held.
pub fn room_for(connections: usize) -> usize {
    let Some(limit) = raised(connections as u64 + OTHERS) else { return connections };
    let room = usize::try_from(limit - OTHERS.min(limit / OTHERS_PART)).unwrap_or(usize::MAX).max(1);
    if room < connections {
        tracing::warn!(
            limit,
            configured = connections,
            connections = room,
            hint = "raise it (ulimit -n, or LimitNOFILE of a systemd unit), or lower [fallback] connections",
            "the limit of open files is too low for that many connections",
        );
    }
    room.min(connections)
}

/// The limit of open files after it was raised to this, as far as it may be; none if there is no limit.
#[cfg(unix)]
fn raised(wanted: u64) -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limits = getrlimit(Resource::Nofile);
    let current = limits.current?;
    if current >= wanted {
        return Some(current);
    }
    let target = limits.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(target), maximum: limits.maximum });
    Some(if raised.is_ok() { target } else { current })
}

#[cfg(not(unix))]
fn raised(_: u64) -> Option<u64> {
    None
}
