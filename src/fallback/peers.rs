//! Peers: how many connections one address may hold, so that nobody alone can take all of them.
//!
//! A quarter each of what the others leave, and never fewer than a few: a page opens half a dozen. So nobody
//! takes them all, nor do two or three, and each has less the more there are who do. (Switches share their buffers among queues in
//! the same way: Choudhury and Hahne, "Dynamic Queue Length Thresholds", 1998.) Proxies that are trusted stand for all their
//! readers, so they may take what there is. In the same way a client has half of the documents that may be on their way from
//! a database at a time, after those of others, and waits outside the database's queue for one of his to land.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use tokio::sync::Notify;

use super::client::Client;

/// The part of the connections that one peer may hold.
const PART: usize = 4;
/// What it may hold at least.
const FEW: usize = 8;
/// The part of the documents on their way that one client may have.
const PART_AT_WORK: usize = 2;

/// Who holds how many connections.
#[derive(Debug, Default)]
pub struct Peers {
    /// How many there are for all together.
    room: usize,
    /// The part of it that one may hold, after what the others do.
    part: usize,
    /// What one may hold in any case.
    few: usize,
    exempt: Vec<IpNet>,
    held: Mutex<Held>,
    refused: AtomicU64,
}

/// Who holds how many, and how many that are together.
#[derive(Debug, Default)]
struct Held {
    by_client: HashMap<Client, Own>,
    all: usize,
}

/// What one client holds.
#[derive(Debug, Default)]
struct Own {
    count: usize,
    /// Tells of each that goes.
    left: Arc<Notify>,
}

/// A connection of a peer, for as long as this lives.
#[derive(Debug)]
pub struct Seat {
    peers: Arc<Peers>,
    /// Whose it is; nobody's if it is a proxy's, which are only counted together.
    client: Option<Client>,
}

impl Peers {
    /// Nobody yet, of so many connections in all. Whoever is in `exempt` may hold any number.
    pub fn of(connections: usize, exempt: &[IpNet]) -> Arc<Peers> {
        Arc::new(Peers { room: connections, part: PART, few: FEW, exempt: exempt.to_vec(), ..Peers::default() })
    }

    /// Nobody yet, of so many documents on their way in all.
    pub fn at_work(places: usize) -> Arc<Peers> {
        Arc::new(Peers { room: places, part: PART_AT_WORK, few: 1, ..Peers::default() })
    }

    /// Nobody yet, each of whom may hold so many.
    pub fn up_to(share: usize) -> Arc<Peers> {
        Arc::new(Peers { part: 1, few: share, ..Peers::default() })
    }

    /// Nobody's share is bounded.
    pub fn any() -> Arc<Peers> {
        Peers::up_to(usize::MAX)
    }

    /// Lets a peer have one more connection; none if it has its share.
    pub fn seat(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        let peer = peer.to_canonical();
        if self.exempt.iter().any(|net| net.contains(&peer)) {
            self.held().all += 1;
            return Some(Seat { peers: Arc::clone(self), client: None });
        }
        self.seat_of(Client::from(peer))
    }

    /// Lets a client have one more; none if it has its share.
    pub fn seat_of(self: &Arc<Self>, client: Client) -> Option<Seat> {
        let mut held = self.held();
        let own = held.by_client.get(&client).map_or(0, |own| own.count);
        let share = self.room.saturating_sub(held.all - own) / self.part;
        if own >= share.max(self.few) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        held.by_client.entry(client).or_default().count += 1;
        held.all += 1;
        Some(Seat { peers: Arc::clone(self), client: Some(client) })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What tells of each that a client leaves; none while it holds none.
    pub fn left(&self, client: Client) -> Option<Arc<Notify>> {
        self.held().by_client.get(&client).map(|own| Arc::clone(&own.left))
    }

    /// Connections that were refused so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Seat {
    /// Whether it is one of those who may hold any number.
    pub fn is_exempt(&self) -> bool {
        self.client.is_none()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut held = self.peers.held();
        held.all -= 1;
        let Some(client) = self.client else { return };
        let Some(own) = held.by_client.get_mut(&client) else { return };
        own.count -= 1;
        let left = Arc::clone(&own.left);
        if own.count == 0 {
            held.by_client.remove(&client);
        }
        drop(held);
        left.notify_waiters();
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
        let second = seats(&peers, "192.0.2.2", 100);
        assert_eq!(second.len(), 12, "of what the first has left");
        drop(second);
        let proxys = seats(&peers, "10.1.2.3", 40);
        assert_eq!((proxys.len(), seats(&peers, "192.0.2.2", 100).len()), (40, 8), "nor of what a proxy has");
        assert_eq!(seats(&peers, "10.1.2.3", 100).len(), 100);
        drop(proxys);
        let network = [seats(&peers, "2001:db8::1", 10), seats(&peers, "2001:db8::2", 10)];
        assert_eq!(network.map(|seats| seats.len()), [10, 2], "a network of IPv6 is one customer's");
        drop(first);
        assert_eq!(seats(&peers, "192.0.2.1", 3).len(), 3);
        let held = peers.held.lock().unwrap();
        assert!(held.by_client.is_empty() && held.all == 0, "who has left is forgotten");
        assert_eq!(seats(&Peers::of(1, &[]), "192.0.2.1", 100).len(), 8);
        assert_eq!(seats(&Peers::any(), "192.0.2.1", 10_000).len(), 10_000);
    }

    #[test]
    fn some_stay_free_as_those_who_take_their_share_come_and_go() {
        for (peers, crowd, free) in [(Peers::of(4096, &[]), 8, 900), (Peers::at_work(20), 6, 2)] {
            let addresses: Vec<String> = (0..crowd).map(|number| format!("192.0.2.{number}")).collect();
            let mut held: Vec<Vec<Seat>> = addresses.iter().map(|address| seats(&peers, address, 4096)).collect();
            // Again and again each of them gives some back and takes what it gets.
            for _ in 0..20 {
                for (address, mine) in addresses.iter().zip(&mut held) {
                    mine.truncate(mine.len() / 2);
                    mine.extend(seats(&peers, address, 4096));
                }
            }
            let now = peers.held.lock().unwrap();
            assert!(peers.room - now.all >= free, "{} of {}", now.all, peers.room);
            let counts = || now.by_client.values().map(|own| own.count);
            let (most, least) = (counts().max().unwrap_or(0), counts().min().unwrap_or(0));
            assert!(least > 0 && most <= least * 2, "{now:?}");
            drop(now);
            assert!(peers.seat("198.51.100.1".parse().unwrap()).is_some(), "somebody else");
        }
    }
}
