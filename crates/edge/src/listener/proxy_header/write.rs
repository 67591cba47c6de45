//! Writes PROXY headers, versions 1 and 2. Pure; never says more of a client than its address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Origin, V2_BEGIN};
use crate::config::ProxyVersion;

/// A connection in a client's name.
pub(crate) fn of_client(version: ProxyVersion, origin: Origin) -> Vec<u8> {
    let source = origin.source.ip().to_canonical();
    let destination = origin.destination.ip().to_canonical();
    let ports = (origin.source.port(), origin.destination.port());
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => match version {
            ProxyVersion::V1 => line("TCP4", &source, &destination, ports),
            ProxyVersion::V2 => binary(0x11, &source.octets(), &destination.octets(), ports),
        },
        _ => {
            let (source, destination) = (wide(source), wide(destination));
            match version {
                ProxyVersion::V1 => line("TCP6", &source, &destination, ports),
                ProxyVersion::V2 => binary(0x21, &source.octets(), &destination.octets(), ports),
            }
        }
    }
}

/// A connection of the edge's own, such as a health check.
pub(crate) fn of_ourselves(version: ProxyVersion) -> Vec<u8> {
    match version {
        ProxyVersion::V1 => b"PROXY UNKNOWN\r\n".to_vec(),
        ProxyVersion::V2 => [V2_BEGIN, &[0x20, 0, 0, 0]].concat(),
    }
}

fn line(
    family: &str,
    source: &impl ToString,
    destination: &impl ToString,
    (from, to): (u16, u16),
) -> Vec<u8> {
    let (source, destination) = (source.to_string(), destination.to_string());
    format!("PROXY {family} {source} {destination} {from} {to}\r\n").into_bytes()
}

fn binary(family: u8, source: &[u8], destination: &[u8], (from, to): (u16, u16)) -> Vec<u8> {
    let length = (source.len() + destination.len() + 4) as u16;
    let mut header = Vec::with_capacity(V2_BEGIN.len() + 4 + usize::from(length));
    header.extend_from_slice(V2_BEGIN);
    header.extend_from_slice(&[0x21, family]);
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(source);
    header.extend_from_slice(destination);
    header.extend_from_slice(&from.to_be_bytes());
    header.extend_from_slice(&to.to_be_bytes());
    header
}

/// Where one of the two is of IPv6, both are said so.
fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::to_ipv6_mapped(&address),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::{Reading, read};
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (source, destination) in [
            ("203.0.113.9:50000", "10.0.0.1:443"),
            ("[2001:db8::9]:1", "[2001:db8::1]:65535"),
            ("[2001:db8::9]:50000", "10.0.0.1:443"),
        ] {
            let origin = Origin {
                source: address(source),
                destination: address(destination),
            };
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let header = of_client(version, origin);
                let Ok(Reading::Complete { length, origin }) = read(&header) else {
                    panic!(
                        "{version:?} {source} {:?}",
                        String::from_utf8_lossy(&header)
                    );
                };
                let origin = origin.unwrap();
                assert_eq!(length, header.len());
                assert_eq!(origin.source, address(source));
                let read = origin.destination.ip().to_canonical();
                assert_eq!(read, address(destination).ip());
            }
        }
    }

    #[test]
    fn mapped_addresses_are_what_they_stand_for() {
        let origin = Origin {
            source: address("[::ffff:203.0.113.9]:50000"),
            destination: address("[::ffff:10.0.0.1]:443"),
        };
        assert_eq!(
            of_client(ProxyVersion::V1, origin),
            b"PROXY TCP4 203.0.113.9 10.0.0.1 50000 443\r\n"
        );
    }

    #[test]
    fn connections_of_our_own_are_nobodys() {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let header = of_ourselves(version);
            let length = header.len();
            let nobody = Reading::Complete {
                length,
                origin: None,
            };
            assert_eq!(read(&header), Ok(nobody));
        }
    }
}
