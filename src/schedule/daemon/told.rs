//! What a daemon tells of its runs: messages, pings, metrics.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Daemon;
use crate::error::Error;
use crate::metrics::{self, Site};
use crate::notify::{self, Event, Signal};
use crate::release::head::claim::{RunOutcome, Trouble};
use crate::release::head::{Head, HeadRead};
use crate::schedule::attempt::Ended;
use crate::schedule::keeper::{Absence, After, Kept, Missed, News, Next};

/// For how long the head is waited for that the metrics are made of.
const METRICS_READ: Duration = Duration::from_secs(10);

/// What there is to tell people after an attempt.
fn event(after: &After) -> Option<Event> {
    match (after.before, after.now, after.next) {
        (before, Some(now), _) if before != Some(now) => match now {
            Trouble::Refusal => Some(Event::Refused),
            Trouble::Failure | Trouble::Other => Some(Event::Failure),
        },
        (Some(_), None, _) => Some(Event::Recovery),
        (None, None, Next::Over(RunOutcome::Done)) => Some(Event::Success),
        _ => None,
    }
}

/// What a check is told at the end of a run; nothing of one that another goes on with.
fn signal(outcome: RunOutcome, code: Option<i32>) -> Option<Signal> {
    match outcome {
        RunOutcome::Done => Some(Signal::Success),
        RunOutcome::Stopped => None,
        _ => Some(match code.and_then(|code| u8::try_from(code).ok()) {
            // The last attempt was good, and the run all the same wasn't.
            None | Some(0) => Signal::Fail,
            Some(code) => Signal::Code(code),
        }),
    }
}

impl Daemon {
    /// Tells people and checks what came of an attempt.
    pub(super) fn tell(&self, name: &str, after: &After, ended: &Ended) {
        if let Some(event) = event(after) {
            // Whoever wants to hear of good runs alone, hears of the first one too.
            let is_unwanted = event == Event::Recovery && !self.setup.notifier.wants(event);
            let event = if is_unwanted { Event::Success } else { event };
            self.message(name, event, &what(event, after, ended));
        }
        let ping = self.schedules.get(name).and_then(|schedule| schedule.ping.as_ref());
        if let (Some(ping), Next::Over(outcome)) = (ping, after.next)
            && let Some(signal) = signal(outcome, ended.code)
        {
            self.setup.notifier.ping(ping.url(), signal);
        }
    }

    /// Tells people, once, that the store has kept a run from beginning, or its end from being known, for long.
    pub(super) fn tell_of_store(&mut self, name: &str, error: &Error) {
        let what = match self.keeper.kept_by_store(name, Utc::now()) {
            None => return,
            Some(Kept::FromBeginning) => format!("can't begin: {error}"),
            Some(Kept::FromRecording) => format!("is over, and its end can't be recorded: {error}"),
        };
        self.message(name, Event::Failure, &what);
    }

    /// Tells people, once, that the store hasn't said since the start what was run.
    pub(super) fn tell_of_silence(&mut self, error: &Error) {
        for name in self.keeper.unread_for_long(Utc::now()) {
            self.message(&name, Event::Failure, &format!("can't be looked after: {error}"));
        }
    }

    /// Says what nobody ran, or ran to its end.
    pub(super) fn tell_of_absence(&self, name: &str, News { what, is_first }: &News) {
        let what = absence(what);
        tracing::warn!(schedule = name, "{what}");
        if *is_first {
            self.message(name, Event::Failure, &format!("fails: {what}"));
        }
    }

    fn message(&self, name: &str, event: Event, what: &str) {
        let text = notify::text(&self.setup.store.describe(), &self.me.host, name, what);
        self.setup.notifier.tell(event, &text);
    }

    /// Writes the metrics of an attempt that has ended, once: after the head was to say how, because they are made of it.
    pub(super) async fn show(&mut self, name: &str) {
        if let Some(ended) = self.unshown.remove(name) {
            self.write_metrics(name, &ended).await;
        }
    }

    /// The same for all that is left at the end.
    pub(super) async fn show_all(&mut self) {
        for (name, ended) in std::mem::take(&mut self.unshown) {
            self.write_metrics(&name, &ended).await;
        }
    }

    /// Writes metrics; a run is none the worse without them.
    async fn write_metrics(&self, name: &str, ended: &Ended) {
        let Some(file) = &self.setup.metrics_file else { return };
        let read = tokio::time::timeout(METRICS_READ, HeadRead::read(&self.setup.store)).await;
        let head = read.ok().and_then(Result::ok).map(|read| read.head);
        let is_owed = head.as_ref().is_some_and(|head| head.is_owed(&self.setup.cdn));
        let site = Site { head, is_owed, schedules: Some(self.setup.known.clone()) };
        let code = ended.code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
        let tried = self.tried(name, ended, site.head.as_ref());
        let (schedule, document, at) = (Some(name), ended.document.as_ref(), Utc::now());
        let run = metrics::Ended { command: "publish", schedule, code, document, tried, at };
        if let Err(error) = metrics::write(file, &run, &site) {
            tracing::warn!(%error, "the metrics weren't written");
        }
    }
}

impl Daemon {
    /// The templates that an attempt was to read and of which it couldn't say what became: the database was away, or it
    /// was stopped or killed. Where the schedule names none, they are those that were ever tried.
    fn tried(&self, name: &str, ended: &Ended, head: Option<&Head>) -> Vec<String> {
        let of_publish = |document: &Value| document["command"] == "publish" && document["templates"].is_null();
        let is_untold = ended.document.as_ref().is_none_or(of_publish);
        if !matches!(ended.finish.outcome, RunOutcome::Failed | RunOutcome::Locked) || !is_untold {
            return Vec::new();
        }
        let named = self.schedules.get(name).map(|schedule| schedule.templates.clone()).unwrap_or_default();
        let known = head.into_iter().flat_map(|head| head.checked.keys().chain(head.failed.keys()));
        match named.is_empty() {
            true => known.cloned().collect::<BTreeSet<_>>().into_iter().collect(),
            false => named,
        }
    }
}

/// What isn't there, as a sentence.
fn absence(what: &Absence) -> String {
    let shown = |due: &DateTime<Utc>| due.format("%Y-%m-%d %H:%M UTC").to_string();
    match what {
        Absence::Lost(due, by) => {
            let by = by.as_ref().map(|by| format!(" on {by}")).unwrap_or_default();
            format!(
                "the run of {} is lost: it was begun{by}, which is gone, and it is too late to begin again",
                shown(due)
            )
        }
        Absence::Missed(Missed { first, times: 1, .. }) => {
            format!("nothing ran that was due {}, and its starting_deadline is over", shown(first))
        }
        Absence::Missed(Missed { first, last, times }) => {
            let (first, last) = (shown(first), shown(last));
            format!("nothing ran that was due {times} times from {first} to {last}, and its starting_deadline is over")
        }
    }
}

/// What became of a schedule, as the end of a sentence.
fn what(event: Event, after: &After, ended: &Ended) -> String {
    let document = ended.document.as_ref();
    let release = document.and_then(|document| document["release"].as_str());
    let release = release.map(|release| format!(", release {release}")).unwrap_or_default();
    let code = ended.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
    let reason = ended.reason.clone().or_else(|| notify::reason(document));
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let next = match after.next {
        Next::Again(wait) => {
            let wait = humantime::format_duration(wait.to_std().unwrap_or_default());
            format!(". It is tried again in {wait}")
        }
        Next::Over(_) => String::new(),
    };
    match event {
        Event::Failure => format!("fails ({code}){reason}{next}"),
        Event::Refused => format!("is refused by a guard{reason}. The documents stay as they were"),
        Event::Recovery => format!("is well again{release}"),
        Event::Success => format!("is done{release}"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn each_state_is_told_once() {
        let told = |before, now, next| event(&After { next, attempts: 1, before, now });
        let again = Next::Again(TimeDelta::minutes(1));
        let over = Next::Over(RunOutcome::Failed);
        let (failure, refusal) = (Some(Trouble::Failure), Some(Trouble::Refusal));
        assert_eq!(told(None, failure, again), Some(Event::Failure));
        assert_eq!(told(failure, failure, again), None);
        assert_eq!(told(failure, failure, over), None);
        assert_eq!(told(failure, refusal, over), Some(Event::Refused));
        assert_eq!(told(refusal, failure, over), Some(Event::Failure));
        assert_eq!(told(refusal, None, Next::Over(RunOutcome::Done)), Some(Event::Recovery));
        assert_eq!(told(None, None, Next::Over(RunOutcome::Done)), Some(Event::Success));
        assert_eq!(told(None, None, Next::Over(RunOutcome::Stopped)), None);
        assert_eq!(told(None, None, again), None, "another publisher is in the way");
    }

    #[test]
    fn a_check_gets_the_exit_code() {
        assert_eq!(signal(RunOutcome::Done, Some(0)), Some(Signal::Success));
        assert_eq!(signal(RunOutcome::Refused, Some(3)), Some(Signal::Code(3)));
        assert_eq!(signal(RunOutcome::Failed, None), Some(Signal::Fail));
        assert_eq!(signal(RunOutcome::Behind, Some(0)), Some(Signal::Fail));
        assert_eq!(signal(RunOutcome::Stopped, Some(143)), None);
    }
}
