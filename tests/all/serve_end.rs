//! The end of `tintype serve`: whoever is still sent to it is answered, and told to go elsewhere.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::http;
use crate::support::places;
use crate::support::project::Project;
use crate::support::raw::Raw;
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

const PATH: &str = "/places/united-states/crispr/low.json";

fn lingering(project: &Project, time: &str) -> Serving {
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
    Serving::of(command.env("TINTYPE_FALLBACK_LINGER", time))
}

fn published() -> Project {
    let project = places::sqlite();
    project.publish();
    project
}

fn is_ready(address: std::net::SocketAddr) -> bool {
    http::get(address, "/health/ready", &[]).status == 200
}

#[test]
fn who_has_not_heard_of_the_end_is_answered_and_told() {
    let project = published();
    let server = lingering(&project, "5s");
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut kept = [Raw::open(server.address), Raw::open(server.address)];
    for raw in &mut kept {
        raw.say(request.as_bytes());
        let answer = raw.answer();
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("connection: close"), "{answer}");
    }
    let [mut kept, silent] = kept;
    assert!(is_ready(server.address) && is_ready(server.admin));
    let asked = Instant::now();
    server.ask_to_end();
    // Unready at once, on both ports, and there for everybody.
    wait_until("the word that it ends", Duration::from_secs(1), || !is_ready(server.admin));
    assert!(!is_ready(server.address));
    assert_eq!(http::get(server.address, "/health/live", &[]).status, 200);
    kept.say(request.as_bytes());
    let answer = kept.answer();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(kept.statuses(), [0; 0], "it was the last one of its connection");
    let new = http::get(server.address, PATH, &[]);
    assert_eq!((new.status, new.header("connection")), (200, "close"));
    assert!(asked.elapsed() < Duration::from_secs(5), "too slow a machine to tell");
    wait_until("the door to be shut", Duration::from_secs(10), || TcpStream::connect(server.address).is_err());
    assert!(asked.elapsed() >= Duration::from_secs(5), "shut after {:?}", asked.elapsed());
    // Who has said nothing more is let go of.
    assert_eq!(silent.statuses(), [0; 0]);
    server.finish().expect(0);
}

#[test]
fn a_second_signal_and_ctrl_c_end_it_at_once() {
    let project = published();
    for (what, signals) in [("twice", 2), ("Ctrl-C", 0), ("Ctrl-C after one", 1)] {
        let server = lingering(&project, "5m");
        let asked = Instant::now();
        for _ in 0..signals {
            server.ask_to_end();
            wait_until("the word that it ends", Duration::from_secs(5), || !is_ready(server.admin));
            assert_eq!(http::get(server.address, PATH, &[]).status, 200, "{what}");
            if signals == 2 {
                server.ask_to_end();
                break;
            }
        }
        if signals < 2 {
            server.interrupt();
        }
        server.finish().expect(0);
        assert!(asked.elapsed() < Duration::from_secs(15), "{what}: {:?}", asked.elapsed());
    }
}

#[test]
fn on_this_machines_own_address_it_does_not_wait() {
    let project = published();
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
    let server = Serving::of(command);
    assert_eq!(server.get(PATH).status, 200);
    let asked = Instant::now();
    server.end().expect(0);
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}
