//! `schedules/*.toml`: what is to be published when.
//!
//! A file is a schedule, and its name is the schedule's, by the rule that makes slugs. Every finding has the place that it
//! is about. The address of a `ping` is whoever knows it: findings show the lines around them, so it is hidden there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::{TZ_VARIANTS, Tz};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::crontab::Crontab;
use super::due::DueTimes;
use super::{Ping, Schedule};
use crate::diagnostic::{Diagnostic, did_you_mean, unknown_name};
use crate::key::slug;

#[cfg(test)]
mod tests;

const DAY: Duration = Duration::from_hours(24);
const SKELETON: &str = "write at least when: cron = \"30 2 * * *\"";

/// A schedule file as TOML gives it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    cron: Spanned<String>,
    time_zone: Option<Spanned<String>>,
    #[serde(default)]
    templates: Option<Spanned<Vec<Spanned<String>>>>,
    starting_deadline: Option<Spanned<String>>,
    jitter: Option<Spanned<String>>,
    #[serde(default)]
    suspend: bool,
    retries: Option<Spanned<u32>>,
    retry_after: Option<Spanned<String>>,
    grace: Option<Spanned<String>>,
    time_limit: Option<Spanned<String>>,
    #[serde(default)]
    prune: bool,
    ping: Option<Spanned<String>>,
}

/// A key that holds a duration: its default and its bounds.
struct Length {
    key: &'static str,
    default: Duration,
    least: Duration,
    most: Duration,
}

const STARTING_DEADLINE: Length = Length {
    key: "starting_deadline",
    default: Duration::from_hours(1),
    least: Duration::from_mins(1),
    most: Duration::from_hours(7 * 24),
};
const JITTER: Length = Length { key: "jitter", default: Duration::ZERO, least: Duration::ZERO, most: DAY };
const RETRY_AFTER: Length =
    Length { key: "retry_after", default: Duration::from_mins(1), least: Duration::from_secs(1), most: DAY };
const GRACE: Length = Length { key: "grace", default: Duration::from_mins(1), least: Duration::ZERO, most: DAY };
const TIME_LIMIT: Length = Length {
    key: "time_limit",
    default: Duration::from_hours(6),
    least: Duration::from_secs(1),
    most: Duration::from_hours(7 * 24),
};
const DEFAULT_RETRIES: u32 = 3;
const MOST_RETRIES: u32 = 100;

/// Reads every `*.toml` of a folder, in the order of their names; none where there is no folder. `templates` are those
/// that a schedule may name.
pub fn load_all(folder: &Path, shown: &Path, templates: &[&str]) -> Result<Vec<Schedule>, Vec<Diagnostic>> {
    let mut schedules = Vec::new();
    let mut findings = Vec::new();
    let mut named: BTreeMap<String, String> = BTreeMap::new();
    for name in files(folder, shown)? {
        match load(&folder.join(&name), &shown.join(&name), templates) {
            Ok((schedule, _)) if !named.contains_key(&schedule.name) => {
                named.insert(schedule.name.clone(), name);
                schedules.push(schedule);
            }
            Ok((schedule, finding)) => {
                let message = format!(
                    "the file's name makes the schedule's, and {} makes `{}` already",
                    named[&schedule.name], schedule.name
                );
                findings.push(finding(message).hint("give one of the two files another name"));
            }
            Err(errors) => findings.extend(errors),
        }
    }
    if findings.is_empty() { Ok(schedules) } else { Err(findings) }
}

/// The names of the schedules of a folder, whatever is in their files; none where it can't be read.
pub fn names(folder: &Path) -> Option<BTreeSet<String>> {
    folder.read_dir().ok()?;
    let stem = |name: &String| slug(name.strip_suffix(".toml").unwrap_or(name));
    files(folder, folder).ok().map(|names| names.iter().map(stem).collect())
}

/// The names of a folder's schedule files, in order.
fn files(folder: &Path, shown: &Path) -> Result<Vec<String>, Vec<Diagnostic>> {
    let wrong = |error: std::io::Error| {
        let message = format!("the folder of schedules can't be read: {error}");
        vec![Diagnostic::error(shown, &"".into(), message).hint("[paths] schedules names it")]
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(wrong)?.file_name().to_string_lossy().into_owned();
        let is_toml = Path::new(&name).extension().is_some_and(|extension| extension == "toml");
        if is_toml && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Reads one file; beside the schedule, what makes a finding about its `cron`.
fn load(
    file: &Path,
    shown: &Path,
    templates: &[&str],
) -> Result<(Schedule, impl Fn(String) -> Diagnostic), Vec<Diagnostic>> {
    let whole = |message: String| vec![Diagnostic::error(shown, &"".into(), message)];
    let text = std::fs::read_to_string(file).map_err(|error| whole(format!("can't be read: {error}")))?;
    let (schedule, span) = parse(shown, &text, templates)?;
    let (shown, source): (_, Arc<str>) = (shown.to_owned(), hidden(&text).into());
    Ok((schedule, move |message| Diagnostic::error(&shown, &source, message).at(span.clone())))
}

/// Reads the text of a file; beside the schedule, where its `cron` stands.
fn parse(file: &Path, text: &str, templates: &[&str]) -> Result<(Schedule, Range<usize>), Vec<Diagnostic>> {
    let mut reader = Reader { file, text, source: hidden(text).into(), findings: Vec::new() };
    let written: Written = toml::from_str(text).map_err(|error| vec![reader.toml(&error)])?;
    let span = written.cron.span();
    match (reader.schedule(written, templates), reader.findings) {
        (Some(schedule), findings) if findings.is_empty() => Ok((schedule, span)),
        (_, findings) => Err(findings),
    }
}

/// The text with the values of `ping` replaced by as many `*`, wherever they may stand.
fn hidden(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        let is_secret = content.contains("://") || content.trim_start().starts_with("ping");
        let value = content.find('=').map_or(0, |at| at + 1);
        lines.push(match is_secret {
            true => format!("{}{}{}", &content[..value], "*".repeat(content.len() - value), &line[content.len()..]),
            false => line.to_owned(),
        });
    }
    lines.concat()
}

/// Reads values and gathers what is wrong with them.
struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    source: Arc<str>,
    findings: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn report(&mut self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.findings.push(Diagnostic::error(self.file, &self.source, message).at(span).hint(hint));
    }

    fn toml(&self, error: &toml::de::Error) -> Diagnostic {
        let message = error.message().lines().next().unwrap_or_default();
        let hint = match unknown_name(message) {
            Some(hint) => hint,
            None if message.starts_with("missing field") => SKELETON.to_owned(),
            None => "a schedule is TOML; text stands in quotes: cron = \"30 2 * * *\"".to_owned(),
        };
        let span = error.span().unwrap_or(0..0);
        Diagnostic::error(self.file, &self.source, format!("the schedule is wrong: {message}")).at(span).hint(hint)
    }

    fn schedule(&mut self, written: Written, templates: &[&str]) -> Option<Schedule> {
        let name = self.name();
        let crontab = self.crontab(&written.cron);
        let zone = self.zone(written.time_zone.as_ref());
        let templates = self.templates(written.templates, templates);
        let starting_deadline = self.length(written.starting_deadline.as_ref(), &STARTING_DEADLINE);
        let jitter = self.length(written.jitter.as_ref(), &JITTER);
        let retries = self.retries(written.retries.as_ref());
        let retry_after = self.length(written.retry_after.as_ref(), &RETRY_AFTER);
        let grace = self.length(written.grace.as_ref(), &GRACE);
        let time_limit = self.length(written.time_limit.as_ref(), &TIME_LIMIT);
        let ping = written.ping.as_ref().and_then(|ping| self.ping(ping));
        Some(Schedule {
            name: name?,
            due: DueTimes { crontab: crontab?, zone: zone? },
            templates,
            starting_deadline,
            jitter,
            suspend: written.suspend,
            retries,
            retry_after,
            grace,
            time_limit,
            prune: written.prune,
            ping,
        })
    }

    fn name(&mut self) -> Option<String> {
        let stem = self.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name = slug(&stem);
        if stem.chars().any(char::is_alphanumeric) {
            return Some(name);
        }
        let message = format!("the file's name makes the schedule's, and `{stem}` makes none");
        self.report(0..0, message, "use letters and digits: nightly.toml");
        None
    }

    fn crontab(&mut self, cron: &Spanned<String>) -> Option<Crontab> {
        let parsed = Crontab::parse(cron.get_ref());
        let wrong = match parsed {
            Ok(crontab) => return Some(crontab),
            Err(wrong) => wrong,
        };
        // Behind the quote the value stands as it is, unless it has escapes.
        let span = cron.span();
        let start = span.start + 1;
        let is_plain = self.text.get(start..start + cron.get_ref().len()) == Some(cron.get_ref());
        let place = if is_plain { start + wrong.span.start..start + wrong.span.end } else { span };
        self.report(place, format!("cron: {}", wrong.message), wrong.hint);
        None
    }

    fn zone(&mut self, name: Option<&Spanned<String>>) -> Option<Tz> {
        let Some(name) = name else { return Some(Tz::UTC) };
        let written = name.get_ref();
        if let Ok(zone) = Tz::from_str(written) {
            return Some(zone);
        }
        let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
        // The last part of a name is what people remember.
        let city =
            names().find(|known| known.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(written)));
        let hint = city.or_else(|| did_you_mean(written, names())).map_or_else(
            || "write a name of the IANA database, such as \"Europe/London\" or \"UTC\"".to_owned(),
            |near| format!("did you mean \"{near}\"?"),
        );
        self.report(name.span(), format!("`{written}` isn't a time zone"), hint);
        None
    }

    fn templates(&mut self, named: Option<Spanned<Vec<Spanned<String>>>>, known: &[&str]) -> Vec<String> {
        let Some(named) = named else { return Vec::new() };
        if named.get_ref().is_empty() {
            self.report(named.span(), "templates is empty", "name at least one, or remove the line for all of them");
        }
        let mut found = Vec::new();
        for template in named.into_inner() {
            let (span, name) = (template.span(), template.into_inner());
            if !known.contains(&name.as_str()) {
                let hint = did_you_mean(&name, known.iter().copied()).map_or_else(
                    || format!("there are {}", known.join(", ")),
                    |near| format!("did you mean \"{near}\"?"),
                );
                self.report(span, format!("there is no template `{name}`"), hint);
            } else if found.contains(&name) {
                self.report(span, format!("the template `{name}` is named twice"), "remove one of the two");
            } else {
                found.push(name);
            }
        }
        found
    }

    fn length(&mut self, written: Option<&Spanned<String>>, length: &Length) -> Duration {
        let Some(written) = written else { return length.default };
        let (key, text) = (length.key, written.get_ref());
        let shown = humantime::format_duration;
        let range = format!(
            "{key} is {} to {}; the default is \"{}\"",
            shown(length.least),
            shown(length.most),
            shown(length.default)
        );
        let message = match humantime::parse_duration(text) {
            Ok(found) if (length.least..=length.most).contains(&found) => return found,
            Ok(_) => format!("{key} can't be `{text}`"),
            Err(error) => format!("`{text}` isn't a duration: {error}"),
        };
        self.report(written.span(), message, range);
        length.default
    }

    fn retries(&mut self, written: Option<&Spanned<u32>>) -> u32 {
        let Some(written) = written else { return DEFAULT_RETRIES };
        let retries = *written.get_ref();
        if retries > MOST_RETRIES {
            let hint = format!("retries is 0 to {MOST_RETRIES}; the wait before each is twice the one before");
            self.report(written.span(), format!("{retries} retries are too many"), hint);
        }
        retries
    }

    fn ping(&mut self, written: &Spanned<String>) -> Option<Ping> {
        let wrong = match Url::parse(written.get_ref()) {
            Ok(url)
                if matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none() =>
            {
                return Some(Ping::new(url));
            }
            Ok(_) => "ping isn't an http or https address without a query".to_owned(),
            Err(error) => format!("ping isn't a URL: {error}"),
        };
        self.report(written.span(), wrong, "write the address of a check: ping = \"https://hc-ping.com/UUID\"");
        None
    }
}
