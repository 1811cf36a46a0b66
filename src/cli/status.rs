//! `status`: what is live, how old it is, and whether anything is unfinished.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde_json::{Value, json};

use super::context::Context;
use super::print::{self, grouped, styled};
use super::table::{self, table_json};
use super::{Outcome, context};
use crate::error::Error;
use crate::release::head::claim::{Claim, RunOutcome};
use crate::release::head::{Checked, Head, HeadRead, Lease};
use crate::release::manifest::{Root, Status as TemplateStatus};
use crate::release::{Debt, Tabled, debt, standing};

/// Options of `status`.
#[derive(Debug, Args)]
pub struct Status {}

impl Status {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        let project = context.published_project()?;
        let head = HeadRead::read(&project.store).await?.head;
        let Some(desired) = &head.desired else { return nothing(context, &project).await };
        let root = Root::read(&project.store, desired).await?;
        let debt = debt(&project.store, &project.config.cdn.purge, &head).await?;
        let table = standing(&project.store, project.table()?.as_ref()).await;
        if context.is_json() {
            let mut document = document(&head, &root, &project);
            document["purge"] = debt_json(&project, debt.as_ref());
            document["table"] = table_json(&table);
            print::json(&document);
        } else {
            show(&head, &root, &project, debt.as_ref(), &table);
        }
        Ok(Outcome::Done)
    }
}

/// The status of a store without a release.
async fn nothing(context: &Context, project: &context::Project) -> Result<Outcome, Error> {
    let unreadable = match project.lost().await {
        Ok(None) => None,
        Ok(Some(lost)) => return Err(lost),
        Err(error) => Some(error),
    };
    if context.is_json() {
        print::json(
            &json!({ "version": 1, "command": "status", "outcome": "empty", "release": null, "templates": [] }),
        );
    } else {
        let place = project.store.describe();
        print::line(&print::as_typed(&format!("nothing is published in {place} yet; `tintype publish` does it")));
    }
    if let Some(error) = unreadable {
        let warning = styled(print::YELLOW, "warning");
        print::note(&format!("{warning}: the fallback table can't tell whether there was a release before: {error}"));
    }
    Ok(Outcome::Done)
}

fn is_finished(head: &Head) -> bool {
    head.active == head.desired
}

fn document(head: &Head, root: &Root, project: &context::Project) -> Value {
    let templates: Vec<Value> = documents(root)
        .map(|(name, entry)| {
            json!({
                "name": name,
                "keys": entry.count,
                "held": entry.held,
                "status": entry.status,
                "failed": head.failed.get(name).map(|failed| json!({
                    "at": instant(failed.at),
                    "reason": failed.reason,
                    "staged": failed.staged.as_ref().map(ToString::to_string),
                })),
                "has_file": project.has_file(name),
                "as_of": instant(entry.as_of),
                "changed_at": instant(entry.changed_at),
                "checked": head.checked.get(name).map(checked_json),
            })
        })
        .collect();
    json!({
        "version": 1,
        "command": "status",
        "outcome": if is_finished(head) { "active" } else { "unfinished" },
        "release": head.desired.as_ref().map(ToString::to_string),
        "active": head.active.as_ref().map(ToString::to_string),
        "serial": root.id.serial,
        "created_at": instant(root.created_at),
        "as_of": root.as_of.map(instant),
        "lease": head.lease,
        "suspect": head.suspect,
        "schedules": schedules(project, head),
        "templates": templates,
    })
}

/// Whether the edges know everything; null where nobody tells them.
pub fn debt_json(project: &context::Project, debt: Option<&Debt>) -> Value {
    if project.config.cdn.purge.is_none() {
        return Value::Null;
    }
    json!({
        "outcome": if debt.is_some() { "pending" } else { "done" },
        "since": debt.and_then(|debt| debt.since.as_ref()).map(ToString::to_string),
        "paths": debt.and_then(|debt| debt.paths),
    })
}

/// The last whole read, and when a later run left another one out.
fn checked_json(checked: &Checked) -> Value {
    let looked_at = checked.looked_at.map(instant);
    json!({ "as_of": instant(checked.as_of), "at": instant(checked.at), "looked_at": looked_at })
}

fn documents(root: &Root) -> impl Iterator<Item = (&String, &crate::release::manifest::TemplateEntry)> {
    root.templates.iter().filter(|(name, _)| *name != "index")
}

fn show(head: &Head, root: &Root, project: &context::Project, debt: Option<&Debt>, table: &Tabled) {
    let now = Utc::now();
    let by = root.author.as_ref().map(|author| format!(" by {author}")).unwrap_or_default();
    print::line(&format!("release {}  {} ago{by}", styled(print::CYAN, &root.id), age(root.created_at, now)));
    if !is_finished(head) {
        let active = head.active.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        let next = "`tintype resume` or the next publish finishes it";
        let next = match &head.lease {
            Some(Lease { holder, taken_at, .. }) => {
                format!("{holder} has been at that for {}; if it is gone, {next}", age(*taken_at, now))
            }
            None => next.to_owned(),
        };
        print::line(&print::as_typed(&format!(
            "{}: it is committed but not every path shows it; active is {active}. {next}",
            styled(print::YELLOW, "unfinished")
        )));
    }
    if let Some(Debt { since, paths }) = debt {
        let paths = paths.map_or_else(String::new, |paths| format!(", {}", print::counted(paths, "path")));
        let owed = match since {
            Some(since) if head.active.as_ref() == Some(since) => format!(
                "the edges weren't told of what was repaired{paths}. `tintype purge --resume` or the next publish does that"
            ),
            None if head.cdn.is_some() => "nobody knows any more what the edges of this CDN were told. `tintype purge --resume` or the next publish makes them forget everything".to_owned(),
            Some(since) => format!(
                "the edges weren't told what has changed since release {since}{paths}. `tintype purge --resume` or the next publish does that"
            ),
            None => "the edges were never told anything. `tintype purge --resume` or the next publish makes them forget everything".to_owned(),
        };
        print::line(&print::as_typed(&format!("{}: {owed}", styled(print::YELLOW, "purge pending"))));
    }
    if let Some(line) = table::line(table) {
        print::line(&print::as_typed(&line));
    }
    if let Some(suspect) = &head.suspect {
        print::line(&format!(
            "{}: a request got no answer and may have arrived late. Nothing is to be done: the first publish after {} looks at the paths it was about, and mends them",
            styled(print::YELLOW, "in doubt"),
            suspect.not_before.format("%Y-%m-%d %H:%M UTC"),
        ));
    }
    let width = documents(root).map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, entry) in documents(root) {
        let seen = head.checked.get(name).map_or(entry.as_of, |checked| checked.as_of);
        let mut text = format!(
            "{name:width$}  {:>9} keys   data {} old   changed {} ago",
            grouped(entry.count),
            age(seen, now),
            age(entry.changed_at, now)
        );
        if let Some(looked_at) = head.checked.get(name).and_then(|checked| checked.looked_at) {
            text.push_str(&format!("   refresh query unchanged {} ago", age(looked_at, now)));
        }
        let failed = head.failed.get(name);
        if let Some(staged) = failed.and_then(|failed| failed.staged.as_ref()) {
            text.push_str(&format!("   {}, staged as {staged}", styled(print::RED, "last run refused")));
        } else if entry.status == TemplateStatus::LastGood || failed.is_some() {
            text.push_str(&format!("   {}", styled(print::RED, "last run failed")));
        }
        if let Some(failed) = failed {
            let reason = failed.reason.lines().next().unwrap_or_default();
            text.push_str(&format!(" {} ago: {reason}", age(failed.at, now)));
        }
        if entry.held > 0 {
            let keys = format!("{} held by a rollback", print::counted(entry.held, "key"));
            text.push_str(&format!("   {}", styled(print::YELLOW, keys)));
        }
        if !project.has_file(name) {
            text.push_str(&format!("   {}", styled(print::YELLOW, "its file is gone")));
        }
        print::line(&text);
    }
    for template in project.templates.iter().filter(|template| !root.templates.contains_key(&template.name)) {
        let mut text = styled(print::YELLOW, "never published");
        match head.failed.get(&template.name).map(|failed| &failed.staged) {
            Some(Some(staged)) => {
                text.push_str(&format!("   {}, staged as {staged}", styled(print::RED, "last run refused")));
            }
            Some(None) => text.push_str(&format!("   {}", styled(print::RED, "last run failed"))),
            None => {}
        }
        print::line(&format!("{:width$}  {text}", template.name));
    }
    show_schedules(project, head, now);
}

/// What the head remembers of schedules, without those whose files are gone.
fn schedules(project: &context::Project, head: &Head) -> BTreeMap<String, Claim> {
    let known = project.schedule_names();
    let has_file = |name: &String| known.as_ref().is_none_or(|known| known.contains(name));
    head.schedules
        .iter()
        .filter(|(name, _)| has_file(name))
        .map(|(name, claim)| (name.clone(), claim.clone()))
        .collect()
}

/// How the last run of each schedule went, if there was one.
fn show_schedules(project: &context::Project, head: &Head, now: DateTime<Utc>) {
    for (name, claim) in schedules(project, head) {
        print::line(&match (claim.ended_at, claim.outcome) {
            (_, Some(RunOutcome::Missed)) => {
                let missed = styled(print::RED, RunOutcome::Missed);
                format!("schedule {name}: {missed}, it was due {} ago", age(claim.due, now))
            }
            (Some(ended_at), Some(RunOutcome::Done)) => format!("schedule {name}: done {} ago", age(ended_at, now)),
            // It is watched, and hasn't run.
            (Some(_), None) => continue,
            (Some(ended_at), Some(outcome)) => {
                format!("schedule {name}: {} {} ago", styled(print::RED, outcome), age(ended_at, now))
            }
            (None, _) => {
                let on = claim.by.as_ref().map(|by| format!(" on {by}")).unwrap_or_default();
                format!("schedule {name}: running{on}, for {}", age(claim.began_at, now))
            }
        });
    }
}

fn age(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - at).num_seconds().max(0);
    print::duration(match seconds {
        0..60 => (now - at).num_milliseconds().max(0) as f64 / 1000.0,
        _ => seconds as f64,
    })
}

/// An instant as every JSON document shows it.
pub fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
