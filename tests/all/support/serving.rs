//! A running `tintype serve`, asked over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;

use super::http::{self, Response};
use super::process::{Finished, Running, Tintype};
use super::project::Project;
use super::wait::wait_until;

/// The server of a project.
pub struct Serving {
    running: Running,
    /// Where documents are.
    pub address: SocketAddr,
    /// Where figures are.
    pub admin: SocketAddr,
}

impl Serving {
    /// Serves a project, on free ports, behind no proxy that it would have to believe.
    pub fn start(project: &Project) -> Self {
        Self::of(project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1"))
    }

    /// The same for a command line that ends in `serve`.
    pub fn of(command: Tintype) -> Self {
        let command = command.args(&["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        let mut running = command.timeout(Duration::from_mins(10)).start();
        let mut at = |words: &str| {
            running.wait_for("the address it serves", |running| {
                let said = running.stderr();
                let line = said.split_inclusive('\n').find(|line| line.starts_with(words) && line.ends_with('\n'))?;
                line.rsplit_once("http://")?.1.split_once('/')?.0.parse().ok()
            })
        };
        let (address, admin) = (at("Serving "), at("Figures on "));
        Self { running, address, admin }
    }

    /// The same once it has looked at the store for the first time, however that went.
    pub fn looked(self) -> Self {
        wait_until("the first look at the store", Duration::from_mins(1), || {
            http::get(self.admin, "/metrics", &[]).text().contains("\ntintype_store_up ")
        });
        self
    }

    /// `GET` with gzip, as browsers ask.
    pub fn get(&self, path: &str) -> Response {
        self.get_with(path, &[])
    }

    /// `GET` with gzip and further headers.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let headers: Vec<(&str, &str)> = [("Accept-Encoding", "gzip")].iter().chain(headers).copied().collect();
        http::get(self.address, path, &headers)
    }

    /// The sample of a metric, labels included in the name as they are written.
    pub fn metric(&self, name: &str) -> u64 {
        let text = http::get(self.admin, "/metrics", &[]).text().to_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name} in:\n{text}")).parse().expect("a whole number")
    }

    /// The sum of a metric over its labels.
    pub fn metrics(&self, name: &str) -> u64 {
        let text = http::get(self.admin, "/metrics", &[]).text().to_owned();
        let samples = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once("} "));
        samples.map(|(_, value)| value.parse::<u64>().expect("a whole number")).sum()
    }

    /// The memory that it holds right now.
    pub fn memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.id())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        line.and_then(|kib| kib.trim().parse::<u64>().ok()).expect("a number") * 1024
    }

    /// Files, sockets among them, that it has open right now.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.running.id())).expect("a running process").count()
    }

    /// Threads that it has right now.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.running.id())).expect("a running process").count()
    }

    /// Leases that all pools have given out: no statement reaches a database without one.
    pub fn leases(&self) -> u64 {
        let text = http::get(self.admin, "/metrics", &[]).text().to_owned();
        let samples = text.lines().filter_map(|line| line.strip_prefix("db_pool_acquires_total{")?.split_once("} "));
        samples.map(|(_, count)| count.parse::<u64>().expect("a whole number")).sum()
    }

    /// Asks it to end, and lets it.
    pub fn ask_to_end(&self) {
        self.running.signal(Signal::TERM);
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.running.signal(Signal::INT);
    }

    /// Stops it where it is, as on a machine that has no moment for it, until it is thawed.
    pub fn freeze(&self) {
        self.running.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.running.signal(Signal::CONT);
    }

    /// Ends it at once, as the system does when it runs out of memory.
    pub fn kill(self) {
        self.running.signal(Signal::KILL);
        let _ = self.finish();
    }

    /// Ends it in order, and returns how it went.
    pub fn end(self) -> Finished {
        self.ask_to_end();
        self.finish()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// How it went, once it was asked to end.
    pub fn finish(self) -> Finished {
        self.running.finish()
    }
}
