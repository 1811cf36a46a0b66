//! Processes of a PostgreSQL server that hang, as they do when its disk doesn't answer.
//!
//! A process that is stopped may hold a lock of the server's memory, and all others would soon wait for that. So this is for
//! servers that nobody else connects to, and only statements that sleep are stopped.

use std::collections::HashSet;

use rustix::process::{Pid, Signal, kill_process};

use super::postgres::Session;

/// Those that were stopped; they go on when this is dropped.
#[derive(Default)]
pub struct Frozen(HashSet<i32>);

impl Frozen {
    /// Stops each process that sleeps in a statement of such an application, and will do so for a while.
    pub fn freeze_sleeping(&mut self, watch: &mut Session, application: &str) {
        let sleeping = format!(
            "SELECT pid::text FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND application_name LIKE '{application}' \
             AND clock_timestamp() - query_start < interval '400 ms'"
        );
        for row in watch.query(&sleeping) {
            let pid = row[0].as_deref().expect("a process").parse().expect("a number");
            if self.0.insert(pid) {
                send(pid, Signal::STOP);
            }
        }
    }

    /// How many were stopped.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.drain().for_each(|pid| send(pid, Signal::CONT));
    }
}

fn send(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process");
    // It may have ended by itself.
    let _ = kill_process(pid, signal);
}
