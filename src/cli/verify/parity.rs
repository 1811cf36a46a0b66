//! `--parity`: a few keys built from the database now, compared with what is published.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::context::{Project, run_id};
use crate::error::Error;
use crate::release::manifest::Manifest;
use crate::release::verify::sample;
use crate::release::{LiveRead, ReleaseId, Row, live_documents};
use crate::snapshot::Digest;
use crate::template::Template;
use crate::template::select::{Selector, selectors};

/// What came of it.
pub struct Parity {
    /// What picks the same keys again.
    pub seed: u64,
    /// How many keys were compared.
    pub compared: usize,
    /// Those that the database gives other bytes for, or none.
    pub different: Vec<Difference>,
    /// Those whose template has no file, or another path by now.
    pub skipped: usize,
}

/// A document that isn't what the database gives.
pub struct Difference {
    pub path: String,
    pub published: Digest,
    pub live: Option<Digest>,
}

impl Parity {
    pub fn is_equal(&self) -> bool {
        self.different.is_empty()
    }

    pub fn json(&self) -> Value {
        let different = self.different.iter();
        let different = different.map(|d| json!({ "path": d.path, "release": d.published, "live": d.live }));
        json!({
            "seed": self.seed,
            "compared": self.compared,
            "skipped": self.skipped,
            "different": different.collect::<Vec<_>>(),
        })
    }
}

/// Picks keys of a release and builds them as a publish would.
pub async fn compare(project: &Project, release: &ReleaseId, count: usize, seed: Option<u64>) -> Result<Parity, Error> {
    let seed = seed.or_else(|| getrandom::u64().ok()).unwrap_or_default();
    let manifest = Manifest::read(&project.store, release).await?;
    let mut parity = Parity { seed, compared: 0, different: Vec::new(), skipped: 0 };
    for (name, rows) in sample(&manifest, count, seed) {
        let Some(template) = project.templates.iter().find(|template| template.name == name) else {
            parity.skipped += rows.len();
            continue;
        };
        compare_some(project, template, &rows, &mut parity).await?;
    }
    Ok(parity)
}

async fn compare_some(
    project: &Project,
    template: &Arc<Template>,
    rows: &[Arc<Row>],
    parity: &mut Parity,
) -> Result<(), Error> {
    let templates = [Template::clone(template)];
    let mut found: Vec<(&Arc<Row>, Selector)> = Vec::new();
    for row in rows {
        match selectors(&[row.path.to_string()], &[], &templates, None) {
            Ok(selectors) => found.extend(selectors.into_iter().map(|selector| (row, selector))),
            Err(_) => parity.skipped += 1,
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let wanted: Vec<&Selector> = found.iter().map(|(_, selector)| selector).collect();
    let wanted = LiveRead { template, selectors: &wanted, every_valid: false };
    let database = project.database()?;
    let put = Arc::new(|_: &str, _: &[u8]| {});
    let live = live_documents(&project.store, &database, &project.settings, wanted, run_id(), put).await?;
    let live: BTreeMap<&str, Option<Digest>> = live.iter().map(|row| (row.path.as_ref(), row.digest())).collect();
    for (row, _) in found {
        let (Some(published), live) = (row.digest(), live.get(row.path.as_ref()).copied().flatten()) else { continue };
        parity.compared += 1;
        if live != Some(published) {
            parity.different.push(Difference { path: row.path.to_string(), published, live });
        }
    }
    Ok(())
}
