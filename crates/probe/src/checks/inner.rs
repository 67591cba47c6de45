//! Finds addresses in text that strangers should not be shown. Never resolves or connects to them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// An address of an inner network that a text names; the ones in `known` are what the stranger used
/// himself. An address without a port is known by its address alone.
pub(super) fn inner_address(text: &str, known: &[SocketAddr]) -> Option<String> {
    let pieces = text.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
    pieces
        .map(|piece| piece.trim_matches(['.', ':']))
        .find_map(|piece| {
            let (address, port) = match piece.split_once(':') {
                Some((address, port)) => (address, port.split(':').next()?.parse::<u16>().ok()),
                None => (piece, None),
            };
            let address: Ipv4Addr = address.parse().ok()?;
            let is_known = known.iter().any(|known| {
                known.ip().to_canonical() == IpAddr::V4(address)
                    && port.is_none_or(|port| port == known.port())
            });
            (is_inner(address) && !is_known).then(|| piece.to_owned())
        })
}

fn is_inner(address: Ipv4Addr) -> bool {
    address.is_private() || address.is_loopback() || address.is_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_addresses_are_found_wherever_they_stand() {
        let known = ["127.0.0.1:8080".parse().unwrap()];
        for (text, found) in [
            ("connect to 10.0.1.7:4001 refused", Some("10.0.1.7:4001")),
            ("(192.168.0.3).", Some("192.168.0.3")),
            ("http://172.16.9.9/x", Some("172.16.9.9")),
            ("127.0.0.1:4001", Some("127.0.0.1:4001")),
            ("127.0.0.1:8080 is where you are", None),
            ("127.0.0.1", None),
            ("203.0.113.9:80", None),
            ("version 10.2.3", None),
            ("10.0.0.256", None),
            ("", None),
        ] {
            assert_eq!(inner_address(text, &known).as_deref(), found, "{text}");
        }
    }
}
