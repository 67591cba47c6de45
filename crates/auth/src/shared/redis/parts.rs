//! In which part of a Redis Cluster something lies. Never changes: instances of two releases must look in the same place.
//!
//! Everything of a part has its hash tag, and so lies in one slot, on one node. There are eight, spread evenly over the
//! slots. Revocations are copied into every part, so that one question to one node says all about a token: a revoked
//! session or token does not name its account, and a signing key has none, so that no tag of an account could bring
//! together what is asked together. Counters, allowances and what is remembered lie in one part each.

/// Parts of the shared state in a cluster.
pub(super) const PARTS: usize = TAGS.len();

/// What hashes to the middle of each eighth of the slots.
const TAGS: [&str; 8] = ["570", "216", "130", "51", "247", "160", "246", "520"];

const SLOTS: u16 = 16384;

/// What the keys of a part begin with.
pub(super) fn prefix(part: usize) -> String {
    format!("{{{}}}", TAGS[part])
}

/// The slot of all keys of a part.
pub(super) fn slot(part: usize) -> u16 {
    hash(TAGS[part].as_bytes())
}

/// The part that something of this name lies in.
pub(super) fn part_of(name: &[u8]) -> usize {
    usize::from(hash(name)) * PARTS / usize::from(SLOTS)
}

/// The slot of a key without a hash tag: CRC16 as XMODEM has it, as the specification of Redis Cluster says.
fn hash(key: &[u8]) -> u16 {
    let mut crc = 0_u16;
    for &byte in key {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            let carried = crc & 0x8000 != 0;
            crc <<= 1;
            if carried {
                crc ^= 0x1021;
            }
        }
    }
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(hash(b"123456789"), 0x31c3);
        assert_eq!((hash(b"a"), hash(b"")), (15495, 0));
    }

    /// Another layout would hide from instances of the release before what this one revoked.
    #[test]
    fn parts_are_spread_evenly_and_stay_where_they_are() {
        let slots: Vec<u16> = (0..PARTS).map(slot).collect();
        assert_eq!(slots, [1028, 3060, 5120, 7186, 9248, 11253, 13313, 15345]);
        for (part, slot) in slots.iter().enumerate() {
            assert_eq!(usize::from(*slot) * PARTS / usize::from(SLOTS), part);
        }
        assert_eq!(prefix(0), "{570}");
    }

    #[test]
    fn names_go_to_all_parts() {
        let mut seen = [0; PARTS];
        for n in 0..8000 {
            seen[part_of(format!("token {n}").as_bytes())] += 1;
        }
        assert!(
            seen.iter().all(|&count| (800..1200).contains(&count)),
            "{seen:?}"
        );
    }
}
