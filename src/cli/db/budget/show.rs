//! The budget, for people and for programs.

use serde_json::{Value, json};

use super::super::super::print::{self, styled};
use super::super::test::{pooler_json, told_words};
use super::super::{error_json, table};
use super::Found;
use crate::database::Pooler;
use crate::database::budget::{self, Bound, Process, Room, SHARE_PERCENT, Verdict};

/// `18 × 60 = 1080`: processes with pools of one size together.
pub(super) fn sum(processes: &[Process], reserved: u64) -> String {
    let mut sizes: Vec<(u64, u64)> = Vec::new();
    for process in processes.iter().filter(|process| process.count > 0) {
        match sizes.iter_mut().find(|(pool, _)| *pool == process.pool) {
            Some((_, count)) => *count += process.count,
            None => sizes.push((process.pool, process.count)),
        }
    }
    let terms = sizes.into_iter().map(|(pool, count)| format!("{count} × {pool}"));
    let reserved_term = (reserved > 0).then(|| format!("{reserved} reserved"));
    let terms: Vec<String> = terms.chain(reserved_term).collect();
    format!("{} = {}", terms.join(" + "), budget::most(processes) + reserved)
}

/// Why it is too much, the graver reason first; nothing where it fits.
fn refusals(processes: &[Process], room: &Room, name: &dyn Fn(Bound) -> String) -> Vec<String> {
    let (ceiling, by) = room.ceiling();
    let (budget, budget_by) = room.budget();
    let mut reasons = Vec::new();
    if budget::most(processes) + room.reserved > ceiling {
        reasons.push(format!("{} > {ceiling}, {}", sum(processes, room.reserved), name(by)));
    }
    if budget::most(processes) > budget {
        let sum = match reasons.is_empty() {
            true => sum(processes, 0),
            false => budget::most(processes).to_string(),
        };
        let of = match budget_by {
            Bound::Role | Bound::Database => name(budget_by),
            Bound::Server | Bound::Limit => "which is what may be used".to_owned(),
        };
        reasons.push(format!("{sum} > {budget}, {of}"));
    }
    reasons
}

impl Found {
    fn bound_name(&self, bound: Bound) -> String {
        let limits = &self.activity.limits;
        match bound {
            Bound::Server if self.behind.is_some() => "the pooler's max_client_conn".to_owned(),
            Bound::Server => "the server's max_connections".to_owned(),
            Bound::Limit => "[budget] limit".to_owned(),
            Bound::Role => format!("the CONNECTION LIMIT of the role {}", limits.user),
            Bound::Database => format!("the CONNECTION LIMIT of the database {}", limits.database),
        }
    }

    fn reasons(&self) -> Vec<String> {
        let mut reasons = refusals(&self.judged(), &self.room, &|bound| self.bound_name(bound));
        if let Some((room, pooler)) = &self.behind {
            let behind = refusals(std::slice::from_ref(pooler), room, &|bound| match bound {
                Bound::Server => "the server's max_connections".to_owned(),
                other => self.bound_name(other),
            });
            reasons.extend(behind.into_iter().map(|reason| format!("behind the pooler {reason}")));
        }
        reasons
    }

    /// What to do about it.
    fn advice(&self) -> String {
        if self.clients() == Verdict::Fits {
            return "make the pooler's pools smaller (pool_size, reserve_pool_size), or fewer: one is made for each \
                    database and user"
                .to_owned();
        }
        let declared = self.declared();
        let processes: u64 = declared.iter().map(|process| process.count).sum();
        match self.largest_pool() {
            Some(pool) if declared.is_empty() => format!("[database.serve] max = {pool}"),
            Some(pool) => {
                let too_large = declared.iter().filter(|process| process.pool > pool && process.count > 0);
                let names = too_large.map(|process| process.name.as_str()).collect::<Vec<_>>().join(", ");
                format!("a pool of {pool} in each process, overflow included, fits: {names}")
            }
            None => format!(
                "{processes} processes can't have one connection each: run fewer of them, or a pooler in front of the \
                 server; raising max_connections takes a restart"
            ),
        }
    }

    pub fn show(&self) {
        print::line(&format!("{}: {}", self.server, super::super::connections::usage(&self.activity)));
        match &self.pooler {
            Ok(Pooler::None) => {}
            Ok(Pooler::Told(told)) => print::line(&format!("through {}", told_words(told))),
            Ok(Pooler::Silent { reason }) => {
                let words = "through a pooler whose own limits can't be seen";
                let against = match self.room.limit {
                    Some(_) => "[budget] limit is taken for its",
                    None => {
                        "the server's are shown; [budget] limit can name its max_client_conn, or its stats_users this user"
                    }
                };
                print::line(&styled(print::YELLOW, format!("{words} ({reason}): {against}")));
            }
            Err(error) => {
                print::line(&styled(print::YELLOW, format!("whether a pooler is in between isn't known: {error}")));
            }
        }
        print::line("");
        for line in table::lines(&self.room_rows()) {
            print::line(&format!("  {line}"));
        }
        print::line("");
        for line in table::lines(&self.process_rows()) {
            print::line(&format!("  {line}"));
        }
        print::line("");
        let reasons = self.reasons();
        if reasons.is_empty() {
            let (budget, _) = self.room.budget();
            let all = self.all();
            let spare = budget - budget::most(&all);
            let words = format!("{} of {budget} that may be used, {spare} to spare", sum(&all, 0));
            print::line(&format!("{}: {words}", styled(print::GREEN, "fits")));
            if let Some((room, pooler)) = &self.behind {
                let (budget, most) = (room.budget().0, pooler.most());
                let words = format!("{most} of {budget} connections of the server that may be used");
                print::line(&format!("{}: behind the pooler {words}", styled(print::GREEN, "fits")));
            }
            if self.declared().is_empty() {
                let words = "tintype alone is counted: [[budget.processes]] names the other programs that connect";
                print::line(&styled(print::DIM, words));
            }
            return;
        }
        for reason in &reasons {
            print::line(&format!("{}: {reason}", styled(print::RED, "too many")));
        }
        print::line(&format!("  {}: {}", styled(print::CYAN, "hint"), self.advice()));
    }

    fn room_rows(&self) -> Vec<Vec<String>> {
        let Room { max, kept, others, role, database, limit, reserved } = self.room;
        let server = if self.behind.is_some() { "max_client_conn of the pooler" } else { "max_connections" };
        let (budget, by) = self.room.budget();
        let mut rows = vec![("there are".to_owned(), max, server.to_owned())];
        rows.extend((kept > 0).then(|| ("kept".to_owned(), kept, "by the server, for superusers".to_owned())));
        let others_words = "with no name that is declared, or more than were declared".to_owned();
        rows.extend((others > 0).then(|| ("held by others".to_owned(), others, others_words)));
        rows.extend((reserved > 0).then(|| ("kept for others".to_owned(), reserved, "[budget] reserved".to_owned())));
        let limits = [(limit, Bound::Limit), (role, Bound::Role), (database, Bound::Database)];
        for (limit, bound) in limits {
            rows.extend(limit.map(|limit| ("at most".to_owned(), limit, self.bound_name(bound))));
        }
        let how = match by {
            Bound::Server | Bound::Limit => format!("{SHARE_PERCENT} % of what is left of {}", self.bound_name(by)),
            Bound::Role | Bound::Database => self.bound_name(by),
        };
        rows.push(("may be used".to_owned(), budget, how));
        rows.into_iter().map(|(what, count, why)| vec![what, count.to_string(), why]).collect()
    }

    fn process_rows(&self) -> Vec<Vec<String>> {
        let ceiling = self.room.ceiling().0;
        let share = |most: u64| match ceiling {
            0 => String::new(),
            ceiling => format!("{} %", most * 100 / ceiling),
        };
        let heads = ["process", "count", "pool", "at most", "share", "now"].map(ToOwned::to_owned).to_vec();
        let mut rows = vec![heads];
        let row = |process: &Process, now: String| {
            let most = process.most();
            vec![
                process.name.clone(),
                process.count.to_string(),
                process.pool.to_string(),
                most.to_string(),
                share(most),
                now,
            ]
        };
        rows.extend(self.processes.iter().map(|one| row(&one.process, one.now.to_string())));
        let total = |name: &str, processes: &[Process]| {
            let most = budget::most(processes);
            let count: u64 = processes.iter().map(|process| process.count).sum();
            vec![name.to_owned(), count.to_string(), String::new(), most.to_string(), share(most), String::new()]
        };
        let declared = self.declared();
        rows.extend((!declared.is_empty()).then(|| total("declared", &declared)));
        rows.push(total("all", &self.all()));
        rows
    }

    pub fn document(&self, command: &str) -> Value {
        let Room { max, kept, others, role, database, limit, reserved } = self.room;
        let bounded = |(count, by): (u64, Bound)| json!({ "connections": count, "by": bound(by) });
        let (all, recommended) = (self.all(), self.largest_pool());
        let processes = self.processes.iter().map(|one| {
            json!({
                "name": one.process.name,
                "count": one.process.count,
                "pool": one.process.pool,
                "most": one.process.most(),
                "now": one.now,
                "assumed": one.is_assumed,
            })
        });
        json!({
            "version": 1,
            "command": command,
            "outcome": outcome(self.verdict()),
            "engine": "postgresql",
            "server": self.server,
            "max_connections": self.activity.limits.max,
            "used": self.activity.used(),
            "room": {
                "max": max, "kept": kept, "others": others, "role_limit": role, "database_limit": database,
                "limit": limit, "reserved": reserved,
            },
            "ceiling": bounded(self.room.ceiling()),
            "budget": bounded(self.room.budget()),
            "processes": processes.collect::<Vec<_>>(),
            "declared": budget::most(&self.declared()),
            "most": budget::most(&all),
            "spare": self.room.budget().0.saturating_sub(budget::most(&all)),
            "reasons": self.reasons(),
            "recommended_pool": recommended,
            "pooler": match &self.pooler {
                Ok(pooler) => pooler_json(pooler),
                Err(error) => json!({ "told": false, "reason": error_json(error)["message"] }),
            },
            "behind_pooler": self.behind.as_ref().map(|(room, pooler)| json!({
                "outcome": self.servers().map(outcome),
                "most": pooler.most(),
                "others": room.others,
                "budget": bounded(room.budget()),
            })),
        })
    }
}

fn outcome(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fits => "fits",
        Verdict::AboveBudget | Verdict::AboveCeiling => "refused",
    }
}

fn bound(bound: Bound) -> &'static str {
    match bound {
        Bound::Server => "server",
        Bound::Limit => "limit",
        Bound::Role => "role",
        Bound::Database => "database",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(all: &[(u64, u64)], room: Room) -> Vec<String> {
        let process = |(count, pool): &(u64, u64)| Process { name: "p".to_owned(), count: *count, pool: *pool };
        let processes: Vec<Process> = all.iter().map(process).collect();
        refusals(&processes, &room, &|bound| format!("{bound:?}"))
    }

    #[test]
    fn the_sum_is_shown() {
        let server = |max| Room { max, kept: 3, ..Room::default() };
        let found = reasons(&[(4, 60), (4, 60), (6, 60), (4, 60)], server(200));
        assert_eq!(found, ["18 × 60 = 1080 > 200, Server", "1080 > 157, which is what may be used"]);
        let found = reasons(&[(21, 5)], server(60));
        assert_eq!(found, ["21 × 5 = 105 > 60, Server", "105 > 45, which is what may be used"]);
        assert_eq!(reasons(&[(18, 5)], server(100)), ["18 × 5 = 90 > 77, which is what may be used"]);
        assert_eq!(reasons(&[(21, 4)], server(60))[0], "21 × 4 = 84 > 60, Server");
        assert!(reasons(&[(18, 8)], server(200)).is_empty());
        let share = Room { limit: Some(120), reserved: 10, ..server(400) };
        let found = reasons(&[(21, 7), (1, 10), (0, 99)], share);
        assert_eq!(found, ["21 × 7 + 1 × 10 + 10 reserved = 167 > 120, Limit", "157 > 88, which is what may be used"]);
        let role = Room { role: Some(7), ..server(100) };
        assert_eq!(reasons(&[(1, 8)], role), ["1 × 8 = 8 > 7, Role", "8 > 7, Role"]);
    }
}
