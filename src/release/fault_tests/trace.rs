//! What has happened, in words, for whoever has to find out why a promise was broken.

use crate::release::head::{Head, parse};
use crate::snapshot::gunzip;
use crate::store::{Event, World};

/// The journal, one line an event.
pub fn trace(world: &World) -> String {
    let lines = world.journal().iter().enumerate();
    lines.map(|(at, event)| format!("{at:4}  {}\n", line(event))).collect()
}

fn line(event: &Event) -> String {
    match event {
        Event::Head { by, bytes } => match parse::<Head>("head.json", bytes) {
            Ok(head) => format!("{by} writes head {}", words(&head)),
            Err(error) => format!("{by} writes a head: {error}"),
        },
        Event::Public { by, path, shown: None } => format!("{by} removes {path}"),
        Event::Public { by, path, shown: Some(shown) } => {
            let body = gunzip(&shown.bytes, 1 << 20).unwrap_or_default();
            let body = String::from_utf8_lossy(&body);
            let tail: String = body.chars().skip(body.chars().count().saturating_sub(40)).collect();
            format!("{by} shows {path} of release {}: …{tail}", shown.attributes.serial)
        }
        Event::NameUsedTwice { by, name } => format!("{by} writes {name} again"),
        Event::Deleted { by, name } => format!("{by} deletes {name}"),
        Event::Endless { by } => format!("{by} goes round in circles"),
        Event::Note(text) => text.clone(),
    }
}

fn words(head: &Head) -> String {
    let id = |id: &Option<_>| id.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
    let Head { seq, desired, active, purged, floor, .. } = head;
    let mut words = format!("{seq}: desired {}, active {}, purged {}", id(desired), id(active), id(purged));
    if let Some(floor) = floor {
        words.push_str(&format!(", floor {floor}"));
    }
    if let Some(suspect) = &head.suspect {
        words.push_str(&format!(", doubt since {}", id(&suspect.since)));
    }
    if let Some(lease) = &head.lease {
        words.push_str(&format!(", lease {}", lease.holder));
    }
    for (name, checked) in &head.checked {
        words.push_str(&format!(", {name} read {}", checked.as_of));
    }
    words
}
