//! Names of runs and releases.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of one run of tintype, part of every object name that it writes: `20261120T021003Z-7f3a9c0d`.
///
/// Time makes it readable and sorts it, eight random hexadecimal digits keep two runs of one second apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(std::sync::Arc<str>);

impl RunId {
    /// A new name.
    pub fn new(now: DateTime<Utc>, random: u32) -> RunId {
        RunId(format!("{}-{random:08x}", now.format("%Y%m%dT%H%M%SZ")).into())
    }

    /// The name of a further attempt of the run: what one attempt has staged, no other may write again.
    #[must_use]
    pub fn attempt(&self, number: u32) -> RunId {
        RunId(format!("{}.{number}", self.0).into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A release: its number in the history, and the run that made it. Two runs may try for one number; one commits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseId {
    /// Counts releases from 1.
    pub serial: u64,
    /// The run that made it.
    pub run: RunId,
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.serial, self.run)
    }
}

impl FromStr for ReleaseId {
    type Err = String;

    fn from_str(text: &str) -> Result<ReleaseId, String> {
        let parts = text.split_once('-').and_then(|(serial, run)| Some((serial.parse().ok()?, run)));
        match parts {
            Some((serial, run)) if !run.is_empty() => Ok(ReleaseId { serial, run: RunId(run.into()) }),
            _ => Err(format!("`{text}` isn't a release id such as 12-20261120T021003Z-7f3a9c0d")),
        }
    }
}

impl Serialize for ReleaseId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ReleaseId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ReleaseId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let run = RunId::new(DateTime::from_timestamp(1_795_000_000, 0).unwrap(), 0x7f);
        let id = ReleaseId { serial: 12, run };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("12".parse::<ReleaseId>().is_err());
        assert!("x-y".parse::<ReleaseId>().is_err());
    }
}
