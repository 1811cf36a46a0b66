//! The database: every configured server, asked as a build would ask it.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::context::Project;
use super::Section;
use crate::database::{Examined, Facts};
use crate::error::Error;
use crate::store::probe::{Check, Subject, Verdict};

const DATABASE: Subject = Subject { name: "database", means: "templates can be read" };
const REPLICA: Subject = Subject { name: "replica", means: "builds are kept off the primary" };
const TLS: Subject = Subject { name: "tls", means: "nobody on the way to the database can read along" };

/// Asks every server.
pub async fn section(project: &Project, application: &str) -> Section {
    let title = |name: String, checks, servers: Vec<Value>| Section {
        key: "database",
        title: name,
        checks,
        more: json!({ "servers": servers }),
    };
    if project.config.database.url.is_none() {
        let check = DATABASE.check(Verdict::Skipped, "no database is configured");
        return title("none".to_owned(), vec![check.hint("set [database] url, or TINTYPE_DATABASE_URL")], Vec::new());
    }
    let database = match project.database() {
        Ok(database) => database,
        Err(error) => return title("none".to_owned(), vec![failed(&DATABASE, Verdict::Broken, &error)], Vec::new()),
    };
    let examined = database.examine(&project.settings, application).await;
    let servers = examined.iter().map(described).collect();
    title(database.describe(), checks(examined), servers)
}

fn checks(examined: Vec<Examined>) -> Vec<Check> {
    let replica_is_fit = examined.iter().any(|one| one.is_replica && one.facts.is_ok());
    let only_replicas = examined.iter().any(|one| !one.is_replica && !one.is_read);
    let mut checks = Vec::new();
    for Examined { server, is_replica, is_private, facts, .. } in examined {
        let subject = if is_replica { &REPLICA } else { &DATABASE };
        match facts {
            Ok(facts) => {
                checks.push(answered(subject, &server, is_replica, &facts));
                checks.extend(line(&server, is_private, &facts));
            }
            Err(error) => {
                // Where builds may read the primary as well, one replica less only costs its load.
                let is_needed = !is_replica || (only_replicas && !replica_is_fit);
                let otherwise = if is_needed { Verdict::Broken } else { Verdict::Warning };
                checks.push(failed(subject, otherwise, &Error::from(error)));
            }
        }
    }
    checks
}

fn answered(subject: &Subject, server: &str, is_replica: bool, facts: &Facts) -> Check {
    let seconds = |lag: Duration| humantime::format_duration(Duration::from_secs(lag.as_secs().max(1)));
    let lag = facts.lag.map(|lag| format!(", {} behind", seconds(lag))).unwrap_or_default();
    let standby = if facts.in_recovery { ", in recovery" } else { "" };
    let detail = format!("{server}: {}{standby}{lag}", facts.version);
    match facts.in_recovery && !is_replica {
        false => subject.ok(detail),
        true => subject
            .check(Verdict::Warning, detail)
            .hint("[database] url names a standby: name its primary there, and the standby in replicas"),
    }
}

/// What protects the line, where somebody could read along or doesn't.
fn line(server: &str, is_private: bool, facts: &Facts) -> Option<Check> {
    match &facts.tls {
        Some(version) => Some(TLS.ok(format!("{server}: {version}"))),
        None if is_private => None,
        None => Some(
            TLS.check(Verdict::Warning, format!("{server}: the server sees no encryption"))
                .hint("?sslmode=verify-full in the URL encrypts the line and makes sure of the server"),
        ),
    }
}

fn failed(subject: &Subject, outcome: Verdict, error: &Error) -> Check {
    Check { hint: error.hint(), ..subject.check(outcome, error.to_string()) }
}

fn described(examined: &Examined) -> Value {
    let Examined { server, is_replica, is_read, facts, .. } = examined;
    let facts = facts.as_ref();
    json!({
        "server": server,
        "replica": is_replica,
        "read_by_builds": is_read,
        "reachable": facts.is_ok(),
        "version": facts.map(|facts| &facts.version).ok(),
        "in_recovery": facts.map(|facts| facts.in_recovery).ok(),
        "lag_seconds": facts.ok().and_then(|facts| facts.lag).map(|lag| lag.as_secs_f64()),
        "tls": facts.ok().and_then(|facts| facts.tls.as_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::DatabaseError;

    fn examined(is_replica: bool, is_read: bool, facts: Option<Facts>) -> Examined {
        let lost = DatabaseError::Lost { reason: "gone".to_owned() };
        Examined { server: "db".to_owned(), is_replica, is_read, is_private: false, facts: facts.ok_or(lost) }
    }

    fn facts() -> Facts {
        Facts { version: "PostgreSQL 17.1".to_owned(), in_recovery: false, lag: None, tls: Some("TLSv1.3".to_owned()) }
    }

    fn outcomes(servers: Vec<Examined>) -> Vec<(&'static str, Verdict)> {
        checks(servers).into_iter().map(|check| (check.name, check.outcome)).collect()
    }

    #[test]
    fn a_line_that_anybody_can_read() {
        let found = |facts: Facts| outcomes(vec![examined(false, true, Some(facts))]);
        assert_eq!(found(facts()), [("database", Verdict::Ok), ("tls", Verdict::Ok)]);
        let plain = Facts { tls: None, ..facts() };
        assert_eq!(found(plain), [("database", Verdict::Ok), ("tls", Verdict::Warning)]);
    }

    #[test]
    fn a_standby_in_the_place_of_the_primary() {
        let standby = Facts { in_recovery: true, lag: Some(Duration::from_millis(90_400)), ..facts() };
        let found = checks(vec![examined(false, true, Some(standby))]);
        assert_eq!(found[0].outcome, Verdict::Warning);
        assert_eq!(found[0].detail, "db: PostgreSQL 17.1, in recovery, 1m 30s behind");
    }

    #[test]
    fn a_replica_is_needed_where_builds_read_nothing_else() {
        let primary = |is_read| examined(false, is_read, Some(facts()));
        let replica = |facts| examined(true, true, facts);
        let of_replica =
            |servers| outcomes(servers).into_iter().filter(|(name, _)| *name == "replica").collect::<Vec<_>>();
        assert_eq!(of_replica(vec![primary(true), replica(None)]), [("replica", Verdict::Warning)]);
        assert_eq!(of_replica(vec![primary(false), replica(None)]), [("replica", Verdict::Broken)]);
        assert_eq!(
            of_replica(vec![primary(false), replica(None), replica(Some(facts()))]),
            [("replica", Verdict::Warning), ("replica", Verdict::Ok)]
        );
    }
}
