//! What a run did, or would do, in words and numbers.

use bytesize::ByteSize;
use serde_json::{Value, json};

use super::context::{Context, Project};
use super::guards;
use super::print::{self, counted, grouped, styled};
use super::purge;
use super::status::instant;
use super::table;
use crate::database::{PassedOver, Source};
use crate::error::Error;
use crate::release::manifest::{ChangeKind, Kind};
use crate::release::verify::Settled;
use crate::release::{Counts, Decision, Difference, Job, Report, TemplateReport, Why};

/// How many changes of a template a plan lists unless `-v` asks for all.
const LISTED: usize = 20;

fn touched(counts: &Counts) -> u64 {
    counts.added + counts.changed + counts.removed + counts.rewritten
}

/// What to look at, although nothing failed.
pub fn warnings(report: &Report) {
    let warn = |text: String| print::note(&format!("{}: {text}", styled(print::YELLOW, "warning")));
    if let Some(source) = &report.source {
        passed_over(source);
    }
    for template in &report.templates {
        if template.over_max_keys {
            warn(format!(
                "{}: more combinations are published than max_keys, so keys without rows got no empty document",
                template.name
            ));
        }
    }
    for template in report.templates.iter().filter(|template| template.older > 0) {
        warn(format!(
            "{}: {} stay as committed, because they were observed later than {}, the instant that this run saw; {}",
            template.name,
            counted(template.older, "document"),
            report.as_of.map_or_else(String::new, |as_of| as_of.format("%Y-%m-%d %H:%M:%S UTC").to_string()),
            match report.source.as_ref().is_some_and(|source| source.is_replica) {
                // A replica shows its last replayed commit, and an editor may have read the primary since.
                true => "it read a replica, whose last commit that is; `republish` reads the primary",
                false => "is a clock wrong?",
            },
        ));
    }
    for template in report.templates.iter().filter(|template| template.held > 0 && report.source.is_some()) {
        warn(format!(
            "{}: {} stay as a rollback left them; `republish` of a key ends that, and `publish --unhold` for all of them",
            template.name,
            counted(template.held, "document"),
        ));
    }
    if let Some(error) = &report.unfinished {
        unfinished(error);
    }
    if let Some(error) = &report.purge.error {
        unpurged(error);
    }
    for orphan in &report.orphans {
        warn(format!(
            "the template {orphan} of the active release has no file any more; its documents stay as they are (`publish --retire {orphan}` takes them away)"
        ));
    }
    for (path, error) in report.activated.failed.iter().take(LISTED) {
        warn(format!("{path} still shows what it showed before: {error}"));
    }
    if let Some(hint) = report.activated.failed.iter().find_map(|(_, error)| error.hint.as_ref()) {
        print::note(&format!("  {}: {hint}", styled(print::CYAN, "hint")));
    }
    let more = report.activated.failed.len().saturating_sub(LISTED) as u64 + report.activated.skipped;
    if more > 0 {
        warn(format!("and {more} more paths; the next publish tries them again"));
    }
}

/// What went wrong after the commit, and what it leaves.
pub fn unfinished(error: &Error) {
    let warning = styled(print::YELLOW, "warning");
    print::note(&format!(
        "{warning}: the release is committed, but not finished: {error}; the next publish goes on from there"
    ));
}

/// Why the edges weren't told, and what tells them.
pub fn unpurged(error: &Error) {
    let warning = styled(print::YELLOW, "warning");
    print::note(&format!("{warning}: the edges may still show older documents: {error}"));
    if let Some(hint) = error.hint() {
        print::note(&format!("  {}: {hint}", styled(print::CYAN, "hint")));
    }
}

/// The servers that should have been read before the one that was.
pub fn passed_over(source: &Source) {
    for PassedOver { server, reason, hint } in &source.passed_over {
        print::note(&format!("{}: passed over {server}: {reason}", styled(print::YELLOW, "warning")));
        if let Some(hint) = hint {
            print::note(&format!("  {}: {hint}", styled(print::CYAN, "hint")));
        }
    }
    if !source.passed_over.is_empty() {
        print::note(&format!("{}: {} was read instead", styled(print::YELLOW, "warning"), source.server));
    }
}

/// What came of a look at paths that a late request may have changed.
pub fn settled(context: &Context, settled: Option<&Settled>) {
    let Some(settled) = settled else { return };
    for (path, error) in settled.activated.failed.iter().take(LISTED) {
        print::note(&format!("{}: {path} is still in doubt: {error}", styled(print::YELLOW, "warning")));
    }
    if !settled.differed.is_empty() {
        let (looked_at, mended) = (counted(settled.looked_at, "path"), grouped(settled.activated.shown));
        let words = format!("of {looked_at} that a late request may have changed, {mended} had been, and are mended");
        print::note(&format!("{}: {words}", styled(print::YELLOW, "warning")));
    } else if context.is_talkative() {
        print::note(&format!("No late request has changed any of {}", counted(settled.looked_at, "path")));
    }
}

/// The same for programs.
pub fn settled_json(settled: &Settled) -> Value {
    json!({
        "looked_at": settled.looked_at,
        "differed": settled.differed.iter().take(LISTED).collect::<Vec<_>>(),
        "mended": settled.activated.shown + settled.activated.removed,
        "failed": settled.activated.failed.len(),
    })
}

/// Where a run read, for programs.
pub fn source_json(source: &Source) -> Value {
    let passed_over =
        source.passed_over.iter().map(|one| json!({ "server": one.server, "reason": one.reason, "hint": one.hint }));
    json!({
        "server": source.server,
        "replica": source.is_replica,
        "passed_over": passed_over.collect::<Vec<_>>(),
    })
}

/// A plan as a table, its changes below each template.
pub fn plan(report: &Report, all: bool) {
    let names = report.templates.iter().map(|template| template.name.chars().count()).max().unwrap_or(0);
    let mut bytes = 0;
    for template in &report.templates {
        print::line(&summary(template, names));
        if let Some(why) = why(template) {
            print::line(&why);
        }
        if let Some(line) = guards::line(template) {
            print::line(&format!("  {line}"));
        }
        bytes += template.changes.iter().map(|change| change.gzip_bytes).sum::<u64>();
        let listed = if all { usize::MAX } else { LISTED };
        for change in template.changes.iter().take(listed) {
            print::line(&format!("  {}", difference(change)));
        }
        let more = template.changes.len().saturating_sub(listed);
        if more > 0 {
            print::line(&styled(print::DIM, format!("  … and {} more; -v lists them", grouped(more as u64))));
        }
    }
    let touches_documents = report.templates.iter().any(|template| touched(&template.counts) > 0);
    if report.is_pending && !touches_documents {
        print::line(
            "No document changes, but a publish would write the catalogue, index.json, or finish an earlier release.",
        );
    }
    let total = |of: fn(&Counts) -> u64| grouped(report.templates.iter().map(|template| of(&template.counts)).sum());
    print::line(&format!(
        "Plan: {} to add, {} to change, {} to remove, {} unchanged; {} to write",
        total(|counts| counts.added),
        total(|counts| counts.changed + counts.rewritten),
        total(|counts| counts.removed),
        total(|counts| counts.unchanged),
        ByteSize(bytes),
    ));
    if report.source.is_some() {
        print::line(&costs(report));
    }
}

fn costs(report: &Report) -> String {
    let rows = report.templates.iter().map(|template| template.rows).sum();
    let queries = report.templates.iter().map(|template| template.cost.queries).sum();
    let staged = report.templates.iter().map(|template| template.cost.staged_bytes).sum();
    let source = report.source.as_ref();
    let text = format!(
        "{} for {} to {}{}, {}, {} rows, {} compressed",
        counted(source.map_or(0, |source| source.connections), "connection"),
        print::duration(report.seconds.hold),
        source.map_or("nothing", |source| &source.server),
        if source.is_some_and(|source| source.is_replica) { " (a replica)" } else { "" },
        counted(queries, "statement"),
        grouped(rows),
        ByteSize(staged)
    );
    styled(print::DIM, text)
}

fn summary(template: &TemplateReport, width: usize) -> String {
    let counts = &template.counts;
    let name = format!("{:width$}", template.name);
    if template.failure.is_some() {
        let kept = match counts.keys {
            0 => "nothing of it is published".to_owned(),
            keys => format!("its last good {} stay", counted(keys, "document")),
        };
        return format!("{name}  {}; {kept}", styled(print::RED, "failed"));
    }
    let refused = template.is_refused().then(|| styled(print::RED, "refused"));
    let mut parts: Vec<String> = refused.into_iter().collect();
    parts.push(format!("{:>9} {}", grouped(counts.keys), if counts.keys == 1 { "key " } else { "keys" }));
    let kinds = [
        (counts.added, "added", print::GREEN),
        (counts.changed, "changed", print::YELLOW),
        (counts.removed, "removed", print::RED),
        (counts.rewritten, "rewritten", print::CYAN),
    ];
    parts.extend(
        kinds
            .iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, word, style)| styled(*style, format!("{} {word}", grouped(*count)))),
    );
    if counts.unchanged > 0 {
        parts.push(styled(print::DIM, format!("{} unchanged", grouped(counts.unchanged))));
    }
    let gap = if template.is_refused() { "  " } else { "" };
    format!("{name}{gap}{}", parts.join("   "))
}

/// Whether a template's query ran, and why.
fn why(template: &TemplateReport) -> Option<String> {
    let decision = template.decision.as_ref()?;
    Some(styled(print::DIM, format!("  {}: {decision}", decision.word())))
}

fn difference(change: &Difference) -> String {
    let (sign, style) = match change.change {
        ChangeKind::Added => ("+", print::GREEN),
        ChangeKind::Changed => ("~", print::YELLOW),
        ChangeKind::Removed => ("-", print::RED),
        ChangeKind::Rewritten => ("=", print::CYAN),
    };
    let rows = match (change.rows_before, change.rows_after) {
        (Some(before), Some(after)) if before != after => format!("rows {} → {}", grouped(before), grouped(after)),
        (_, Some(rows)) | (Some(rows), None) => counted(rows, "row"),
        (None, None) => String::new(),
    };
    let size = if change.gzip_bytes > 0 { ByteSize(change.gzip_bytes).to_string() } else { String::new() };
    format!("{}  {rows}  {size}", styled(style, format!("{sign} {}", change.path))).trim_end().to_owned()
}

/// What became of each template, a line each.
pub fn templates(report: &Report) {
    let names = report.templates.iter().map(|template| template.name.chars().count()).max().unwrap_or(0);
    for template in &report.templates {
        print::note(&summary(template, names));
        let has_refresh =
            template.decision.as_ref().is_some_and(|decision| *decision != Decision::Read(Why::NoRefresh));
        if let Some(why) = why(template).filter(|_| has_refresh) {
            print::note(&why);
        }
    }
}

/// What was staged and is live nowhere: its id, for the next command.
pub fn staged(report: &Report, context: &Context) {
    if context.is_talkative() {
        templates(report);
    }
    match &report.staged {
        Some(staged) => print::line(&staged.to_string()),
        None if context.is_talkative() => print::note("Unchanged: there is nothing to stage"),
        None => {}
    }
    if let Some(staged) = report.staged.as_ref().filter(|_| context.is_talkative()) {
        print::note(&format!("`tintype publish --release {staged}` publishes it, within six days"));
        print::note(&costs(report));
    }
}

/// What a publish did.
pub fn published(report: &Report, job: &Job, project: &Project) {
    if let Some(release) = &report.rolled_forward {
        print::note(&format!("Finished release {release}, which an earlier run had committed"));
    }
    templates(report);
    let release = report.release.as_ref().map(ToString::to_string).unwrap_or_default();
    let total = print::duration(report.seconds.total);
    if report.committed {
        let word = match job.kind {
            Kind::Publish => "Published",
            Kind::Republish => "Republished",
            Kind::Rollback => "Rolled back by",
        };
        print::note(&format!(
            "{} release {}: {} written, {} removed, in {total}",
            styled(print::GREEN, word),
            styled(print::CYAN, release),
            counted(report.activated.shown, "path"),
            grouped(report.activated.removed),
        ));
    } else {
        let word = match report.has_refused() {
            true => styled(print::RED, "Refused"),
            false => styled(print::GREEN, "Unchanged"),
        };
        if report.activated.shown + report.activated.removed > 0 {
            let (shown, removed) = (counted(report.activated.shown, "path"), grouped(report.activated.removed));
            print::note(&format!(
                "Finished release {release}, which an earlier run had committed: {shown} written, {removed} removed"
            ));
        }
        print::note(&format!("{word}: release {release} is still what is live, in {total}"));
    }
    purge::tell(&report.purge);
    table::tell(report, project);
    if report.source.is_some() {
        print::note(&costs(report));
    }
    if report.committed && report.documents_before == 0 {
        print::note(&styled(print::DIM, format!("in {}", project.store.describe())));
    }
}

/// Why a template failed, or why its query ran or didn't.
fn reason(template: &TemplateReport) -> Option<String> {
    let failure = template.failure.as_ref().map(ToString::to_string);
    failure.or_else(|| template.refusal()).or_else(|| template.decision.as_ref().map(ToString::to_string))
}

/// What became of the question whether a template has to be read, if it has a refresh query.
fn refresh_json(decision: &Decision) -> Option<Value> {
    let since = decision.since().map(instant);
    (*decision != Decision::Read(Why::NoRefresh)).then(|| json!({ "decision": decision.word(), "since": since }))
}

/// A template of a run, for programs.
pub fn template_json(template: &TemplateReport, committing: bool) -> Value {
    let counts = &template.counts;
    let outcome = match &template.failure {
        Some(_) => "failed",
        None if matches!(template.decision, Some(Decision::Skip { .. })) => "skipped",
        None if template.is_refused() => "refused",
        None if touched(counts) == 0 && template.older > 0 => "skipped",
        None if touched(counts) == 0 => "unchanged",
        None if committing => "published",
        None => "planned",
    };
    json!({
        "name": template.name,
        "outcome": outcome,
        "reason": reason(template),
        "refresh": template.decision.as_ref().and_then(refresh_json),
        "guards": template.verdicts,
        "finding": template.failure.as_ref().map(print::finding_json),
        "keys": counts.keys,
        "added": counts.added,
        "changed": counts.changed,
        "removed": counts.removed,
        "rewritten": counts.rewritten,
        "unchanged": counts.unchanged,
        "rows": template.rows,
        "rows_skipped": template.rows_skipped,
        "older": template.older,
        "held": template.held,
        "over_max_keys": template.over_max_keys,
        "queries": template.cost.queries,
        "changes": template.changes.iter().map(|change| json!({ "path": change.path, "change": change.change })).collect::<Vec<_>>(),
    })
}
