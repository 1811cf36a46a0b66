//! The paths that somebody names where an edge is meant.
//!
//! An edge may keep what no release has any more, and the catalogue, which no template makes. So an object path, or its URL
//! below `[cdn] url`, is taken as it is typed if it could be one of this site; anything else is a KEY, and means documents
//! of the active release. A slip of the finger could be one of this site, too: so a path that neither the release has nor
//! any change that is remembered is doubted.

use url::Url;

use super::context::Project;
use super::get::paths;
use super::print::{self, styled};
use super::publish::{Keys, job};
use crate::diagnostic::did_you_mean;
use crate::error::Error;
use crate::key::{PathPattern, is_slug};
use crate::release::head::HeadRead;
use crate::release::manifest::Manifest;
use crate::release::{catalogue, forgotten};

/// What becomes of a path that nothing is known to have been at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// It is a mistake.
    Refused,
    /// It may be one, and is taken.
    Doubted,
    /// It is taken.
    Taken,
}

/// The object paths that are named, each once, in order.
pub async fn named(project: &Project, keys: &Keys, unknown: Unknown) -> Result<Vec<String>, Error> {
    let patterns: Vec<&PathPattern> = project.templates.iter().map(|template| &template.pattern).collect();
    let mut found = Vec::new();
    let mut others = Keys { keys: Vec::new(), conditions: keys.conditions.clone() };
    for typed in &keys.keys {
        // A condition chooses among documents.
        match literal(typed, &patterns, project.base_url()).filter(|_| keys.conditions.is_empty()) {
            Some(path) => found.push(path),
            None => others.keys.push(typed.clone()),
        }
    }
    let has_others = found.is_empty() || !others.keys.is_empty();
    if has_others || unknown != Unknown::Taken {
        let head = HeadRead::read(&project.store).await?.head;
        let manifest = Manifest::read(&project.store, head.active.as_ref().ok_or(Error::Unpublished)?).await?;
        for path in forgotten(&project.store, &head, &manifest, &found).await? {
            let mut never =
                vec![format!("nothing is published at `{path}`, nor was in any release that is remembered")];
            never.extend(near(&path, &manifest).map(|near| format!("did you mean `{near}`?")));
            match unknown {
                Unknown::Refused => {
                    never.push("`--force` takes it all the same".to_owned());
                    return Err(Error::usage(never.remove(0), never.join(" ")));
                }
                Unknown::Doubted => print::note(&format!("{}: {}", styled(print::YELLOW, "warning"), never.join("; "))),
                Unknown::Taken => {}
            }
        }
        if has_others {
            let selectors = job(project, &others)?.selectors;
            found.extend(paths(project, &manifest, &selectors)?);
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The path of a document that is written nearly so.
fn near<'a>(path: &str, manifest: &'a Manifest) -> Option<&'a str> {
    let rows = manifest.rows.values().flat_map(|rows| rows.iter()).filter(|row| row.document.is_some());
    did_you_mean(path, rows.map(|row| row.path.as_ref()))
}

/// The object path that is typed, if it could be one of this site.
fn literal(typed: &str, patterns: &[&PathPattern], base: Option<&Url>) -> Option<String> {
    let path = match Url::parse(typed).ok().filter(|url| matches!(url.scheme(), "http" | "https")) {
        Some(url) => {
            let base = base.filter(|base| base.origin() == url.origin())?;
            let below = url.path().strip_prefix(base.path())?;
            percent_encoding::percent_decode_str(below).decode_utf8().ok()?.into_owned()
        }
        None => typed.to_owned(),
    };
    // A part of the catalogue lies in the folder of its template.
    let is_part =
        |rest: &str| rest.ends_with(".json") && rest.split('/').all(|name| is_slug(name.trim_end_matches(".json")));
    let is_catalogue = path == catalogue::PATH || path.strip_prefix(catalogue::FOLDER).is_some_and(is_part);
    let is_own = is_catalogue || patterns.iter().any(|pattern| pattern.slugs(&path).is_some());
    is_own.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_path_is_taken_as_it_is() {
        let pattern = PathPattern::parse("maps/{region}/{topic}.json").unwrap();
        let base = Url::parse("https://cdn.example.org/m%C3%A4ps/").unwrap();
        let literal = |typed: &str| literal(typed, &[&pattern], Some(&base));
        for path in ["maps/r1/gone.json", "index.json", "index/maps/topics.json"] {
            assert_eq!(literal(path).as_deref(), Some(path));
            assert_eq!(literal(&format!("https://cdn.example.org/m%C3%A4ps/{path}?x=1")).as_deref(), Some(path));
        }
        for typed in [
            "maps",
            "maps/r1/gone",
            "maps/*/gone.json",
            "index/*/topics.json",
            "index/../head.json",
            "other/r1/gone.json",
            "https://cdn.example.org/maps/r1/gone.json",
            "https://www.example.org/m%C3%A4ps/maps/r1/gone.json",
        ] {
            assert_eq!(literal(typed), None, "{typed}");
        }
    }
}
