//! A bucket probed: every request that tintype makes, and what the answers are worth.
//!
//! The checks stand in the order in which one needs the other: a store that doesn't answer isn't asked for its rights, and
//! one that can't be written isn't asked for conditions. Each has a limit of its own, so that the whole ends.

use std::time::SystemTime;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::failure::{Class, Failure};
use super::{HeadPlace, S3};
use crate::store::StoreError;
use crate::store::probe::{CHECK_LIMIT, Check, FOLDER, LIMIT, PUBLIC_NAME, RECORD, Record, Subject, Verdict};

mod changes;
mod clock;
mod conditions;
mod objects;
mod rights;
mod trial;

use objects::Document;
use rights::Rights;
use trial::Trial;

const ANSWERS: Subject =
    Subject { name: "answers", means: "the store is there, and knows the bucket and the credentials" };
const DOCUMENT: Subject = Subject { name: "document", means: "a document comes back as it was written" };
const REMAINING: Subject = Subject { name: "remaining", means: "everything else was looked at" };
const CLEAN_UP: Subject =
    Subject { name: "clean-up", means: "nothing of this probe, or of an older one, is left behind" };

/// An object of a probe that is older was left behind by one that was killed.
const MAX_AGE: std::time::Duration = std::time::Duration::from_hours(1);

/// The outcome of a check that ended in another way than it should.
fn failed(subject: &Subject, failure: Failure) -> Check {
    let check = subject.broken(failure.reason);
    match failure.hint {
        Some(hint) => check.hint(hint),
        None => check,
    }
}

/// A check with its limit.
async fn limited(subject: &Subject, deadline: Instant, check: impl Future<Output = Result<Check, Failure>>) -> Check {
    match timeout_at(deadline.min(Instant::now() + CHECK_LIMIT), Box::pin(check)).await {
        Ok(Ok(check)) => check,
        Ok(Err(failure)) => failed(subject, failure),
        Err(_) => subject.broken("it didn't come to an end in time").hint("is the store overloaded, or the network?"),
    }
}

impl S3 {
    pub(in crate::store) async fn probe(&self, run: &str) -> Vec<Check> {
        let trial = Trial::new(self, run).await;
        let deadline = Instant::now() + LIMIT;
        let (mut checks, is_there) = first_contact(&trial).await;
        if is_there {
            checks.extend(self.look_closer(&trial, deadline).await);
            let limit = Instant::now() + CHECK_LIMIT;
            checks.push(limited(&CLEAN_UP, limit, async { Ok(trial.clean_up().await) }).await);
            if let Err(error) = self.write_record(&checks).await {
                tracing::warn!(%error, "what was found can't be kept");
            }
        } else {
            checks.push(REMAINING.check(Verdict::Skipped, "the store doesn't answer as it should"));
        }
        checks
    }

    async fn look_closer(&self, trial: &Trial<'_>, deadline: Instant) -> Vec<Check> {
        let looked = timeout_at(deadline.min(Instant::now() + CHECK_LIMIT), Box::pin(rights::rights(trial))).await;
        let Ok((mut checks, Rights { to_probe, to_remove })) = looked else {
            return vec![REMAINING.broken("the store took too long to say what these credentials may do")];
        };
        if !to_probe {
            checks.push(REMAINING.check(Verdict::Skipped, "nothing more can be looked at without these rights"));
            return checks;
        }
        let conditions = condition_checks(trial, deadline).await;
        checks.extend(conditions.into_iter().map(|check| self.needed(check)));
        match timeout_at(deadline.min(Instant::now() + CHECK_LIMIT), Box::pin(Document::write(trial))).await {
            Ok(Ok(document)) => {
                checks.extend(document.checks());
                let (modified, date) = document.dates();
                checks.push(clock::lease_age(modified, date));
            }
            Ok(Err(failure)) => checks.push(failed(&DOCUMENT, failure)),
            Err(_) => checks.push(DOCUMENT.broken("it took too long")),
        }
        let subject = &objects::READ_AFTER_WRITE;
        checks.push(limited(subject, deadline, objects::read_after_write(trial, to_remove)).await);
        checks.push(limited(&objects::ODD_KEYS, deadline, objects::odd_keys(trial)).await);
        checks.push(limited(&changes::COPY, deadline, changes::copy(trial)).await);
        if to_remove {
            checks.push(limited(&changes::BULK_DELETE, deadline, changes::bulk_delete(trial)).await);
            checks.push(limited(&changes::DELETE_ABSENT, deadline, changes::delete_absent(trial)).await);
        }
        checks
    }

    /// What a condition that doesn't hold means where something else keeps publishers apart, or nothing is to.
    fn needed(&self, check: Check) -> Check {
        let (outcome, hint) = match (&self.head, check.outcome) {
            (HeadPlace::Row(_), Verdict::Broken) => (Verdict::Missing, "the head is kept in the database instead"),
            (HeadPlace::Unconditional, Verdict::Broken) => (
                Verdict::Warning,
                "[store] unsafe_single_publisher promises that there is never more than one publisher; \
                 head = \"database\" would need no promise",
            ),
            _ => return check,
        };
        Check { outcome, ..check }.hint(hint)
    }

    /// The part that two publishers' safety depends on. A store that fails in another way than by its conditions is an
    /// error, because nothing is known of it then.
    pub(in crate::store) async fn probe_conditions(&self, run: &str) -> Result<Vec<Check>, StoreError> {
        let trial = Trial::new(self, run).await;
        let found = timeout_at(Instant::now() + LIMIT, Box::pin(conditions::all(&trial))).await;
        let cleaned = timeout_at(Instant::now() + CHECK_LIMIT, Box::pin(trial.clean_up())).await;
        match cleaned {
            Ok(Check { outcome: Verdict::Ok, .. }) => {}
            Ok(Check { detail, .. }) => tracing::warn!("objects that the store was probed with are left: {detail}"),
            Err(_) => tracing::warn!("objects that the store was probed with are left: it took too long"),
        }
        let folder = trial.folder();
        match found {
            Ok(Ok(checks)) => Ok(checks),
            Ok(Err(failure)) => Err(self.error("probe", &folder, &failure, failure.reason.clone())),
            Err(_) => {
                let failure = Failure::time_out(&self.place, LIMIT);
                Err(self.error("probe", &folder, &failure, failure.reason.clone()))
            }
        }
    }

    pub(in crate::store) async fn read_record(&self) -> Result<Option<Record>, StoreError> {
        Ok(self.read(RECORD).await?.and_then(|bytes| Record::parse(&bytes)))
    }

    /// Whether a record tells of this bucket at this address.
    pub(in crate::store) fn is_about_this(&self, record: &Record) -> bool {
        record.bucket == self.bucket() && record.endpoint == self.settings.endpoint
    }

    pub(in crate::store) async fn write_record(&self, checks: &[Check]) -> Result<(), StoreError> {
        let endpoint = self.settings.endpoint.as_deref();
        let record = Record::new(self.bucket(), endpoint, checks, &conditions::NAMES);
        // Every probe writes it anew; a write of S3 replaces what is there.
        self.create(RECORD, Bytes::from(record.text())).await
    }
}

/// Whether the store answers at all, and what its clock says.
async fn first_contact(trial: &Trial<'_>) -> (Vec<Check>, bool) {
    let here = SystemTime::now();
    let (there, answer) = trial.first_contact().await;
    let check = match answer {
        // Without the right to list, an object that isn't there looks forbidden.
        Err(failure) if matches!(failure.class, Class::NotFound | Class::Refused) => {
            ANSWERS.ok(format!("answered {}", failure.status))
        }
        Err(failure) => failed(&ANSWERS, failure),
        Ok(()) => ANSWERS
            .broken("an object that was never written is there")
            .hint("something in front of the store answers every request; [store] endpoint must name the store itself"),
    };
    let is_there = check.outcome == Verdict::Ok;
    (vec![check, clock::clock(here, there)], is_there)
}

/// The conditions one by one, each a check whatever happens.
async fn condition_checks(trial: &Trial<'_>, deadline: Instant) -> Vec<Check> {
    vec![
        limited(&conditions::IF_NONE_MATCH, deadline, conditions::if_none_match(trial)).await,
        limited(&conditions::IF_MATCH, deadline, conditions::if_match(trial)).await,
        limited(&conditions::RACE_IF_NONE_MATCH, deadline, conditions::race_if_none_match(trial)).await,
        limited(&conditions::RACE_IF_MATCH, deadline, conditions::race_if_match(trial)).await,
    ]
}

impl Trial<'_> {
    /// Removes all that this probe wrote, and what an older one left that was killed.
    async fn clean_up(&self) -> Check {
        let mut keys = self.made();
        keys.extend(self.left_behind().await);
        let pairs = keys.iter().map(|key| (key.clone(), key.clone())).collect();
        let failed = self.s3.remove_keys(pairs).await;
        match failed.first() {
            None => CLEAN_UP.ok(format!("{} names", keys.len())),
            Some((key, error)) => CLEAN_UP
                .check(Verdict::Warning, format!("{} left, {key} among them: {}", failed.len(), error.reason))
                .hint("remove them by hand; they are in nobody's way"),
        }
    }

    async fn left_behind(&self) -> Vec<String> {
        let public = self.s3.public_key(PUBLIC_NAME).ok();
        let mut keys = Vec::new();
        for prefix in [Some(self.s3.control_key(FOLDER)), public].into_iter().flatten() {
            let is_old = |modified: Option<SystemTime>| {
                modified.and_then(|modified| modified.elapsed().ok()).is_some_and(|age| age > MAX_AGE)
            };
            // Who may not list has nothing more to remove than what is known.
            let listed = self.list(&prefix).await.unwrap_or_default();
            keys.extend(listed.into_iter().filter(|one| is_old(one.modified)).map(|one| one.key));
        }
        keys
    }
}
