//! `[budget]`: how many connections there are, and who else takes them.

use super::Reader;
use super::keys::{self, budget::MOST};
use super::values::{ProcessValue, Value};
use crate::database::budget::Process;

/// `[budget]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetConfig {
    /// How many connections all processes may share, 1 to 100,000. Default as many as the server has.
    pub limit: Option<u64>,
    /// How many are kept for others, up to 100,000. Default 0.
    pub reserved: u64,
    /// The programs that connect besides tintype, each named once. Default none.
    pub processes: Vec<Process>,
}

impl Reader<'_> {
    pub(super) fn budget(&mut self) -> BudgetConfig {
        let is_limited = self.values.get(&keys::LIMIT).is_some();
        let limit = self.number(&keys::LIMIT) as u64;
        let mut processes: Vec<Process> = Vec::new();
        for written in std::mem::take(&mut self.values.processes) {
            let origin = written.name.origin.clone();
            let Some(process) = self.process(written) else { continue };
            match processes.iter().any(|other| other.name == process.name) {
                true => self.refuse(
                    origin,
                    (
                        format!("two processes are named \"{}\"", process.name),
                        "count says how many processes of a kind there are".to_owned(),
                    ),
                ),
                false => processes.push(process),
            }
        }
        BudgetConfig { limit: is_limited.then_some(limit), reserved: self.number(&keys::RESERVED) as u64, processes }
    }

    fn process(&mut self, ProcessValue { name, count, pool }: ProcessValue) -> Option<Process> {
        if name.text.trim().is_empty() {
            let hint = "name the program as its connections do, by their application_name".to_owned();
            self.refuse(name.origin, ("the process has an empty name".to_owned(), hint));
            return None;
        }
        // None of a kind is an answer: tintype's own `serve` isn't run everywhere.
        let count = self.whole(&count, "count", 0)?;
        let pool = self.whole(&pool, "pool", 1)?;
        Some(Process { name: name.text.trim().to_owned(), count, pool })
    }

    fn whole(&mut self, value: &Value, name: &str, min: u64) -> Option<u64> {
        let found = value.text.parse::<u64>().ok().filter(|number| (min..=MOST as u64).contains(number));
        if found.is_none() {
            let reason = format!("`{name}` of a process can't be {}", value.text);
            self.refuse(value.origin.clone(), (reason, format!("it is {min} to {MOST}: {name} = 8")));
        }
        found
    }
}
