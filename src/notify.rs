//! Telling people, and the machines that watch over them, how scheduled runs end.
//!
//! A *message* goes to a webhook once per state: when runs begin to fail or to be refused, and when they are well again.
//! What was told is kept with the schedule's claim in the head, so that neither a restart nor a second daemon repeats it.
//! A *ping* tells a check, in the style of healthchecks.io, that a run begins and how it ended; the check tells people
//! when no ping comes, which nothing that runs here could.
//!
//! Both are tried a few times within short time-outs, beside the run, and never change what becomes of it. Their
//! addresses are secrets and stand in no log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use url::Url;

use crate::http;

mod words;

pub use words::{reason, text};

/// The longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The waits between tries.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];
/// How much waits for one receiver.
const MOST_WAITING: usize = 32;
/// How long a process that ends waits for what is still to be told.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// What people may want to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Runs begin to fail.
    Failure,
    /// A guard begins to refuse.
    Refused,
    /// All is well again.
    Recovery,
    /// A run was good.
    Success,
}

impl Event {
    /// As the configuration names them.
    pub const NAMES: [(&'static str, Event); 4] = [
        ("failure", Event::Failure),
        ("refused", Event::Refused),
        ("recovery", Event::Recovery),
        ("success", Event::Success),
    ];
}

/// Who is told, and of what.
#[derive(Clone, Default)]
pub struct Notifier {
    /// An address that takes `{"text": …}`, as Slack, Mattermost, Rocket.Chat and others do.
    webhook: Option<Url>,
    /// Of what it is told.
    on: BTreeSet<Event>,
    lanes: Arc<Mutex<Lanes>>,
}

/// What is on its way. To one receiver things go one after the other, so that an end never overtakes its beginning; a
/// receiver that is away doesn't hold the others up.
#[derive(Default)]
struct Lanes {
    open: BTreeMap<String, mpsc::Sender<Parcel>>,
    workers: JoinSet<()>,
}

/// Something to be told.
struct Parcel {
    what: &'static str,
    url: Url,
    /// None of a ping.
    message: Option<String>,
}

/// What a check is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A run begins.
    Start,
    /// It was good.
    Success,
    /// It ended with this code, which isn't 0.
    Code(u8),
    /// It ended without a code.
    Fail,
}

impl Notifier {
    /// One that tells a webhook of these events.
    pub fn new(webhook: Option<Url>, on: BTreeSet<Event>) -> Notifier {
        Notifier { webhook, on, lanes: Arc::default() }
    }

    /// True if people want to be told of this.
    pub fn wants(&self, event: Event) -> bool {
        self.webhook.is_some() && self.on.contains(&event)
    }

    /// Tells people, if they want to know.
    pub fn tell(&self, event: Event, text: &str) {
        let Some(url) = self.webhook.clone().filter(|_| self.on.contains(&event)) else { return };
        let message = json!({ "text": words::escaped(text) }).to_string();
        let receiver = url.to_string();
        self.send(receiver, Parcel { what: "the message to the webhook", url, message: Some(message) });
    }

    /// Tells a check.
    pub fn ping(&self, check: &Url, signal: Signal) {
        let mut url = check.clone();
        let path = check.path().trim_end_matches('/');
        url.set_path(&match signal {
            Signal::Start => format!("{path}/start"),
            Signal::Success => path.to_owned(),
            Signal::Code(code) => format!("{path}/{code}"),
            Signal::Fail => format!("{path}/fail"),
        });
        self.send(check.to_string(), Parcel { what: "the ping", url, message: None });
    }

    /// Waits for what is on its way, for a while.
    pub async fn finish(&self) {
        let Lanes { open, mut workers } = std::mem::take(&mut *self.lanes());
        drop(open);
        let all = async { while workers.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
            tracing::warn!("what was to be told took too long, and was given up");
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, receiver: String, parcel: Parcel) {
        let what = parcel.what;
        let mut lanes = self.lanes();
        let Lanes { open, workers } = &mut *lanes;
        let lane = open.entry(receiver).or_insert_with(|| {
            let (lane, parcels) = mpsc::channel(MOST_WAITING);
            workers.spawn(work(parcels));
            lane
        });
        if lane.try_send(parcel).is_err() {
            tracing::warn!("{what} wasn't sent: {MOST_WAITING} others before it weren't taken yet");
        }
    }
}

/// Delivers to one receiver, in order.
async fn work(mut parcels: mpsc::Receiver<Parcel>) {
    while let Some(Parcel { what, url, message }) = parcels.recv().await {
        if let Err(reason) = deliver(&url, message).await {
            tracing::warn!(reason, "{what} wasn't taken");
        }
    }
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let webhook = self.webhook.as_ref().map(|_| "…");
        f.debug_struct("Notifier").field("webhook", &webhook).field("on", &self.on).finish_non_exhaustive()
    }
}

/// Sends a message, or a ping, until somebody takes it. One that got no answer may have arrived: twice is better than
/// never.
async fn deliver(url: &Url, message: Option<String>) -> Result<(), String> {
    let method = if message.is_some() { "POST" } else { "GET" };
    let headers: &[(&str, &str)] = if message.is_some() { &[("content-type", "application/json")] } else { &[] };
    let body = message.unwrap_or_default().into_bytes();
    let mut pauses = PAUSES.into_iter();
    loop {
        let reason = match http::send(method, url, headers, body.clone(), TIMEOUT).await {
            Ok(answer) if (200..300).contains(&answer.status) => return Ok(()),
            Ok(answer) if answer.status != 408 && answer.status != 429 && answer.status < 500 => {
                return Err(format!("its status is {}", answer.status));
            }
            Ok(answer) => format!("its status is {}", answer.status),
            Err(reason) => reason,
        };
        let Some(pause) = pauses.next() else { return Err(format!("{reason}, {} times", PAUSES.len() + 1)) };
        tokio::time::sleep(pause).await;
    }
}
