//! Metrics of a run that ends: a file in Prometheus's text format, for the textfile collector of `node_exporter`.
//!
//! They are made from what the run says of itself as JSON, and from the head of the store, which knows what earlier runs
//! did: so a run that failed says when the last good one was. The file is replaced as a whole, so that nobody reads half
//! of it. Labels are names of templates, schedules and operations, never keys.
//!
//! Several schedules share a file. So a run replaces what it says itself, and what others have said stays: the last run of
//! each schedule, and, where the store doesn't answer, what was live when it last did.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::error::Error;
use crate::release::head::Head;

mod file;
#[cfg(test)]
mod tests;

/// A run that has ended.
#[derive(Debug, Clone)]
pub struct Ended<'a> {
    /// Its command.
    pub command: &'a str,
    /// The schedule that it was a run of.
    pub schedule: Option<&'a str>,
    /// Its exit code.
    pub code: u8,
    /// What it said, if it got that far.
    pub document: Option<&'a Value>,
    /// The templates that it was to read, where it came to its end before it could say what became of each.
    pub tried: Vec<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What is known of a site when a run has ended.
#[derive(Debug, Clone, Default)]
pub struct Site {
    /// The head, if the store says it.
    pub head: Option<Head>,
    /// True if edges aren't told yet what has changed.
    pub is_owed: bool,
    /// The schedules that there are, if that can be seen from here; those that are gone fail no more.
    pub schedules: Option<BTreeSet<String>>,
}

impl Site {
    fn has(&self, schedule: &str) -> bool {
        self.schedules.as_ref().is_none_or(|schedules| schedules.contains(schedule))
    }
}

type Labels = Vec<(&'static str, String)>;

/// The metric that a run moves which came to nothing.
const LAST_ATTEMPT: &str = "tintype_last_attempt_timestamp_seconds";

/// Some metrics of one name.
struct Family {
    name: &'static str,
    help: &'static str,
    samples: Vec<(Labels, f64)>,
}

/// Writes the metrics of a run, and of what is live after it, into a file.
pub fn write(path: &Path, run: &Ended<'_>, site: &Site) -> Result<(), Error> {
    file::replace(path, |before| text(run, site, before))
}

/// The metrics, given those that there were before.
fn text(run: &Ended<'_>, site: &Site, before: &str) -> String {
    let mut text = String::new();
    let of_run = of_run(run).into_iter().chain(of_document(run.document.unwrap_or(&Value::Null)));
    for mut family in of_run {
        if let Some(schedule) = run.schedule {
            family.samples.iter_mut().for_each(|(labels, _)| labels.insert(0, ("schedule", schedule.to_owned())));
        }
        let is_kept = |of: Option<&str>| of != run.schedule && of.is_none_or(|of| site.has(of));
        push(&mut text, &family, &file::samples(before, family.name, is_kept));
    }
    let is_up = f64::from(u8::from(site.head.is_some()));
    let help = "1 if the store said at the end of the last run what is live.";
    push(&mut text, &Family { name: "tintype_store_up", help, samples: vec![(Vec::new(), is_up)] }, &[]);
    let nothing = Head::default();
    for mut family in of_head(site.head.as_ref().unwrap_or(&nothing), site) {
        let mut kept = Vec::new();
        if site.head.is_none() {
            family.samples.clear();
            kept = file::samples(before, family.name, |of| of.is_none_or(|of| site.has(of)));
        }
        // Where the store doesn't answer, nothing gets as far as an attempt.
        if family.name == LAST_ATTEMPT && site.head.is_some() {
            add_attempts(&mut family, run, before);
        }
        push(&mut text, &family, &kept);
    }
    text
}

/// Adds what a run has tried in vain. Without the database it leaves nothing in the head, so that the file alone remembers
/// it, until the head knows of a later attempt.
fn add_attempts(family: &mut Family, run: &Ended<'_>, before: &str) {
    let now = seconds(run.at);
    let earlier = file::samples(before, LAST_ATTEMPT, |_| true);
    for (labels, value) in &mut family.samples {
        let sample = format!("{LAST_ATTEMPT}{} ", shown(labels));
        let known = earlier.iter().find_map(|line| line.strip_prefix(&sample)?.parse::<f64>().ok());
        // One that is still to come is the mistake of a clock.
        *value = known.filter(|known| *known <= now).map_or(*value, |known| value.max(known));
    }
    for name in &run.tried {
        let labels = vec![("template", name.clone())];
        family.samples.retain(|(known, _)| *known != labels);
        family.samples.push((labels, now));
    }
}

/// Adds a family, with lines that stay as they were.
fn push(text: &mut String, Family { name, help, samples }: &Family, kept: &[&str]) {
    if samples.is_empty() && kept.is_empty() {
        return;
    }
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
    for (labels, value) in samples {
        text.push_str(&format!("{name}{} {value}\n", shown(labels)));
    }
    for line in kept {
        text.push_str(line);
        text.push('\n');
    }
}

fn of_run(run: &Ended<'_>) -> Vec<Family> {
    let command = || vec![("command", run.command.to_owned())];
    let one = |name, help, value| Family { name, help, samples: vec![(command(), value)] };
    vec![
        one("tintype_run_timestamp_seconds", "When the last run ended.", seconds(run.at)),
        one("tintype_run_exit_code", "The exit code of the last run.", f64::from(run.code)),
    ]
}

/// What the last run read, wrote and took.
fn of_document(document: &Value) -> Vec<Family> {
    let by_name = |member: &str, label: &'static str| {
        let values = document[member].as_object().into_iter().flatten();
        values.filter_map(|(name, value)| Some((vec![(label, name.clone())], value.as_f64()?))).collect::<Vec<_>>()
    };
    let templates = || document["templates"].as_array().into_iter().flatten();
    let of_template = |member: &str| {
        let sample = |template: &Value| {
            Some((vec![("template", template["name"].as_str()?.to_owned())], template[member].as_f64()?))
        };
        templates().filter_map(sample).collect::<Vec<_>>()
    };
    let outcomes = ["added", "changed", "removed", "rewritten", "unchanged"].into_iter().flat_map(|outcome| {
        let labelled = |(mut labels, value): (Vec<_>, f64)| {
            labels.push(("outcome", outcome.to_owned()));
            (labels, value)
        };
        of_template(outcome).into_iter().map(labelled).collect::<Vec<_>>()
    });
    let mut templates_by_outcome: BTreeMap<String, f64> = BTreeMap::new();
    for outcome in templates().filter_map(|template| template["outcome"].as_str()) {
        *templates_by_outcome.entry(outcome.to_owned()).or_default() += 1.0;
    }
    let counted = templates_by_outcome.into_iter().map(|(outcome, count)| (vec![("outcome", outcome)], count));
    let family = |name, help, samples| Family { name, help, samples };
    let mut families = of_connection(document);
    families.extend([
        family("tintype_run_duration_seconds", "How long the last run took, by phase.", by_name("seconds", "phase")),
        family("tintype_run_templates", "Templates of the last run by what became of them.", counted.collect()),
        family("tintype_run_snapshots", "Documents of the last run by what became of them.", outcomes.collect()),
        family("tintype_run_rows", "Rows that the last run read.", of_template("rows")),
        family("tintype_run_store_requests", "Requests of the last run to the store.", store_requests(document)),
    ]);
    families
}

/// Requests to the store by kind and by what came of them.
fn store_requests(document: &Value) -> Vec<(Labels, f64)> {
    let kinds = document["store"]["answers"].as_object().into_iter().flatten();
    let of_kind = |(op, statuses): (&String, &Value)| {
        let op = op.clone();
        let labels = move |status: &String| vec![("op", op.clone()), ("status", status.clone())];
        let counts = statuses.as_object().into_iter().flatten();
        counts.filter_map(|(status, count)| Some((labels(status), count.as_f64()?))).collect::<Vec<_>>()
    };
    kinds.flat_map(of_kind).collect()
}

/// What a run had of the database, under the names that pools of connections have: it has one at a time. A run that needed
/// none says nothing.
fn of_connection(document: &Value) -> Vec<Family> {
    let opened = document["connections"].as_f64().filter(|opened| *opened > 0.0);
    let one = |name, help, value: Option<f64>| {
        let samples = opened.and(value).map(|value| (vec![("pool", "build".to_owned())], value));
        Family { name, help, samples: samples.into_iter().collect() }
    };
    let seconds = |phase: &str| document["seconds"][phase].as_f64();
    vec![
        one("db_pool_size", "The most connections at a time.", Some(1.0)),
        one("db_pool_connections_opened", "Connections that the last run opened, one after the other.", opened),
        one("db_pool_acquire_seconds", "How long the last run waited for its connection.", seconds("wait")),
        one("db_connection_hold_seconds", "How long the last run had it.", seconds("hold")),
    ]
}

/// What is live, and when it was last looked at.
fn of_head(head: &Head, site: &Site) -> Vec<Family> {
    let label = |name: &String| vec![("template", name.clone())];
    let of_checked = |instant: fn(&crate::release::head::Checked) -> DateTime<Utc>| {
        head.checked.iter().map(|(name, checked)| (label(name), seconds(instant(checked)))).collect::<Vec<_>>()
    };
    let mut attempts: BTreeMap<&String, DateTime<Utc>> = BTreeMap::new();
    let good = head.checked.iter().map(|(name, checked)| (name, checked.looked_at.unwrap_or(checked.at)));
    for (name, at) in good.chain(head.failed.iter().map(|(name, failed)| (name, failed.at))) {
        let attempt = attempts.entry(name).or_insert(at);
        *attempt = (*attempt).max(at);
    }
    let attempts = attempts.into_iter().map(|(name, at)| (label(name), seconds(at))).collect();
    let schedules = |value: fn(&crate::release::head::claim::Claim) -> Option<f64>| {
        let samples = head.schedules.iter().filter(|(name, _)| site.has(name));
        samples.filter_map(|(name, claim)| Some((vec![("schedule", name.clone())], value(claim)?))).collect()
    };
    let is_finished = f64::from(u8::from(head.active == head.desired));
    let is_pending = f64::from(u8::from(site.is_owed));
    let family = |name, help, samples| Family { name, help, samples };
    vec![
        family(
            "tintype_last_success_timestamp_seconds",
            "When a template was last read whole.",
            of_checked(|checked| checked.at),
        ),
        family(LAST_ATTEMPT, "When that was last tried, or found to be needless.", attempts),
        family(
            "tintype_data_as_of_timestamp_seconds",
            "The instant whose data a template shows.",
            of_checked(|checked| checked.as_of),
        ),
        family(
            "tintype_release_serial",
            "The number of the committed release.",
            head.desired.iter().map(|release| (Vec::new(), release.serial as f64)).collect(),
        ),
        family(
            "tintype_release_active",
            "1 if every path shows the committed release.",
            vec![(Vec::new(), is_finished)],
        ),
        family("tintype_purge_pending", "1 if edges weren't told of the last changes.", vec![(Vec::new(), is_pending)]),
        family(
            "tintype_schedule_end_timestamp_seconds",
            "When the last run of a schedule ended.",
            schedules(|claim| Some(seconds(claim.ended_at.filter(|_| claim.by.is_some())?))),
        ),
        family(
            "tintype_schedule_in_trouble",
            "1 if the runs of a schedule fail or are refused.",
            schedules(|claim| Some(f64::from(u8::from(claim.trouble.is_some())))),
        ),
    ]
}

fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}

fn shown(labels: &[(&'static str, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    format!("{{{}}}", labels.collect::<Vec<_>>().join(","))
}
