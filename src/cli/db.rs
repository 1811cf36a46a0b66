//! `db`: how many connections there are, who has them, and whether tintype gets its own.
//!
//! Each of these commands opens the connections that it names and no others, changes nothing, and ends every wait by
//! itself. They need neither templates nor a store that answers.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Outcome;
use super::context::{Context, Project, run_id};
use super::print;
use crate::database::{Database, DatabaseError, FileFacts};
use crate::error::Error;

mod budget;
mod connections;
mod monitor;
mod table;
mod test;

/// Options of `db`.
#[derive(Debug, Args)]
pub struct Db {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Hold the pools of every process against what the server lets in, and recommend sizes.
    Budget(budget::Budget),
    /// Connect as tintype does, alone and many at a time, and show how well that goes.
    Test(test::Test),
    /// Watch the server's connections, a line at a time.
    Monitor(monitor::Monitor),
    /// Show who holds the server's connections, and what they do.
    Connections(connections::Connections),
}

impl Db {
    pub fn name(&self) -> &'static str {
        match self.what {
            What::Budget(_) => "db budget",
            What::Test(_) => "db test",
            What::Monitor(_) => "db monitor",
            What::Connections(_) => "db connections",
        }
    }

    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        context.warn_of_database_url();
        match self.what {
            What::Budget(budget) => budget.run(context).await,
            What::Test(test) => test.run(context).await,
            What::Monitor(monitor) => monitor.run(context).await,
            What::Connections(connections) => connections.run(context).await,
        }
    }
}

/// What these commands work with.
struct Asked {
    project: Project,
    database: Database,
    /// What the server shows for their connections.
    application: String,
}

impl Asked {
    /// Reads the config. A template that can't be read is none of their business.
    fn new(context: &Context) -> Result<Asked, Error> {
        let (project, _) = context.readable_project()?;
        let database = project.database()?;
        let application = format!("tintype/{}/{}", context.command.replace(' ', "-"), run_id());
        Ok(Asked { project, database, application })
    }

    /// What can be said of the file, where the database is one.
    async fn file(&self) -> Result<Option<FileFacts>, Error> {
        Ok(self.database.file(&self.project.settings).await.transpose()?)
    }
}

/// A file for programs.
fn file_json(facts: &FileFacts) -> Value {
    let holder = |(pid, program): &(u32, String)| json!({ "pid": pid, "program": program });
    json!({
        "version": facts.version,
        "journal_mode": facts.journal_mode,
        "size_bytes": facts.size_bytes,
        "wal_bytes": facts.wal_bytes,
        "holders": facts.holders.iter().map(holder).collect::<Vec<_>>(),
    })
}

/// A file in a line.
fn file_line(facts: &FileFacts) -> String {
    let size = |bytes| bytesize::ByteSize::b(bytes).display().iec().to_string();
    let wal = facts.wal_bytes.map(|bytes| format!(" and {} of log", size(bytes))).unwrap_or_default();
    format!("SQLite {}, journal_mode {}, {}{wal}", facts.version, facts.journal_mode, size(facts.size_bytes))
}

/// How many others have it open.
fn open_in(facts: &FileFacts) -> String {
    match facts.holders.len() {
        1 => "open in 1 other process".to_owned(),
        count => format!("open in {count} other processes"),
    }
}

/// What a file means for whoever counts connections.
fn file_words(facts: &FileFacts) -> &'static str {
    match facts.journal_mode.as_str() {
        "wal" => {
            "A file has no connections to run out of: any number of processes read it at a time, one writes, and neither \
             waits for the other."
        }
        _ => {
            "A file has no connections to run out of: any number of processes read it at a time, or one writes. A writer \
             and readers wait for each other; PRAGMA journal_mode = WAL lifts that."
        }
    }
}

/// An error for programs.
fn error_json(error: &DatabaseError) -> Value {
    json!({ "message": error.to_string(), "hint": error.hint() })
}

/// A text of somebody else's, on one line and without what a terminal would act on.
fn plain(text: &str) -> String {
    let shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Shows the errors of servers that couldn't be asked.
fn tell(error: &DatabaseError) {
    print::note(&format!("{}: {error}", print::styled(print::RED, "error")));
    if let Some(hint) = error.hint() {
        print::note(&format!("  {}: {hint}", print::styled(print::CYAN, "hint")));
    }
}
