//! Schedules for those who run their own cron or systemd: lines and units that run `tintype schedule --once NAME`.
//!
//! Neither knows all that a schedule says. What gets lost stands beside it in a comment.

use chrono::{DateTime, TimeDelta, Utc};

use super::{DueTimes, Schedule};

/// How the program is called.
#[derive(Debug, Clone)]
pub struct Command {
    /// Its path.
    pub program: String,
    /// The path of the configuration file.
    pub config: String,
    /// The path of the file for metrics of every run.
    pub metrics_file: Option<String>,
}

impl Command {
    /// What runs a schedule, word by word as `quoted` writes one.
    fn once(&self, schedule: &str, quoted: fn(&str) -> String) -> String {
        let mut line = format!("{} -c {} schedule --once {schedule}", quoted(&self.program), quoted(&self.config));
        if let Some(file) = &self.metrics_file {
            line.push_str(&format!(" --metrics-file {}", quoted(file)));
        }
        line
    }
}

/// A file for systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// For how long changes of the clocks are looked for.
const AHEAD: TimeDelta = TimeDelta::days(366);
/// What a run that is stopped has for its end beyond its grace: its last words, its record in the head, and messages.
const LAST_WORDS_SECONDS: u64 = 100;

/// The lines of a crontab.
pub fn crontab(schedules: &[Schedule], command: &Command, now: DateTime<Utc>) -> String {
    let mut text = "\
# From `tintype schedule --export crontab`. A cron that knows no CRON_TZ (Debian's) goes by the machine's own time zone.
# cron makes up for nothing that was due while the machine was down, whatever starting_deadline says.
"
    .to_owned();
    for schedule in schedules {
        let due = &schedule.due;
        text.push_str(&format!("\n# {}\n", schedule.name));
        for lost in lost(schedule, now) {
            text.push_str(&format!("# {lost}\n"));
        }
        let off = if schedule.suspend { "#" } else { "" };
        let line = format!("{} {}", due.crontab.text(), command.once(&schedule.name, shell));
        // The rest of a line behind a % would be the command's input.
        text.push_str(&format!("CRON_TZ={}\n{off}{}\n", due.zone.name(), line.replace('%', "\\%")));
    }
    text
}

/// What cron has no word for.
fn lost(schedule: &Schedule, now: DateTime<Utc>) -> Vec<String> {
    let mut lost = Vec::new();
    if schedule.suspend {
        lost.push("suspended".to_owned());
    }
    if !schedule.jitter.is_zero() {
        lost.push(format!("without its jitter of {}", humantime::format_duration(schedule.jitter)));
    }
    lost.extend(clocks(&schedule.due, now));
    lost
}

/// What becomes of due times when the clocks change.
fn clocks(due: &DueTimes, now: DateTime<Utc>) -> Option<String> {
    let unusual = due.unusual(now, now + AHEAD);
    let first = unusual.first()?;
    let zone = due.zone.name();
    Some(format!(
        "the clocks of {zone} change: {} {}; others may do it otherwise",
        first.civil.format("%Y-%m-%d %H:%M"),
        first.kind.note(due)
    ))
}

/// The service and the timer of each schedule.
pub fn systemd(schedules: &[Schedule], command: &Command, now: DateTime<Utc>) -> Vec<Unit> {
    schedules.iter().flat_map(|schedule| [service(schedule, command), timer(schedule, now)]).collect()
}

fn service(schedule: &Schedule, command: &Command) -> Unit {
    let name = &schedule.name;
    let stop = schedule.grace.as_secs() + LAST_WORDS_SECONDS;
    // The program itself lets a run go on for its grace; nothing that it starts is to be told before.
    let text = format!(
        "[Unit]\nDescription=tintype schedule {name}\nWants=network-online.target\nAfter=network-online.target\n\n\
         [Service]\nType=oneshot\nExecStart={}\nKillMode=mixed\nTimeoutStopSec={stop}\n",
        command.once(name, unit),
    );
    Unit { name: format!("tintype-{name}.service"), text }
}

fn timer(schedule: &Schedule, now: DateTime<Utc>) -> Unit {
    let name = &schedule.name;
    let zone = schedule.due.zone.name();
    let mut text = format!("[Unit]\nDescription=tintype schedule {name}\n\n[Timer]\n");
    if let Some(lost) = clocks(&schedule.due, now) {
        text.push_str(&format!("# {lost}\n"));
    }
    for calendar in schedule.due.crontab.calendars() {
        text.push_str(&format!("OnCalendar={calendar} {zone}\n"));
    }
    text.push_str("AccuracySec=1s\n");
    if !schedule.jitter.is_zero() {
        text.push_str(&format!("RandomizedDelaySec={}\n", schedule.jitter.as_secs()));
    }
    text.push_str("# A run that was missed is made up for after the next start, however late: there is no starting_deadline here.\n");
    text.push_str("Persistent=true\n");
    if schedule.suspend {
        text.push_str("\n# Suspended, so that there is nothing to enable.\n");
    } else {
        text.push_str("\n[Install]\nWantedBy=timers.target\n");
    }
    Unit { name: format!("tintype-{name}.timer"), text }
}

/// A word as a shell takes it.
fn shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A word as systemd takes it.
fn unit(word: &str) -> String {
    let word = word.replace('%', "%%").replace('$', "$$");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%$".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word;
    }
    format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
