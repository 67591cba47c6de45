//! Who the client is when proxies stand between us. Never believes a hop that no trusted peer vouches for.

use std::net::{IpAddr, SocketAddr};

use http::HeaderName;
use ipnet::IpNet;

use super::admit::X_FORWARDED_PROTO;
use super::forwarded;
use super::head::Fields;

/// `X-Forwarded-For`.
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether an address belongs to a trusted network. IPv4 clients of a dual-stack listener arrive as
/// `::ffff:a.b.c.d`; they are compared as IPv4.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|net| net.contains(&address))
}

/// The client behind a trusted peer: the nearest hop that is not a trusted proxy. Every hop is
/// vouched for by the one to its right, the rightmost by the TCP peer; so the walk goes from the
/// right and ends at the first hop nobody trusted wrote, or at the first entry that is not an
/// address.
pub(crate) fn client_behind(peer: IpAddr, fields: &impl Fields, trusted: &[IpNet]) -> IpAddr {
    let mut nearest = peer.to_canonical();
    for entry in entries_from_right(fields, &X_FORWARDED_FOR) {
        match parse_hop(entry) {
            Some(hop) if is_trusted(hop, trusted) => nearest = hop,
            Some(hop) => return hop,
            None => return nearest,
        }
    }
    nearest
}

/// Who may speak for others, and in which fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trust<'a> {
    pub(crate) proxies: &'a [IpNet],
    pub(crate) is_rfc7239_believed: bool,
}

impl Trust<'_> {
    /// The client behind a trusted peer, in whichever fields such are believed.
    pub(super) fn client_behind(&self, peer: IpAddr, fields: &impl Fields) -> IpAddr {
        if !self.is_rfc7239_believed {
            return client_behind(peer, fields, self.proxies);
        }
        let hops = forwarded::hops(fields);
        let is_ours = |hop: &&forwarded::Hop| is_trusted(hop.address, self.proxies);
        match hops.iter().find(|hop| !is_ours(hop)) {
            Some(client) => client.address,
            None => hops.last().map_or(peer.to_canonical(), |hop| hop.address),
        }
    }

    /// The scheme that the client of a trusted peer uses, if the peer says so.
    pub(super) fn scheme_behind(&self, fields: &impl Fields) -> Option<&'static str> {
        if self.is_rfc7239_believed {
            return self.believed(fields).last()?.proto;
        }
        let scheme = fields.first(&X_FORWARDED_PROTO)?;
        match scheme {
            _ if scheme.eq_ignore_ascii_case(b"https") => Some("https"),
            _ if scheme.eq_ignore_ascii_case(b"http") => Some("http"),
            _ => None,
        }
    }

    /// Hops up to the client, nearest first.
    pub(super) fn believed(&self, fields: &impl Fields) -> Vec<forwarded::Hop> {
        let mut hops = if self.is_rfc7239_believed {
            forwarded::hops(fields)
        } else {
            let name = X_FORWARDED_FOR;
            let entries = entries_from_right(fields, &name).map_while(parse_hop);
            let hop = |address| forwarded::Hop {
                address,
                proto: None,
                host: None,
            };
            entries.take(forwarded::HOPS_MAX).map(hop).collect()
        };
        let client = hops
            .iter()
            .position(|hop| !is_trusted(hop.address, self.proxies));
        hops.truncate(client.map_or(hops.len(), |at| at + 1));
        hops
    }
}

/// The `X-Forwarded-For` to send on: the believable part of the list and the peer.
pub(crate) fn extended_chain(peer: &str, fields: &impl Fields) -> Vec<u8> {
    let mut hops: Vec<&[u8]> = entries_from_right(fields, &X_FORWARDED_FOR)
        .take_while(|entry| parse_hop(entry).is_some())
        .collect();
    hops.reverse();
    let mut chain = Vec::with_capacity(hops.iter().map(|hop| hop.len() + 2).sum::<usize>() + 40);
    for hop in hops {
        chain.extend_from_slice(hop);
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(peer.as_bytes());
    chain
}

/// List entries of all fields of that name, nearest first. Empty elements do not count (RFC 9110,
/// 5.6.1.2).
fn entries_from_right<'a>(
    fields: &'a impl Fields,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    fields
        .all(name)
        .rev()
        .flat_map(|value| value.rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}

/// `address`, `address:port`, `[v6]` or `[v6]:port`; proxies write all four.
fn parse_hop(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner
        .parse::<std::net::Ipv6Addr>()
        .ok()
        .map(|address| IpAddr::V6(address).to_canonical())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1/32"]
            .map(|net| net.parse().unwrap())
            .to_vec()
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                X_FORWARDED_FOR,
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        headers
    }

    fn client(peer: &str, values: &[&str]) -> String {
        let peer: IpAddr = peer.parse().unwrap();
        if is_trusted(peer, &trusted()) {
            client_behind(peer, &headers(values), &trusted()).to_string()
        } else {
            peer.to_canonical().to_string()
        }
    }

    /// Peer, header fields, client, why it is believed.
    const SPOOFING: &[(&str, &[&str], &str, &str)] = &[
        ("203.0.113.9", &[], "203.0.113.9", "no proxy"),
        (
            "203.0.113.9",
            &["127.0.0.1"],
            "203.0.113.9",
            "the client itself claims loopback",
        ),
        (
            "203.0.113.9",
            &["10.0.0.1, 10.0.0.2"],
            "203.0.113.9",
            "or trusted addresses",
        ),
        ("10.0.0.1", &[], "10.0.0.1", "the proxy asks for itself"),
        ("10.0.0.1", &["198.51.100.7"], "198.51.100.7", "one proxy"),
        (
            "10.0.0.1",
            &["127.0.0.1, 198.51.100.7"],
            "198.51.100.7",
            "left of the client is hearsay",
        ),
        (
            "10.0.0.1",
            &["198.51.100.7, 10.0.0.2"],
            "198.51.100.7",
            "two proxies",
        ),
        (
            "10.0.0.1",
            &["6.6.6.6", "198.51.100.7"],
            "198.51.100.7",
            "fields join in order",
        ),
        (
            "10.0.0.1",
            &["198.51.100.7", "10.0.0.2"],
            "198.51.100.7",
            "across fields",
        ),
        (
            "10.0.0.1",
            &["10.0.0.3, 10.0.0.2"],
            "10.0.0.3",
            "all trusted: the farthest",
        ),
        (
            "10.0.0.1",
            &["198.51.100.7, unknown"],
            "10.0.0.1",
            "garbage ends belief",
        ),
        (
            "10.0.0.1",
            &["198.51.100.7, unknown, 10.0.0.2"],
            "10.0.0.2",
            "after a trusted hop",
        ),
        (
            "10.0.0.1",
            &["198.51.100.7, "],
            "198.51.100.7",
            "empty elements do not count",
        ),
        ("10.0.0.1", &[",,,"], "10.0.0.1", "nothing but commas"),
        ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7", "a port"),
        (
            "10.0.0.1",
            &["198.51.100.700"],
            "10.0.0.1",
            "not an address",
        ),
        (
            "10.0.0.1",
            &["\u{e9}, \u{fc}"],
            "10.0.0.1",
            "not even ASCII",
        ),
        ("10.0.0.1", &["2001:db8:9::1"], "2001:db8:9::1", "IPv6"),
        (
            "10.0.0.1",
            &["[2001:db8:9::1]"],
            "2001:db8:9::1",
            "IPv6 in brackets",
        ),
        (
            "10.0.0.1",
            &["[2001:db8:9::1]:443"],
            "2001:db8:9::1",
            "IPv6 with a port",
        ),
        (
            "2001:db8:1::5",
            &["2001:db8:9::1"],
            "2001:db8:9::1",
            "an IPv6 proxy",
        ),
        (
            "2001:db8:2::5",
            &["2001:db8:9::1"],
            "2001:db8:2::5",
            "an IPv6 stranger",
        ),
        (
            "::ffff:10.0.0.1",
            &["::ffff:198.51.100.7"],
            "198.51.100.7",
            "mapped IPv4",
        ),
        (
            "::ffff:203.0.113.9",
            &["198.51.100.7"],
            "203.0.113.9",
            "a mapped stranger",
        ),
        (
            "10.0.0.1",
            &["fe80::1%eth0"],
            "10.0.0.1",
            "a zone is not an address",
        ),
    ];

    #[test]
    fn spoofing_matrix() {
        for (peer, values, expected, why) in SPOOFING {
            assert_eq!(client(peer, values), *expected, "{why}: {peer} {values:?}");
        }
    }

    #[test]
    fn chain_gains_the_peer_and_loses_what_is_no_address() {
        let chain = |values: &[&str]| {
            String::from_utf8(extended_chain("10.0.0.1", &headers(values))).unwrap()
        };
        assert_eq!(chain(&[]), "10.0.0.1");
        assert_eq!(chain(&["198.51.100.7"]), "198.51.100.7, 10.0.0.1");
        assert_eq!(
            chain(&["a, 198.51.100.7", " 10.0.0.2 "]),
            "198.51.100.7, 10.0.0.2, 10.0.0.1"
        );
        assert_eq!(chain(&["198.51.100.7, <script>"]), "10.0.0.1");
    }
}
