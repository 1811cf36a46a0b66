//! Sending a request until it is answered for good, or for as long as there is hope.
//!
//! A purge says "forget this", so that it is safe to send it again: after a lost answer, when too much is going on at the
//! moment, when a server fails. Waits grow, a server that names its own is believed, and it all ends with the time limit,
//! because somebody is waiting for the publish that this belongs to.

use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use crate::http::{Answer, in_words};

/// The longest time for one exchange; a CDN that takes longer is taken for one that doesn't answer.
const EXCHANGE: Duration = Duration::from_secs(30);
/// The longest wait between two attempts that no server has asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// With less time left nothing is sent: an answer could hardly come, and its absence would hide why it was refused before.
const SHORTEST: Duration = Duration::from_millis(100);
/// So much of what a server says is shown.
const SHOWN_CHARS: usize = 300;

/// For how long a request is sent again, and after which waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the first attempt on. Too short: what the CDN is busy with for a moment stays undone until the next run. Too
    /// long: a publish hangs where the CDN is away.
    pub limit: Duration,
    /// The first wait; it doubles.
    pub first_wait: Duration,
}

/// What an attempt came to.
#[derive(Debug)]
pub enum Verdict {
    /// The CDN has promised it.
    Done,
    /// It may work later, after this time if the server names one.
    Later(Refusal, Option<Duration>),
    /// It will never work like this.
    Never(Refusal),
}

/// Why something wasn't done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Names who refused, and how.
    pub reason: String,
    /// What to change, if that is known.
    pub hint: Option<String>,
}

impl Refusal {
    /// Without a hint.
    pub fn new(reason: impl Into<String>) -> Refusal {
        Refusal { reason: reason.into(), hint: None }
    }
}

/// Attempts something until it is done, refused for good, or the time is over. An attempt is told how long it may take.
pub async fn persist(patience: Patience, mut attempt: impl AsyncFnMut(Duration) -> Verdict) -> Result<(), Refusal> {
    let end = Instant::now() + patience.limit;
    let mut wait = patience.first_wait;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let (refusal, asked) = match attempt(left.min(EXCHANGE)).await {
            Verdict::Done => return Ok(()),
            Verdict::Never(refusal) => return Err(refusal),
            Verdict::Later(refusal, asked) => (refusal, asked),
        };
        // Nobody else's clock is behind this, so a part of the wait that differs from run to run keeps two of them apart.
        let own = wait / 2 + wait.mul_f64(part() / 2.0);
        // A server that says "now" isn't believed more than once in a while.
        let pause = asked.map_or(own, |asked| asked.max(patience.first_wait));
        // A server may name any number of seconds, also one that no clock gets to.
        let has_time = pause.saturating_add(SHORTEST) < end.saturating_duration_since(Instant::now());
        if has_time {
            tracing::debug!(reason = refusal.reason, wait_seconds = pause.as_secs_f64(), "a purge is sent again");
            tokio::time::sleep(pause).await;
        }
        // A busy machine sleeps longer than it was asked to.
        if !has_time || end.saturating_duration_since(Instant::now()) < SHORTEST {
            let limit = in_words(patience.limit);
            let asks = asked.map(|asked| format!(", and asks to wait for {}", in_words(asked)));
            let reason = format!("{}{}; [cdn] purge_timeout is {limit}", refusal.reason, asks.unwrap_or_default());
            return Err(Refusal { reason, ..refusal });
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// A number from 0 to 1.
fn part() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

/// Judges an answer by its status; `who` answered, and `denied` is what to look at where it lets nobody in.
pub fn judge(who: &str, answer: &Result<Answer, String>, denied: &str) -> Verdict {
    let answer = match answer {
        Ok(answer) => answer,
        Err(reason) => return Verdict::Later(Refusal::new(format!("{who}: {reason}")), None),
    };
    let refusal = Refusal::new(format!("{who} answered {}{}", answer.status, said(&answer.bytes)));
    match answer.status {
        200..=299 => Verdict::Done,
        // The server is busy or broken; 408 and 425 ask for another attempt in so many words. A method or a version that
        // it doesn't know, 501 and 505, it will never know.
        408 | 425 | 429 | 500 | 502..=504 | 506..=599 => Verdict::Later(refusal, retry_after(answer)),
        401 | 403 => Verdict::Never(Refusal { hint: Some(denied.to_owned()), ..refusal }),
        300..=399 => Verdict::Never(redirected(who, answer)),
        _ => Verdict::Never(refusal),
    }
}

/// Tells a redirection. A page of it would repeat the address, which may hold a token, so only the host is told.
fn redirected(who: &str, answer: &Answer) -> Refusal {
    let to = answer.header("location").and_then(|to| Url::parse(to).ok()).map(|to| to.origin());
    let to = to.filter(url::Origin::is_tuple).map(|to| format!(" to {}", to.ascii_serialization()));
    let reason = format!("{who} answered {}{}, which isn't followed", answer.status, to.unwrap_or_default());
    Refusal { reason, hint: Some("configure the address that it leads to".to_owned()) }
}

/// A success without what the CDN promises it in: a page to log in at, or somebody else's answer.
pub fn unpromised(who: &str, answer: &Answer, key: &str) -> Refusal {
    let reason = format!("{who} answered {} without a promise{}", answer.status, said(&answer.bytes));
    Refusal { reason, hint: Some(format!("{key} has to be the address of the CDN's API itself")) }
}

/// The seconds of `Retry-After`. Its other form, a date, isn't used by any CDN for this and counts as absent.
fn retry_after(answer: &Answer) -> Option<Duration> {
    answer.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
}

/// The beginning of a body as a part of a sentence, without what a terminal obeys.
pub fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|s| !s.is_empty()).collect();
    let text: String = words.join(" ").chars().take(SHOWN_CHARS).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { limit: Duration::from_mins(2), first_wait: Duration::from_secs(1) };

    fn later(asked: Option<u64>) -> Verdict {
        Verdict::Later(Refusal::new("busy"), asked.map(Duration::from_secs))
    }

    /// Attempts that come to these verdicts and then to a success: the outcome, and the seconds that it took.
    async fn outcome(verdicts: Vec<Verdict>) -> (Result<(), Refusal>, u64) {
        let began = Instant::now();
        let mut verdicts = verdicts.into_iter();
        let done = persist(PATIENCE, async |_| verdicts.next().unwrap_or(Verdict::Done)).await;
        (done, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_as_long_as_it_is_asked_to_and_no_longer_than_the_limit() {
        assert_eq!(outcome(vec![]).await, (Ok(()), 0));
        assert_eq!(outcome(vec![later(Some(7)), later(Some(50))]).await, (Ok(()), 57));
        let (done, took) = outcome(vec![later(Some(7)), later(Some(300))]).await;
        assert_eq!(took, 7, "it doesn't wait for what comes too late");
        let reason = done.unwrap_err().reason;
        assert!(reason.contains("busy, and asks to wait for 5m; [cdn] purge_timeout is 2m"), "{reason}");
        let (done, took) = outcome(vec![later(Some(u64::MAX))]).await;
        assert!(done.is_err() && took == 0, "a number beyond every clock is only too long");
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_up_to_a_bound_and_end() {
        let mut at = Vec::new();
        let began = Instant::now();
        let done = persist(PATIENCE, async |left| {
            at.push(began.elapsed());
            assert!(left <= EXCHANGE && left + began.elapsed() <= PATIENCE.limit);
            later(None)
        });
        assert!(done.await.unwrap_err().reason.starts_with("busy; [cdn]"));
        assert!((9..=18).contains(&at.len()), "{at:?}");
        assert!(at.windows(2).all(|two| two[1] <= two[0] + LONGEST_WAIT), "{at:?}");
        assert!(at.windows(2).all(|two| two[1] >= two[0] + PATIENCE.first_wait / 2), "{at:?}");
        assert!(began.elapsed() < PATIENCE.limit && began.elapsed() + LONGEST_WAIT > PATIENCE.limit);
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_is_made_that_has_no_time_for_an_answer() {
        let mut attempts = 0;
        let patience = Patience { limit: Duration::from_millis(1050), ..PATIENCE };
        let done = persist(patience, async |_| {
            attempts += 1;
            later(Some(1))
        });
        assert!(done.await.unwrap_err().reason.starts_with("busy, and asks to wait for 1s"));
        assert_eq!(attempts, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_never_work_is_not_tried_again() {
        let (done, took) = outcome(vec![later(None), Verdict::Never(Refusal::new("no"))]).await;
        assert_eq!((done, took), (Err(Refusal::new("no")), 0));
    }

    #[test]
    fn an_answer_is_judged_by_its_status() {
        let answer = |status, headers: &[(&str, &str)], body: &str| {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            judge("it", &Ok(Answer { status, headers, bytes: body.into() }), "the token")
        };
        assert!(matches!(answer(204, &[], ""), Verdict::Done));
        let slow = answer(429, &[("retry-after", "7")], "slow\n\u{1b}[2J  down");
        let Verdict::Later(refusal, Some(asked)) = slow else { panic!("{slow:?}") };
        assert_eq!((refusal.reason.as_str(), asked.as_secs()), ("it answered 429: slow [2J down", 7));
        assert!(matches!(
            answer(503, &[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")], ""),
            Verdict::Later(_, None)
        ));
        let denied = answer(403, &[], "");
        let Verdict::Never(refusal) = denied else { panic!("{denied:?}") };
        assert_eq!(refusal, Refusal { reason: "it answered 403".to_owned(), hint: Some("the token".to_owned()) });
        assert!(matches!(answer(301, &[], ""), Verdict::Never(_)), "a redirection isn't followed");
        assert!(matches!(answer(500, &[], ""), Verdict::Later(_, None)));
        for status in [501, 505] {
            assert!(matches!(answer(status, &[], ""), Verdict::Never(_)), "{status}");
        }
        assert!(matches!(judge("it", &Err("gone".to_owned()), ""), Verdict::Later(_, None)));
    }
}
