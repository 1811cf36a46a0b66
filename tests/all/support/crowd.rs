//! Crowds of readers, each with an address of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::http::{self, Response};

/// Waits until no other test of this user has a crowd: two at a time would measure each other. Over when it is dropped.
pub fn alone() -> File {
    let name = format!("tintype-test-crowd-{}.lock", rustix::process::geteuid().as_raw());
    let file = File::create(std::env::temp_dir().join(name)).expect("make the lock's file");
    file.lock().expect("lock it");
    file
}

/// Asks as this reader, behind a proxy on this machine.
pub fn ask(address: SocketAddr, path: &str, reader: usize) -> Response {
    let forwarded = format!("10.{}.{}.{}", reader >> 16 & 255, reader >> 8 & 255, reader & 255);
    http::get(address, path, &[("X-Forwarded-For", &forwarded)])
}

/// The longest time by which a sleeper was woken too late until it was told to stop: what a busy machine adds to any wait.
pub fn lateness(stop: &AtomicBool) -> Duration {
    let nap = Duration::from_millis(10);
    let mut most = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        std::thread::sleep(nap);
        most = most.max(began.elapsed().saturating_sub(nap));
    }
    most
}
