//! How the levels of guards are written, and what is said of those that mean nothing.

use std::time::Duration;

use bytesize::ByteSize;

use super::{Guard, Levels, Unit};

/// Largest share that a limit may be, in percent: growth by a factor of ten thousand.
const MAX_PERCENT: f64 = 1_000_000.0;
/// Longest age that a limit may be.
const MAX_AGE: Duration = Duration::from_hours(24 * 36_500);
/// The largest document that may be asked for; what reads documents back stops there too.
const MAX_MAX_SIZE: ByteSize = ByteSize::gib(1);

impl Guard {
    /// How its levels can be written, for hints.
    pub fn example(self) -> String {
        let (one, both) = match self.unit() {
            Unit::Percent => ("20%", "warn 10%, error 30%"),
            Unit::Event => ("error", "warn"),
            Unit::Age => ("2d", "warn 1d, error 3d"),
            Unit::Documents => ("500", "warn 100, error 1000"),
        };
        format!("{} = \"{one}\", \"{both}\" or \"off\"", self.name())
    }

    /// Reads levels as they are written: `20%` (an error), `warn 10%`, `warn 10%, error 30%`, `off`; where there is no
    /// limit only `warn`, `error` and `off`. What is wrong comes with a hint.
    pub fn parse(self, text: &str) -> Result<Levels, (String, String)> {
        self.understood(text).map_err(|reason| (format!("[guard] {}: {reason}", self.name()), self.hint()))
    }

    fn hint(self) -> String {
        format!("write for example {}", self.example())
    }

    fn understood(self, text: &str) -> Result<Levels, String> {
        let mut levels = Levels::default();
        if text.trim() == "off" {
            return Ok(levels);
        }
        for part in text.split(',').map(str::trim) {
            let (word, limit) = match part.split_once(char::is_whitespace) {
                Some((word, limit)) if word == "warn" || word == "error" => (word, limit.trim()),
                _ if part == "warn" || part == "error" => (part, ""),
                _ => ("error", part),
            };
            let level = if word == "warn" { &mut levels.warn } else { &mut levels.error };
            if level.replace(self.limit(limit)?).is_some() {
                return Err(format!("`{text}` says {word} twice"));
            }
        }
        match (levels.warn, levels.error) {
            (Some(warn), Some(error)) if warn >= error => {
                Err(format!("`{text}` would never warn, because it refuses at {} already", self.shown(error)))
            }
            _ => Ok(levels),
        }
    }

    fn limit(self, text: &str) -> Result<f64, String> {
        match self.unit() {
            Unit::Event if text.is_empty() => Ok(0.0),
            Unit::Event => Err(format!("`{text}` isn't a level, and it has no limit")),
            _ if text.is_empty() => Err("a limit is missing".to_owned()),
            Unit::Percent => {
                let most = if self == Guard::SizeGrowth { MAX_PERCENT } else { 100.0 };
                let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
                match percent {
                    None => Err(format!("`{text}` isn't a percentage")),
                    Some(percent) if (0.0..=most).contains(&percent) => Ok(percent),
                    Some(_) => Err(format!("`{text}` isn't between 0% and {most}%")),
                }
            }
            Unit::Age => match humantime::parse_duration(text) {
                Err(error) => Err(format!("`{text}` isn't a duration: {error}")),
                Ok(age) if age > MAX_AGE => Err(format!("`{text}` is too long")),
                Ok(age) => Ok(age.as_secs_f64()),
            },
            Unit::Documents => {
                text.parse::<u32>().map(f64::from).map_err(|_| format!("`{text}` isn't a number of documents"))
            }
        }
    }

    /// A limit as it is written.
    pub fn shown(self, limit: f64) -> String {
        match self.unit() {
            Unit::Percent => format!("{limit}%"),
            Unit::Event => String::new(),
            Unit::Age => humantime::format_duration(Duration::from_secs_f64(limit)).to_string(),
            Unit::Documents => format!("{limit}"),
        }
    }

    /// Levels as they are written.
    pub fn written(self, levels: Levels) -> String {
        let word =
            |word: &str, limit: Option<f64>| Some(format!("{word} {}", self.shown(limit?)).trim_end().to_owned());
        let words: Vec<String> =
            [word("warn", levels.warn), word("error", levels.error)].into_iter().flatten().collect();
        if words.is_empty() { "off".to_owned() } else { words.join(", ") }
    }
}

/// Reads `max_size`. What is wrong comes with a hint.
pub fn size_bytes(text: &str) -> Result<u64, (String, String)> {
    let size: ByteSize = text.parse().map_err(|error| {
        (format!("[guard] max_size: `{text}` isn't a size: {error}"), "write for example \"1 MiB\"".to_owned())
    })?;
    if size > MAX_MAX_SIZE {
        let reason = format!("[guard] max_size: {size} is more than {MAX_MAX_SIZE}, the most that a document may have");
        let hint = "browsers fail far below that; split the document by another key column";
        return Err((reason, hint.to_owned()));
    }
    Ok(size.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let cases = [
            (Guard::RowsDrop, "20%", "error 20%"),
            (Guard::RowsDrop, "error 20%", "error 20%"),
            (Guard::RowsDrop, " warn  12.5 % ", "warn 12.5%"),
            (Guard::RowsDrop, "error 30%, warn 10%", "warn 10%, error 30%"),
            (Guard::SizeGrowth, "400%", "error 400%"),
            (Guard::Empty, "warn", "warn"),
            (Guard::Path, "error", "error"),
            (Guard::SourceAge, "warn 1d, error 36h", "warn 1day, error 1day 12h"),
            (Guard::MaxDelete, "0", "error 0"),
            (Guard::Changed, "off", "off"),
        ];
        for (guard, text, written) in cases {
            let levels = guard.parse(text).unwrap_or_else(|refusal| panic!("{guard} {text}: {refusal:?}"));
            assert_eq!(guard.written(levels), written, "{guard} {text}");
        }
        for guard in Guard::ALL {
            assert_eq!(guard.parse(&guard.written(guard.default())), Ok(guard.default()), "{guard}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_with_an_example() {
        let cases = [
            (Guard::RowsDrop, "20", "`20` isn't a percentage"),
            (Guard::RowsDrop, "120%", "between 0% and 100%"),
            (Guard::RowsDrop, "-1%", "between 0% and 100%"),
            (Guard::RowsDrop, "NaN%", "between 0% and 100%"),
            (Guard::RowsDrop, "warn", "a limit is missing"),
            (Guard::RowsDrop, "", "a limit is missing"),
            (Guard::RowsDrop, "10%, 20%", "says error twice"),
            (Guard::RowsDrop, "warn 30%, error 10%", "would never warn, because it refuses at 10%"),
            (Guard::Empty, "20%", "`20%` isn't a level"),
            (Guard::SourceAge, "soon", "isn't a duration"),
            (Guard::SourceAge, "200years", "too long"),
            (Guard::MaxDelete, "-1", "isn't a number of documents"),
        ];
        for (guard, text, reason) in cases {
            let Err((said, hint)) = guard.parse(text) else { panic!("{guard} takes {text}") };
            assert!(said.starts_with(&format!("[guard] {guard}: ")) && said.contains(reason), "{guard} {text}: {said}");
            assert!(hint.contains(guard.name()), "{hint}");
        }
    }
}
