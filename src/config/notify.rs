//! `[notify]`: who is told how scheduled runs end.

use std::collections::BTreeSet;

use url::Url;

use super::keys::{NOTIFY_ON, NOTIFY_WEBHOOK};
use super::values::Value;
use super::{Reader, Secret};
use crate::diagnostic::did_you_mean;
use crate::notify::Event;

/// `[notify]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyConfig {
    /// Where messages go, an http or https URL. Default none.
    pub webhook: Option<Secret>,
    /// Of what. Default failures, refusals and recoveries.
    pub on: BTreeSet<Event>,
}

impl Reader<'_> {
    pub(super) fn notify(&mut self) -> NotifyConfig {
        let webhook = self.understood(&NOTIFY_WEBHOOK, |text, _| match Url::parse(text.trim()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Secret::new(text.trim())),
            Ok(_) => Err(refusal("isn't an http or https address")),
            Err(error) => Err(refusal(&format!("isn't a URL: {error}"))),
        });
        let written = self.values.list(&NOTIFY_ON);
        if written.is_empty() {
            return NotifyConfig { webhook, on: [Event::Failure, Event::Refused, Event::Recovery].into() };
        }
        let on = written.into_iter().filter_map(|value| self.event(value)).collect();
        NotifyConfig { webhook, on }
    }

    fn event(&mut self, Value { text, origin }: Value) -> Option<Event> {
        let known = || Event::NAMES.iter().map(|(name, _)| *name);
        let found = Event::NAMES.iter().find(|(name, _)| *name == text.trim());
        if found.is_none() {
            let hint = did_you_mean(&text, known()).map_or_else(
                || format!("known are {}", known().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean \"{near}\"?"),
            );
            self.refuse(origin, (format!("{} can't be `{text}`", NOTIFY_ON.label()), hint));
        }
        found.map(|(_, event)| *event)
    }
}

fn refusal(what: &str) -> (String, String) {
    (format!("{} {what}", NOTIFY_WEBHOOK.label()), format!("write for example {}", NOTIFY_WEBHOOK.example()))
}
