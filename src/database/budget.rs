//! How many connections there are, who may take them at worst, and pool sizes that fit.
//!
//! Pools are sized one process at a time, and processes are started by the dozen: 18 processes that may each open 60
//! connections ask for 1,080 of a server's 200. So what counts is the worst case, every pool of every process full, and
//! it is held against what may be used: four fifths of what the server lets in, less what it keeps for its superusers
//! and what others hold, and never more than the limits of the role and the database. A fifth stays free for what
//! nobody has thought of: a deployment that starts the new processes before the old ones have gone, a person with psql.
//!
//! Everything here is arithmetic on numbers that were asked elsewhere.

#[cfg(test)]
mod tests;

/// The share of what the server lets in that may be used, in percent.
pub const SHARE_PERCENT: u64 = 80;

/// A program that connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// What it is called; its connections are known by an `application_name` that begins with it.
    pub name: String,
    /// How many processes there are of it.
    pub count: u64,
    /// The most connections of one of them, overflow included.
    pub pool: u64,
}

impl Process {
    /// The most connections of all of them together.
    pub fn most(&self) -> u64 {
        self.count.saturating_mul(self.pool)
    }

    /// True if a connection with this `application_name` is one of its own: the name itself, or the name and more behind
    /// something that isn't part of a word.
    pub fn is_of(&self, application: &str) -> bool {
        let (name, found) = (self.name.to_lowercase(), application.to_lowercase());
        found.strip_prefix(&name).is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
    }
}

/// The most connections of these together.
pub fn most(processes: &[Process]) -> u64 {
    processes.iter().fold(0, |sum, process| sum.saturating_add(process.most()))
}

/// Connections that belong neither to tintype nor to one of the processes, of those with these `application_name`s.
///
/// Many programs give their connections no name. Those without an owner are taken for connections of the processes that
/// none was found of, as far as these may have so many: what is declared must not be counted twice.
pub fn others<'a>(applications: impl IntoIterator<Item = &'a str>, processes: &[Process]) -> u64 {
    let mut is_found = vec![false; processes.len()];
    let mut unknown = 0_u64;
    for application in applications.into_iter().filter(|application| !is_own(application)) {
        match processes.iter().position(|process| process.is_of(application)) {
            Some(at) => is_found[at] = true,
            None => unknown += 1,
        }
    }
    let unseen = processes.iter().zip(&is_found).filter(|(_, is_found)| !**is_found);
    unknown.saturating_sub(unseen.fold(0, |sum, (process, _)| sum.saturating_add(process.most())))
}

/// True for tintype's own connections.
pub fn is_own(application: &str) -> bool {
    application == "tintype" || application.starts_with("tintype/")
}

/// What there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// The server's `max_connections`, or the `max_client_conn` of a pooler.
    pub max: u64,
    /// Those of them that the server keeps for superusers and for chosen roles.
    pub kept: u64,
    /// Those that others hold now.
    pub others: u64,
    /// The most that the role may have, if it has a limit.
    pub role: Option<u64>,
    /// The most that the database takes, if it has a limit.
    pub database: Option<u64>,
    /// `[budget] limit`.
    pub limit: Option<u64>,
    /// `[budget] reserved`.
    pub reserved: u64,
}

/// What a number of connections is bounded by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The server's `max_connections`, or the `max_client_conn` of a pooler.
    Server,
    /// `[budget] limit`.
    Limit,
    /// The role's `CONNECTION LIMIT`.
    Role,
    /// The database's.
    Database,
}

impl Room {
    /// The number of connections beyond which the next one is refused, and by whom.
    pub fn ceiling(&self) -> (u64, Bound) {
        let server = (self.max, Bound::Server);
        self.hard_limits().chain(self.limit.map(|limit| (limit, Bound::Limit))).fold(server, smaller)
    }

    /// How many connections may be used, and what bounds that.
    pub fn budget(&self) -> (u64, Bound) {
        let share = |count: u64| count.saturating_mul(SHARE_PERCENT) / 100;
        // What is reserved for others is there for those who are connected already.
        let server = self.max.saturating_sub(self.kept).saturating_sub(self.others.max(self.reserved));
        let limit = self.limit.map(|limit| (share(limit.saturating_sub(self.reserved)), Bound::Limit));
        self.hard_limits().chain(limit).fold((share(server), Bound::Server), smaller)
    }

    fn hard_limits(&self) -> impl Iterator<Item = (u64, Bound)> {
        let role = self.role.map(|limit| (limit, Bound::Role));
        role.into_iter().chain(self.database.map(|limit| (limit, Bound::Database)))
    }
}

fn smaller(one: (u64, Bound), other: (u64, Bound)) -> (u64, Bound) {
    if other.0 < one.0 { other } else { one }
}

/// How the worst case compares with what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may all be used.
    Fits,
    /// It is more than may be used.
    AboveBudget,
    /// It is more than there is: connections will be refused.
    AboveCeiling,
}

/// Judges the worst case of all these processes.
pub fn judge(processes: &[Process], room: &Room) -> Verdict {
    let most = most(processes);
    match () {
        () if most.saturating_add(room.reserved) > room.ceiling().0 => Verdict::AboveCeiling,
        () if most > room.budget().0 => Verdict::AboveBudget,
        () => Verdict::Fits,
    }
}

/// The largest size of a pool that leaves them all within `budget`, if each has the smaller of it and its own; `None` if
/// not even one connection each does. Pools that are small already leave more to the others.
pub fn largest_pool(processes: &[Process], budget: u64) -> Option<u64> {
    let capped = |cap: u64| {
        let each = |process: &Process| process.count.saturating_mul(process.pool.min(cap));
        processes.iter().fold(0_u64, |sum, process| sum.saturating_add(each(process)))
    };
    let widest = processes.iter().filter(|process| process.count > 0).map(|process| process.pool).max()?;
    let (mut fits, mut exceeds) = (0, widest + 1);
    while exceeds - fits > 1 {
        let middle = fits + (exceeds - fits) / 2;
        if capped(middle) <= budget { fits = middle } else { exceeds = middle }
    }
    (fits > 0).then_some(fits)
}
