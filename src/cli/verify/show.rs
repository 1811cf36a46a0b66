//! What `verify` tells, to a person and to a program.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::context::{Context, Project};
use super::super::print::{self, counted, grouped, styled};
use super::super::purge::{purge_json, tell};
use super::Report;
use crate::release::Row;
use crate::release::verify::{BlobFlaw, Flaw, Mended, Survey};

/// So many of each kind are listed; the counts tell of all.
const LISTED: usize = 1000;

/// Shows what was found and done.
pub fn report(context: &Context, project: &Project, report: &Report) {
    if context.is_json() {
        print::json(&document(project, report));
    } else {
        flaws(&report.survey);
        parity(report);
        summary(context, report);
    }
}

fn of(survey: &Survey, flaw: Flaw) -> Vec<&Arc<Row>> {
    survey.flaws.iter().filter(|(_, found)| *found == flaw).map(|(row, _)| row).collect()
}

fn blobs(survey: &Survey, flaw: BlobFlaw) -> Vec<&Arc<Row>> {
    survey.blobs.iter().filter(|(_, found)| *found == flaw).map(|(row, _)| row).collect()
}

fn listed<'a>(rows: &[&'a Arc<Row>]) -> Vec<&'a str> {
    rows.iter().take(LISTED).map(|row| row.path.as_ref()).collect()
}

fn document(project: &Project, report: &Report) -> Value {
    let survey = &report.survey;
    let outcome = match (report.is_well(), survey.is_intact(), &report.mended) {
        (true, true, _) if !report.has_parity() => "flawed",
        (true, true, _) => "intact",
        (true, false, _) => "repaired",
        (false, _, Some(_)) => "incomplete",
        (false, _, None) => "flawed",
    };
    let mut document = json!({
        "version": 1,
        "command": "verify",
        "outcome": outcome,
        "release": survey.release.to_string(),
        "moved_to": survey.moved_to.as_ref().map(ToString::to_string),
        "deep": report.scope.deep,
        "documents": survey.documents,
    });
    let mut counts = json!({});
    let mut put = |name: &str, count: u64, list: Value| {
        counts[name] = json!(count);
        document[name] = list;
    };
    let flaws =
        [("missing", Flaw::Missing), ("stale", Flaw::Stale), ("corrupt", Flaw::Corrupt), ("headers", Flaw::Headers)];
    for (name, flaw) in flaws {
        let rows = of(survey, flaw);
        put(name, rows.len() as u64, json!(listed(&rows)));
    }
    let broken = [
        ("blobs_missing", BlobFlaw::Missing),
        ("blobs_corrupt", BlobFlaw::Corrupt),
        ("blobs_edited", BlobFlaw::Shared),
    ];
    for (name, flaw) in broken {
        let rows = blobs(survey, flaw);
        put(name, rows.len() as u64, json!(listed(&rows)));
    }
    let unreadable = survey.unreadable.iter().take(LISTED);
    let unreadable: Vec<Value> =
        unreadable.map(|(row, error)| json!({ "path": row.path, "error": error.to_string() })).collect();
    put("unreadable", survey.unreadable.len() as u64, json!(unreadable));
    let leftovers: Vec<&String> = survey.leftovers.iter().take(LISTED).collect();
    put("leftovers", survey.leftovers.len() as u64, json!(leftovers));
    put("foreign", survey.foreign.count, json!(survey.foreign.some));
    counts["moving"] = json!(survey.moving);
    document["counts"] = counts;
    document["repair"] = report.mended.as_ref().map_or(Value::Null, |mended| repair(mended, report));
    document["parity"] = report.parity.as_ref().map_or(Value::Null, super::Parity::json);
    document["store"] = project.store_json();
    document
}

fn repair(mended: &Mended, report: &Report) -> Value {
    let failed = mended.failed.iter().take(LISTED);
    let remaining = report.remaining.iter().flat_map(|survey| &survey.flaws).take(LISTED);
    json!({
        "shown": mended.shown,
        "removed": mended.removed,
        "left": mended.left,
        "postponed": mended.postponed,
        "skipped": mended.skipped,
        "failed": failed.map(|(path, error)| json!({ "path": path, "error": error.to_string() })).collect::<Vec<_>>(),
        "republish": mended.to_republish.iter().take(LISTED).collect::<Vec<_>>(),
        "purge": purge_json(&report.purged),
        "remaining": remaining.map(|(row, flaw)| json!({ "path": row.path, "flaw": flaw })).collect::<Vec<_>>(),
    })
}

/// One line a flaw.
fn flaws(survey: &Survey) {
    let words = [
        (Flaw::Missing, "missing "),
        (Flaw::Stale, "stale   "),
        (Flaw::Corrupt, "corrupt "),
        (Flaw::Headers, "headers "),
    ];
    for (flaw, word) in words {
        lines(word, &of(survey, flaw).iter().map(|row| row.path.as_ref()).collect::<Vec<_>>(), "");
    }
    let words = [
        (BlobFlaw::Missing, "blob    ", "  its blob is missing"),
        (BlobFlaw::Corrupt, "blob    ", "  its blob is corrupt"),
        (BlobFlaw::Shared, "blob    ", "  the file was changed in place, and its blob with it: they are one file"),
    ];
    for (flaw, word, why) in words {
        lines(word, &blobs(survey, flaw).iter().map(|row| row.path.as_ref()).collect::<Vec<_>>(), why);
    }
    for (row, error) in survey.unreadable.iter().take(LISTED) {
        lines("unknown ", &[row.path.as_ref()], &format!("  {error}"));
    }
    lines("leftover", &survey.leftovers.iter().map(String::as_str).collect::<Vec<_>>(), "");
}

fn lines(word: &str, paths: &[&str], why: &str) {
    for path in paths.iter().take(LISTED) {
        print::line(&format!("{}  {path}{why}", styled(print::RED, word)));
    }
    if paths.len() > LISTED {
        print::line(&format!("{}  … and {} more", styled(print::RED, word), grouped((paths.len() - LISTED) as u64)));
    }
}

fn parity(report: &Report) {
    for difference in report.parity.iter().flat_map(|parity| &parity.different) {
        let live = difference.live.map_or_else(|| "absent".to_owned(), |digest| digest.to_string()[..12].to_owned());
        let published = &difference.published.to_string()[..12];
        print::line(&format!(
            "{}  {}  release {published}  live {live}",
            styled(print::RED, "differs "),
            difference.path
        ));
    }
}

fn summary(context: &Context, report: &Report) {
    let survey = &report.survey;
    let documents = counted(survey.documents, "document");
    if !context.global.quiet {
        notes(survey);
    }
    match &report.mended {
        Some(mended) => repaired(context, report, mended),
        None if !survey.is_intact() => {
            error(&format!("{documents} of the release {} were looked at, and these differ", survey.release));
            let hint = match survey.blobs.is_empty() {
                true => "`tintype verify --repair` mends them from their blobs".to_owned(),
                false => format!("`tintype verify --repair` mends what can be; {}", republish()),
            };
            print::note(&format!("  {}: {hint}", styled(print::CYAN, "hint")));
        }
        None if context.is_talkative() => print::line(&format!(
            "{} of the release {} {}",
            documents,
            survey.release,
            styled(print::GREEN, if report.scope.deep { "are intact, and so are their blobs" } else { "look right" })
        )),
        None => {}
    }
    if let Some(parity) = &report.parity {
        if !parity.is_equal() {
            let different = parity.different.len();
            error(&format!(
                "of {} built again {different} differ (--seed {})",
                counted(parity.compared as u64, "key"),
                parity.seed
            ));
            let hint = "has the database changed since? `tintype plan` tells what a publish would change";
            print::note(&format!("  {}: {hint}", styled(print::CYAN, "hint")));
        } else if context.is_talkative() {
            let compared = counted(parity.compared as u64, "key");
            print::line(&format!("{compared} built again from the database: the same bytes (--seed {})", parity.seed));
        }
    }
}

fn notes(survey: &Survey) {
    let warning = styled(print::YELLOW, "warning");
    if let Some(moved_to) = &survey.moved_to {
        let left_out = counted(survey.moving, "path");
        print::note(&format!(
            "{warning}: the release {moved_to} isn't active yet, or has become so meanwhile; {left_out} that it changes \
             were left out"
        ));
        if survey.is_stuck {
            let hint = styled(print::CYAN, "hint");
            print::note(&format!("  {hint}: nobody is at it; `tintype resume` goes on, and says what is in its way"));
        }
    }
    if survey.foreign.count > 0 {
        let first = survey.foreign.some.first().map(String::as_str).unwrap_or_default();
        print::note(&format!(
            "{warning}: {} among the documents are none of tintype's and were left alone, such as {first}",
            counted(survey.foreign.count, "object")
        ));
    }
}

fn repaired(context: &Context, report: &Report, mended: &Mended) {
    if report.is_well() {
        if !context.global.quiet {
            let removed = counted(mended.removed, "leftover");
            let shown = counted(mended.shown, "document");
            print::line(&format!("{}: {shown} shown again, {removed} removed", styled(print::GREEN, "Repaired")));
            tell(&report.purged);
        }
        return;
    }
    if let Some(error) = &report.purged.error {
        print::error(error);
    }
    error("not everything could be repaired");
    for (_, error) in mended.failed.iter().take(LISTED) {
        print::note(&format!("  {error}"));
    }
    for (row, flaw) in report.remaining.iter().flat_map(|survey| &survey.flaws).take(LISTED) {
        print::note(&format!("  {} is still {}", row.path, format!("{flaw:?}").to_lowercase()));
    }
    let hint = |text: &str| print::note(&format!("  {}: {text}", styled(print::CYAN, "hint")));
    if let Some(path) = mended.to_republish.first() {
        hint(&format!("{}, first: tintype republish {path}", republish()));
    }
    if mended.postponed > 0 {
        let leftovers = counted(mended.postponed, "leftover");
        hint(&format!("{leftovers} wait for the edges to be told of the first ones: run the command again"));
    }
    if mended.left > 0 {
        hint("leftovers are removed after a yes, or with --yes");
    }
}

fn republish() -> &'static str {
    "a document whose blob is broken has to be built again: `tintype republish PATH`"
}

fn error(text: &str) {
    print::note(&format!("{}: {text}", styled(print::RED, "error")));
}
