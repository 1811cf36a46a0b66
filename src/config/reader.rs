//! Understanding values: texts that remember where they were written become what a key is, and what can't is gathered,
//! so that somebody who writes a configuration is told all of it at once.

use std::path::Path;
use std::time::Duration;

use super::keys::{Key, Kind};
use super::values::{Origin, Refusal, Value, Values};

/// Understands values, gathering everything that is wrong on the way.
pub(super) struct Reader<'a> {
    pub(super) folder: &'a Path,
    pub(super) path: &'a Path,
    pub(super) values: Values,
    pub(super) refusals: Vec<Refusal>,
}

impl Reader<'_> {
    pub(super) fn refuse(&mut self, origin: Origin, (reason, hint): (String, String)) {
        self.refusals.push(Refusal { origin, reason, hint });
    }

    /// The value of a key as `understand` takes it; what it can't take is reported with its place.
    pub(super) fn understood<T>(
        &mut self,
        key: &'static Key,
        understand: impl Fn(&str, &Path) -> Result<T, (String, String)>,
    ) -> Option<T> {
        let Value { text, origin } = self.values.get(key)?;
        let understood = match text.trim().is_empty() {
            true => Err((format!("{} is empty", key.label()), format!("write for example {}", key.example()))),
            false => understand(&text, self.folder),
        };
        understood.map_err(|refusal| self.refuse(origin, refusal)).ok()
    }

    pub(super) fn duration(&mut self, key: &'static Key) -> Duration {
        self.maybe_duration(key).unwrap_or_default()
    }

    /// The same of a key without a default.
    pub(super) fn maybe_duration(&mut self, key: &'static Key) -> Option<Duration> {
        let Kind::Duration { min, max } = key.kind else { return None };
        let shown = humantime::format_duration;
        let range = (format!("{} is {} to {}", key.label(), shown(min), shown(max)), key.example());
        self.understood(key, |text, _| match humantime::parse_duration(text) {
            Err(error) => {
                Err((format!("`{text}` isn't a duration: {error}"), format!("write for example {}", key.example())))
            }
            Ok(found) if found < min => Err((format!("`{text}` is too short"), range.0.clone())),
            Ok(found) if found > max => Err((format!("`{text}` is too long"), range.0.clone())),
            Ok(found) => Ok(found),
        })
    }

    pub(super) fn number(&mut self, key: &'static Key) -> usize {
        let Kind::Number { min, max } = key.kind else { return 0 };
        let hint = || format!("{} is {min} to {max}: {}", key.label(), key.example());
        let number = self.understood(key, |text, _| match text.trim().parse::<usize>() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            Ok(_) => Err((format!("{} can't be {text}", key.label()), hint())),
            Err(_) => Err((format!("`{text}` isn't a whole number"), hint())),
        });
        number.unwrap_or(min)
    }
}
