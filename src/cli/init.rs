//! `init`: a folder to start from.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use serde_json::{Value, json};

use super::Outcome;
use super::context::Context;
use super::print::{self, styled};
use crate::error::Error;
use crate::scaffold::{self, Written};

/// Options of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// The folder to write; new or empty.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Your database; without it a demo database is written.
    #[arg(long, value_name = "URL", hide_env_values = true)]
    database: Option<String>,
    /// Fill that database, an empty one on PostgreSQL, with the demo's tables.
    #[arg(long, requires = "database")]
    demo_data: bool,
    /// Where documents go; without it into the folder `public`.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Show what would be written; write nothing.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Init {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        if self.dry_run {
            return self.plan(context);
        }
        let (database, store) = (self.database.as_deref(), self.store.as_deref());
        // Before anything is written: what can't be filled leaves no folder, and a folder that can't be written no tables.
        scaffold::plan(&self.folder, database, store)?;
        let demo = match database.filter(|_| self.demo_data) {
            Some(url) => Some(scaffold::load_demo_tables(url).await?),
            None => None,
        };
        let mut written = scaffold::init(&self.folder, database, store).await?;
        written.demo = written.demo.or(demo);
        if context.is_json() {
            print::json(&document(&written));
        } else if context.is_talkative() {
            show(&written);
            let config = written.config.display().to_string();
            if self.database.is_some() && !self.demo_data {
                let templates = written.folder.join("templates");
                print::note(&format!(
                    "Next: the templates in {} are examples over the demo's tables; write yours in their place, then {}",
                    templates.display(),
                    styled(print::CYAN, format!("tintype -c {config} check"))
                ));
            } else {
                print::note(&format!("Next: {}", styled(print::CYAN, format!("tintype -c {config} publish"))));
            }
        }
        Ok(Outcome::Done)
    }

    fn plan(&self, context: &Context) -> Result<Outcome, Error> {
        let files = scaffold::plan(&self.folder, self.database.as_deref(), self.store.as_deref())?;
        if context.is_json() {
            let files: Vec<Value> = files.iter().map(|path| json!({ "path": path })).collect();
            print::json(
                &json!({ "version": 1, "command": "init", "outcome": "planned", "folder": self.folder, "files": files }),
            );
        } else {
            for file in files {
                print::line(&format!("would write {}", self.folder.join(file).display()));
            }
            if self.demo_data {
                print::line("would create the demo's tables in the database");
            }
        }
        Ok(Outcome::Done)
    }
}

/// Lists what was written.
pub fn show(written: &Written) {
    for file in &written.files {
        let path = written.folder.join(&file.path);
        print::note(&format!("{} {}  {}", styled(print::GREEN, "wrote"), path.display(), ByteSize(file.size_bytes)));
    }
    if let Some(demo) = &written.demo {
        let counts = &demo.counts;
        let number = |count: usize| print::grouped(count as u64);
        print::note(&format!(
            "      {} countries and {} cities are real; {} authorships of {} papers are generated, in {}",
            number(counts.countries),
            number(counts.cities),
            number(counts.authorships),
            number(counts.papers),
            print::duration(demo.took.as_secs_f64())
        ));
    }
}

fn document(written: &Written) -> Value {
    let files: Vec<Value> =
        written.files.iter().map(|file| json!({ "path": file.path, "size_bytes": file.size_bytes })).collect();
    json!({ "version": 1, "command": "init", "outcome": "written", "folder": written.folder, "config": written.config, "files": files })
}
