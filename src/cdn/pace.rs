//! A purge as a whole: so many requests side by side, and an end.
//!
//! Each request has its own patience, and a CDN that is slow with each of ten thousand would hold a publish for a day. So
//! there is one time limit for all of them. It grows with their number, because what a healthy CDN takes an hour for
//! would otherwise never be done. Whoever stops before the end is told how many requests from the beginning were carried
//! out, so that the next attempt can go on there.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::persist::{Patience, Refusal};

/// How fast requests go out.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// So many side by side; at least one.
    pub at_a_time: usize,
    /// The longest that one may take on average.
    pub each: Duration,
}

/// Why requests weren't all carried out, and how many from the beginning were.
#[derive(Debug, PartialEq, Eq)]
pub struct Stopped {
    pub done: usize,
    pub refusal: Refusal,
}

/// Which requests were carried out. They end in any order.
#[derive(Debug, Default)]
struct Done {
    count: usize,
    /// All before this one.
    until: usize,
    /// Those behind it.
    ahead: BTreeSet<usize>,
}

impl Done {
    fn add(&mut self, number: usize) {
        self.count += 1;
        self.ahead.insert(number);
        while self.ahead.remove(&self.until) {
            self.until += 1;
        }
    }
}

impl Pace {
    /// The time limit for so many requests: what a single one may take, and the usual time of them all.
    fn limit(self, patience: Patience, requests: usize) -> Duration {
        let rounds = u32::try_from(requests.div_ceil(self.at_a_time)).unwrap_or(u32::MAX);
        patience.limit.saturating_add(self.each.saturating_mul(rounds))
    }

    /// Sends everything; the first that fails ends it.
    pub async fn keep<Sent: Future<Output = Result<(), Refusal>>>(
        self,
        patience: Patience,
        mut sends: impl ExactSizeIterator<Item = Sent>,
    ) -> Result<(), Stopped> {
        let requests = sends.len();
        let limit = self.limit(patience, requests);
        let mut done = Done::default();
        let all = async {
            let mut running = FuturesUnordered::new();
            let mut sends = (&mut sends).enumerate();
            loop {
                while running.len() < self.at_a_time {
                    let Some((number, send)) = sends.next() else { break };
                    running.push(async move { (number, send.await) });
                }
                match running.next().await {
                    None => return Ok(()),
                    Some((number, sent)) => {
                        sent?;
                        done.add(number);
                    }
                }
            }
        };
        let ended = tokio::time::timeout(limit, all).await;
        let ended = ended.unwrap_or_else(|_| {
            let within = crate::http::in_words(limit);
            Err(Refusal {
                reason: format!("only {} of {requests} requests were carried out within {within}", done.count),
                hint: Some(
                    "a longer [cdn] purge_timeout gives them more, and a smaller max_paths makes them fewer".to_owned(),
                ),
            })
        });
        ended.map_err(|refusal| Stopped { done: done.until, refusal })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const PATIENCE: Patience = Patience { limit: Duration::from_secs(10), first_wait: Duration::from_secs(1) };

    /// So many requests that take so long each: what came of them, and after how many seconds.
    async fn sent(pace: Pace, requests: usize, seconds: u64) -> (Result<(), Stopped>, u64) {
        let began = Instant::now();
        let one = |_| async move {
            sleep(Duration::from_secs(seconds)).await;
            Ok(())
        };
        let ended = pace.keep(PATIENCE, (0..requests).map(one)).await;
        (ended, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_purge_ends_however_slow_each_request_is() {
        let pace = Pace { at_a_time: 4, each: Duration::from_secs(1) };
        assert_eq!(sent(pace, 0, 9).await, (Ok(()), 0));
        assert_eq!(sent(pace, 4, 9).await, (Ok(()), 9), "side by side");
        assert_eq!(sent(pace, 400, 1).await, (Ok(()), 100), "many may take longer than one");
        let (ended, took) = sent(pace, 400, 9).await;
        assert_eq!(took, 110);
        let Stopped { done, refusal } = ended.unwrap_err();
        assert_eq!(done, 48);
        assert!(refusal.reason.contains("only 48 of 400 requests were carried out within 1m 50s"), "{refusal:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_fails_ends_it() {
        let pace = Pace { at_a_time: 2, each: Duration::from_secs(1) };
        let mut begun = 0;
        let sends = (0..100).map(|number| {
            begun += 1;
            async move {
                match number {
                    // So that others end before it.
                    2 => sleep(Duration::from_secs(3)).await,
                    7 => return Err(Refusal::new("no")),
                    _ => sleep(Duration::from_millis(500)).await,
                }
                Ok(())
            }
        });
        let ended = pace.keep(PATIENCE, sends).await;
        assert_eq!(ended, Err(Stopped { done: 2, refusal: Refusal::new("no") }), "what is behind a gap doesn't count");
        assert!(begun <= 9, "{begun}");
    }
}
