//! A set of networks with an end for each. Never reads a clock.
//!
//! One hash table for each length of prefix that occurs: a look asks as many of them as there are
//! lengths, whatever the number of entries, an entry comes or goes without building anything
//! anew, and nested networks may end at different times. Real lists have few lengths.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// The end of what has none, in seconds since the Unix epoch.
pub const NEVER: u64 = u64::MAX;

/// Networks, each until some second.
#[derive(Clone, Debug, Default)]
pub struct NetworkSet {
    v4: Vec<Prefix>,
    v6: Vec<Prefix>,
}

/// All networks of one length.
#[derive(Clone, Debug)]
struct Prefix {
    bits: u8,
    until: HashMap<u128, u64>,
}

impl NetworkSet {
    /// Puts a network in, until a second since the Unix epoch; what it was before does not matter.
    pub fn insert(&mut self, network: IpNet, until: u64) {
        let (prefixes, key, bits) = self.place(network);
        match prefixes.iter_mut().find(|prefix| prefix.bits == bits) {
            Some(prefix) => {
                prefix.until.insert(key, until);
            }
            None => prefixes.push(Prefix {
                bits,
                until: HashMap::from([(key, until)]),
            }),
        }
    }

    /// Takes exactly this network out. Whether it was there.
    pub fn remove(&mut self, network: IpNet) -> bool {
        let (prefixes, key, bits) = self.place(network);
        let Some(at) = prefixes.iter().position(|prefix| prefix.bits == bits) else {
            return false;
        };
        let was_there = prefixes[at].until.remove(&key).is_some();
        if prefixes[at].until.is_empty() {
            prefixes.swap_remove(at);
        }
        was_there
    }

    /// Until when exactly this network is in the set.
    pub fn until(&self, network: IpNet) -> Option<u64> {
        let (key, bits) = key(network.addr(), network.prefix_len());
        let prefixes = match network {
            IpNet::V4(_) => &self.v4,
            IpNet::V6(_) => &self.v6,
        };
        let prefix = prefixes.iter().find(|prefix| prefix.bits == bits)?;
        prefix.until.get(&key).copied()
    }

    /// Whether a network of the set that has not ended contains the address.
    pub fn contains(&self, address: IpAddr, now: u64) -> bool {
        let address = address.to_canonical();
        let prefixes = match address {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        prefixes.iter().any(|prefix| {
            let (key, _) = key(address, prefix.bits);
            prefix.until.get(&key).is_some_and(|until| *until > now)
        })
    }

    /// Forgets what has ended.
    pub fn purge(&mut self, now: u64) {
        for prefixes in [&mut self.v4, &mut self.v6] {
            for prefix in prefixes.iter_mut() {
                prefix.until.retain(|_, until| *until > now);
            }
            prefixes.retain(|prefix| !prefix.until.is_empty());
        }
    }

    /// How many networks there are, ended ones included.
    pub fn len(&self) -> usize {
        let prefixes = self.v4.iter().chain(&self.v6);
        prefixes.map(|prefix| prefix.until.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    fn place(&mut self, network: IpNet) -> (&mut Vec<Prefix>, u128, u8) {
        let (key, bits) = key(network.addr(), network.prefix_len());
        match network {
            IpNet::V4(_) => (&mut self.v4, key, bits),
            IpNet::V6(_) => (&mut self.v6, key, bits),
        }
    }
}

/// The first bits of an address, the others zero.
fn key(address: IpAddr, bits: u8) -> (u128, u8) {
    let (value, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let rest = width - u32::from(bits).min(width);
    let first = value.checked_shr(rest).unwrap_or(0);
    (first, bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(set: &NetworkSet, address: &str, now: u64) -> bool {
        set.contains(address.parse().unwrap(), now)
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn lengths_and_families_are_kept_apart() {
        let mut set = NetworkSet::default();
        for network in ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "::1/128"] {
            set.insert(net(network), NEVER);
        }
        for (address, expected) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.0.0.1", true),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
            ("::1", true),
            ("::2", false),
            ("::", false),
            ("0.0.0.1", false),
        ] {
            assert_eq!(contains(&set, address, 0), expected, "{address}");
        }
        set.insert(net("0.0.0.0/0"), NEVER);
        assert!(contains(&set, "11.0.0.1", 0));
        assert!(!contains(&set, "::2", 0));
        set.insert(net("::/0"), NEVER);
        assert!(contains(&set, "::2", 0));
    }

    #[test]
    fn an_entry_ends_at_its_second_and_not_its_neighbours() {
        let mut set = NetworkSet::default();
        set.insert(net("192.0.2.0/24"), 100);
        set.insert(net("192.0.2.7/32"), 200);
        assert!(contains(&set, "192.0.2.1", 99));
        assert!(!contains(&set, "192.0.2.1", 100));
        assert!(contains(&set, "192.0.2.7", 199));
        set.purge(150);
        assert_eq!((set.len(), set.until(net("192.0.2.7/32"))), (1, Some(200)));
        assert!(set.remove(net("192.0.2.7/32")) && set.is_empty());
        assert!(!set.remove(net("192.0.2.7/32")));
    }

    /// The set agrees with a walk over all its networks.
    #[test]
    fn a_hundred_thousand_entries_are_found_as_a_walk_finds_them() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut set = NetworkSet::default();
        let mut walk = Vec::new();
        for _ in 0..100_000 {
            let bits = [16, 20, 24, 28, 32][random.usize(0..5)];
            let address = IpAddr::V4(random.u32(..).into());
            let network = IpNet::new(address, bits).unwrap().trunc();
            set.insert(network, NEVER);
            walk.push(network);
        }
        for _ in 0..200 {
            let address = IpAddr::V4(random.u32(..).into());
            let expected = walk.iter().any(|network| network.contains(&address));
            assert_eq!(set.contains(address, 0), expected, "{address}");
        }
        for network in walk.iter().step_by(1000) {
            assert!(set.contains(network.addr(), 0), "{network}");
        }
    }
}
