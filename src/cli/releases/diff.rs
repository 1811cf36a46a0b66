//! `releases ID --diff OTHER`: what one release has that another hasn't, by key and on request by row.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::super::context::{Context, Project};
use super::super::print::{self, counted, grouped, styled};
use crate::error::Error;
use crate::release::compare::{Compared, Contents, Differing, How, compare, contents};
use crate::release::manifest::Manifest;
use crate::release::{Release, Row};

/// So many documents of a template are listed; the counts tell of all.
const LISTED: usize = 10_000;
/// So many changed documents of a template are read, if rows are asked for.
const MAX_READ: usize = 100;
/// So many rows that came, and as many that went, are told of a document.
const MAX_ROWS: usize = 20;

/// What was found within documents, by path.
type Read = HashMap<String, Contents>;

/// Shows what changes from `before` to `after`.
pub async fn show(
    context: &Context,
    project: &Project,
    (before, after): (&Release, &Release),
    with_rows: bool,
) -> Result<(), Error> {
    let store = &project.store;
    let (old, new) = (Manifest::read(store, &before.root.id).await?, Manifest::read(store, &after.root.id).await?);
    let compared = compare(&old, &new);
    drop((old, new));
    let mut read = Read::new();
    for template in compared.iter().filter(|_| with_rows) {
        let changed = template.differences.iter().filter(|differing| differing.how() == How::Changed);
        for differing in changed.take(MAX_READ) {
            let contents = contents(store, differing, template.shape, MAX_ROWS).await?;
            read.insert(differing.path().to_owned(), contents);
        }
    }
    if context.is_json() {
        print::json(&document(before, after, &compared, &read));
        return Ok(());
    }
    print::line(&format!("{} → {}", before.root.id, styled(print::CYAN, &after.root.id)));
    if compared.is_empty() {
        print::line("  no document differs");
    }
    for template in &compared {
        print_template(template, &read);
        let changed = template.count(How::Changed);
        if with_rows && changed > MAX_READ as u64 {
            let rest = grouped(changed - MAX_READ as u64);
            print::line(&format!(
                "  rows are shown of the first {MAX_READ} changed documents; {rest} more have changed"
            ));
        }
    }
    Ok(())
}

const KINDS: [(How, &str); 4] =
    [(How::Added, "added"), (How::Changed, "changed"), (How::Headers, "headers"), (How::Removed, "removed")];

fn document(before: &Release, after: &Release, compared: &[Compared], read: &Read) -> Value {
    let templates: Vec<Value> = compared.iter().map(|template| template_json(template, read)).collect();
    json!({
        "version": 1,
        "command": "releases",
        "release": after.root.id.to_string(),
        "diff": before.root.id.to_string(),
        "templates": templates,
    })
}

fn template_json(template: &Compared, read: &Read) -> Value {
    let mut counts = json!({});
    for (how, word) in KINDS {
        counts[word] = json!(template.count(how));
    }
    let listed = template.differences.iter().take(LISTED);
    json!({
        "name": template.name,
        "before": template.before,
        "after": template.after,
        "columns_added": template.columns_added,
        "columns_removed": template.columns_removed,
        "counts": counts,
        "differences": listed.map(|differing| differing_json(differing, read)).collect::<Vec<_>>(),
    })
}

fn differing_json(differing: &Differing, read: &Read) -> Value {
    let mut value = json!({
        "path": differing.path(),
        "change": differing.how(),
        "before": differing.before.as_deref().map(row_json),
        "after": differing.after.as_deref().map(row_json),
    });
    if let Some(contents) = read.get(differing.path()) {
        let rows =
            |rows: &[String]| rows.iter().filter_map(|row| serde_json::from_str::<Value>(row).ok()).collect::<Value>();
        value["rows"] = json!({
            "added": rows(&contents.added),
            "removed": rows(&contents.removed),
            "added_more": contents.added_more,
            "removed_more": contents.removed_more,
            "reordered": contents.is_reordered,
        });
    }
    value
}

fn row_json(row: &Row) -> Value {
    let document = row.document.as_ref();
    json!({
        "rows": document.map(|document| document.rows),
        "size_bytes": document.map(|document| document.size_bytes),
        "digest": row.digest(),
    })
}

fn print_template(template: &Compared, read: &Read) {
    let counts: Vec<String> = KINDS
        .iter()
        .map(|(how, word)| (template.count(*how), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| match *word {
            "headers" => format!("{} with other headers only", grouped(count)),
            word => format!("{} {word}", grouped(count)),
        })
        .collect();
    let documents = match template.before == template.after {
        true => counted(template.after, "document"),
        false => format!("{} → {}", grouped(template.before), counted(template.after, "document")),
    };
    print::line(&format!("  {}: {}; {documents}", template.name, counts.join(", ")));
    for (word, columns) in [("new", &template.columns_added), ("gone", &template.columns_removed)] {
        if !columns.is_empty() {
            print::line(&format!("    {} {word}: {}", styled(print::YELLOW, "columns"), columns.join(", ")));
        }
    }
    for differing in template.differences.iter().take(LISTED) {
        print_differing(differing);
        if let Some(contents) = read.get(differing.path()) {
            print_contents(contents);
        }
    }
    if template.differences.len() > LISTED {
        print::line(&format!("    … and {} more", grouped((template.differences.len() - LISTED) as u64)));
    }
}

fn print_differing(differing: &Differing) {
    let sign = match differing.how() {
        How::Added => styled(print::GREEN, "+"),
        How::Changed => styled(print::YELLOW, "~"),
        How::Headers => styled(print::CYAN, "="),
        How::Removed => styled(print::RED, "-"),
    };
    let size = |row: &Row| row.document.map_or((0, 0), |document| (document.rows, document.size_bytes));
    let (rows, bytes) = match (&differing.before, &differing.after) {
        (Some(before), Some(after)) => (change(size(before).0, size(after).0), change(size(before).1, size(after).1)),
        (Some(one), None) | (None, Some(one)) => (size(one).0.to_string(), size(one).1.to_string()),
        (None, None) => return,
    };
    let what = match differing.how() {
        How::Headers => "other headers only".to_owned(),
        _ => format!("{rows} rows, {bytes} bytes"),
    };
    print::line(&format!("  {sign} {}  {what}", differing.path()));
}

fn change(before: u32, after: u32) -> String {
    if before == after { after.to_string() } else { format!("{before} → {after}") }
}

fn print_contents(contents: &Contents) {
    let signs = [
        (styled(print::RED, "-"), &contents.removed, contents.removed_more),
        (styled(print::GREEN, "+"), &contents.added, contents.added_more),
    ];
    for (sign, rows, more) in signs {
        for row in rows {
            print::line(&format!("      {sign} {row}"));
        }
        if more > 0 {
            print::line(&format!("      {sign} … and {}", counted(more, "row")));
        }
    }
    if contents.is_reordered {
        print::line("      the same rows in another order");
    }
}
