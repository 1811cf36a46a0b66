//! When which connection has to send: fixed before the first request, and not changed by any answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use hyper::header::HeaderValue;
use tokio::time::Instant;

use super::Options;
use super::choice::Choice;
use super::client::{Client, Line, Target};
use super::outcomes::{Outcomes, Report};

/// Connections that are being opened at a time; more would overflow the backlog of most servers.
const OPENED_AT_A_TIME: usize = 64;
/// From the last connection that was opened to the first request, for the server to be done with them.
const PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
pub struct Plan {
    pub options: Options,
    pub target: Target,
    pub choice: Choice,
    /// The last `ETag` of each path.
    pub etags: Vec<Mutex<Option<HeaderValue>>>,
    pub outcomes: Outcomes,
    begin: Instant,
    /// When everything ends, answered or not.
    pub stop: Instant,
}

impl Plan {
    /// When a connection's request is due, counted from 0; none after its last.
    ///
    /// Requests come one after the other at the same distance, each from the next connection.
    pub fn due(&self, connection: u32, round: u64) -> Option<Instant> {
        let number = u64::from(connection) + round * u64::from(self.options.connections);
        let seconds = number as f64 / self.options.rate;
        (seconds < self.options.seconds).then(|| self.begin + Duration::from_secs_f64(seconds))
    }
}

/// Opens all connections, has each send what is due, and tells what became of it.
pub async fn run(options: &Options) -> Result<Report, String> {
    let choice = Choice::read(&options.paths, options.zipf)?;
    let target = Target::of(&options.url).await?;
    let lines: Vec<Line> = futures_util::stream::iter(0..options.connections)
        .map(|_| Line::open(&target, options.timeout))
        .buffer_unordered(OPENED_AT_A_TIME)
        .try_collect()
        .await
        .map_err(|error| format!("cannot open {} connections to {}: {error}", options.connections, options.url))?;
    let begin = Instant::now() + PAUSE;
    let plan = Arc::new(Plan {
        etags: (0..choice.len()).map(|_| Mutex::default()).collect(),
        options: options.clone(),
        target,
        choice,
        outcomes: Outcomes::default(),
        begin,
        stop: begin + Duration::from_secs_f64(options.seconds) + options.timeout,
    });
    let clients: Vec<_> = (0..)
        .zip(lines)
        .map(|(number, line)| tokio::spawn(Client::new(Arc::clone(&plan), number, line).ask_all()))
        .collect();
    for client in clients {
        client.await.map_err(|error| format!("a connection's task failed: {error}"))?;
    }
    Ok(plan.outcomes.report(begin.elapsed().as_secs_f64()))
}
