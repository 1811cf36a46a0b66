//! Loads: the bytes of large documents that one address has on their way, so that nobody alone can take all the room that
//! there is for what is being sent.
//!
//! A quarter each of what the others leave, as of the connections, and one document in any case. Proxies that are trusted
//! stand for all their readers, so they may take what there is. What the system takes at once isn't counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ipnet::IpNet;

use super::client::Client;
use super::listen::TAKEN_AT_ONCE;

/// The part of all bytes that one peer may have on their way.
const PART: u64 = 4;
/// What isn't counted.
const FREE: u64 = TAKEN_AT_ONCE as u64;

/// Who has how many bytes on their way.
#[derive(Debug)]
pub struct Loads {
    /// What there is for all together.
    room: u64,
    exempt: Vec<IpNet>,
    carried: Mutex<Carried>,
}

/// Who has how many bytes on the way, and how many that are together.
#[derive(Debug, Default)]
struct Carried {
    by_client: HashMap<Client, u64>,
    all: u64,
}

/// A body on its way to somebody.
struct Load {
    body: Bytes,
    /// Whose it is; nobody's if a proxy asked for it.
    client: Option<Client>,
    loads: Arc<Loads>,
}

impl AsRef<[u8]> for Load {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let mut carried = self.loads.carried();
        let bytes = self.body.len() as u64;
        carried.all -= bytes;
        if let Some(client) = self.client
            && let Some(own) = carried.by_client.get_mut(&client)
        {
            *own -= bytes;
            if *own == 0 {
                carried.by_client.remove(&client);
            }
        }
    }
}

impl Loads {
    /// Nobody's yet, of so many bytes in all. Whoever is in `exempt` may have any number.
    pub fn of(bytes: u64, exempt: &[IpNet]) -> Arc<Loads> {
        Arc::new(Loads { room: bytes, exempt: exempt.to_vec(), carried: Mutex::default() })
    }

    /// Says whether anybody has anything on the way.
    pub fn are_any(&self) -> bool {
        self.carried().all > 0
    }

    /// Says whether a peer may be sent so many bytes.
    pub fn has_room(&self, peer: IpAddr, bytes: u64) -> bool {
        match self.client(peer) {
            Some(client) => bytes <= FREE || self.has_room_beside(&self.carried(), client, bytes),
            None => true,
        }
    }

    /// Who has a share of his own; none for a proxy.
    fn client(&self, peer: IpAddr) -> Option<Client> {
        let peer = peer.to_canonical();
        (!self.exempt.iter().any(|net| net.contains(&peer))).then(|| Client::from(peer))
    }

    fn has_room_beside(&self, carried: &Carried, client: Client, bytes: u64) -> bool {
        carried.by_client.get(&client).is_none_or(|own| {
            let share = self.room.saturating_sub(carried.all - own) / PART;
            own + bytes <= share
        })
    }

    /// The body as it is sent to a peer; none if it has its share on its way.
    pub fn carry(self: &Arc<Self>, peer: IpAddr, body: &Bytes) -> Option<Bytes> {
        let bytes = body.len() as u64;
        if bytes <= FREE {
            return Some(body.clone());
        }
        let client = self.client(peer);
        let mut carried = self.carried();
        if let Some(client) = client {
            if !self.has_room_beside(&carried, client, bytes) {
                return None;
            }
            *carried.by_client.entry(client).or_default() += bytes;
        }
        carried.all += bytes;
        drop(carried);
        Some(Bytes::from_owner(Load { body: body.clone(), client, loads: Arc::clone(self) }))
    }

    fn carried(&self) -> MutexGuard<'_, Carried> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_quarter_and_one_document_in_any_case() {
        let loads = Loads::of(64 << 20, &["10.0.0.0/8".parse().unwrap()]);
        let [one, other, proxy]: [IpAddr; 3] = ["192.0.2.1", "2001:db8::1", "10.1.2.3"].map(|at| at.parse().unwrap());
        let large = Bytes::from(vec![0; 7 << 20]);
        let mut held: Vec<Bytes> = (0..5).filter_map(|_| loads.carry(one, &large)).collect();
        assert_eq!(held.len(), 2);
        assert!(loads.carry(one, &Bytes::from(vec![0; 1000])).is_some(), "a small one");
        assert!(loads.carry(other, &Bytes::from(vec![0; 17 << 20])).is_some(), "the first");
        let proxys: Vec<Bytes> = (0..5).filter_map(|_| loads.carry(proxy, &large)).collect();
        assert_eq!(proxys.len(), 5);
        assert!(!loads.has_room(one, 1 << 20) && loads.has_room(proxy, 64 << 20), "of what is left");
        drop(proxys);
        let part = held[0].slice(..10);
        held.remove(0);
        assert!(loads.carry(one, &large).is_none(), "a part of it is still on its way");
        drop(part);
        held.extend(loads.carry(one, &large));
        assert_eq!(held.len(), 2);
        drop(held);
        assert!(loads.carried().by_client.is_empty() && !loads.are_any(), "who has all of it is forgotten");
    }
}
