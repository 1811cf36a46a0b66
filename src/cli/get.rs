//! `get`: the document itself, as readers see it, as a release or the fallback table holds it, or as the database would
//! answer now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use clap::{Args, ValueEnum};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::context::{Context, Project, run_id};
use super::publish::{Keys, job};
use super::releases::find;
use super::{Outcome, print};
use crate::diagnostic::did_you_mean;
use crate::error::Error;
use crate::release::head::HeadRead;
use crate::release::manifest::Manifest;
use crate::release::{self, LiveRead, Row, Rows, live_documents, releases, table_rows};
use crate::snapshot::Digest;
use crate::template::Template;
use crate::template::select::Selector;

/// Options of `get`.
#[derive(Debug, Args)]
pub struct Get {
    #[command(flatten)]
    keys: Keys,
    /// Where from.
    #[arg(long, value_enum, default_value_t = From::Store)]
    from: From,
    /// Read a replica, as publish does, instead of the primary; for `--from live` and `all`.
    #[arg(long)]
    replica: bool,
    /// From an older release instead of the stable path.
    #[arg(long, value_name = "ID", conflicts_with = "from")]
    release: Option<String>,
}

/// Where a document is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// The stable path in the store: what readers see.
    Store,
    /// The fallback table: what an API answers while the store is down. Asks the table alone.
    Table,
    /// The database, now: the same template, the same bytes.
    Live,
    /// All of them; compares their digests.
    All,
}

/// Documents by path.
type Bodies = BTreeMap<String, Vec<u8>>;

impl Get {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        if self.keys.keys.is_empty() && self.keys.conditions.is_empty() {
            return Err(Error::usage(
                "get needs to know what",
                "name a KEY such as world-map/crispr/low, or paste a URL",
            ));
        }
        let project = match self.from {
            // What is published was read with other files, perhaps.
            From::Store | From::Table => context.published_project()?,
            From::Live | From::All => context.project()?,
        };
        let selectors = job(&project, &self.keys)?.selectors;
        match self.from {
            From::Store => {
                let bodies = self.stored(&project, &selectors).await?;
                show(context, &bodies, "store");
                Ok(Outcome::Done)
            }
            From::Table => {
                let bodies = tabled(&project, &selectors).await?;
                show(context, &bodies, "table");
                Ok(Outcome::Done)
            }
            From::Live => {
                let bodies = live(&project, &selectors, true, self.replica).await?;
                show(context, &bodies, "live");
                Ok(Outcome::Done)
            }
            From::All => {
                let stored = self.stored(&project, &selectors).await?;
                // The store holds the hot set only, so that is what can be compared.
                let live = live(&project, &selectors, false, self.replica).await?;
                let table = match project.table()? {
                    Some(_) => Some(tabled(&project, &selectors).await?),
                    None => None,
                };
                Ok(compare(context, &stored, &live, table.as_ref()))
            }
        }
    }

    async fn stored(&self, project: &Project, selectors: &[Selector]) -> Result<Bodies, Error> {
        let manifest = match &self.release {
            Some(id) => Some(find(&releases(&project.store).await?, id)?.root.id.clone()),
            None => HeadRead::read(&project.store).await?.head.desired,
        };
        let manifest = Manifest::read(&project.store, &manifest.ok_or(Error::Unpublished)?).await?;
        let mut bodies = Bodies::new();
        for path in paths(project, &manifest, selectors)? {
            let release = self.release.is_some().then_some(&manifest);
            let body = release::document(&project.store, &path, release).await?;
            let body =
                body.ok_or_else(|| Error::Missing { path: path.clone(), release: manifest.root.id.to_string() })?;
            bodies.insert(path, body);
        }
        Ok(bodies)
    }
}

/// What the fallback table says, which the store isn't needed for.
async fn tabled(project: &Project, selectors: &[Selector]) -> Result<Bodies, Error> {
    let table = project.table()?.ok_or_else(|| {
        let hint =
            "[fallback] table_url names a database for it; a SQLite database and a folder as the store need none";
        Error::usage("there is no fallback table", hint)
    })?;
    let state = table.state().await?.filter(|state| state.serial > 0);
    let nothing = || Error::usage("the fallback table is empty", "`tintype publish` or `tintype resume` writes it");
    let release = state.ok_or_else(nothing)?.release;
    let mut rows = BTreeMap::new();
    for template in &project.templates {
        if selectors.iter().any(|selector| selector.template == template.name) {
            rows.insert(template.name.clone(), Arc::new(table_rows(&table, template).await?));
        }
    }
    let mut bodies = Bodies::new();
    for path in found(project, &release, &rows, selectors)? {
        let missing = || Error::Missing { path: path.clone(), release: release.clone() };
        let body = table.body(&path).await?.ok_or_else(missing)?;
        bodies.insert(path.clone(), release::unpacked(&path, &body, None)?);
    }
    Ok(bodies)
}

/// The paths of a release that selectors mean; a selector that means none is a mistake.
pub fn paths(project: &Project, manifest: &Manifest, selectors: &[Selector]) -> Result<Vec<String>, Error> {
    found(project, &manifest.root.id.to_string(), &manifest.rows, selectors)
}

/// The same among these rows by template.
fn found(
    project: &Project,
    release: &str,
    rows: &BTreeMap<String, Rows>,
    selectors: &[Selector],
) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for selector in selectors {
        let Some(template) = project.templates.iter().find(|template| template.name == selector.template) else {
            continue;
        };
        let rows = rows.get(&template.name).map_or(&[][..], |rows| rows.as_slice());
        let rows = || rows.iter().filter(|row| row.document.is_some());
        let before = found.len();
        let selector = &selector.settled(&|column, text| rows().any(|row| is_value(template, row, column, text)));
        found
            .extend(rows().filter(|row| selector.means(template, &row.path, &row.key)).map(|row| row.path.to_string()));
        if found.len() == before {
            let typed = if selector.typed.ends_with(".json") {
                selector.typed.clone()
            } else {
                format!("{}.json", selector.typed)
            };
            let hint = match did_you_mean(&typed, rows().map(|row| row.path.as_ref())) {
                // Without its ending, a path is only understood where it begins with the template's name.
                Some(near) if near.starts_with(&format!("{}/", template.name)) => {
                    format!("did you mean `{}`?", near.trim_end_matches(".json"))
                }
                Some(near) => format!("did you mean `{near}`?"),
                None => "index.json lists what is published; `--from live` asks the database".to_owned(),
            };
            return Err(Error::usage(format!("`{}` isn't in the release {release}", selector.typed), hint));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Says whether a document of the release has this value or slug in a key column.
fn is_value(template: &Template, row: &Row, column: usize, text: &str) -> bool {
    row.key.0[column].to_string() == text
        || template.pattern.slugs(&row.path).is_some_and(|slugs| slugs.get(column).is_some_and(|slug| *slug == text))
}

/// What the database answers now.
async fn live(project: &Project, selectors: &[Selector], every_valid: bool, replica: bool) -> Result<Bodies, Error> {
    let database = project.editors_database(replica)?;
    let bodies = Arc::new(Mutex::new(Bodies::new()));
    for template in &project.templates {
        let meant: Vec<&Selector> = selectors.iter().filter(|selector| selector.template == template.name).collect();
        if meant.is_empty() {
            continue;
        }
        let collected = Arc::clone(&bodies);
        let put = Arc::new(move |path: &str, body: &[u8]| {
            if let Ok(mut bodies) = collected.lock() {
                bodies.insert(path.to_owned(), body.to_owned());
            }
        });
        let wanted = LiveRead { template, selectors: &meant, every_valid };
        live_documents(&project.store, &database, &project.settings, wanted, run_id(), put).await?;
    }
    let mut bodies = bodies.lock().map_err(|_| Error::usage("the read was interrupted", "try again"))?;
    Ok(std::mem::take(&mut *bodies))
}

fn show(context: &Context, bodies: &Bodies, source: &str) {
    if !context.is_json() {
        for body in bodies.values() {
            print::data(body);
            print::data(b"\n");
        }
        return;
    }
    let documents: Vec<Value> = bodies
        .iter()
        .map(|(path, body)| {
            let raw = std::str::from_utf8(body).ok().and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
            json!({ "path": path, "digest": Digest::of(body), "size_bytes": body.len(), "source": source, "body": raw })
        })
        .collect();
    print::json(&json!({ "version": 1, "command": "get", "documents": documents }));
}

/// The editor's proof: does the database say now what readers see, and would the fallback table?
fn compare(context: &Context, stored: &Bodies, live: &Bodies, table: Option<&Bodies>) -> Outcome {
    let tabled = table.into_iter().flat_map(Bodies::keys);
    let paths: std::collections::BTreeSet<&String> = stored.keys().chain(live.keys()).chain(tabled).collect();
    let mut documents = Vec::new();
    let mut equal = true;
    for path in paths {
        let of = |bodies: &Bodies| bodies.get(path).map(|body| Digest::of(body).to_string());
        let (store, live) = (of(stored), of(live));
        let table = table.map(of);
        let same = store == live && table.as_ref().is_none_or(|table| *table == store);
        equal &= same;
        if !context.is_json() {
            let word =
                if same { print::styled(print::GREEN, "same     ") } else { print::styled(print::RED, "different") };
            let short = |digest: &Option<String>| {
                digest.as_ref().map_or_else(|| "absent".to_owned(), |digest| digest[..12].to_owned())
            };
            let table = table.as_ref().map_or_else(String::new, |table| format!("  table {}", short(table)));
            print::line(&format!("{word}  {path}  store {}  live {}{table}", short(&store), short(&live)));
        }
        documents.push(json!({ "path": path, "same": same, "store": store, "live": live, "table": table.flatten() }));
    }
    if context.is_json() {
        print::json(&json!({ "version": 1, "command": "get", "same": equal, "documents": documents }));
    }
    if equal { Outcome::Done } else { Outcome::Failed }
}
