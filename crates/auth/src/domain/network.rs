//! Where somebody came from, as far as it may be kept and shown. Never a whole address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The first 24 bits of an IPv4 address, or the first 48 of IPv6: tells home from abroad, and no household from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl Network {
    /// The network of an address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Ipv4Addr::new(a, b, c, 0).into()
            }
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
            }
        })
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, _) = text.split_once('/')?;
        let network = Self::of(address.parse().ok()?);
        (network.to_string() == text).then_some(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.0.is_ipv4() { 24 } else { 48 };
        write!(f, "{}/{bits}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_cut_to_its_network() {
        for (address, network) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ] {
            let of = Network::of(address.parse().unwrap());
            assert_eq!(of.to_string(), network);
            assert_eq!(Network::parse(network), Some(of));
        }
        for bad in ["", "192.0.2.77", "192.0.2.77/24", "192.0.2.0/32", "x/24"] {
            assert_eq!(Network::parse(bad), None, "{bad:?}");
        }
    }
}
