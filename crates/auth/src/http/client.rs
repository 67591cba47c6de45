//! Who sent a request: the client's address behind trusted proxies, and the
//! request's id. Never believes a header from an untrusted peer.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

use crate::random;

/// The TCP peer, put into every request by `connection`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What is known of whoever sent a request.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Address for counters and audit.
    pub(crate) addr: IpAddr,
    /// Echoed as `X-Request-Id`.
    pub(crate) request_id: String,
}

/// Name of the header that carries a request's id through all services.
pub(crate) const REQUEST_ID: &str = "x-request-id";
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Longer lists come from nobody but an attacker; the rightmost entries count.
const MAX_HOPS: usize = 32;

impl Client {
    /// The client, and whether what the peer says of whom it forwards for is believed.
    pub(crate) fn of(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> (Self, bool) {
        let peer = peer.ip().to_canonical();
        let is_believed = !headers.contains_key(FORWARDED_FOR) || is_trusted(peer, trusted);
        let client = Self {
            addr: client_addr(peer, headers, trusted),
            request_id: request_id(headers),
        };
        (client, is_believed)
    }
}

fn is_trusted(addr: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&addr))
}

/// The rightmost hop that is not a trusted proxy. Each proxy appends the address
/// it saw, so whatever stands left of that hop was written by somebody untrusted.
fn client_addr(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    let hops = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|value| {
            value
                .to_str()
                .unwrap_or("")
                .rsplit(',')
                .map(str::trim)
                .collect::<Vec<_>>()
        });
    for hop in hops.take(MAX_HOPS) {
        if !is_trusted(client, trusted) {
            break;
        }
        // An unreadable hop hides who stands behind it: the last known one answers for it.
        let Some(addr) = parse_hop(hop) else { break };
        client = addr;
    }
    client
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let bare = hop
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(hop);
    bare.parse::<IpAddr>()
        .or_else(|_| hop.parse::<SocketAddr>().map(|addr| addr.ip()))
        .ok()
        .map(|addr| addr.to_canonical())
}

/// The id that came with the request if it is harmless in logs, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let fits = |id: &&str| {
        (1..=128).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let given = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    match given.filter(fits) {
        Some(id) => id.to_owned(),
        None => {
            let now = u64::try_from(super::now().0).unwrap_or_default();
            let id = uuid::Builder::from_unix_timestamp_millis(now, &random::for_names());
            id.into_uuid().simple().to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr_of(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client_addr(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn sec_h02_an_untrusted_peer_cannot_choose_its_address() {
        assert_eq!(
            addr_of("203.0.113.9", &["1.2.3.4"], &["10.0.0.0/8"]),
            "203.0.113.9"
        );
        assert_eq!(addr_of("10.0.0.1", &["1.2.3.4"], &[]), "10.0.0.1");
    }

    #[test]
    fn sec_h02_the_rightmost_untrusted_hop_is_the_client() {
        let trusted = ["10.0.0.0/8", "::1/128"];
        assert_eq!(
            addr_of("10.0.0.1", &["6.6.6.6, 203.0.113.9, 10.0.0.2"], &trusted),
            "203.0.113.9"
        );
        assert_eq!(
            addr_of("10.0.0.1", &["6.6.6.6", "203.0.113.9"], &trusted),
            "203.0.113.9"
        );
        assert_eq!(
            addr_of("::1", &["[2001:db8::7]:4711"], &trusted),
            "2001:db8::7"
        );
        assert_eq!(addr_of("10.0.0.1", &["10.0.0.3"], &trusted), "10.0.0.3");
    }

    #[test]
    fn an_unreadable_hop_leaves_the_last_known_address() {
        let trusted = ["10.0.0.0/8"];
        assert_eq!(
            addr_of("10.0.0.1", &["9.9.9.9, unknown"], &trusted),
            "10.0.0.1"
        );
        assert_eq!(
            addr_of("::ffff:10.0.0.1", &["9.9.9.9"], &trusted),
            "9.9.9.9"
        );
    }

    #[test]
    fn a_request_id_that_could_forge_a_log_line_is_replaced() {
        let id_for = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, http::HeaderValue::from_bytes(value).unwrap());
            request_id(&headers)
        };
        assert_eq!(id_for(b"abc-1.2_Z"), "abc-1.2_Z");
        for bad in [&b"a b"[..], b"\"x\"", b"", &[b'a'; 129], b"\xff"] {
            assert_eq!(id_for(bad).len(), 32, "a new id replaces {bad:?}");
        }
    }
}
