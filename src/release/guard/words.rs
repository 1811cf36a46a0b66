//! What the guards measured, in words: the numbers before and after, and what is usually behind them.

use bytesize::ByteSize;
use serde_json::json;

use super::super::manifest::TemplateEntry;
use super::measure::{Measured, Walk};
use crate::template::Template;
use crate::template::guard::{Guard, Unit};

/// A number with thin groups of three: 107,881.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What was found, with the limit that it is above.
pub fn with_limit(guard: Guard, message: &str, limit: f64) -> String {
    match guard.unit() {
        Unit::Event => message.to_owned(),
        _ => format!("{message}; the limit is {}", guard.shown(limit)),
    }
}

/// All rows.
pub fn rows(walk: &Walk) -> Measured {
    let (before, after) = (walk.before.rows, walk.after.rows);
    fallen("rows", before, after, grouped)
}

/// Documents, or those with rows: whichever fell more.
pub fn documents(walk: &Walk) -> Measured {
    let (before, after) = (&walk.before, &walk.after);
    let all = fallen("documents", before.documents, after.documents, grouped);
    let with_rows = fallen("documents with rows", before.with_rows, after.with_rows, grouped);
    if with_rows.value > all.value { with_rows } else { all }
}

/// All bytes.
pub fn size(guard: Guard, walk: &Walk) -> Measured {
    let (before, after) = (walk.before.size_bytes, walk.after.size_bytes);
    let shown = |bytes| ByteSize(bytes).to_string();
    match guard {
        Guard::SizeGrowth => moved("bytes", before, after, percent(after.saturating_sub(before), before), shown),
        _ => fallen("bytes", before, after, shown),
    }
}

/// No rows any more.
pub fn empty(walk: &Walk) -> Measured {
    let (before, after) = (walk.before.rows, walk.after.rows);
    let documents = grouped(walk.after.documents);
    let message = match (before, after) {
        (0, _) => "there were no rows before".to_owned(),
        (_, 0) => format!("there were {} rows, and there are none: is a table empty?", grouped(before)),
        _ => format!("{} rows in {documents} documents", grouped(after)),
    };
    let value = f64::from(u8::from(before > 0 && after == 0));
    Measured { value, before: json!(before), after: json!(after), message, may_refuse: true }
}

/// Documents with other bytes.
pub fn changed(walk: &Walk) -> Measured {
    let (all, changed) = (walk.before.documents, walk.changed);
    let value = percent(changed, all);
    let mut message = format!("{} of {} documents changed, {}", grouped(changed), grouped(all), shown_percent(value));
    if changed > 0 {
        message.push_str(&format!(
            ", {} of them with as many rows and bytes as before, and all rows went from {} to {}. If the data didn't \
             change, the query isn't deterministic: no total ORDER BY, sums of floats without decimals, random(), now()",
            if walk.changed_alike == changed { "all".to_owned() } else { grouped(walk.changed_alike) },
            grouped(walk.before.rows),
            grouped(walk.after.rows),
        ));
    }
    Measured { value, before: json!(all), after: json!(changed), message, may_refuse: true }
}

/// Documents that go.
pub fn removed(walk: &Walk) -> Measured {
    let (before, removed) = (walk.before.documents, walk.removed);
    let message = format!("{} of {} documents go", grouped(removed), grouped(before));
    Measured { value: removed as f64, before: json!(before), after: json!(before - removed), message, may_refuse: true }
}

/// Path pattern and shape.
pub fn path(entry: &TemplateEntry, template: &Template) -> Measured {
    let (old, new) = (entry.path.as_str(), template.pattern.as_str());
    let message = if old != new {
        format!("the path was `{old}` and is `{new}`: every document would move to another URL")
    } else if entry.shape != template.shape {
        format!("the shape was {} and is {}: whoever reads the documents must know it", entry.shape, template.shape)
    } else {
        format!("the path is `{new}`, as before")
    };
    let value = f64::from(u8::from(old != new || entry.shape != template.shape));
    let shown = |path: &str, shape| json!({ "path": path, "shape": shape });
    let (before, after) = (shown(old, entry.shape), shown(new, template.shape));
    Measured { value, before, after, message, may_refuse: true }
}

/// Columns of the documents.
pub fn columns(before: &[String], after: &[String]) -> Measured {
    let without = |all: &[String], others: &[String]| {
        all.iter().filter(|name| !others.contains(name)).cloned().collect::<Vec<String>>()
    };
    let (gone, new) = (without(before, after), without(after, before));
    let mut said = Vec::new();
    if !gone.is_empty() {
        said.push(format!("columns are gone: {}", gone.join(", ")));
    }
    if !new.is_empty() {
        said.push(format!("columns are new: {}", new.join(", ")));
    }
    if said.is_empty() && before != after {
        said.push(format!("the columns stand in another order: {}", after.join(", ")));
    }
    let value = f64::from(u8::from(!said.is_empty()));
    let message = if said.is_empty() { "the columns are as before".to_owned() } else { said.join("; ") };
    // What is new, or stands elsewhere, breaks no page that reads columns by their names.
    Measured { value, before: json!(before), after: json!(after), message, may_refuse: !gone.is_empty() }
}

fn fallen(what: &str, before: u64, after: u64, shown: impl Fn(u64) -> String) -> Measured {
    moved(what, before, after, percent(before.saturating_sub(after), before), shown)
}

fn moved(what: &str, before: u64, after: u64, value: f64, shown: impl Fn(u64) -> String) -> Measured {
    let message = match after.cmp(&before) {
        std::cmp::Ordering::Less => {
            format!(
                "{what} fell from {} to {}, by {}",
                shown(before),
                shown(after),
                shown_percent(percent(before - after, before))
            )
        }
        std::cmp::Ordering::Equal => format!("{} {what}, as before", shown(after)),
        std::cmp::Ordering::Greater => {
            format!(
                "{what} grew from {} to {}, by {}",
                shown(before),
                shown(after),
                shown_percent(percent(after - before, before))
            )
        }
    };
    Measured { value, before: json!(before), after: json!(after), message, may_refuse: true }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// Never 100 for what isn't all, and never 0 for what isn't nothing.
fn shown_percent(percent: f64) -> String {
    match percent {
        0.0 => "0%".to_owned(),
        ..0.1 => "less than 0.1%".to_owned(),
        99.9..100.0 => "more than 99.9%".to_owned(),
        _ => format!("{}%", (percent * 10.0).round() / 10.0),
    }
}
