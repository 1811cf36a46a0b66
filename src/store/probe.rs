//! Probe, don't believe: what a store does with the requests that tintype stands on.
//!
//! Stores that speak S3 differ just where it hurts. One answers 200 to a conditional write whose condition doesn't hold,
//! another looks first and then writes, a third hands documents out with another `Content-Encoding` than they were
//! written with; a file system may lack locks or links. None of that shows until two publishers meet or a reader
//! complains, so nothing that a store says of itself is taken for granted: it is asked to do each thing once, on objects
//! made for the purpose, and what became of them is looked at. They lie under `probe/` among the store's own records, and
//! one below the documents, because a right may hold for the one and not for the other; all of them are removed again.
//!
//! [`examine`] is all of it, for `tintype doctor`. [`require_conditions`] is what two publishers' safety depends on, for
//! the first publish into a bucket; what was found is kept as `probe.json`, so that it costs the second one nothing.
//! How a bucket and a directory are probed stands with each of them; here is what they have in common.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};

mod record;

pub use record::NAME as RECORD;
pub(super) use record::Record;

/// The folder of the objects that are probed with, among the store's own records.
pub(super) const FOLDER: &str = "probe/";
/// How the name of the one that lies below the documents begins.
pub(super) const PUBLIC_NAME: &str = ".tintype-doctor-";
/// The longest that one check may take, and so the longest that a store that answers nothing holds the doctor up.
pub(super) const CHECK_LIMIT: Duration = Duration::from_secs(40);
/// The longest that all checks together may take.
pub(super) const LIMIT: Duration = Duration::from_mins(4);

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It couldn't be looked at.
    Skipped,
    /// The store doesn't have it, and tintype does something else instead.
    Missing,
    /// It works, and somebody should look at it.
    Warning,
    /// Publishing, or safety, depends on it.
    Broken,
}

/// What is looked at.
#[derive(Debug)]
pub struct Subject {
    /// A name for programs: `if-none-match`.
    pub name: &'static str,
    /// What it means for tintype, as a fact that holds if the check is ok.
    pub means: &'static str,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// See [`Subject::name`].
    pub name: &'static str,
    /// How it came out.
    pub outcome: Verdict,
    /// See [`Subject::means`].
    pub means: &'static str,
    /// What was seen.
    pub detail: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Subject {
    /// A check of this with its outcome and what was seen.
    pub fn check(&self, outcome: Verdict, detail: impl Into<String>) -> Check {
        Check { name: self.name, outcome, means: self.means, detail: detail.into(), hint: None }
    }

    /// Found as it should be.
    pub fn ok(&self, detail: impl Into<String>) -> Check {
        self.check(Verdict::Ok, detail)
    }

    /// Found broken.
    pub fn broken(&self, detail: impl Into<String>) -> Check {
        self.check(Verdict::Broken, detail)
    }
}

impl Check {
    /// The same with what to do next.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Check {
        Check { hint: Some(hint.into()), ..self }
    }
}

/// Looks at everything that tintype needs of a store. `run` becomes part of the names of the probe's objects, and is
/// never used twice. What fails is a check that says so, and never an error.
pub async fn examine(store: &Store, run: &str) -> Vec<Check> {
    match store {
        Store::Directory(directory) => directory.probe(run).await,
        Store::S3(s3) => Box::pin(s3.probe(run)).await,
        #[cfg(test)]
        Store::Faulty(_) => Vec::new(),
    }
}

/// What a store does with conditional writes.
#[derive(Debug)]
pub struct Conditions {
    /// One check a condition; none where a lock and no condition keeps publishers apart.
    pub checks: Vec<Check>,
}

impl Conditions {
    /// True if two publishers can't overwrite each other's head.
    pub fn hold(&self) -> bool {
        self.checks.iter().all(|check| check.outcome == Verdict::Ok)
    }
}

/// Finds out what a store does with conditional writes. A store that is away, or refuses for another reason than the
/// condition, is an error.
pub async fn conditions(store: &Store, run: &str) -> Result<Conditions, StoreError> {
    match store {
        Store::Directory(_) => Ok(Conditions { checks: Vec::new() }),
        Store::S3(s3) => Ok(Conditions { checks: Box::pin(s3.probe_conditions(run)).await? }),
        #[cfg(test)]
        Store::Faulty(_) => Ok(Conditions { checks: Vec::new() }),
    }
}

/// Refuses a store whose conditional writes don't keep two publishers apart, where nothing else does. What an earlier
/// probe of the same bucket at the same endpoint found is believed if it was good.
pub async fn require_conditions(store: &Store, run: &str) -> Result<(), StoreError> {
    let Store::S3(s3) = store else { return Ok(()) };
    if !s3.is_conditional() {
        return Ok(());
    }
    if s3.read_record().await?.is_some_and(|record| s3.is_about_this(&record) && record.conditions) {
        return Ok(());
    }
    let found = conditions(store, run).await?;
    let Some(broken) = found.checks.iter().find(|check| check.outcome != Verdict::Ok) else {
        return s3.write_record(&found.checks).await;
    };
    Err(StoreError {
        action: "publish into",
        object: store.describe(),
        reason: format!("its conditional writes don't keep two publishers apart ({}): {}", broken.name, broken.detail),
        hint: Some(format!("{UNSAFE}; `tintype doctor` shows what else it lacks")),
        is_general: true,
    })
}

/// The ways out of a store without conditional writes.
pub(super) const UNSAFE: &str = "without them two publishers overwrite each other's releases: take a store that has them, \
     keep the head in the database with [store] head = \"database\", or, if there is never more than one publisher, say so \
     with [store] unsafe_single_publisher = true";

/// All that safety and publishing depend on is there.
pub fn is_sound(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.outcome != Verdict::Broken)
}
