//! `db budget`: holds the pools of every process against what the server lets in.
//!
//! tintype's own connections count like those of any program: one for a build, and the pool of `serve`. Behind a pooler
//! there are two questions, whether it takes so many clients and whether the server takes so many of its connections.

use clap::Args;

use super::super::Outcome;
use super::super::context::Context;
use super::super::print;
use super::{Asked, file_json, file_line, file_words};
use crate::config::{BudgetConfig, HeadConfig, Secret, TablePlace};
use crate::database::activity::{Activity, Session};
use crate::database::budget::{self, Process, Room, Verdict};
use crate::database::{Database, DatabaseError, Pooler, Told};
use crate::error::Error;

mod show;

const PUBLISH: &str = "tintype publish";
const SERVE: &str = "tintype serve";

/// Options of `db budget`.
#[derive(Debug, Args)]
pub struct Budget {}

/// A program, and how many connections it has now.
struct Counted {
    process: Process,
    /// True for one that the config doesn't name.
    is_assumed: bool,
    now: u64,
}

/// What there is to say.
struct Found {
    server: String,
    activity: Activity,
    pooler: Result<Pooler, DatabaseError>,
    processes: Vec<Counted>,
    /// What the processes are held against.
    room: Room,
    /// What the connections of the pooler are held against, and how many they may be.
    behind: Option<(Room, Process)>,
}

impl Budget {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        let asked = Asked::new(context)?;
        if let Some(file) = asked.file().await? {
            if context.is_json() {
                print::json(&serde_json::json!({
                    "version": 1, "command": context.command, "outcome": "fits", "engine": "sqlite", "file": file_json(&file),
                }));
            } else {
                print::line(&format!("{}: {}", asked.database.describe(), file_line(&file)));
                print::line(file_words(&file));
                print::line(
                    "There is no budget to keep: tintype opens it once for a build, and at most once for each reader of its own.",
                );
            }
            return Ok(Outcome::Done);
        }
        let found = match Found::ask(&asked).await {
            Err(Error::Database(error)) if error.is_full() => return Err(unseen(&asked, error)?),
            found => found?,
        };
        let is_fit = found.verdict() == Verdict::Fits;
        match context.is_json() {
            true => print::json(&found.document(context.command)),
            false => found.show(),
        }
        Ok(if is_fit { Outcome::Done } else { Outcome::Invalid })
    }
}

impl Found {
    async fn ask(asked: &Asked) -> Result<Found, Error> {
        let wait = asked.project.settings.connect_timeout;
        // Nobody else: the processes are taken to connect to the primary.
        let mut watches = asked.database.watches(&asked.application, wait);
        let mut watch = watches.remove(0);
        let activity = watch.look().await?;
        // A pooler lists a database once somebody is connected to it, so the first connection is kept meanwhile.
        let pooler = watch.server().pooler(&asked.application, wait).await;
        let server = watch.describe();
        watch.close().await;
        let config = &asked.project.config.budget;
        let processes = counted(config, &own(asked)?, &activity.sessions);
        let (room, behind) = rooms(config, &activity, pooler.as_ref().ok());
        Ok(Found { server, activity, pooler, processes, room, behind })
    }

    fn all(&self) -> Vec<Process> {
        self.processes.iter().map(|one| one.process.clone()).collect()
    }

    fn declared(&self) -> Vec<Process> {
        self.processes.iter().filter(|one| !one.is_assumed).map(|one| one.process.clone()).collect()
    }

    /// Those whose sum is to be shown: what the config names, if that alone is too much.
    fn judged(&self) -> Vec<Process> {
        let declared = self.declared();
        match !declared.is_empty() && budget::judge(&declared, &self.room) == budget::judge(&self.all(), &self.room) {
            true if self.clients() != Verdict::Fits => declared,
            _ => self.all(),
        }
    }

    /// How the processes fit.
    fn clients(&self) -> Verdict {
        budget::judge(&self.all(), &self.room)
    }

    /// How the connections of the pooler fit.
    fn servers(&self) -> Option<Verdict> {
        self.behind.as_ref().map(|(room, pooler)| budget::judge(std::slice::from_ref(pooler), room))
    }

    fn verdict(&self) -> Verdict {
        match self.clients() {
            Verdict::Fits => self.servers().unwrap_or(Verdict::Fits),
            other => other,
        }
    }

    /// The size of a pool that would fit: of the processes that the config names, or else of `serve`.
    fn largest_pool(&self) -> Option<u64> {
        let is_flexible = |one: &&Counted| match self.declared().is_empty() {
            true => one.process.name == SERVE,
            false => !one.is_assumed,
        };
        let flexible: Vec<Process> = self.processes.iter().filter(is_flexible).map(|one| one.process.clone()).collect();
        let fixed = budget::most(&self.all()) - budget::most(&flexible);
        budget::largest_pool(&flexible, self.room.budget().0.saturating_sub(fixed))
    }
}

/// The error of a server that lets nobody in any more, which is when this is asked most: with what the config alone says.
fn unseen(asked: &Asked, error: DatabaseError) -> Result<Error, Error> {
    let config = &asked.project.config.budget;
    let processes: Vec<Process> =
        counted(config, &own(asked)?, &[]).into_iter().map(|counted| counted.process).collect();
    let names: Vec<&str> = processes.iter().map(|process| process.name.as_str()).collect();
    let limit = config.limit.map(|limit| format!(", of the {limit} of [budget] limit")).unwrap_or_default();
    let hint = format!(
        "by the config alone, {} may have {} connections{limit}. A superuser is still let in, and sees who has the others: \
         TINTYPE_DATABASE_URL=postgres://postgres:PASSWORD@HOST/DATABASE tintype db budget, or the same with `db connections`",
        names.join(", "),
        show::sum(&processes, config.reserved),
    );
    Ok(error.hinting(hint).into())
}

/// tintype's own connections to the server of its database, each process once.
fn own(asked: &Asked) -> Result<[Process; 2], Error> {
    let config = &asked.project.config;
    let place = |url: &Secret| Database::from_url(url.expose(), &config.folder);
    let is_here = |place: &Database| place.is_on_server_of(&asked.database);
    let head = match &config.store.head {
        HeadConfig::Database(url) => is_here(&place(url)?),
        HeadConfig::Store | HeadConfig::SinglePublisher => false,
    };
    let serve = &config.database.serve;
    // Whoever asks as a superuser for once isn't the role that `serve` reads as.
    let others = config.database.overruled_urls.iter().filter_map(|url| place(url).ok());
    let mut roles = others.filter(is_here).chain([asked.database.clone()]);
    let table = match &config.fallback.table {
        TablePlace::Database(url) => {
            let table = place(url)?;
            is_here(&table) && !roles.any(|database| serve.finds_table(&database, &table))
        }
        TablePlace::Off | TablePlace::None | TablePlace::File(_) => false,
    };
    let max = serve.max as u64;
    // A build's own, and beside it that of the head. For `serve`, the head's is one of its pool's.
    let publish = Process { name: PUBLISH.to_owned(), count: 1, pool: 1 + u64::from(head) };
    let serve = Process { name: SERVE.to_owned(), count: 1, pool: max * (1 + u64::from(table)) };
    Ok([publish, serve])
}

/// The processes that connect, tintype's own last unless the config names them.
fn counted(config: &BudgetConfig, own: &[Process; 2], sessions: &[Session]) -> Vec<Counted> {
    let named = config.processes.iter().map(|process| (process.clone(), false));
    let is_named = |name: &str| config.processes.iter().any(|process| process.name.eq_ignore_ascii_case(name));
    let assumed = own.iter().filter(|process| !is_named(&process.name)).cloned();
    let now = |process: &Process| {
        let is_its = |session: &&Session| !session.is_this && process.is_of(&session.application.replace('/', " "));
        sessions.iter().filter(is_its).count() as u64
    };
    named
        .chain(assumed.map(|process| (process, true)))
        .map(|(process, is_assumed)| Counted { now: now(&process), process, is_assumed })
        .collect()
}

/// What the processes are held against, and behind a pooler what its connections are.
fn rooms(config: &BudgetConfig, activity: &Activity, pooler: Option<&Pooler>) -> (Room, Option<(Room, Process)>) {
    let limits = &activity.limits;
    let foreign: Vec<Process> = config.processes.iter().filter(|one| !is_tintypes(&one.name)).cloned().collect();
    let room = |others| Room {
        max: limits.max,
        kept: limits.superuser_reserved + limits.reserved,
        others,
        role: limits.user_limit,
        database: limits.database_limit,
        limit: config.limit,
        reserved: config.reserved,
    };
    let names = |sessions: &mut dyn Iterator<Item = &Session>| -> Vec<String> {
        sessions.map(|session| session.application.clone()).collect()
    };
    let direct = || {
        let names = names(&mut activity.sessions.iter());
        room(budget::others(names.iter().map(String::as_str), &foreign))
    };
    match (pooler, config.limit) {
        (Some(Pooler::Told(told)), _) => {
            let clients =
                Room { max: told.max_clients, limit: config.limit, reserved: config.reserved, ..Room::default() };
            let names = names(&mut activity.sessions.iter().filter(|session| !is_poolers(session, activity, told)));
            let others = budget::others(names.iter().map(String::as_str), &[]);
            let servers = Room { limit: None, ..room(others) };
            let pooler = Process { name: told.version.clone(), count: 1, pool: told.servers_most };
            (clients, Some((servers, pooler)))
        }
        // What the server lets in says nothing of how many clients the pooler takes.
        (Some(Pooler::Silent { .. }), Some(limit)) => {
            (Room { max: limit, limit: Some(limit), reserved: config.reserved, ..Room::default() }, None)
        }
        _ => (direct(), None),
    }
}

fn is_tintypes(name: &str) -> bool {
    budget::is_own(&name.to_lowercase().replace(' ', "/"))
}

/// True for a connection that the pooler has opened: by one of its roles, from where this command's own comes.
fn is_poolers(session: &Session, activity: &Activity, told: &Told) -> bool {
    let ours = activity.sessions.iter().find(|session| session.is_this);
    let is_there = session.client.is_none() || ours.is_some_and(|ours| ours.client == session.client);
    session.is_this || (is_there && told.users.contains(&session.user))
}
