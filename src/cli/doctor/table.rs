//! The fallback table: is it there, may it be written, and what does it show?

use serde_json::Value;

use super::super::context::Project;
use super::super::table::hint;
use super::Section;
use crate::config::TablePlace;
use crate::database::FallbackTable;
use crate::error::Error;
use crate::release::{TableOutcome, standing};
use crate::store::probe::{Check, Subject, Verdict};

const TABLE: Subject = Subject { name: "table", means: "an API can answer while the store is down" };
const RIGHTS: Subject = Subject { name: "table rights", means: "publishes can write the table" };

/// Asks the table. What is wrong with it keeps no release from being published, and is a warning.
pub async fn section(project: &Project) -> Section {
    let (title, checks) = match project.table() {
        Ok(Some(table)) => (table.describe(), checks(project, &table).await),
        Ok(None) => ("none".to_owned(), vec![without(&project.config.fallback.table)]),
        Err(error) => ("none".to_owned(), vec![failed(&TABLE, &error)]),
    };
    Section { key: "fallback", title, checks, more: Value::Null }
}

fn without(place: &TablePlace) -> Check {
    match place {
        TablePlace::Off => TABLE.check(Verdict::Skipped, "[fallback] table is false"),
        _ => TABLE
            .check(Verdict::Skipped, "no table is left behind")
            .hint("[fallback] table_url names a database for it"),
    }
}

async fn checks(project: &Project, table: &FallbackTable) -> Vec<Check> {
    match table.state().await {
        Err(error) => return vec![failed(&TABLE, &error.into())],
        Ok(None) => {
            let check = TABLE.check(Verdict::Missing, "there is no table yet");
            return vec![check.hint("the next publish makes it, or says what an administrator must run")];
        }
        Ok(Some(_)) => {}
    }
    let standing = standing(&project.store, Some(table)).await;
    let shown = match (&standing.error, standing.outcome) {
        (Some(error), _) => failed(&TABLE, error),
        (None, TableOutcome::Pending) => TABLE
            .check(Verdict::Warning, "it shows an older release")
            .hint("`tintype resume` writes it, and so does the next publish"),
        (None, TableOutcome::None) => match project.lost().await {
            Ok(None) => TABLE.ok("no release is active yet"),
            Ok(Some(error)) | Err(error) => failed(&TABLE, &error),
        },
        (None, TableOutcome::Done) => TABLE.ok("it shows the active release"),
    };
    let rights = match table.rights().await {
        Err(error) => failed(&RIGHTS, &error.into()),
        Ok(rights) if rights.missing.is_empty() => RIGHTS.ok("it may be read and written"),
        Ok(rights) => {
            let missing = rights.missing.join(", ");
            RIGHTS.check(Verdict::Warning, format!("not allowed: {missing}")).hint(
                "GRANT SELECT, INSERT, UPDATE, DELETE on both tables, or the right to write the file and its folder",
            )
        }
    };
    vec![shown, rights]
}

fn failed(subject: &Subject, error: &Error) -> Check {
    Check { hint: hint(error), ..subject.check(Verdict::Warning, error.to_string()) }
}
