//! How much of a client's address is kept. Never keeps more than was asked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How much of a client's address the audit log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPolicy {
    /// All of it.
    Full,
    /// The network: /24, or /48 of IPv6.
    Truncated,
    /// Nothing.
    None,
}

impl AddressPolicy {
    /// What is kept of an address.
    pub fn keep(self, address: IpAddr) -> Option<IpAddr> {
        match (self, address.to_canonical()) {
            (Self::None, _) => None,
            (Self::Full, address) => Some(address),
            (Self::Truncated, IpAddr::V4(address)) => {
                let [a, b, c, _] = address.octets();
                Some(Ipv4Addr::new(a, b, c, 0).into())
            }
            (Self::Truncated, IpAddr::V6(address)) => {
                let [a, b, c, ..] = address.segments();
                Some(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_as_far_as_the_policy_says() {
        for (policy, address, kept) in [
            (AddressPolicy::Full, "192.0.2.7", Some("192.0.2.7")),
            (
                AddressPolicy::Full,
                "2001:db8:1:2::7",
                Some("2001:db8:1:2::7"),
            ),
            (AddressPolicy::Truncated, "192.0.2.7", Some("192.0.2.0")),
            (
                AddressPolicy::Truncated,
                "::ffff:192.0.2.7",
                Some("192.0.2.0"),
            ),
            (
                AddressPolicy::Truncated,
                "2001:db8:1:2::7",
                Some("2001:db8:1::"),
            ),
            (AddressPolicy::None, "192.0.2.7", None),
            (AddressPolicy::None, "2001:db8::7", None),
        ] {
            let is = policy.keep(address.parse().unwrap());
            assert_eq!(is, kept.map(|text| text.parse().unwrap()), "{address}");
        }
    }
}
