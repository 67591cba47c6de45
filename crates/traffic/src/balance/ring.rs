//! The ring of consistent hashing. Never knows who may be picked: it names endpoints in the order
//! in which a key would have them.
//!
//! It is nginx's `hash … consistent`: 160 points for each unit of weight, placed by CRC-32 of the
//! address, and a key goes to the first point at or after its own CRC-32. The same key goes to the
//! same IPv4 endpoint as with nginx; of an IPv6 address nginx hashes the brackets as well.

use std::fmt;
use std::net::SocketAddr;

/// Most units of weight on a ring, which is 5 MB. If there are more, all weights are halved until
/// they fit, as if they were all a little coarser.
const MAX_UNITS: u32 = 4_096;

/// Points in their order, with the endpoint each belongs to.
pub(crate) struct Ring {
    nodes: Vec<(SocketAddr, u16)>,
    continuum: pingora_ketama::Continuum,
    /// Which of the nodes given each point belongs to.
    owners: Box<[u16]>,
}

impl Ring {
    /// The ring of nodes with these addresses and weights. A weight of zero has no point on it.
    pub(crate) fn new(nodes: &[(SocketAddr, u16)]) -> Self {
        let units = |halvings: u32| {
            let unit = move |weight: u16| match u32::from(weight) {
                0 => 0,
                weight => ((weight + (1 << halvings >> 1)) >> halvings).max(1),
            };
            nodes.iter().map(move |(_, weight)| unit(*weight))
        };
        let fits =
            |halvings: &u32| units(*halvings).map(u64::from).sum::<u64>() <= MAX_UNITS.into();
        let halvings = (0..16).find(fits).unwrap_or(16);
        let buckets: Vec<_> = nodes
            .iter()
            .zip(units(halvings))
            .filter(|(_, units)| *units > 0)
            .map(|((address, _), units)| pingora_ketama::Bucket::new(*address, units))
            .collect();
        let continuum = pingora_ketama::Continuum::new(&buckets);
        let owners = owners(&continuum, nodes);
        Self {
            nodes: nodes.to_vec(),
            continuum,
            owners,
        }
    }

    /// Whether it was made for these.
    pub(crate) fn is_of(&self, nodes: &[(SocketAddr, u16)]) -> bool {
        self.nodes == nodes
    }

    /// Nodes by their position in the list given, in the order in which a key would have them, all
    /// around the ring; most of them many times.
    pub(crate) fn walk(&self, key: &[u8]) -> impl Iterator<Item = usize> + '_ {
        let start = self.continuum.node_idx(key).min(self.owners.len());
        let (before, after) = self.owners.split_at(start);
        after.iter().chain(before).map(|owner| usize::from(*owner))
    }
}

/// The ring as the crate has it names addresses; looking them up at every pick would cost too much.
fn owners(continuum: &pingora_ketama::Continuum, nodes: &[(SocketAddr, u16)]) -> Box<[u16]> {
    let mut by_address: Vec<_> = (0..=u16::MAX)
        .zip(nodes)
        .filter(|(_, (_, weight))| *weight > 0)
        .map(|(node, (address, _))| (*address, node))
        .collect();
    by_address.sort_unstable();
    by_address.dedup_by_key(|(address, _)| *address);
    let mut owners = Vec::new();
    let mut point = 0;
    while let Some(address) = continuum.get_addr(&mut point) {
        let found = by_address.binary_search_by_key(address, |(address, _)| *address);
        owners.extend(
            found
                .ok()
                .and_then(|at| by_address.get(at))
                .map(|(_, node)| *node),
        );
        if point == 0 {
            break;
        }
    }
    owners.into_boxed_slice()
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("nodes", &self.nodes)
            .field("points", &self.owners.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(weights: &[u16]) -> Vec<(SocketAddr, u16)> {
        (4_001..)
            .zip(weights)
            .map(|(port, weight)| (([127, 0, 0, 1], port).into(), *weight))
            .collect()
    }

    fn owner(ring: &Ring, key: u32) -> Option<usize> {
        ring.walk(format!("key-{key}").as_bytes()).next()
    }

    #[test]
    fn keys_are_shared_by_weight() {
        let ring = Ring::new(&nodes(&[1, 0, 3]));
        assert_eq!(ring.owners.len(), 640, "160 for each unit, and none twice");
        let mut counts = [0; 3];
        (0..10_000).for_each(|key| counts[owner(&ring, key).unwrap()] += 1);
        assert_eq!(counts[1], 0);
        assert!((2_000..3_000).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn a_walk_comes_by_every_point_once() {
        let ring = Ring::new(&nodes(&[2, 1]));
        for key in [&b""[..], b"a", b"b", &[0xff; 300]] {
            assert_eq!(ring.walk(key).count(), 480);
            assert_eq!(ring.walk(key).filter(|owner| *owner == 0).count(), 320);
        }
    }

    #[test]
    fn an_empty_ring_leads_nowhere() {
        assert_eq!(Ring::new(&[]).walk(b"key").next(), None);
        assert_eq!(Ring::new(&nodes(&[0, 0])).walk(b"key").next(), None);
    }

    #[test]
    fn one_that_goes_takes_only_its_own_keys_along() {
        let all = nodes(&[1; 10]);
        let (whole, less) = (Ring::new(&all), Ring::new(&all[..9]));
        let moved = (0..10_000).filter(|key| owner(&whole, *key) != owner(&less, *key));
        let moved: Vec<_> = moved.collect();
        assert!(
            moved.iter().all(|key| owner(&whole, *key) == Some(9)),
            "others stay"
        );
        assert!(
            (700..1_300).contains(&moved.len()),
            "a tenth: {}",
            moved.len()
        );
    }

    #[test]
    fn enormous_weights_make_a_bounded_ring_of_the_same_shares() {
        let ring = Ring::new(&nodes(&[u16::MAX, u16::MAX, u16::MAX / 2]));
        assert!(ring.owners.len() <= 160 * 4_096);
        let of_last = ring.owners.iter().filter(|owner| **owner == 2).count();
        assert!((190..210).contains(&(1_000 * of_last / ring.owners.len())));
    }

    #[test]
    fn one_address_twice_is_one_node() {
        let twice = [nodes(&[1])[0], nodes(&[1])[0]];
        assert_eq!(owner(&Ring::new(&twice), 1), Some(0));
    }
}
