//! What lies among the documents that the release doesn't name.

use super::super::catalogue;
use super::super::manifest::Manifest;
use super::Foreign;
use crate::error::Error;
use crate::key::PathPattern;
use crate::store::{Listed, Part, Store};

/// So many of somebody else's objects are told by name.
const MAX_TOLD: usize = 1000;

/// Objects that no row names.
#[derive(Debug, Default)]
pub struct Others {
    /// Where templates of the release, or the catalogue, put their documents.
    pub leftovers: Vec<String>,
    /// Elsewhere.
    pub foreign: Foreign,
}

/// Lists the public part and sorts out what no row names.
pub async fn find(store: &Store, manifest: &Manifest) -> Result<Others, Error> {
    let entries = manifest.root.templates.values();
    let patterns: Vec<PathPattern> = entries.filter_map(|entry| PathPattern::parse(&entry.path).ok()).collect();
    let mut others = Others::default();
    let mut listing = store.listing(Part::Public);
    while let Some(page) = listing.next().await? {
        for object in page.objects {
            if manifest.row(&object.name).is_none_or(|row| row.document.is_none()) {
                others.put(object, &patterns);
            }
        }
    }
    others.leftovers.sort();
    Ok(others)
}

impl Others {
    fn put(&mut self, object: Listed, patterns: &[PathPattern]) {
        let Listed { name, is_document, .. } = object;
        let fits = || is_document && patterns.iter().any(|pattern| pattern.slugs(&name).is_some());
        if is_catalogues(&name) || fits() {
            self.leftovers.push(name);
            return;
        }
        self.foreign.count += 1;
        if self.foreign.some.len() < MAX_TOLD {
            self.foreign.some.push(name);
        }
    }
}

/// True where only the catalogue puts files; no template may.
fn is_catalogues(name: &str) -> bool {
    name == catalogue::PATH || (name.starts_with(catalogue::FOLDER) && name.ends_with(".json"))
}
