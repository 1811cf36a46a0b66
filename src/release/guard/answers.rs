//! What the database said besides the rows: about asserts, and about the newest data.
//!
//! A staged release keeps these answers, so that it can be judged again when there is no database to ask.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Verdict;
use super::measure::Measured;
use crate::template::guard::Level;

/// What the database answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// The newest data, where its age is guarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceAge>,
    /// The asserts, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asserts: Vec<Asserted>,
}

/// How old the newest data was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceAge {
    /// Its instant; none if the query returned none.
    pub newest_at: Option<DateTime<Utc>>,
    /// When that was asked.
    pub asked_at: DateTime<Utc>,
}

/// What an assert returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asserted {
    /// Its name.
    pub name: String,
    /// What rows lead to.
    pub level: Level,
    /// The first rows, in words.
    pub rows: Vec<String>,
    /// True if there were more.
    pub has_more: bool,
}

impl SourceAge {
    /// The age, in words and to be compared with the guard's limits. Data without an instant is older than any.
    pub fn measured(&self) -> Measured {
        let (value, message) = match self.newest_at {
            None => (f64::INFINITY, "there is no newest data: its query returned nothing, or NULL".to_owned()),
            Some(at) => {
                let age = (self.asked_at - at).to_std().unwrap_or_default();
                let shown = humantime::format_duration(std::time::Duration::from_secs(age.as_secs()));
                (age.as_secs_f64(), format!("the newest data is of {}, {shown} ago", instant(at)))
            }
        };
        let after = self.newest_at.map_or(Value::Null, |at| json!(instant(at)));
        Measured { value, before: Value::Null, after, message, may_refuse: true }
    }
}

impl Asserted {
    /// Its verdict.
    pub fn verdict(&self) -> Verdict {
        let (level, message) = match self.rows.as_slice() {
            [] => (Level::Ok, "no rows".to_owned()),
            rows => {
                let more = if self.has_more { " … and more" } else { "" };
                (self.level, format!("rows were returned: {}{more}", rows.join(" · ")))
            }
        };
        Verdict {
            guard: self.name.clone(),
            level,
            message,
            before: Value::Null,
            after: json!(self.rows),
            limit: "no rows".to_owned(),
            accepted: false,
            keys: Vec::new(),
        }
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::guard::Guard;

    #[test]
    fn data_without_an_instant_is_older_than_any_limit() {
        let asked_at = DateTime::from_timestamp(1_795_140_600, 0).unwrap();
        let none = SourceAge { newest_at: None, asked_at };
        assert_eq!(Guard::SourceAge.parse("warn 1d, error 9d").unwrap().of(none.measured().value).0, Level::Error);
        let old = SourceAge { newest_at: Some(asked_at - chrono::Duration::hours(49)), asked_at };
        let measured = old.measured();
        assert_eq!(measured.value.to_bits(), (49.0 * 3600.0_f64).to_bits());
        assert_eq!(measured.message, "the newest data is of 2026-11-18T01:10:00Z, 2days 1h ago");
    }
}
