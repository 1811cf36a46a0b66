//! The CDN: that it doesn't hand out the store's own records.

use serde_json::{Value, json};

use super::super::context::Project;
use super::Section;
use crate::cdn;
use crate::store::probe::{Check, RECORD, Subject, Verdict};

const RECORDS: Subject = Subject { name: "records-hidden", means: "readers can't fetch head.json and the releases" };

/// Tries to fetch a record through the URL that readers use.
pub async fn section(project: &Project) -> Section {
    let url = project.base_url().map(ToString::to_string);
    Section {
        key: "cdn",
        title: url.clone().unwrap_or_else(|| "none".to_owned()),
        checks: vec![records_hidden(project).await],
        more: json!({ "url": url }),
    }
}

async fn records_hidden(project: &Project) -> Check {
    let Some(base) = project.base_url() else {
        return RECORDS.check(Verdict::Skipped, "no [cdn] url is configured");
    };
    let name = match project.store.read_head().await {
        Ok(Some(_)) => "head.json",
        // The probe of a bucket has left what it found.
        Ok(None) if project.store.public_directory().is_none() => RECORD,
        Ok(None) => {
            return RECORDS.check(Verdict::Skipped, "there is no head.json yet; ask again after the first publish");
        }
        Err(error) => return RECORDS.check(Verdict::Skipped, error.to_string()),
    };
    let (public, control) = project.store.places();
    let mut seen = Vec::new();
    for url in cdn::record_urls(base, &public, &control, name) {
        match cdn::fetch(&url).await {
            Ok(answer) if answer.status == 200 && is_record(&answer.bytes) => {
                let detail = format!("{url} shows it to everybody");
                return RECORDS.broken(detail).hint(
                    "let the CDN's origin begin at the documents' own folder or prefix, or refuse the control folder's \
                     there; [store] control can move it elsewhere",
                );
            }
            Ok(answer) => seen.push(format!("{url} answers {}", answer.status)),
            Err(reason) => return RECORDS.check(Verdict::Skipped, format!("{url}: {reason}")),
        }
    }
    RECORDS.ok(seen.join("; "))
}

/// A site may answer everything with a page of its own, so the answer must be one of ours.
fn is_record(bytes: &[u8]) -> bool {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    // Where the head is a row in a database, what lies in the bucket is a copy that names that database.
    let is_copy = value["copy_of"].is_string() && value["head"].is_object();
    is_copy || value["format"].is_u64() && (value["seq"].is_u64() || value["probed_at"].is_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_for_everything_is_no_record() {
        assert!(is_record(br#"{"format":1,"seq":7,"desired":null}"#));
        assert!(is_record(br#"{"format":1,"probed_at":"2026-01-01T00:00:00Z"}"#));
        assert!(is_record(br#"{"copy_of":"a row","note":"n","head":{"format":1}}"#));
        assert!(!is_record(b"<!doctype html>"));
        assert!(!is_record(br#"{"format":1,"serial":7}"#), "index.json is public");
        assert!(!is_record(b""));
    }
}
