//! `[notify]`: who is told how scheduled runs end.

use super::{Key, Kind};

/// Where messages go.
pub static NOTIFY_WEBHOOK: Key = Key {
    section: "notify",
    name: "webhook",
    kind: Kind::Secret,
    default: None,
    shown: "\"https://hooks.slack.com/services/T/B/X\"",
    comment: &[
        "The address that `tintype schedule` sends messages to, as {\"text\": …}: Slack, Mattermost and others take that. None",
        "by default. Whoever knows it can write there too, so better name a file in TINTYPE_NOTIFY_WEBHOOK_FILE.",
    ],
};

/// What messages are about.
pub static NOTIFY_ON: Key = Key {
    section: "notify",
    name: "on",
    kind: Kind::Words(&["failure", "refused", "recovery", "success"]),
    default: None,
    shown: "[\"failure\", \"refused\", \"recovery\"]",
    comment: &[
        "What is told, once each: that runs begin to fail, or a guard to refuse, and that all is well again. These three by",
        "default; \"success\" tells every good run.",
    ],
};
