//! Conditional writes: what two publishers' safety depends on.
//!
//! A condition may be ignored silently, refused with 501, or looked at before the write instead of together with it. The
//! last of these shows only when several writers meet, so eight are sent at a time, over connections that are open
//! already and with bodies that take a moment, and exactly one of them may be told that it has won.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use super::super::failure::{Class, Failure};
use super::trial::{Answer, Condition, Trial, body};
use crate::store::probe::{Check, Subject, UNSAFE, Verdict};

/// How many writers meet.
const WRITERS: usize = 8;
/// How many times they do.
const ROUNDS: usize = 3;
/// How often a check begins again on a new object after answers that tell nothing.
const TRIES: usize = 3;
/// How long a store that told nothing is left alone.
const PAUSE: Duration = Duration::from_millis(1500);
/// A body of a race: long enough for a store that looks first to look eight times before it has written.
const RACE_BYTES: usize = 64 * 1024;
/// An `ETag` that no object has.
const WRONG_TAG: &str = "\"00000000000000000000000000000000\"";

pub const IF_NONE_MATCH: Subject =
    Subject { name: "if-none-match", means: "the first release of a store is committed once" };
pub const IF_MATCH: Subject = Subject { name: "if-match", means: "a commit replaces the head that it was made from" };
pub const RACE_IF_NONE_MATCH: Subject =
    Subject { name: "race-if-none-match", means: "of several first publishers exactly one commits" };
pub const RACE_IF_MATCH: Subject =
    Subject { name: "race-if-match", means: "of several publishers exactly one commits" };

/// The names of the checks that keep two publishers apart.
pub const NAMES: [&str; 4] = [IF_NONE_MATCH.name, IF_MATCH.name, RACE_IF_NONE_MATCH.name, RACE_IF_MATCH.name];

fn broken(subject: &Subject, detail: impl Into<String>) -> Check {
    subject.broken(detail).hint(UNSAFE)
}

/// A store that doesn't know the condition is an outcome of the check, and any other failure isn't.
fn unless_unsupported(subject: &Subject, check: Result<Check, Failure>) -> Result<Check, Failure> {
    match check {
        Err(failure) if failure.class == Class::Unsupported => {
            Ok(broken(subject, format!("the store refuses such writes: {}", failure.reason)))
        }
        check => check,
    }
}

/// Runs a check on new objects until it isn't spoilt by a request that had to be sent again.
async fn settled(
    trial: &Trial<'_>,
    subject: &Subject,
    check: impl AsyncFn(String) -> Result<Check, Failure>,
) -> Result<Check, Failure> {
    let mut attempt = 1;
    loop {
        trial.was_resent();
        let found = unless_unsupported(subject, check(format!("{}-{attempt}", subject.name)).await);
        let is_clear = !trial.was_resent() || matches!(&found, Ok(check) if check.outcome == Verdict::Ok);
        if is_clear || attempt == TRIES {
            return found;
        }
        attempt += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// The second write of a name with `If-None-Match: *` must be refused, and must change nothing.
pub async fn if_none_match(trial: &Trial<'_>) -> Result<Check, Failure> {
    let subject = &IF_NONE_MATCH;
    settled(trial, subject, async |name| {
        let (key, first, second) = (trial.key(&name), body("first"), body("second"));
        if trial.put_if(&key, &first, Condition::Absent).await? == Answer::Refused {
            return Ok(broken(subject, "the write of an object that isn't there yet was refused"));
        }
        if let Answer::Written(_) = trial.put_if(&key, &second, Condition::Absent).await? {
            return Ok(broken(subject, "the store answered 200 to the second write too: it ignores the condition"));
        }
        if trial.bytes(&key).await?.as_deref() != Some(&first[..]) {
            return Ok(broken(subject, "the second write was refused, and yet the object isn't the first one's"));
        }
        Ok(subject.ok("the first write was carried out, the second refused"))
    })
    .await
}

/// A write with the wrong `If-Match` must be refused and change nothing; with the right one it must be carried out.
pub async fn if_match(trial: &Trial<'_>) -> Result<Check, Failure> {
    let subject = &IF_MATCH;
    settled(trial, subject, async |name| {
        let (key, first, second, third) = (trial.key(&name), body("one"), body("two"), body("three"));
        let absent = trial.key(&format!("{name}-absent"));
        let Some(tag) = trial.put(&key, &first, None).await? else {
            return Ok(broken(subject, "the store gives objects no ETag"));
        };
        let refused = async |key: &str, bytes: &Bytes, tag: &str| {
            Ok::<_, Failure>(trial.put_if(key, bytes, Condition::Tag(tag)).await? == Answer::Refused)
        };
        let holds = async |bytes: &Bytes| Ok::<_, Failure>(trial.bytes(&key).await?.as_deref() == Some(&bytes[..]));
        if !refused(&key, &third, WRONG_TAG).await? {
            return Ok(broken(
                subject,
                "the store answered 200 to a write with another ETag: it ignores the condition",
            ));
        }
        if !holds(&first).await? {
            return Ok(broken(subject, "a write with another ETag was refused, and yet the object has changed"));
        }
        if refused(&key, &second, &tag).await? {
            return Ok(broken(subject, "a write with the object's own ETag was refused"));
        }
        if !refused(&key, &third, &tag).await? || !holds(&second).await? {
            return Ok(broken(subject, "a write with the ETag of the object before was carried out"));
        }
        if !refused(&absent, &third, &tag).await? {
            return Ok(broken(subject, "a write with an ETag was carried out where no object was"));
        }
        Ok(subject.ok("refused with another ETag, an older one and none; carried out with the object's own"))
    })
    .await
}

/// All of them; a failure that says nothing about conditions ends it.
pub async fn all(trial: &Trial<'_>) -> Result<Vec<Check>, Failure> {
    Ok(vec![
        if_none_match(trial).await?,
        if_match(trial).await?,
        race_if_none_match(trial).await?,
        race_if_match(trial).await?,
    ])
}

/// Of eight writers that would each be the first, one may be.
pub async fn race_if_none_match(trial: &Trial<'_>) -> Result<Check, Failure> {
    race(trial, &RACE_IF_NONE_MATCH, async |_| Ok(None)).await
}

/// Of eight writers that replace the same object, one may.
pub async fn race_if_match(trial: &Trial<'_>) -> Result<Check, Failure> {
    let first = async |key: &str| {
        let tag = trial.put(key, &body("before the race"), None).await?;
        tag.map(Some).ok_or_else(|| Failure::new(Class::Unsupported, "the store gives objects no ETag"))
    };
    race(trial, &RACE_IF_MATCH, first).await
}

/// Runs the rounds of a race. `prepare` makes what is there before, and returns the `ETag` that each writer expects.
async fn race(
    trial: &Trial<'_>,
    subject: &Subject,
    prepare: impl AsyncFn(&str) -> Result<Option<String>, Failure>,
) -> Result<Check, Failure> {
    let mut refused = 0;
    for round in 1..=ROUNDS {
        let mut attempt = 1;
        loop {
            let key = trial.key(&format!("{}-{round}-{attempt}", subject.name));
            let ran = match prepare(&key).await {
                Ok(expected) => run(trial, &key, expected.as_deref()).await,
                Err(failure) => Err(failure),
            };
            let ran = match ran {
                Ok(ran) => ran,
                Err(failure) => return unless_unsupported(subject, Err(failure)),
            };
            if let Some(wrong) = ran.wrong(round) {
                return Ok(broken(subject, wrong));
            }
            refused += ran.refused;
            match (ran.winners.len(), attempt) {
                (1, _) => break,
                (_, TRIES) if ran.refused == WRITERS => {
                    return Ok(broken(subject, format!("all of {WRITERS} writers were refused, {TRIES} times")));
                }
                (_, TRIES) => {
                    let reason = format!("too few of {WRITERS} writers at a time got an answer, {TRIES} times");
                    return Err(Failure::new(Class::Transient, reason));
                }
                _ => attempt += 1,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(subject.ok(format!("{ROUNDS} rounds of {WRITERS} writers: one winner each, {refused} refused")))
}

/// What became of the writers of a round.
struct Round {
    winners: Vec<usize>,
    refused: usize,
    /// Whose bytes the object has in the end.
    kept: Option<usize>,
}

impl Round {
    /// What can't be if the condition is looked at together with the write.
    fn wrong(&self, round: usize) -> Option<String> {
        match self.winners[..] {
            [] => None,
            [winner] if self.kept == Some(winner) => None,
            [_] => Some(format!(
                "the writer that was told that it had won isn't the one whose object is kept (round {round})"
            )),
            _ => Some(format!(
                "{} of {WRITERS} writers at a time were told that they had won (round {round}): the store doesn't look and write in one step",
                self.winners.len()
            )),
        }
    }
}

async fn run(trial: &Trial<'_>, key: &str, expected: Option<&str>) -> Result<Round, Failure> {
    let bodies: Vec<Bytes> = (0..WRITERS).map(race_body).collect();
    // Each opens its connection first, so that what meets are the writes.
    join_all((0..WRITERS).map(|_| trial.get(key))).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let condition = expected.map_or(Condition::Absent, Condition::Tag);
    let answers = join_all(bodies.iter().map(|bytes| trial.put_once(key, bytes, condition))).await;
    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    let is_winner = |answer: &Option<Answer>| matches!(answer, Some(Answer::Written(_)));
    let winners = answers.iter().enumerate().filter(|(_, answer)| is_winner(answer)).map(|(at, _)| at).collect();
    let refused = answers.iter().filter(|answer| **answer == Some(Answer::Refused)).count();
    let kept = trial.bytes(key).await?;
    let kept = kept.and_then(|kept| bodies.iter().position(|bytes| kept == bytes[..]));
    Ok(Round { winners, refused, kept })
}

fn race_body(writer: usize) -> Bytes {
    let mut text = format!("{{\"tintype\":\"a probe of this store, to be removed\",\"writer\":{writer},\"rest\":\"");
    text.extend(std::iter::repeat_n('.', RACE_BYTES));
    Bytes::from(text + "\"}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(winners: &[usize], kept: Option<usize>) -> Option<String> {
        Round { winners: winners.to_vec(), refused: WRITERS - winners.len(), kept }.wrong(2)
    }

    #[test]
    fn one_winner_whose_object_is_kept() {
        assert_eq!(wrong(&[3], Some(3)), None);
        assert_eq!(wrong(&[], None), None);
        assert!(wrong(&[3], Some(4)).unwrap().contains("isn't the one"));
        assert!(wrong(&[3], None).unwrap().contains("isn't the one"));
        assert!(wrong(&[3, 4], Some(4)).unwrap().starts_with("2 of 8 writers"));
    }
}
