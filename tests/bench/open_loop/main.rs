//! An open-loop load generator for benchmarks: requests are due at fixed instants, whether the answers come or not.
//!
//!     open-loop --url http://127.0.0.1:8480 --paths FILE --connections 1000 --rate 2000 --seconds 20 [--json]
//!
//! A generator that waits for an answer before it sends the next request asks a slow server less often, and then
//! forgets the readers who would have come meanwhile. Here each keep-alive connection has its own timetable, and a
//! latency counts from the instant at which the request was *due*: one that had to wait for its connection has waited
//! for the server, as a reader would have. Requests that got no answer count with the time that they waited in vain.
//!
//! What it takes itself is told beside the figures (`own_delay_ms`): how late a request was sent that had nothing to
//! wait for. Latencies are kept in histograms, so memory doesn't grow with the number of requests.
#![expect(clippy::print_stdout, reason = "the figures are for the one who started it")]

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use outcomes::Report;

mod choice;
mod client;
mod histogram;
mod outcomes;
mod timetable;

#[cfg(test)]
mod tests;

#[derive(Parser, Debug, Clone)]
struct Options {
    /// The server, as http://HOST:PORT; a path in it comes before every other.
    #[arg(long)]
    url: url::Url,
    /// A file with the paths to ask for, one a line, the most wanted first.
    #[arg(long)]
    paths: PathBuf,
    /// Keep-alive connections; each has one request under way at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// Requests a second over all connections.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    rate: f64,
    /// For how long requests come to be due.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    seconds: f64,
    /// How skewed the choice of paths is: the path of rank N is asked for as often as 1 ÷ N to this power says. 0: all alike.
    #[arg(long, default_value_t = 0.0, value_parser = not_negative)]
    zipf: f64,
    /// What the choices come from; the same seed asks for the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Each connection is another client: it sends an `X-Forwarded-For` of its own.
    #[arg(long)]
    own_address: bool,
    /// The share of requests, from 0 to 1, that send the last `ETag` seen of the path along.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    conditional: f64,
    /// How long an answer may take, and how long those still owed at the end are waited for.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() && number >= 0.0 { Ok(number) } else { Err("less than 0".to_owned()) }
}

fn positive(text: &str) -> Result<f64, String> {
    not_negative(text).and_then(|number| if number > 0.0 { Ok(number) } else { Err("not more than 0".to_owned()) })
}

fn share(text: &str) -> Result<f64, String> {
    not_negative(text).and_then(|number| if number <= 1.0 { Ok(number) } else { Err("more than 1".to_owned()) })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let report: Report = timetable::run(&options).await?;
    match options.json {
        true => println!("{}", report.json()),
        false => print!("{}", report.text()),
    }
    Ok(())
}
