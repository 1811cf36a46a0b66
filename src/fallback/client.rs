//! Who asks: the address by which clients are told apart, behind proxies that may be believed.
//!
//! Every proxy appends the address that it was asked from to `X-Forwarded-For`, so the list is true from its right end
//! up to the first hop that isn't one of ours. What stands further left is what somebody claims, and is never looked at.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use ipnet::IpNet;

use super::rest::Rest;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A client for the limits: an IPv4 address, or the first half of an IPv6 one, which is one customer's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client(IpAddr);

impl Client {
    /// The client of a request from this peer.
    pub fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
        let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
        let mut client = peer.to_canonical();
        if trusted.is_empty() || !is_trusted(&client) {
            return Client::from(client);
        }
        let lines: Vec<&[u8]> = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
        // Hop by hop: what somebody has written further left makes no hop of ours unreadable.
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
            // A proxy of ours that wrote something else is the last hop that is known.
            let Some(hop) = std::str::from_utf8(hop).ok().and_then(|hop| address(hop.trim())) else { break };
            client = hop.to_canonical();
            if !is_trusted(&client) {
                break;
            }
        }
        Client::from(client)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// How often the log is told of a proxy that nobody has named.
const TOLD: Duration = Duration::from_hours(1);

/// A proxy that nobody has named: it says for whom it asks, and isn't believed.
#[derive(Debug)]
pub struct Unnamed {
    trusted: Vec<IpNet>,
    has_none: bool,
    told: Rest,
}

impl Unnamed {
    /// Looks for one beside those that are `trusted`; not where the operator has said that there is none.
    pub fn beside(trusted: &[IpNet], has_none: bool) -> Unnamed {
        Unnamed { trusted: trusted.to_vec(), has_none, told: Rest::default() }
    }

    /// Tells the log of a request that comes through one from this machine or its network, once in an hour. Whoever else
    /// sends the header is taken for a reader who made it up.
    pub fn look_at(&self, peer: IpAddr, headers: &HeaderMap) {
        if self.has_none || self.told.is_on() || !headers.contains_key(FORWARDED_FOR) {
            return;
        }
        let peer = peer.to_canonical();
        let is_named = self.trusted.iter().any(|net| net.contains(&peer));
        if is_named || !is_near(peer) || !self.told.once_in(TOLD) {
            return;
        }
        let hint = match self.trusted.is_empty() {
            true => {
                "name it in [fallback] trusted_proxies if it is a proxy of yours; where readers come directly, write \
                 trusted_proxies = []"
            }
            false => {
                "name it in [fallback] trusted_proxies too, if it is a proxy of yours; otherwise somebody has made the \
                 header up"
            }
        };
        tracing::warn!(
            %peer,
            hint,
            "requests from this address say in X-Forwarded-For for whom they are, and it isn't among trusted_proxies: all \
             readers behind it count as one client"
        );
    }
}

/// Says whether an address is of this machine or of a private network.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Client {
        Client(match address {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// An address as proxies write it: alone, with a port, or in brackets.
fn address(hop: &str) -> Option<IpAddr> {
    let bracketed = hop.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(inner, _)| inner);
    let without_port = || hop.rsplit_once(':').map(|(host, _)| host).filter(|host| !host.contains(':'));
    bracketed.unwrap_or(hop).parse().ok().or_else(|| without_port()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        Client::of(peer.parse().unwrap(), &headers, &trusted).0.to_string()
    }

    #[test]
    fn only_hops_of_ours_are_believed() {
        let ours = &["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"][..];
        for (peer, lines, expected) in [
            // Nobody in front, or somebody who isn't ours: what the header says is forged.
            ("198.51.100.9", &["1.1.1.1"][..], "198.51.100.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.5, 192.0.2.7"], "203.0.113.5"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.5,192.0.2.7"], "203.0.113.5"),
            ("10.0.0.1", &["10.9.9.9, 10.0.0.2"], "10.9.9.9"),
            ("10.0.0.1", &["203.0.113.5, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.5, "], "10.0.0.1"),
            ("10.0.0.1", &["é, 203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1", &["é", "203.0.113.5, 10.0.0.2"], "203.0.113.5"),
            ("10.0.0.1", &["203.0.113.5, é"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.5:4711"], "203.0.113.5"),
            ("::ffff:10.0.0.1", &["[2001:db8:1:2:3::4]:443"], "2001:db8:1:2::"),
            ("fd00::1", &["2001:db8:1:2:ffff::4"], "2001:db8:1:2::"),
            ("fd00::1", &["::ffff:203.0.113.5"], "203.0.113.5"),
        ] {
            assert_eq!(client(peer, lines, ours), expected, "{peer} {lines:?}");
        }
        assert_eq!(client("10.0.0.1", &["1.1.1.1"], &[]), "10.0.0.1", "without a list nobody is believed");
    }
}
