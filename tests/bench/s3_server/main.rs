//! A stand-alone S3 server for benchmarks: s3s over HTTP on the loopback address, counting what it is asked.
//!
//!     s3-server (--memory | --root DIR) --bucket NAME [--port 0] [--delay 20ms]
//!
//! Prints its endpoint on the first line of stdout and lives until stdin ends, so that it cannot outlive a benchmark
//! that is killed. `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` are what clients have to sign with: every client pays
//! for its signatures, and the server checks them all alike. `GET /-/requests` tells the counts, `POST /-/reset` clears
//! them.
//!
//! `--memory` keeps objects in a map, for 0.08 ms of CPU a PUT of 2 KB. `--root` keeps them in files by s3s-fs, for
//! 0.43 ms on tmpfs, more than s5cmd itself takes (0.36 ms): with that, a benchmark of clients on the server's own
//! machine mostly measures the server.
#![expect(clippy::print_stdout, reason = "the endpoint is for the one who started the server")]

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, HttpResponse};
use tokio::net::{TcpListener, TcpStream};

use memory::Memory;
use requests::Requests;

mod memory;
mod requests;

#[derive(Parser)]
struct Options {
    /// Keep objects in memory.
    #[arg(long, required_unless_present = "root")]
    memory: bool,
    /// Keep objects in files below this folder.
    #[arg(long, conflicts_with = "memory")]
    root: Option<PathBuf>,
    /// The bucket to create.
    #[arg(long)]
    bucket: String,
    /// The port; 0 for any that is free.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How long every request waits before it is looked at, as if the store were far away.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    delay: Duration,
    #[arg(long, env = "AWS_ACCESS_KEY_ID")]
    access_key: String,
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_key: String,
}

struct Server {
    s3: S3Service,
    requests: Requests,
    delay: Duration,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let mut builder = match &options.root {
        Some(root) => {
            std::fs::create_dir_all(root.join(&options.bucket))?;
            let files = s3s_fs::FileSystem::new(root).map_err(|error| format!("{error:?}"))?;
            S3ServiceBuilder::new(files)
        }
        None => S3ServiceBuilder::new(Memory::new(&options.bucket)),
    };
    builder.set_auth(SimpleAuth::from_single(options.access_key, options.secret_key));
    let server = Arc::new(Server { s3: builder.build(), requests: Requests::default(), delay: options.delay });

    let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
    println!("http://{}", listener.local_addr()?);
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(connection(Arc::clone(&server), stream));
    }
}

async fn connection(server: Arc<Server>, stream: TcpStream) {
    let service = service_fn(|request| server.answer(request));
    // A client that closes its connection is no error of the server's.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Result<HttpResponse, HttpError> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/-/requests") => return Ok(plain(self.requests.report().to_string())),
            (&Method::POST, "/-/reset") => {
                self.requests.reset();
                return Ok(plain(String::new()));
            }
            _ => {}
        }
        let kind = requests::kind(&request);
        let arrived = self.requests.arrived();
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let answer = self.s3.call(request.map(Body::from)).await;
        let status = answer.as_ref().map_or(StatusCode::INTERNAL_SERVER_ERROR, Response::status);
        self.requests.answered(kind, arrived, status);
        answer
    }
}

fn plain(text: String) -> HttpResponse {
    Response::new(Body::from(Bytes::from(text)))
}
