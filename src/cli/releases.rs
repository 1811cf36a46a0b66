//! `releases`: the history of what was live, and one release in detail.

use clap::Args;
use serde_json::{Value, json};

use super::Outcome;
use super::context::Context;
use super::print::{self, grouped, styled};
use super::status::instant;
use crate::diagnostic::did_you_mean;
use crate::error::Error;
use crate::release::manifest::{Change, ChangeKind};
use crate::release::{Release, releases};

mod diff;

/// Options of `releases`.
#[derive(Debug, Args)]
pub struct Releases {
    /// A release's id or serial number: shows what it changed.
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Show which documents differ from those of another release, by id, serial number, or `active`.
    #[arg(long, value_name = "OTHER", requires = "id")]
    diff: Option<String>,
    /// With --diff: also the rows that differ in changed documents.
    #[arg(long, requires = "diff")]
    rows: bool,
}

impl Releases {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        let project = context.published_project()?;
        let all = releases(&project.store).await?;
        if let Some(lost) = if all.is_empty() { project.lost().await.ok().flatten() } else { None } {
            return Err(lost);
        }
        let Some(id) = &self.id else {
            list(context, &all);
            return Ok(Outcome::Done);
        };
        let release = find(&all, id)?;
        if let Some(other) = &self.diff {
            diff::show(context, &project, (find(&all, other)?, release), self.rows).await?;
            return Ok(Outcome::Done);
        }
        let changes = release.root.changes(&project.store).await?;
        if context.is_json() {
            let mut document = described(release);
            document["version"] = json!(1);
            document["command"] = json!("releases");
            document["changes"] = json!(changes);
            print::json(&document);
        } else {
            show(release, &changes);
        }
        Ok(Outcome::Done)
    }
}

/// The release that an id, a serial number of the history, or `active` names.
pub fn find<'a>(all: &'a [Release], id: &str) -> Result<&'a Release, Error> {
    let by_serial = id.parse::<u64>().ok();
    let names = |release: &&Release| match by_serial {
        Some(serial) => release.committed && release.root.id.serial == serial,
        None if id == "active" => release.active,
        None => release.root.id.to_string() == id,
    };
    all.iter().find(names).ok_or_else(|| {
        let ids: Vec<String> = all.iter().map(|release| release.root.id.to_string()).collect();
        let hint = match did_you_mean(id, ids.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`tintype releases` lists them".to_owned(),
        };
        Error::usage(format!("there is no release `{id}`"), hint)
    })
}

fn described(release: &Release) -> Value {
    let root = &release.root;
    json!({
        "release": root.id.to_string(),
        "serial": root.id.serial,
        "active": release.active,
        "committed": release.committed,
        "kind": root.kind,
        "author": root.author,
        "note": root.note,
        "created_at": instant(root.created_at),
        "as_of": root.as_of.map(instant),
        "staged": root.staged,
        "publishes": root.publishes.as_ref().map(ToString::to_string),
        "parent": root.parent.as_ref().map(ToString::to_string),
        "restores": root.restores.as_ref().map(ToString::to_string),
        "added": root.changes.added,
        "changed": root.changes.changed,
        "removed": root.changes.removed,
        "rewritten": root.changes.rewritten,
    })
}

fn list(context: &Context, all: &[Release]) {
    if context.is_json() {
        let releases: Vec<Value> = all.iter().map(described).collect();
        print::json(&json!({ "version": 1, "command": "releases", "releases": releases }));
        return;
    }
    if all.is_empty() {
        print::line(&print::as_typed("no releases yet; `tintype publish` makes the first"));
    }
    for release in all {
        print::line(&head_line(release));
    }
}

fn head_line(release: &Release) -> String {
    let root = &release.root;
    let mark = match (release.active, release.committed) {
        (true, _) => styled(print::GREEN, "active   "),
        (false, true) => "         ".to_owned(),
        (false, false) if root.staged.is_some() => styled(print::YELLOW, "staged   "),
        (false, false) => styled(print::DIM, "abandoned"),
    };
    let kind = match &root.restores {
        Some(restored) => format!("rollback to {}", restored.serial),
        None => format!("{:?}", root.kind).to_lowercase(),
    };
    let changes = &root.changes;
    let counts = format!(
        "+{} ~{} -{} ={}",
        grouped(changes.added),
        grouped(changes.changed),
        grouped(changes.removed),
        grouped(changes.rewritten)
    );
    let by = root.author.as_ref().map(|author| format!("  by {author}")).unwrap_or_default();
    let note = root.note.as_ref().map(|note| format!("  “{note}”")).unwrap_or_default();
    format!(
        "{mark}  {}  {}  {kind:9}  {counts}{by}{note}",
        styled(print::CYAN, &root.id),
        root.created_at.format("%Y-%m-%d %H:%M:%S UTC")
    )
}

fn show(release: &Release, changes: &[Change]) {
    print::line(&head_line(release));
    for (name, entry) in &release.root.templates {
        print::line(&format!("  {name}: {} documents, {}", grouped(entry.count), entry.path));
    }
    for (name, template) in release.root.staged.iter().flat_map(|staged| &staged.templates) {
        if !template.refused.is_empty() {
            let guards = template.refused.join(", ");
            print::line(&format!("  {name}: {}", styled(print::RED, format!("refused by {guards}"))));
        }
    }
    for change in changes {
        let sign = match change.change {
            ChangeKind::Added => styled(print::GREEN, "+"),
            ChangeKind::Changed => styled(print::YELLOW, "~"),
            ChangeKind::Removed => styled(print::RED, "-"),
            ChangeKind::Rewritten => styled(print::CYAN, "="),
        };
        print::line(&format!("  {sign} {}", change.path));
    }
}
