//! `db monitor`: the server's connections as they come and go, a line at a time.
//!
//! It holds one connection and opens another only when that is lost, so that it still sees a server that takes no more.
//! A look that fails is a line like the others: what an operator waits for is often just that it works again.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use clap::Args;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::super::Outcome;
use super::super::context::Context;
use super::super::print::{self, counted, styled};
use super::super::signals::Signals;
use super::connections::{hidden, line, states};
use super::{Asked, error_json, file_json, file_line, open_in, plain};
use crate::database::activity::{Activity, Level, State, Thresholds};
use crate::database::{DatabaseError, Watch};
use crate::error::{Error, LeftBehind};
use crate::release::Phase;

/// How many holders are named where there is too little room.
const MOST: usize = 3;

/// Options of `db monitor`.
#[derive(Debug, Args)]
pub struct Monitor {
    /// How long to wait between two looks, 100 ms or more.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = pause)]
    interval: Duration,
    /// End after so many looks; without it, at Ctrl-C.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// From how many percent of the connections on to say `high`.
    #[arg(long, value_name = "PERCENT", default_value = "70", value_parser = percent)]
    high: f64,
    /// From how many percent on to say `critical`, which makes the exit code 1.
    #[arg(long, value_name = "PERCENT", default_value = "90", value_parser = percent)]
    critical: f64,
    /// For how long a session may be idle in a transaction before it is named.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    idle_in_transaction: Duration,
}

fn pause(text: &str) -> Result<Duration, String> {
    let pause = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if pause < Duration::from_millis(100) { Err("it is 100ms or more".to_owned()) } else { Ok(pause) }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').trim().parse::<f64>().map_err(|error| error.to_string())?;
    if (0.0..=1000.0).contains(&number) { Ok(number) } else { Err("it is a percentage, such as 70".to_owned()) }
}

/// What has been seen so far.
#[derive(Default)]
struct Seen {
    looks: u64,
    failed: u64,
    worst: Option<Level>,
    most: u64,
}

/// A server, and the sessions that it had at the last look.
struct Watched {
    watch: Watch,
    last: Option<BTreeSet<i64>>,
}

impl Monitor {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        let asked = Asked::new(context)?;
        let mut signals = Signals::new()?;
        // The signal is heard here.
        context.progress.enter(Phase::Serve, 0);
        let wait = asked.project.settings.connect_timeout;
        let servers = asked.database.watches(&asked.application, wait);
        let mut watched: Vec<Watched> = servers.into_iter().map(|watch| Watched { watch, last: None }).collect();
        let mut seen = Seen::default();
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.count.is_none_or(|count| seen.looks < count) {
            let look = async {
                ticks.tick().await;
                match watched.is_empty() {
                    true => self.look_at_file(context, &asked, &mut seen).await,
                    false => self.look(context, &mut watched, &mut seen).await,
                }
            };
            tokio::select! {
                biased;
                _ = signals.next() => {
                    if self.count.is_some() {
                        return Err(signals.error(LeftBehind::Nothing));
                    }
                    break;
                }
                () = look => {}
            }
        }
        for watched in watched {
            watched.watch.close().await;
        }
        if context.is_talkative() {
            print::note(&seen.words());
        }
        Ok(if seen.failed > 0 || seen.worst == Some(Level::Critical) { Outcome::Failed } else { Outcome::Done })
    }

    async fn look(&self, context: &Context, watched: &mut [Watched], seen: &mut Seen) {
        seen.looks += 1;
        let is_one = watched.len() == 1;
        for one in watched {
            let looked = one.watch.look().await;
            let server = one.watch.describe();
            let (opened, closed) = one.moved(looked.as_ref().ok());
            seen.add(&looked, self.thresholds());
            if context.is_json() {
                print_line(&self.sample(&server, &looked, opened, closed));
                continue;
            }
            let place = if is_one { String::new() } else { format!("{server}: ") };
            match looked {
                Ok(activity) => self.show(&place, &activity, opened, closed, seen.looks == 1),
                Err(error) => {
                    let word = styled(print::RED, "failed  ");
                    print::line(&format!("{}  {word}  {place}{}", clock(), plain(&error.to_string())));
                }
            }
        }
    }

    /// A file has no connections; that it can be read is what there is to watch.
    async fn look_at_file(&self, context: &Context, asked: &Asked, seen: &mut Seen) {
        seen.looks += 1;
        let began = std::time::Instant::now();
        let Some(file) = asked.file().await.transpose() else { return };
        let took = began.elapsed();
        seen.failed += u64::from(file.is_err());
        match (file, context.is_json()) {
            (Ok(file), true) => {
                let mut sample = opening("ok", &asked.database.describe());
                sample["file"] = file_json(&file);
                sample["read_seconds"] = took.as_secs_f64().into();
                print_line(&sample);
            }
            (Err(error), true) => {
                let mut sample = opening("failed", &asked.database.describe());
                sample["error"] = json!({ "message": error.to_string(), "hint": error.hint() });
                print_line(&sample);
            }
            (Ok(file), false) => {
                let words = format!("{}, {}, read in {}", file_line(&file), open_in(&file), millis(took));
                print::line(&format!("{}  {}  {words}", clock(), styled(print::GREEN, "ok      ")));
            }
            (Err(error), false) => {
                print::line(&format!("{}  {}  {error}", clock(), styled(print::RED, "failed  ")));
            }
        }
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds { high: self.high, critical: self.critical }
    }

    fn sample(&self, server: &str, looked: &Result<Activity, DatabaseError>, opened: u64, closed: u64) -> Value {
        let activity = match looked {
            Ok(activity) => activity,
            Err(error) => {
                let mut sample = opening("failed", server);
                sample["error"] = error_json(error);
                return sample;
            }
        };
        let all = activity.all();
        let usage = activity.usage_percent();
        let mut sample = opening(self.thresholds().level(usage).name(), server);
        let figures = json!({
            "used": activity.used(),
            "usable": activity.limits.usable(),
            "max_connections": activity.limits.max,
            "usage_percent": usage,
            "states": states(&all),
            "idle_in_transaction_seconds": all.longest.get(&State::IdleInTransaction).map(Duration::as_secs_f64),
            "forgotten": activity.forgotten(self.idle_in_transaction).len(),
            "waits_for_lock": activity.sessions.iter().filter(|session| session.waits_for_lock).count(),
            "opened": opened,
            "closed": closed,
        });
        if let (Some(sample), Value::Object(figures)) = (sample.as_object_mut(), figures) {
            sample.extend(figures);
        }
        sample
    }

    fn show(&self, place: &str, activity: &Activity, opened: u64, closed: u64, is_first: bool) {
        let all = activity.all();
        let usage = activity.usage_percent();
        let level = self.thresholds().level(usage);
        let style = match level {
            Level::Ok => print::GREEN,
            Level::High => print::YELLOW,
            Level::Critical => print::RED,
        };
        let mut parts = vec![format!("{} of {} ({usage:.0} %)", activity.used(), activity.limits.usable())];
        let shown = [State::Active, State::Idle, State::IdleInTransaction, State::Hidden];
        parts.extend(shown.into_iter().filter_map(|state| {
            let count = all.in_state(state);
            let age = all.longest.get(&State::IdleInTransaction).filter(|_| state == State::IdleInTransaction);
            let age = age.map(|age| format!(" ({})", print::duration(age.as_secs_f64()))).unwrap_or_default();
            (count > 0).then(|| format!("{} {count}{age}", state.name()))
        }));
        let waiting = activity.sessions.iter().filter(|session| session.waits_for_lock).count();
        parts.extend((waiting > 0).then(|| format!("waiting for a lock {waiting}")));
        parts.extend((!is_first).then(|| format!("+{opened} -{closed}")));
        let word = styled(style, format!("{:8}", level.name()));
        print::line(&format!("{}  {word}  {place}{}", clock(), parts.join(", ")));
        if level > Level::Ok {
            let most = activity.holders().into_iter().take(MOST).map(|(holder, held)| {
                let name = plain(&holder.application);
                let name = if name.is_empty() { "(no name)".to_owned() } else { name };
                format!("{name} by {} {}", plain(&holder.user), held.total())
            });
            print::line(&format!("          most: {}", most.collect::<Vec<_>>().join(", ")));
        }
        for session in activity.forgotten(self.idle_in_transaction) {
            print::line(&styled(print::YELLOW, format!("          {}", line(session))));
        }
        if let Some(words) = hidden(activity).filter(|_| is_first) {
            print::line(&styled(print::YELLOW, format!("          {words}")));
        }
    }
}

impl Watched {
    /// How many sessions have come and gone since the last look.
    fn moved(&mut self, activity: Option<&Activity>) -> (u64, u64) {
        let Some(activity) = activity else { return (0, 0) };
        let now: BTreeSet<i64> = activity.sessions.iter().map(|session| session.pid).collect();
        let moved = self
            .last
            .as_ref()
            .map_or((0, 0), |last| (now.difference(last).count() as u64, last.difference(&now).count() as u64));
        self.last = Some(now);
        moved
    }
}

impl Seen {
    fn add(&mut self, looked: &Result<Activity, DatabaseError>, thresholds: Thresholds) {
        match looked {
            Ok(activity) => {
                self.worst = self.worst.max(Some(thresholds.level(activity.usage_percent())));
                self.most = self.most.max(activity.used());
            }
            Err(_) => self.failed += 1,
        }
    }

    fn words(&self) -> String {
        let most = self.worst.map(|_| format!(", {} at most", counted(self.most, "connection"))).unwrap_or_default();
        let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
        format!("{}{most}{failed}", counted(self.looks, "look"))
    }
}

fn opening(outcome: &str, server: &str) -> Value {
    let at = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    json!({ "version": 1, "command": "db monitor", "outcome": outcome, "at": at, "server": server })
}

/// One document on one line.
fn print_line(sample: &Value) {
    print::data(format!("{sample}\n").as_bytes());
}

fn clock() -> String {
    Utc::now().format("%H:%M:%SZ").to_string()
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
