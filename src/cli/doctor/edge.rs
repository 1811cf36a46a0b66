//! The CDN: that it doesn't hand out the store's own records, and on request what it does with a document.

use serde_json::{Value, json};
use url::Url;

use super::super::context::{Project, run_id};
use super::super::print::counted;
use super::super::serve::trusted_proxies;
use super::Section;
use crate::cdn;
use crate::cdn::examine::{Known, Subjected, examine};
use crate::cdn::reader::document_url;
use crate::error::Error;
use crate::release::head::HeadRead;
use crate::release::manifest::Manifest;
use crate::release::{attributes, catalogue};
use crate::store::probe::{Check, RECORD, Subject, Verdict};

const CLIENTS: Subject =
    Subject { name: "clients-apart", means: "`tintype serve` tells apart who asks through the CDN" };
const RECORDS: Subject = Subject { name: "records-hidden", means: "readers can't fetch head.json and the releases" };

/// So many at most, until one of them comes from the cache.
const QUERIES: usize = 4;

/// Tries to fetch a record through the URL that readers use.
pub async fn section(project: &Project) -> Section {
    let url = project.base_url().map(ToString::to_string);
    Section {
        key: "cdn",
        title: url.clone().unwrap_or_else(|| "none".to_owned()),
        checks: vec![records_hidden(project).await, clients_apart(project)],
        more: json!({ "url": url }),
    }
}

/// Looks at one document closely: at this URL, or at one of the active release.
pub async fn close_look(project: &Project, url: Option<&Url>) -> Result<Section, Error> {
    let manifest = match HeadRead::read(&project.store).await?.head.active {
        Some(active) => Some(Manifest::read(&project.store, &active).await?),
        None => None,
    };
    let (url, path) = match (url, project.base_url(), &manifest) {
        (Some(url), base, _) => (url.clone(), path_of(url, base)),
        (None, Some(base), Some(manifest)) => {
            let path = example(manifest);
            (document_url(base, &path), path)
        }
        (None, None, _) => {
            let hint = "set it, or name a document's URL: `tintype doctor --cdn https://…`";
            return Err(Error::usage("no [cdn] url is configured", hint));
        }
        (None, _, None) => return Err(Error::Unpublished),
    };
    let known = manifest.as_ref().and_then(|manifest| known(project, manifest, &path));
    let mut checks = vec![records_hidden(project).await];
    let (nothing, queried) = (nothing_beside(&url), queried(&url));
    checks.extend(examine(Subjected { url: &url, nothing: &nothing, queried: &queried, known: known.as_ref() }).await);
    Ok(Section {
        key: "cdn",
        title: url.to_string(),
        checks,
        more: json!({
            "url": project.base_url().map(ToString::to_string),
            "document": url.to_string(),
            "path": known.is_some().then_some(path),
        }),
    })
}

/// Any document but the catalogue's, if there is one.
fn example(manifest: &Manifest) -> String {
    let rows = |is_wanted: &dyn Fn(&str) -> bool| {
        let mut families = manifest.rows.iter().filter(|(name, _)| is_wanted(name));
        families.find_map(|(_, rows)| rows.iter().find(|row| row.document.is_some()).map(|row| row.path.to_string()))
    };
    rows(&|name| name != catalogue::NAME).unwrap_or_else(|| catalogue::PATH.to_owned())
}

/// The object path that a URL may show.
fn path_of(url: &Url, base: Option<&Url>) -> String {
    let path = percent_encoding::percent_decode_str(url.path()).decode_utf8_lossy().into_owned();
    let below = base.and_then(|base| path.strip_prefix(base.path()));
    below.unwrap_or_else(|| path.trim_start_matches('/')).to_owned()
}

fn known(project: &Project, manifest: &Manifest, path: &str) -> Option<Known> {
    let document = manifest.row(path)?.document?;
    let attributes = attributes(manifest, path)?;
    Some(Known {
        digest: document.digest,
        size_bytes: document.size_bytes,
        cache_control: attributes.cache_control,
        tags: attributes.cache_tags,
        has_headers: project.store.public_directory().is_none(),
    })
}

/// A name in the same folder that nobody can have published.
fn nothing_beside(url: &Url) -> Url {
    let mut nothing = url.clone();
    let folder = url.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    nothing.set_path(&format!("{folder}/tintype-doctor-{}.json", run_id().as_str()));
    nothing
}

/// The URL with queries that nobody can have sent.
fn queried(url: &Url) -> Vec<Url> {
    let run = run_id();
    let with_query = |number| {
        let mut url = url.clone();
        url.query_pairs_mut().append_pair("tintype-doctor", &format!("{}-{number}", run.as_str()));
        url
    };
    (1..=QUERIES).map(with_query).collect()
}

/// Without the CDN's networks `serve` doesn't start.
fn clients_apart(project: &Project) -> Check {
    if project.base_url().is_none() {
        return CLIENTS.check(Verdict::Skipped, "no [cdn] url is configured");
    }
    match trusted_proxies(project, &project.config.fallback.serve) {
        Ok(networks) if networks.is_empty() => {
            CLIENTS.check(Verdict::Skipped, "trusted_proxies is empty: nobody asks `tintype serve` through the CDN")
        }
        Ok(networks) => CLIENTS.ok(format!("{} is believed", counted(networks.len() as u64, "network"))),
        Err(error) => Check {
            hint: error.hint(),
            ..CLIENTS.check(Verdict::Missing, format!("`tintype serve` won't start: {error}"))
        },
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
