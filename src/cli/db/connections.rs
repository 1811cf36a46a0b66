//! `db connections`: who holds the server's connections, and what they do.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::Outcome;
use super::super::context::Context;
use super::super::print::{self, counted, styled};
use super::{Asked, error_json, file_json, file_line, file_words, open_in, plain, table, tell};
use crate::database::DatabaseError;
use crate::database::activity::{Activity, Held, Level, Session, State, Thresholds};
use crate::error::Error;

/// From which usage on the line is coloured, in percent.
pub const THRESHOLDS: Thresholds = Thresholds { high: 70.0, critical: 90.0 };

/// Options of `db connections`.
#[derive(Debug, Args)]
pub struct Connections {
    /// Name every session, not only those that are idle in a transaction.
    #[arg(long)]
    all: bool,
}

impl Connections {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        let asked = Asked::new(context)?;
        if let Some(file) = asked.file().await? {
            if context.is_json() {
                let mut document = opening("ok", "sqlite");
                document["file"] = file_json(&file);
                print::json(&document);
            } else {
                print::line(&format!("{}: {}", asked.database.describe(), file_line(&file)));
                print::line(file_words(&file));
                let names: Vec<String> =
                    file.holders.iter().map(|(pid, program)| format!("{program} ({pid})")).collect();
                print::line([open_in(&file), names.join(", ")].join(" ").trim_end());
            }
            return Ok(Outcome::Done);
        }
        let mut found = Vec::new();
        for mut watch in asked.database.watches(&asked.application, asked.project.settings.connect_timeout) {
            let server = watch.describe();
            let activity = watch.look().await;
            watch.close().await;
            found.push((server, activity));
        }
        self.report(context, found)
    }

    fn report(
        &self,
        context: &Context,
        mut found: Vec<(String, Result<Activity, DatabaseError>)>,
    ) -> Result<Outcome, Error> {
        if found.len() == 1
            && let Some((_, Err(error))) = found.pop_if(|(_, activity)| activity.is_err())
        {
            return Err(error.into());
        }
        let has_failed = found.iter().any(|(_, activity)| activity.is_err());
        let outcome = if has_failed { Outcome::Failed } else { Outcome::Done };
        if context.is_json() {
            let mut document = opening(if has_failed { "failed" } else { "ok" }, "postgresql");
            document["servers"] = found.iter().map(|(server, activity)| described(server, activity)).collect();
            print::json(&document);
            return Ok(outcome);
        }
        for (number, (server, activity)) in found.iter().enumerate() {
            if number > 0 {
                print::line("");
            }
            match activity {
                Ok(activity) => self.show(server, activity),
                Err(error) => tell(error),
            }
        }
        Ok(outcome)
    }

    fn show(&self, server: &str, activity: &Activity) {
        print::line(&format!("{server}: {}", usage(activity)));
        print::line(&styled(print::DIM, kept(activity)));
        for line in table::lines(&rows(activity)) {
            print::line(&format!("  {line}"));
        }
        let open = activity.forgotten(Duration::ZERO);
        let sessions: Vec<&Session> = if self.all { activity.sessions.iter().collect() } else { open };
        for session in sessions {
            let is_open = session.state == State::IdleInTransaction;
            print::line(&styled(if is_open { print::YELLOW } else { print::DIM }, line(session)));
        }
        if let Some(words) = hidden(activity) {
            print::line(&styled(print::YELLOW, words));
        }
    }
}

/// How a document of this command begins.
fn opening(outcome: &str, engine: &str) -> Value {
    json!({ "version": 1, "command": "db connections", "outcome": outcome, "engine": engine })
}

/// `12 of 57 connections (21 %)`, coloured.
pub fn usage(activity: &Activity) -> String {
    let percent = activity.usage_percent();
    let text = format!("{} of {} connections ({percent:.0} %)", activity.used(), activity.limits.usable());
    match THRESHOLDS.level(percent) {
        Level::Ok => text,
        Level::High => styled(print::YELLOW, text),
        Level::Critical => styled(print::RED, text),
    }
}

fn kept(activity: &Activity) -> String {
    let limits = &activity.limits;
    let mut words =
        format!("max_connections {}, {} of them kept for superusers", limits.max, limits.superuser_reserved);
    if limits.reserved > 0 {
        words.push_str(&format!(" and {} for pg_use_reserved_connections", limits.reserved));
    }
    for (name, limit) in [("role", limits.user_limit), ("database", limits.database_limit)] {
        if let Some(limit) = limit {
            let named = if name == "role" { &limits.user } else { &limits.database };
            words.push_str(&format!("; the {name} {named} may have {limit}"));
        }
    }
    words
}

fn rows(activity: &Activity) -> Vec<Vec<String>> {
    let heads = ["application", "user", "database", "client", "all", "active", "idle", "in transaction", "longest"];
    let mut rows = vec![heads.map(ToOwned::to_owned).to_vec()];
    for (holder, held) in activity.holders() {
        let longest = held.longest.get(&State::IdleInTransaction);
        rows.push(vec![
            or(&plain(&holder.application), "(no name)"),
            plain(&holder.user),
            plain(&holder.database),
            client(holder.client.as_deref(), held.in_state(State::Hidden) > 0),
            held.total().to_string(),
            shown(&held, State::Active),
            shown(&held, State::Idle),
            shown(&held, State::IdleInTransaction),
            longest.map(|age| print::duration(age.as_secs_f64())).unwrap_or_default(),
        ]);
    }
    rows
}

fn shown(held: &Held, state: State) -> String {
    match held.in_state(state) {
        0 => String::new(),
        count => count.to_string(),
    }
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

fn client(address: Option<&str>, is_hidden: bool) -> String {
    address.map_or_else(|| if is_hidden { "(not told)" } else { "socket" }.to_owned(), ToOwned::to_owned)
}

/// A session in a line.
pub fn line(session: &Session) -> String {
    let age = session.in_state.map(|age| format!(" for {}", print::duration(age.as_secs_f64()))).unwrap_or_default();
    let lock = if session.waits_for_lock { ", waits for a lock" } else { "" };
    let this = if session.is_this { " (this command)" } else { "" };
    let query = session.query.as_deref().map(plain).filter(|query| !query.is_empty());
    let query = query.map(|query| format!(": {query}")).unwrap_or_default();
    format!(
        "pid {} {} by {}{this}: {}{age}{lock}{query}",
        session.pid,
        or(&plain(&session.application), "(no name)"),
        plain(&session.user),
        session.state.name(),
    )
}

/// What this role isn't told, if anything.
pub fn hidden(activity: &Activity) -> Option<String> {
    let hidden = activity.all().in_state(State::Hidden);
    let user = &activity.limits.user;
    (hidden > 0).then(|| {
        format!(
            "What {} of other roles are doing isn't told to {user}; they count all the same. GRANT pg_monitor TO {user} \
             changes that",
            counted(hidden, "session")
        )
    })
}

/// Sessions by state, for programs.
pub fn states(held: &Held) -> Value {
    let all = [State::Active, State::Idle, State::IdleInTransaction, State::Other, State::Hidden];
    all.into_iter().map(|state| (state.name().replace(' ', "_"), Value::from(held.in_state(state)))).collect()
}

fn described(server: &str, activity: &Result<Activity, DatabaseError>) -> Value {
    let activity = match activity {
        Ok(activity) => activity,
        Err(error) => return json!({ "server": server, "reachable": false, "error": error_json(error) }),
    };
    let limits = &activity.limits;
    let holders = activity.holders().into_iter().map(|(holder, held)| {
        json!({
            "application": holder.application,
            "user": holder.user,
            "database": holder.database,
            "client": holder.client,
            "connections": held.total(),
            "states": states(&held),
            "idle_in_transaction_seconds": held.longest.get(&State::IdleInTransaction).map(Duration::as_secs_f64),
        })
    });
    json!({
        "server": server,
        "reachable": true,
        "max_connections": limits.max,
        "superuser_reserved": limits.superuser_reserved,
        "reserved": limits.reserved,
        "usable": limits.usable(),
        "role_limit": limits.user_limit,
        "database_limit": limits.database_limit,
        "used": activity.used(),
        "usage_percent": activity.usage_percent(),
        "level": THRESHOLDS.level(activity.usage_percent()).name(),
        "sees_all": limits.sees_all,
        "states": states(&activity.all()),
        "holders": holders.collect::<Vec<_>>(),
        "sessions": activity.sessions.iter().map(session_json).collect::<Vec<_>>(),
    })
}

fn session_json(session: &Session) -> Value {
    let seconds = |age: Option<Duration>| age.map(|age| age.as_secs_f64());
    json!({
        "pid": session.pid,
        "application": session.application,
        "user": session.user,
        "database": session.database,
        "client": session.client,
        "state": session.state.name(),
        "state_seconds": seconds(session.in_state),
        "transaction_seconds": seconds(session.transaction),
        "connection_seconds": seconds(session.connected),
        "waits_for_lock": session.waits_for_lock,
        "query": session.query,
        "this": session.is_this,
    })
}
