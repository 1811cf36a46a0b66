//! One attempt: the same program as a child, so that a publish that crashes, or takes all memory, can't take the daemon
//! and its other schedules along.
//!
//! The child has a group of its own, so that Ctrl-C on a terminal reaches the daemon alone, which decides what becomes of
//! it. It is never orphaned: its stdin is a pipe that the daemon keeps open, and `--stop-with-stdin` ends it, as SIGTERM
//! would, when the pipe ends with the daemon, however that came about. One that hangs is stopped after its time limit;
//! whatever it has come to, so that not even one that can't be killed is waited for, because later runs wait with it.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Schedule;
use super::keeper::{Finish, Work};
use crate::release::head::claim::RunOutcome;

/// The most that is kept of what a child writes to stdout; it is one JSON document, and what is cut off is none.
const MAX_DOCUMENT: u64 = 8 << 20;
/// The longest line of its stderr that is logged.
const MAX_LINE: usize = 4096;
/// How long a child has for its orderly end after SIGTERM; an interrupted publish takes three seconds.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// How children are started.
#[derive(Debug, Clone)]
pub struct Starter {
    /// The configuration file, absolute.
    pub config: PathBuf,
    /// Who the list of releases names as the author, if not the schedule.
    pub author: Option<String>,
}

/// For how long what a child has written is read after its end, which another process may hold open.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

/// When a child is to be told to end; none as long as it may go on.
pub type Stop = watch::Receiver<Option<Instant>>;

/// How an attempt ended, with what is to be told of it.
#[derive(Debug, Clone)]
pub struct Ended {
    /// For what comes next.
    pub finish: Finish,
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// What the child said, if it was a document.
    pub document: Option<Value>,
    /// Why, if it is known better than by the child.
    pub reason: Option<String>,
}

/// Why a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// By itself.
    Itself,
    /// Whoever started it is to end.
    Stopped,
    /// It took too long.
    Overdue,
}

impl Ended {
    /// That of an attempt of which nothing is known yet.
    pub fn nothing() -> Ended {
        ended(None, None, Why::Stopped)
    }
}

impl Starter {
    /// Runs one attempt to its end. `started` is told the number of the process.
    pub async fn attempt(
        &self,
        schedule: &Schedule,
        work: Work,
        mut stop: Stop,
        started: impl Fn(Option<u32>),
    ) -> Ended {
        let mut arguments: Vec<String> = match work {
            Work::Publish => ["publish".to_owned()].into_iter().chain(schedule.templates.iter().cloned()).collect(),
            Work::Failed => vec!["publish".to_owned(), "--failed".to_owned()],
            Work::Resume => vec!["resume".to_owned()],
        };
        if work != Work::Resume {
            let author = self.author.clone().unwrap_or_else(|| format!("schedule {}", schedule.name));
            arguments.extend(["--author".to_owned(), author]);
        }
        let limit = Instant::now() + schedule.time_limit;
        let mut ended = self.run(&schedule.name, &arguments, (&mut stop, limit), &started).await;
        if let Some(reason) = &mut ended.reason {
            reason.push_str(&format!(" of {}", humantime::format_duration(schedule.time_limit)));
        }
        if schedule.prune && ended.finish.outcome == RunOutcome::Done && work == Work::Publish {
            // What it leaves, the next one removes.
            let arguments = ["prune".to_owned(), "--yes".to_owned()];
            let pruned = self.run(&schedule.name, &arguments, (&mut stop, limit), &started).await;
            if pruned.finish.outcome != RunOutcome::Done {
                tracing::warn!(schedule = schedule.name, code = pruned.code, "the prune after the run went wrong");
            }
        }
        started(None);
        ended
    }

    async fn run(
        &self,
        name: &str,
        arguments: &[String],
        until: (&mut Stop, Instant),
        started: &impl Fn(Option<u32>),
    ) -> Ended {
        let mut child = match self.command(arguments).spawn() {
            Ok(child) => child,
            Err(error) => {
                tracing::error!(schedule = name, %error, "a run can't be started");
                return ended(None, None, Why::Itself);
            }
        };
        started(child.id());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut read = pin!(async { tokio::join!(document(stdout), log(name, stderr)).0 });
        let mut over = pin!(wait(&mut child, until));
        let (document, (status, why)) = tokio::select! {
            document = &mut read => (document, over.await),
            over = &mut over => (tokio::time::timeout(LAST_OUTPUT, read).await.unwrap_or_default(), over),
        };
        if why == Why::Overdue {
            tracing::error!(
                schedule = name,
                command = arguments[0],
                "stopped, because it took longer than its time_limit"
            );
        }
        ended(status.and_then(|status| status.code()), document, why)
    }

    fn command(&self, arguments: &[String]) -> Command {
        // The file may have been replaced by a newer one since; this is the program that runs now.
        let itself = Path::new("/proc/self/exe");
        let program = match itself.exists() {
            true => itself.to_owned(),
            false => std::env::current_exe().unwrap_or_else(|_| "tintype".into()),
        };
        let mut command = Command::new(program);
        command
            .arg0("tintype")
            .arg("-c")
            .arg(&self.config)
            .args(["--format", "json", "--color", "never", "--no-progress", "--stop-with-stdin"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// Waits for the end of a child, and ends it when it is time to; no status of one that can't be killed.
async fn wait(child: &mut Child, (stop, limit): (&mut Stop, Instant)) -> (Option<ExitStatus>, Why) {
    // Its end ends the child.
    let _stdin = child.stdin.take();
    let why = tokio::select! {
        biased;
        status = child.wait() => return (status.ok(), Why::Itself),
        () = is_over(stop) => Why::Stopped,
        () = tokio::time::sleep_until(limit) => Why::Overdue,
    };
    for end in [Signal::TERM, Signal::KILL] {
        signal(child, end);
        if let Ok(status) = tokio::time::timeout(LAST_WORDS, child.wait()).await {
            return (status.ok(), why);
        }
    }
    (None, why)
}

/// Returns when a child has no time left.
async fn is_over(stop: &mut Stop) {
    loop {
        let until = *stop.borrow_and_update();
        let left = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = left => return,
            changed = stop.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself just now.
        let _ = kill_process(pid, signal);
    }
}

/// Reads the document to its end, keeping so much of it.
async fn document(stdout: Option<impl AsyncRead + Unpin>) -> Option<Value> {
    let mut stdout = stdout?;
    let mut bytes = Vec::new();
    (&mut stdout).take(MAX_DOCUMENT).read_to_end(&mut bytes).await.ok()?;
    tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await.ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Passes what a child says to people on to the log, line by line.
async fn log(name: &str, stderr: Option<impl AsyncRead + Unpin>) {
    let Some(stderr) = stderr else { return };
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut lines).take(MAX_LINE as u64).read_until(b'\n', &mut line).await {
            Ok(1..) => {}
            _ => return,
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            tracing::warn!(schedule = name, "{text}");
        }
    }
}

/// What an exit code means, with the document for what it doesn't tell.
fn ended(code: Option<i32>, document: Option<Value>, why: Why) -> Ended {
    let outcome = match code {
        Some(0) => RunOutcome::Done,
        Some(2) => RunOutcome::Invalid,
        Some(3) => RunOutcome::Refused,
        Some(4) => RunOutcome::Behind,
        Some(5) => RunOutcome::Locked,
        _ if why == Why::Stopped => RunOutcome::Stopped,
        _ => RunOutcome::Failed,
    };
    let has_failed = |document: &Value| {
        let templates = document["templates"].as_array();
        templates.is_some_and(|all| all.iter().any(|template| template["outcome"] == "failed"))
    };
    let left = match outcome {
        RunOutcome::Behind if document.as_ref().is_none_or(has_failed) => Work::Failed,
        RunOutcome::Behind => Work::Resume,
        _ => Work::Publish,
    };
    let is_hanging = why == Why::Overdue && outcome != RunOutcome::Done;
    let reason = is_hanging.then(|| "it was stopped after its time_limit".to_owned());
    Ended { finish: Finish { outcome, left }, code, document, reason }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn exit_codes_and_what_they_leave() {
        let finish = |code, document, is_stopped| {
            ended(code, document, if is_stopped { Why::Stopped } else { Why::Itself }).finish
        };
        let outcomes = [
            (Some(0), RunOutcome::Done),
            (Some(1), RunOutcome::Failed),
            (Some(2), RunOutcome::Invalid),
            (Some(3), RunOutcome::Refused),
            (Some(5), RunOutcome::Locked),
            (Some(101), RunOutcome::Failed),
            (Some(143), RunOutcome::Failed),
            (None, RunOutcome::Failed),
        ];
        for (code, outcome) in outcomes {
            assert_eq!(finish(code, None, false), Finish { outcome, left: Work::Publish }, "{code:?}");
        }
        assert_eq!(finish(Some(143), None, true).outcome, RunOutcome::Stopped);
        assert_eq!(finish(None, None, true).outcome, RunOutcome::Stopped);
        assert_eq!(finish(Some(0), None, true).outcome, RunOutcome::Done, "it was quicker");
        let hanging = ended(Some(143), None, Why::Overdue);
        assert_eq!((hanging.finish.outcome, hanging.reason.is_some()), (RunOutcome::Failed, true));
        let failed = json!({ "templates": [{ "outcome": "published" }, { "outcome": "failed" }] });
        let behind = json!({ "templates": [{ "outcome": "published" }] });
        assert_eq!(finish(Some(4), Some(failed), false).left, Work::Failed);
        assert_eq!(finish(Some(4), Some(behind), false).left, Work::Resume);
        assert_eq!(finish(Some(4), None, false).left, Work::Failed);
    }

    #[tokio::test]
    async fn a_child_has_its_time_and_no_more() {
        let sleeping = |script: &str| {
            Command::new("bash").args(["-c", script]).stdin(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
        };
        let (_sender, mut stop) = watch::channel(None);
        let limit = Instant::now() + Duration::from_millis(200);
        let (status, why) = wait(&mut sleeping("sleep 600"), (&mut stop, limit)).await;
        assert_eq!((status.and_then(|status| status.code()), why), (None, Why::Overdue), "it ended by a signal");
        let (status, why) = wait(&mut sleeping("exit 3"), (&mut stop, limit + Duration::from_mins(1))).await;
        assert_eq!((status.and_then(|status| status.code()), why), (Some(3), Why::Itself));
    }

    #[tokio::test]
    async fn a_document_is_read_within_bounds() {
        assert_eq!(document(Some(&b"{\"a\":1}\n"[..])).await, Some(json!({ "a": 1 })));
        assert_eq!(document(Some(&b"no"[..])).await, None);
        let endless = tokio::io::AsyncReadExt::take(tokio::io::repeat(b' '), 3 * MAX_DOCUMENT);
        assert_eq!(document(Some(endless)).await, None);
    }
}
