//! Who runs schedules: how one process names itself to the others, and how it finds out whether another is still there.
//!
//! The number of a process means something on the machine, since the boot, and in the namespace of processes that it was
//! given in; containers of one machine count for themselves, and two machines may have one name. Only where all of that
//! is the same, a number that is gone tells that its process is, and so does one that was given to another process since,
//! which is told by when that one began.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::release::RunId;
use crate::release::head::claim::Owner;

/// This process, under the name of its run.
pub fn this_process(run: &RunId) -> Owner {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok();
    let place = match (boot, namespace) {
        (Some(boot), Some(namespace)) => format!("{} {}", boot.trim(), namespace.display()),
        // Where the system doesn't say, no other process is known to be in the same place.
        _ => format!("unknown {run}"),
    };
    let process = std::process::id();
    Owner { host, place, process, started: started(process), run: run.to_string() }
}

/// When a process began, in ticks since the boot; `None` where the system doesn't say.
fn started(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is a name in brackets that may hold anything; this is the 22nd (proc_pid_stat(5)).
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// Says whether the process of an owner is there; `None` if it can't be told from here.
pub fn is_alive(me: &Owner, other: &Owner) -> Option<bool> {
    if other.place != me.place {
        return None;
    }
    if other.process == me.process {
        // A number can be given again; ours was.
        return Some(other.run == me.run);
    }
    let pid = i32::try_from(other.process).ok().and_then(Pid::from_raw)?;
    if test_kill_process(pid) == Err(Errno::SRCH) {
        return Some(false);
    }
    // Nothing is concluded from what either side doesn't know.
    Some(other.started.zip(started(other.process)).is_none_or(|(then, now)| then == now))
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;

    #[test]
    fn a_process_that_is_gone_is_told_from_one_elsewhere() {
        let me = this_process(&RunId::new(Utc::now(), 1));
        assert_eq!(is_alive(&me, &me), Some(true));
        let before = Owner { run: "another".to_owned(), started: None, ..me.clone() };
        assert_eq!(is_alive(&me, &before), Some(false), "an earlier process with our number");
        let first = Owner { process: 1, ..before.clone() };
        assert_eq!(is_alive(&me, &first), Some(true));
        assert_eq!(is_alive(&me, &Owner { started: started(1), ..first.clone() }), Some(true));
        let again = Owner { started: started(1).map(|ticks| ticks + 1), ..first };
        assert_eq!(is_alive(&me, &again), Some(false), "another process has its number by now");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let gone = Owner { process: child.id(), ..before.clone() };
        assert_eq!(is_alive(&me, &gone), Some(false));
        assert_eq!(is_alive(&me, &Owner { place: "elsewhere".to_owned(), ..gone }), None);
    }
}
