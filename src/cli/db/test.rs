//! `db test`: connects as tintype does, and shows how well that goes.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::Outcome;
use super::super::context::Context;
use super::super::print::{self, counted, styled};
use super::Asked;
use crate::database::{DatabaseError, Leases, Pings, Plan, Pooler, Times, Told, Trial};
use crate::error::Error;
use crate::store::probe::{Check, Subject, Verdict, is_sound};

const CONNECT: Subject = Subject { name: "connect", means: "a connection comes about" };
const SERVER: Subject = Subject { name: "server", means: "it is what it is configured as" };
const LINE: Subject = Subject { name: "tls", means: "nobody on the way can read along" };
const POOLER: Subject = Subject { name: "pooler", means: "what stands between is known" };
const TRANSACTION: Subject = Subject { name: "transaction", means: "builds can read, and nothing can write" };
const PING: Subject = Subject { name: "ping", means: "a connection that is kept goes on working" };
const LEASES: Subject = Subject { name: "concurrency", means: "many connections work at a time" };
const LEFT: Subject = Subject { name: "left-behind", means: "nothing is left idle in a transaction" };

/// Options of `db test`.
#[derive(Debug, Args)]
pub struct Test {
    /// How many connections to hold at a time; as many as `tintype serve` may have, if this isn't given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    concurrency: Option<u64>,
    /// How often to ask over one connection that is kept.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: u64,
    /// How long to wait between two of these questions.
    #[arg(long, value_name = "DURATION", default_value = "50ms", value_parser = humantime::parse_duration)]
    interval: Duration,
}

impl Test {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        let asked = Asked::new(context)?;
        let concurrency = self.concurrency.unwrap_or(asked.project.config.database.serve.max as u64);
        let plan = Plan { count: self.count, interval: self.interval, concurrency };
        let trials = asked.database.trials(&asked.project.settings, &asked.application, &plan).await;
        let checked: Vec<(&Trial, Vec<Check>)> = trials.iter().map(|trial| (trial, checks(trial))).collect();
        let is_sound = checked.iter().all(|(_, checks)| is_sound(checks));
        if context.is_json() {
            print::json(&json!({
                "version": 1,
                "command": context.command,
                "outcome": if is_sound { "ok" } else { "problems" },
                "servers": checked.iter().map(|(trial, checks)| described(trial, checks)).collect::<Vec<_>>(),
            }));
        } else {
            for (trial, checks) in &checked {
                show(trial, checks);
            }
        }
        Ok(if is_sound { Outcome::Done } else { Outcome::Failed })
    }
}

fn checks(trial: &Trial) -> Vec<Check> {
    let connect = match &trial.connect {
        Ok(took) => CONNECT.ok(format!("in {}", millis(*took))),
        Err(error) => return vec![broken(&CONNECT, error)],
    };
    let mut checks = vec![connect];
    checks.extend(trial.facts.as_ref().map(|facts| match facts {
        Ok(facts) => {
            let lag =
                facts.lag.map_or_else(String::new, |lag| format!(", {} behind", print::duration(lag.as_secs_f64())));
            let role = if facts.in_recovery { format!(", in recovery{lag}") } else { String::new() };
            let detail = format!("{}{role}", facts.version);
            match (trial.is_replica, facts.in_recovery) {
                (false, true) => SERVER
                    .check(Verdict::Warning, detail)
                    .hint("[database] url names a standby: name its primary there, and the standby in replicas"),
                _ => SERVER.ok(detail),
            }
        }
        Err(error) => broken(&SERVER, error),
    }));
    if let Some(Ok(facts)) = &trial.facts {
        checks.extend(match &facts.tls {
            Some(version) => Some(LINE.ok(version)),
            None if trial.is_private => None,
            None => Some(
                LINE.check(Verdict::Warning, "the server sees no encryption")
                    .hint("?sslmode=verify-full in the URL encrypts the line and makes sure of the server"),
            ),
        });
    }
    checks.extend(trial.pooler.as_ref().map(pooler));
    checks.extend(trial.transaction.as_ref().map(|transaction| match transaction {
        Ok(transaction) if !transaction.is_read_only => {
            TRANSACTION.broken("a transaction that was begun READ ONLY isn't").hint("which pooler or proxy is this?")
        }
        Ok(transaction) => {
            let settings = transaction.settings.iter().map(|(name, value)| format!(", {name} {value}"));
            let (isolation, took) = (&transaction.isolation, millis(transaction.took));
            TRANSACTION.ok(format!("read only, {isolation}{} in {took}", settings.collect::<String>()))
        }
        Err(error) => broken(&TRANSACTION, error),
    }));
    checks.extend(trial.pings.as_ref().map(pings));
    checks.extend(trial.leases.as_ref().map(leases));
    checks.extend(trial.left.as_ref().map(|left| match left {
        Ok(0) => LEFT.ok("none"),
        Ok(count) => LEFT.broken(counted(*count, "session")).hint("`tintype db connections` names them"),
        Err(error) => broken(&LEFT, error),
    }));
    checks
}

fn pooler(found: &Result<Pooler, DatabaseError>) -> Check {
    match found {
        Ok(Pooler::None) => POOLER.ok("none: the line leads to the server itself"),
        Ok(Pooler::Told(told)) if told.mode == "statement" => POOLER
            .broken(told_words(told))
            .hint("builds read in a transaction: pool_mode = transaction or session for tintype's [databases] entry"),
        Ok(Pooler::Told(told)) if told.waiting > 0 => POOLER
            .check(Verdict::Warning, format!("{}; {} waiting", told_words(told), counted(told.waiting, "client")))
            .hint("clients wait for a server connection: raise pool_size, or give tintype an entry of its own"),
        Ok(Pooler::Told(told)) => POOLER.ok(told_words(told)),
        Ok(Pooler::Silent { reason }) => POOLER
            .check(Verdict::Skipped, format!("there is one, and its own limits can't be seen: {reason}"))
            .hint("PgBouncer shows them to users in its stats_users"),
        Err(error) => broken(&POOLER, error),
    }
}

/// What a pooler tells, in a line.
pub fn told_words(told: &Told) -> String {
    format!(
        "{} in {} mode: {} of {} clients, {} of {} server connections",
        told.version, told.mode, told.clients, told.max_clients, told.servers, told.servers_most
    )
}

fn pings(pings: &Pings) -> Check {
    let failures = pings.failures.len() as u64;
    let detail = format!("{}: {}", counted(pings.times.count() + failures, "question"), spread(&pings.times));
    match pings.failures.first() {
        None => PING.ok(detail),
        Some(error) => {
            let reconnects = counted(pings.reconnects, "reconnection");
            let words = format!("{detail}; {failures} failed, {reconnects}: {error}");
            Check { hint: error.hint(), ..PING.broken(words) }
        }
    }
}

fn leases(leases: &Leases) -> Check {
    let (connects, transactions) = (spread(&leases.connects), spread(&leases.transactions));
    let detail =
        format!("{} of {} held; connecting {connects}; transactions {transactions}", leases.held, leases.wanted);
    match leases.failures.first() {
        None => LEASES.ok(detail),
        Some(error) => {
            let words = format!("{detail}; {} failed: {error}", leases.failures.len());
            Check { hint: error.hint(), ..LEASES.broken(words) }
        }
    }
}

fn broken(subject: &Subject, error: &DatabaseError) -> Check {
    Check { hint: error.hint(), ..subject.broken(error.to_string()) }
}

/// `min 0.1, p50 0.2, p95 0.4, max 1.0 ms`
fn spread(times: &Times) -> String {
    let at = |percent| times.percentile(percent).map(|time| format!("{:.1}", time.as_secs_f64() * 1000.0));
    match (at(0), at(50), at(95), at(100)) {
        (Some(min), Some(p50), Some(p95), Some(max)) => format!("min {min}, p50 {p50}, p95 {p95}, max {max} ms"),
        _ => "none answered".to_owned(),
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn show(trial: &Trial, checks: &[Check]) {
    let kind = if trial.is_replica { ", a replica" } else { "" };
    print::line(&format!("{}{kind}", styled(print::CYAN, &trial.server)));
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for check in checks {
        let (style, word) = match check.outcome {
            Verdict::Ok => (print::GREEN, "ok"),
            Verdict::Skipped | Verdict::Missing => (print::DIM, "unknown"),
            Verdict::Warning => (print::YELLOW, "warning"),
            Verdict::Broken => (print::RED, "broken"),
        };
        print::line(&format!("  {}  {:width$}  {}", styled(style, format!("{word:7}")), check.name, check.detail));
        if let Some(hint) = &check.hint {
            print::line(&format!("  {:7}  {:width$}  {}: {hint}", "", "", styled(print::CYAN, "hint")));
        }
    }
}

fn described(trial: &Trial, checks: &[Check]) -> Value {
    let facts = trial.facts.as_ref().and_then(|facts| facts.as_ref().ok());
    let pooler = trial.pooler.as_ref().and_then(|pooler| pooler.as_ref().ok());
    json!({
        "server": trial.server,
        "replica": trial.is_replica,
        "checks": checks,
        "version": facts.map(|facts| &facts.version),
        "in_recovery": facts.map(|facts| facts.in_recovery),
        "lag_seconds": facts.and_then(|facts| facts.lag).map(|lag| lag.as_secs_f64()),
        "tls": facts.and_then(|facts| facts.tls.as_ref()),
        "pooler": pooler.map(pooler_json),
        "connect_seconds": trial.connect.as_ref().ok().map(Duration::as_secs_f64),
        "pings": trial.pings.as_ref().map(|pings| json!({
            "answered": pings.times.count(),
            "failed": pings.failures.len(),
            "reconnects": pings.reconnects,
            "seconds": times(&pings.times),
        })),
        "concurrency": trial.leases.as_ref().map(|leases| json!({
            "wanted": leases.wanted,
            "held": leases.held,
            "transactions": leases.transactions.count(),
            "failed": leases.failures.len(),
            "connect_seconds": times(&leases.connects),
            "transaction_seconds": times(&leases.transactions),
        })),
        "left_idle_in_transaction": trial.left.as_ref().and_then(|left| left.as_ref().ok()),
    })
}

/// A pooler for programs; null where there is none.
pub fn pooler_json(pooler: &Pooler) -> Value {
    match pooler {
        Pooler::None => Value::Null,
        Pooler::Silent { reason } => json!({ "told": false, "reason": reason }),
        Pooler::Told(told) => json!({
            "told": true,
            "version": told.version,
            "mode": told.mode,
            "max_clients": told.max_clients,
            "clients": told.clients,
            "waiting": told.waiting,
            "pool_size": told.pool_size,
            "pools": told.pools,
            "servers_most": told.servers_most,
            "servers": told.servers,
        }),
    }
}

fn times(times: &Times) -> Value {
    let at = |percent| times.percentile(percent).map(|time| time.as_secs_f64());
    json!({ "min": at(0), "p50": at(50), "p95": at(95), "max": at(100) })
}
