//! Loads: the bytes of large documents that one address has on their way, so that nobody alone can take all the room that
//! there is for what is being sent.
//!
//! A quarter each, as of the connections, and one document in any case. Proxies that are trusted stand for all their readers,
//! so they may take what there is. What the system takes at once isn't counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ipnet::IpNet;

use super::client::Client;
use super::listen::TAKEN_AT_ONCE;

/// The part of all bytes that one peer may have on their way.
const PART: u64 = 4;

/// Who has how many bytes on their way.
#[derive(Debug)]
pub struct Loads {
    share: u64,
    exempt: Vec<IpNet>,
    carried: Mutex<HashMap<Client, u64>>,
}

/// A body on its way to somebody.
struct Load {
    body: Bytes,
    client: Client,
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
        if let Some(bytes) = carried.get_mut(&self.client) {
            *bytes -= self.body.len() as u64;
            if *bytes == 0 {
                carried.remove(&self.client);
            }
        }
    }
}

impl Loads {
    /// Nobody's yet, of so many bytes in all. Whoever is in `exempt` may have any number.
    pub fn of(bytes: u64, exempt: &[IpNet]) -> Arc<Loads> {
        Arc::new(Loads { share: bytes / PART, exempt: exempt.to_vec(), carried: Mutex::default() })
    }

    /// Says whether anybody has anything on the way.
    pub fn are_any(&self) -> bool {
        !self.carried().is_empty()
    }

    /// Says whether a peer may be sent so many bytes.
    pub fn has_room(&self, peer: IpAddr, bytes: u64) -> bool {
        match self.counts(peer, bytes) {
            Some(client) => self.has_room_beside(self.carried().get(&client).copied(), bytes),
            None => true,
        }
    }

    /// Whose so many bytes are, if they count.
    fn counts(&self, peer: IpAddr, bytes: u64) -> Option<Client> {
        let peer = peer.to_canonical();
        let is_free = bytes <= u64::from(TAKEN_AT_ONCE) || self.exempt.iter().any(|net| net.contains(&peer));
        (!is_free).then(|| Client::from(peer))
    }

    fn has_room_beside(&self, carried: Option<u64>, bytes: u64) -> bool {
        carried.is_none_or(|carried| carried + bytes <= self.share)
    }

    /// The body as it is sent to a peer; none if it has its share on its way.
    pub fn carry(self: &Arc<Self>, peer: IpAddr, body: &Bytes) -> Option<Bytes> {
        let bytes = body.len() as u64;
        let Some(client) = self.counts(peer, bytes) else { return Some(body.clone()) };
        let mut carried = self.carried();
        let before = carried.get(&client).copied();
        if !self.has_room_beside(before, bytes) {
            return None;
        }
        carried.insert(client, before.unwrap_or(0) + bytes);
        drop(carried);
        Some(Bytes::from_owner(Load { body: body.clone(), client, loads: Arc::clone(self) }))
    }

    fn carried(&self) -> MutexGuard<'_, HashMap<Client, u64>> {
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
        assert_eq!((0..5).filter_map(|_| loads.carry(proxy, &large)).count(), 5);
        let part = held[0].slice(..10);
        held.remove(0);
        assert!(loads.carry(one, &large).is_none(), "a part of it is still on its way");
        drop(part);
        held.extend(loads.carry(one, &large));
        assert_eq!(held.len(), 2);
        drop(held);
        assert!(loads.carried().is_empty(), "who has all of it is forgotten");
    }
}
