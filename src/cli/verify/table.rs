//! `verify --table`: the fallback table, compared with the active release, and on request written anew where it differs.

use serde_json::{Value, json};

use super::super::Outcome;
use super::super::context::{Context, Project};
use super::super::print::{self, counted, styled};
use super::super::progress::Bar;
use super::super::table::{hint, table_json};
use crate::error::Error;
use crate::release::{TableFlaw, TableSurvey, Tabled, repair_table, survey_table};

/// So many of each kind are listed; the counts tell of all.
const LISTED: usize = 1000;

/// What is to be done.
pub struct Look {
    /// Read every body, and compute its digest.
    pub deep: bool,
    /// Write what differs.
    pub repair: bool,
}

/// Looks at the table, and mends it.
pub async fn run(context: &Context, project: &Project, look: &Look) -> Result<Outcome, Error> {
    let table = project.table()?.ok_or_else(|| {
        let hint =
            "[fallback] table_url names a database for it; a SQLite database and a folder as the store need none";
        Error::usage("there is no fallback table to verify", hint)
    })?;
    let bar = Bar::follow(context);
    let survey = survey_table(&project.store, &table, look.deep, &context.progress).await?;
    let mended = match look.repair && !survey.is_intact() {
        true => Some(repair_table(&project.store, &table, &context.progress).await),
        false => None,
    };
    let remaining = match mended {
        Some(_) => Some(survey_table(&project.store, &table, look.deep, &context.progress).await?),
        None => None,
    };
    drop(bar);
    let is_well = remaining.as_ref().unwrap_or(&survey).is_intact();
    if context.is_json() {
        print::json(&document(&survey, mended.as_ref(), is_well, look, &table.describe()));
    } else {
        show(context, &survey, mended.as_ref(), is_well, &table.describe());
    }
    Ok(match (is_well, mended) {
        (true, _) => Outcome::Done,
        (false, Some(_)) => Outcome::Behind,
        (false, None) => Outcome::Failed,
    })
}

fn of(survey: &TableSurvey, flaw: TableFlaw) -> Vec<&str> {
    survey.flaws.iter().filter(|(_, found)| *found == flaw).map(|(path, _)| path.as_str()).collect()
}

fn document(survey: &TableSurvey, mended: Option<&Tabled>, is_well: bool, look: &Look, table: &str) -> Value {
    let outcome = match (is_well, mended) {
        (true, None) => "intact",
        (true, Some(_)) => "repaired",
        (false, Some(_)) => "incomplete",
        (false, None) => "flawed",
    };
    let kinds = [("missing", TableFlaw::Missing), ("different", TableFlaw::Different), ("corrupt", TableFlaw::Corrupt)];
    let lists = kinds.map(|(name, flaw)| (name, of(survey, flaw)));
    let extra = ("extra", survey.extra.iter().map(String::as_str).collect::<Vec<_>>());
    let (mut counts, mut listed) = (json!({}), json!({}));
    for (name, paths) in lists.into_iter().chain([extra]) {
        counts[name] = json!(paths.len());
        listed[name] = json!(paths.iter().take(LISTED).collect::<Vec<_>>());
    }
    let mut document = json!({
        "version": 1,
        "command": "verify",
        "outcome": outcome,
        "table": table,
        "release": survey.release.to_string(),
        "shows": survey.shows,
        "foreign": survey.foreign.as_ref().map(ToString::to_string),
        "deep": look.deep,
        "documents": survey.documents,
        "counts": counts,
        "repaired": mended.map(table_json),
    });
    if let (Some(document), Some(listed)) = (document.as_object_mut(), listed.as_object()) {
        document.extend(listed.clone());
    }
    document
}

fn show(context: &Context, survey: &TableSurvey, mended: Option<&Tabled>, is_well: bool, table: &str) {
    let word = |flaw: &TableFlaw| match flaw {
        TableFlaw::Missing => "missing  ",
        TableFlaw::Different => "different",
        TableFlaw::Corrupt => "corrupt  ",
    };
    for (path, flaw) in survey.flaws.iter().take(LISTED) {
        print::line(&format!("{}  {path}", styled(print::RED, word(flaw))));
    }
    for path in survey.extra.iter().take(LISTED) {
        print::line(&format!("{}  {path}", styled(print::YELLOW, "extra    ")));
    }
    if let Some(foreign) = &survey.foreign {
        print::note(&format!("{}: {foreign}", styled(print::YELLOW, "warning")));
    } else if survey.is_behind() {
        let shows = survey.shows.as_deref().unwrap_or("no release");
        print::note(&format!("{}: it says that it shows {shows}", styled(print::YELLOW, "warning")));
    }
    if let Some(error) = mended.and_then(|mended| mended.error.as_ref()) {
        print::note(&format!("{}: it couldn't be written: {error}", styled(print::YELLOW, "warning")));
        if let Some(hint) = hint(error) {
            print::note(&format!("  {}: {hint}", styled(print::CYAN, "hint")));
        }
    }
    let (documents, release) = (counted(survey.documents, "document"), styled(print::CYAN, &survey.release));
    match (is_well, mended) {
        (true, None) if context.is_talkative() => {
            print::note(&format!("{}: {table} has {documents} of release {release}", styled(print::GREEN, "Intact")));
        }
        (true, Some(Tabled { written, removed, .. })) => {
            let (written, removed) = (counted(*written, "document"), counted(*removed, "row"));
            print::note(&format!("{}: {written} written, {removed} removed", styled(print::GREEN, "Repaired")));
        }
        (false, None) => {
            let flaws = counted((survey.flaws.len() + survey.extra.len()) as u64, "row");
            print::note(&format!(
                "{flaws} of {table} differ from release {release}; `tintype verify --table --repair` writes them"
            ));
        }
        _ => {}
    }
}
