//! Who holds which of a server's connections, and whether there are too many.
//!
//! A server sees every client, whatever pool it comes from, so it is the server that is asked. Of other roles' sessions
//! an unprivileged role is told that they are there, who and where they are, and not what they do; they count all the
//! same.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a server lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `max_connections`.
    pub max: u64,
    /// `superuser_reserved_connections`.
    pub superuser_reserved: u64,
    /// `reserved_connections`, of PostgreSQL 16 and newer: for members of `pg_use_reserved_connections`.
    pub reserved: u64,
    /// The role that asked.
    pub user: String,
    /// The role's `CONNECTION LIMIT`; none for superusers, whom nothing limits.
    pub user_limit: Option<u64>,
    /// The database.
    pub database: String,
    /// The database's `CONNECTION LIMIT`; none for superusers.
    pub database_limit: Option<u64>,
    /// True if the role is told everything about the sessions of others.
    pub sees_all: bool,
}

impl Limits {
    /// How many connections ordinary clients may have.
    pub fn usable(&self) -> u64 {
        self.max.saturating_sub(self.superuser_reserved).saturating_sub(self.reserved)
    }
}

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Running a statement.
    Active,
    /// Waiting for its client, outside of a transaction.
    Idle,
    /// Waiting for its client inside a transaction, which holds back VACUUM and may hold locks.
    IdleInTransaction,
    /// Something else, such as a call by the fast-path protocol.
    Other,
    /// Not told to this role.
    Hidden,
}

impl State {
    /// The state by its name in `pg_stat_activity`.
    pub fn of(name: Option<&str>) -> State {
        match name {
            None => State::Hidden,
            Some("active") => State::Active,
            Some("idle") => State::Idle,
            Some(name) if name.starts_with("idle in transaction") => State::IdleInTransaction,
            Some(_) => State::Other,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Idle => "idle",
            State::IdleInTransaction => "idle in transaction",
            State::Other => "other",
            State::Hidden => "hidden",
        }
    }
}

/// One client's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The process id of its backend.
    pub pid: i64,
    /// Its database.
    pub database: String,
    /// Its role.
    pub user: String,
    /// Its `application_name`, which may be empty.
    pub application: String,
    /// The client's address; none on a Unix socket, and where it isn't told.
    pub client: Option<String>,
    /// What it is doing.
    pub state: State,
    /// For how long it has been doing that.
    pub in_state: Option<Duration>,
    /// How old its transaction is.
    pub transaction: Option<Duration>,
    /// How old the connection is.
    pub connected: Option<Duration>,
    /// True if it waits for a lock.
    pub waits_for_lock: bool,
    /// How its statement begins, the last one where it isn't active.
    pub query: Option<String>,
    /// True for the one that asked.
    pub is_this: bool,
}

/// The clients of a server at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// What it lets in.
    pub limits: Limits,
    /// Every client's session, the oldest first.
    pub sessions: Vec<Session>,
}

/// Sessions that have all of this in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Their `application_name`.
    pub application: String,
    /// Their role.
    pub user: String,
    /// Their database.
    pub database: String,
    /// Where they come from.
    pub client: Option<String>,
}

/// What the sessions of a holder do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// How many they are, by state.
    pub states: BTreeMap<State, u64>,
    /// The longest time in a state, by state.
    pub longest: BTreeMap<State, Duration>,
}

impl Held {
    /// How many they are.
    pub fn total(&self) -> u64 {
        self.states.values().sum()
    }

    /// How many are in this state.
    pub fn in_state(&self, state: State) -> u64 {
        self.states.get(&state).copied().unwrap_or(0)
    }

    fn add(&mut self, session: &Session) {
        *self.states.entry(session.state).or_default() += 1;
        if let Some(age) = session.in_state {
            let longest = self.longest.entry(session.state).or_default();
            *longest = age.max(*longest);
        }
    }
}

impl Activity {
    /// How many connections there are.
    pub fn used(&self) -> u64 {
        self.sessions.len() as u64
    }

    /// How many of those that ordinary clients may have are taken, in percent. It can be more than a hundred: superusers
    /// come in when the others don't.
    pub fn usage_percent(&self) -> f64 {
        match self.limits.usable() {
            0 => 100.0,
            usable => self.used() as f64 * 100.0 / usable as f64,
        }
    }

    /// All of them together.
    pub fn all(&self) -> Held {
        let mut all = Held::default();
        self.sessions.iter().for_each(|session| all.add(session));
        all
    }

    /// Who holds how many, the most first.
    pub fn holders(&self) -> Vec<(Holder, Held)> {
        let mut holders: BTreeMap<Holder, Held> = BTreeMap::new();
        for session in &self.sessions {
            let holder = Holder {
                application: session.application.clone(),
                user: session.user.clone(),
                database: session.database.clone(),
                client: session.client.clone(),
            };
            holders.entry(holder).or_default().add(session);
        }
        let mut holders: Vec<_> = holders.into_iter().collect();
        holders.sort_by_key(|(_, held)| std::cmp::Reverse(held.total()));
        holders
    }

    /// Sessions that have been idle in a transaction for at least this long, the longest first. A client that forgot
    /// its transaction looks like this, and it gives its connection back to nobody.
    pub fn forgotten(&self, age: Duration) -> Vec<&Session> {
        let is_forgotten = |session: &&Session| {
            session.state == State::IdleInTransaction && session.in_state.is_some_and(|idle| idle >= age)
        };
        let mut forgotten: Vec<&Session> = self.sessions.iter().filter(is_forgotten).collect();
        forgotten.sort_by_key(|session| std::cmp::Reverse(session.in_state));
        forgotten
    }
}

/// From which usage on somebody should look, and from which somebody must, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// `high` from here on.
    pub high: f64,
    /// `critical` from here on.
    pub critical: f64,
}

/// How full a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// There is room.
    Ok,
    /// Somebody should look.
    High,
    /// The next burst is refused.
    Critical,
}

impl Thresholds {
    /// How full this is.
    pub fn level(&self, usage_percent: f64) -> Level {
        match usage_percent {
            usage if usage >= self.critical => Level::Critical,
            usage if usage >= self.high => Level::High,
            _ => Level::Ok,
        }
    }
}

impl Level {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::High => "high",
            Level::Critical => "critical",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(pid: i64, application: &str, state: Option<&str>, seconds: u64) -> Session {
        Session {
            pid,
            database: "site".to_owned(),
            user: "web".to_owned(),
            application: application.to_owned(),
            client: None,
            state: State::of(state),
            in_state: state.map(|_| Duration::from_secs(seconds)),
            transaction: None,
            connected: None,
            waits_for_lock: false,
            query: None,
            is_this: false,
        }
    }

    fn activity(sessions: Vec<Session>) -> Activity {
        let limits = Limits {
            max: 13,
            superuser_reserved: 3,
            reserved: 0,
            user: "web".to_owned(),
            user_limit: None,
            database: "site".to_owned(),
            database_limit: None,
            sees_all: true,
        };
        Activity { limits, sessions }
    }

    #[test]
    fn holders_come_by_number_and_states_are_counted() {
        let found = activity(vec![
            session(1, "psql", Some("idle"), 9),
            session(2, "api", Some("active"), 1),
            session(3, "api", Some("idle in transaction (aborted)"), 40),
            session(4, "api", Some("idle in transaction"), 7),
            session(5, "api", None, 0),
        ]);
        let holders = found.holders();
        let names: Vec<_> = holders.iter().map(|(holder, held)| (holder.application.as_str(), held.total())).collect();
        assert_eq!(names, [("api", 4), ("psql", 1)]);
        let api = &holders[0].1;
        assert_eq!((api.in_state(State::IdleInTransaction), api.in_state(State::Hidden)), (2, 1));
        assert_eq!(api.longest[&State::IdleInTransaction], Duration::from_secs(40));
        let pids = |age| found.forgotten(Duration::from_secs(age)).iter().map(|one| one.pid).collect::<Vec<_>>();
        assert_eq!((pids(0), pids(8), pids(41)), (vec![3, 4], vec![3], vec![]));
    }

    #[test]
    fn usage_counts_what_ordinary_clients_may_have() {
        let thresholds = Thresholds { high: 70.0, critical: 90.0 };
        let level = |count| {
            let found = activity((0..count).map(|pid| session(pid, "api", Some("idle"), 1)).collect());
            (found.usage_percent(), thresholds.level(found.usage_percent()))
        };
        assert_eq!(level(6), (60.0, Level::Ok));
        assert_eq!(level(7), (70.0, Level::High));
        assert_eq!(level(9), (90.0, Level::Critical));
        assert_eq!(level(13), (130.0, Level::Critical));
        let full = Activity { limits: Limits { max: 3, ..activity(Vec::new()).limits }, sessions: Vec::new() };
        assert!((full.usage_percent() - 100.0).abs() < f64::EPSILON, "nobody may come in");
    }
}
