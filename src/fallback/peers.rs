//! Peers: how many connections one address may hold, so that nobody alone can take all of them.
//!
//! A quarter each, and never fewer than a few: a page opens half a dozen. Proxies that are trusted stand for all their
//! readers, so they may take what there is. In the same way no client has more documents on their way from a database at a
//! time than half of those that are read or wait to be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::client::Client;

/// The part of all connections that one peer may hold.
const PART: usize = 4;
/// What it may hold at least.
const FEW: usize = 8;

/// Who holds how many connections.
#[derive(Debug, Default)]
pub struct Peers {
    share: usize,
    exempt: Vec<IpNet>,
    held: Mutex<HashMap<Client, usize>>,
    refused: AtomicU64,
    freed: Notify,
}

/// A connection of a peer, for as long as this lives.
#[derive(Debug)]
pub struct Seat(Option<(Arc<Peers>, Client)>);

impl Peers {
    /// Nobody yet, of so many connections in all. Whoever is in `exempt` may hold any number.
    pub fn of(connections: usize, exempt: &[IpNet]) -> Arc<Peers> {
        let share = (connections / PART).max(FEW);
        Arc::new(Peers { share, exempt: exempt.to_vec(), ..Peers::default() })
    }

    /// Nobody yet, each of whom may hold so many.
    pub fn sharing(share: usize) -> Arc<Peers> {
        Arc::new(Peers { share: share.max(1), ..Peers::default() })
    }

    /// Nobody's share is bounded.
    pub fn any() -> Arc<Peers> {
        Arc::new(Peers { share: usize::MAX, ..Peers::default() })
    }

    /// Lets a peer have one more connection; none if it has its share.
    pub fn seat(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        let peer = peer.to_canonical();
        if self.exempt.iter().any(|net| net.contains(&peer)) {
            return Some(Seat(None));
        }
        self.seat_of(Client::from(peer))
    }

    /// Lets a client have one more; none if it has its share.
    pub fn seat_of(self: &Arc<Self>, client: Client) -> Option<Seat> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(client).or_default();
        if *count >= self.share {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        Some(Seat(Some((Arc::clone(self), client))))
    }

    /// Comes back when anybody who left after this was called has left.
    pub fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Connections that were refused so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Seat {
    /// Whether it is one of those whom nobody counts.
    pub fn is_exempt(&self) -> bool {
        self.0.is_none()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some((peers, client)) = self.0.take() else { return };
        let mut held = peers.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                held.remove(&client);
            }
        }
        drop(held);
        peers.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(peers: &Arc<Peers>, address: &str, tries: usize) -> Vec<Seat> {
        let address: IpAddr = address.parse().unwrap();
        (0..tries).filter_map(|_| peers.seat(address)).collect()
    }

    #[test]
    fn each_has_a_quarter_and_a_proxy_everything() {
        let peers = Peers::of(64, &["10.0.0.0/8".parse().unwrap()]);
        let first = seats(&peers, "192.0.2.1", 100);
        assert_eq!((first.len(), peers.refused()), (16, 84));
        assert_eq!(seats(&peers, "::ffff:192.0.2.1", 1).len(), 0, "the same address");
        assert_eq!(seats(&peers, "192.0.2.2", 100).len(), 16);
        assert_eq!(seats(&peers, "10.1.2.3", 100).len(), 100);
        let network = [seats(&peers, "2001:db8::1", 10), seats(&peers, "2001:db8::2", 10)];
        assert_eq!(network.map(|seats| seats.len()), [10, 6], "a network of IPv6 is one customer's");
        drop(first);
        assert_eq!(seats(&peers, "192.0.2.1", 3).len(), 3);
        assert!(peers.held.lock().unwrap().is_empty(), "who has left is forgotten");
        assert_eq!(seats(&Peers::of(1, &[]), "192.0.2.1", 100).len(), 8);
    }
}
