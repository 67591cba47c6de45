//! How many connections each client address has open at a listener. Never remembers an address
//! longer than its connections.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use crate::config::ConnectionsPerAddress;
use crate::pipeline::is_trusted;

/// Tables with a lock of their own: those who come at once hardly ever meet.
const SHARDS: usize = 16;

/// How many connections each address may have.
#[derive(Debug)]
pub(super) struct Crowd {
    counts: Arc<Counts>,
    most: u32,
    prefix: u8,
    exempt: Vec<IpNet>,
}

/// Counts connections by address. Holds as many entries as there are connections at most.
#[derive(Debug, Default)]
struct Counts {
    shards: [Mutex<HashMap<IpAddr, NonZeroU32>>; SHARDS],
    hasher: RandomState,
}

/// A place of one connection among those of its address; given back on drop.
#[derive(Debug)]
pub(super) struct Guest {
    counts: Arc<Counts>,
    key: IpAddr,
}

/// The address has all the connections it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowded;

impl Crowd {
    /// `trusted` carry the connections of many clients and are never counted. The connections that
    /// `previous` counted still count.
    pub(super) fn new(
        policy: &ConnectionsPerAddress,
        trusted: &[IpNet],
        previous: Option<&Self>,
    ) -> Self {
        Self {
            counts: previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.counts)),
            most: policy.most.get(),
            prefix: policy.ipv6_prefix,
            exempt: [&policy.exempt, trusted].concat(),
        }
    }

    /// Counts a connection; `None` is a place for who is not counted.
    pub(super) fn enter(&self, address: IpAddr) -> Result<Option<Guest>, Crowded> {
        if is_trusted(address, &self.exempt) {
            return Ok(None);
        }
        let key = network(address, self.prefix);
        let mut shard = self.counts.shard(key);
        match shard.entry(key) {
            Entry::Vacant(free) => {
                free.insert(NonZeroU32::MIN);
            }
            Entry::Occupied(mut taken) if taken.get().get() < self.most => {
                *taken.get_mut() = taken.get().saturating_add(1);
            }
            Entry::Occupied(_) => return Err(Crowded),
        }
        let counts = Arc::clone(&self.counts);
        Ok(Some(Guest { counts, key }))
    }
}

impl Counts {
    fn leave(&self, key: IpAddr) {
        let mut shard = self.shard(key);
        let Entry::Occupied(mut taken) = shard.entry(key) else {
            return;
        };
        match NonZeroU32::new(taken.get().get() - 1) {
            Some(left) => *taken.get_mut() = left,
            None => {
                taken.remove();
            }
        }
        // What a flood has left behind is given back when it ebbs.
        if shard.capacity() > SPARE && shard.len() < shard.capacity() / 8 {
            let room = shard.len() * 2;
            shard.shrink_to(room);
        }
    }

    fn shard(&self, key: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, NonZeroU32>> {
        let hash = self.hasher.hash_one(key);
        let shard = &self.shards[usize::from((hash >> 56) as u8) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A table of a shard is not made smaller than this.
const SPARE: usize = 64;

impl Drop for Guest {
    fn drop(&mut self) {
        self.counts.leave(self.key);
    }
}

/// Who is taken for one client: an IPv4 address, or a network of IPv6, for whoever has one address
/// there usually has them all.
fn network(address: IpAddr, prefix: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let shift = 128 - u32::from(prefix.min(128));
            let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(most: u32, prefix: u8) -> Arc<Crowd> {
        let policy = ConnectionsPerAddress {
            most: NonZeroU32::new(most).unwrap(),
            ipv6_prefix: prefix,
            exempt: vec!["192.0.2.0/24".parse().unwrap()],
        };
        Arc::new(Crowd::new(&policy, &["10.0.0.0/8".parse().unwrap()], None))
    }

    fn enter(crowd: &Arc<Crowd>, address: &str) -> Result<Option<Guest>, Crowded> {
        crowd.enter(address.parse().unwrap())
    }

    fn entries(crowd: &Crowd) -> usize {
        let shards = crowd.counts.shards.iter();
        shards.map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[test]
    fn an_address_has_so_many_places_and_no_other_takes_them() {
        let crowd = crowd(2, 64);
        let first = enter(&crowd, "203.0.113.9").unwrap();
        let second = enter(&crowd, "::ffff:203.0.113.9").unwrap();
        assert_eq!(enter(&crowd, "203.0.113.9").err(), Some(Crowded));
        let other = enter(&crowd, "203.0.113.10").unwrap();
        drop(first);
        let third = enter(&crowd, "203.0.113.9").unwrap();
        assert_eq!(enter(&crowd, "203.0.113.9").err(), Some(Crowded));
        assert_eq!(entries(&crowd), 2);
        drop((second, other, third));
        assert_eq!(entries(&crowd), 0, "nothing is remembered");
    }

    #[test]
    fn other_rules_count_who_came_under_those_before() {
        let crowd = crowd(2, 64);
        let first = enter(&crowd, "203.0.113.9").unwrap();
        let policy = ConnectionsPerAddress {
            most: NonZeroU32::MIN,
            ipv6_prefix: 64,
            exempt: Vec::new(),
        };
        let stricter = Arc::new(Crowd::new(&policy, &[], Some(&crowd)));
        assert_eq!(enter(&stricter, "203.0.113.9").err(), Some(Crowded));
        drop(first);
        assert!(enter(&stricter, "203.0.113.9").is_ok());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let crowd = crowd(1, 64);
        let _first = enter(&crowd, "2001:db8:0:1::1").unwrap();
        assert!(enter(&crowd, "2001:db8:0:1:ffff::2").is_err());
        let _other = enter(&crowd, "2001:db8:0:2::1").unwrap();
        let wide = self::crowd(1, 48);
        let _first = enter(&wide, "2001:db8:0:1::1").unwrap();
        assert!(enter(&wide, "2001:db8:0:2::1").is_err());
        let exact = self::crowd(1, 128);
        let _first = enter(&exact, "2001:db8::1").unwrap();
        assert!(enter(&exact, "2001:db8::2").is_ok());
    }

    #[test]
    fn who_carries_many_clients_is_not_counted() {
        let crowd = crowd(1, 64);
        for address in ["10.1.2.3", "192.0.2.1", "::ffff:10.1.2.3"] {
            for _ in 0..3 {
                assert!(enter(&crowd, address).unwrap().is_none());
            }
        }
    }

    #[test]
    fn memory_of_a_flood_is_given_back() {
        let crowd = crowd(1, 64);
        let guests: Vec<_> = (0..50_000_u32)
            .map(|number| crowd.enter(IpAddr::V4((0xcb00_7100 + number).into())))
            .collect();
        assert_eq!(entries(&crowd), 50_000);
        drop(guests);
        let room: usize = crowd
            .counts
            .shards
            .iter()
            .map(|s| s.lock().unwrap().capacity())
            .sum();
        assert!(room <= 2 * SPARE * SHARDS, "room for {room}");
    }
}
