//! The templates as they are served: by their files, and by what releases say of them.
//!
//! Somebody who changes a template's file and publishes would otherwise have two truths, the documents of the new file and
//! live answers of the old one. So the files are looked at again with every release, once: one that has changed is served
//! as it is now, and one that can't be read, or that no run got through, stays as it was. A template that a release had and
//! the next one has no more was taken off the site, and isn't answered for.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::keys::Served;
use super::site::Site;
use crate::release::Row;
use crate::release::manifest::{Manifest, Root, Status};
use crate::template::Template;

/// Where the templates' files are.
#[derive(Debug, Clone)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// The same as it is named in messages.
    pub shown: PathBuf,
}

/// The templates, as they were when the server started.
#[derive(Debug)]
pub struct Families {
    /// These templates.
    pub first: Vec<Arc<Served>>,
    /// Shortest time from one reading of a template's domains to the next.
    reread: Duration,
    folder: Folder,
}

/// What came of a new release.
#[derive(Debug, Default)]
pub struct Turned {
    /// Templates as they were served, and aren't any more.
    pub dropped: Vec<Arc<Served>>,
    /// Paths that the release before showed, and this one doesn't.
    pub gone: Vec<Arc<str>>,
}

impl Families {
    /// These templates, whose files are here.
    pub fn new(templates: &[Arc<Template>], folder: Folder, reread: Duration) -> Families {
        let first = templates.iter().map(|template| Arc::new(Served::new(template, reread))).collect();
        Families { first, reread, folder }
    }

    /// The site of a release that is served after another one, and what is over with it. This reads files and looks at
    /// every row, so it takes a thread.
    pub fn turn(&self, before: Option<&Site>, manifest: Manifest) -> (Site, Turned) {
        let known = before.map_or(&self.first, |before| &before.served);
        let mut off = before.map_or_else(BTreeSet::new, |before| {
            before.off.iter().chain(before.manifest.root.templates.keys()).cloned().collect()
        });
        off.retain(|name: &String| !manifest.root.templates.contains_key(name));
        let mut served = self.read_again(known, &manifest.root);
        served.retain(|served| !off.contains(&served.template.name));
        let dropped = known.iter().filter(|known| !served.iter().any(|served| Arc::ptr_eq(known, served)));
        let mut turned = Turned { dropped: dropped.cloned().collect(), gone: Vec::new() };
        let nothing = Arc::default();
        for (name, rows) in before.iter().flat_map(|before| &before.manifest.rows) {
            let gone = gone(rows, manifest.rows.get(name).unwrap_or(&nothing));
            // Before anybody sees the release: what went may be no key any more.
            if let Some(served) = served.iter().find(|served| served.template.name == *name) {
                served.doubt(&gone);
            }
            turned.gone.extend(gone);
        }
        (Site::new(before.map_or(0, |before| before.number) + 1, manifest, served, off), turned)
    }

    /// The templates as their files say now.
    fn read_again(&self, known: &[Arc<Served>], root: &Root) -> Vec<Arc<Served>> {
        let (read, findings) = match Template::load_readable(&self.folder.path, &self.folder.shown) {
            Ok(read) => read,
            Err(findings) => (Vec::new(), findings),
        };
        for finding in findings {
            let file = finding.file();
            tracing::warn!(
                file,
                reason = finding.message,
                "a template can't be read; serving what was read of it before"
            );
        }
        let is_behind = |name: &str| root.templates.get(name).is_some_and(|entry| entry.status == Status::LastGood);
        let mut by_name: HashMap<&str, &Arc<Served>> =
            known.iter().map(|served| (served.template.name.as_str(), served)).collect();
        let mut served: Vec<Arc<Served>> = Vec::with_capacity(read.len());
        for template in read {
            match by_name.remove(template.name.as_str()) {
                // The release shows what was made before a file that no run got through.
                Some(known) if known.template.source() == template.source() || is_behind(&template.name) => {
                    served.push(Arc::clone(known));
                }
                known => {
                    let template = Arc::new(template);
                    if known.is_some() {
                        tracing::info!(template = template.name, "the file has changed; serving it as it is now");
                    }
                    served.push(Arc::new(Served::new(&template, self.reread)));
                }
            }
        }
        // Whose file is there can't be read right now; whose file isn't is served for as long as it is published.
        let is_kept =
            |name: &str| root.templates.contains_key(name) || self.folder.path.join(format!("{name}.sql")).exists();
        served.extend(by_name.into_iter().filter(|(name, _)| is_kept(name)).map(|(_, served)| Arc::clone(served)));
        served.sort_by(|one, other| one.template.name.cmp(&other.template.name));
        served
    }
}

/// The paths of documents that are no more; both are in the order of their paths.
fn gone(before: &[Arc<Row>], now: &[Arc<Row>]) -> Vec<Arc<str>> {
    let mut now = now.iter().filter(|row| row.document.is_some()).peekable();
    let mut gone = Vec::new();
    for row in before.iter().filter(|row| row.document.is_some()) {
        while now.next_if(|other| other.path < row.path).is_some() {}
        if now.peek().is_none_or(|other| other.path != row.path) {
            gone.push(Arc::clone(&row.path));
        }
    }
    gone
}
