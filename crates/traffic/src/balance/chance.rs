//! Numbers from bits. Never draws: the bits are random already, or come from a key.

/// Bits that share nothing visible with these (the finalizer of splitmix64).
pub(crate) fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A number below `bound`, all equally likely; 0 if there is none. `bound` is at most 2^32.
pub(crate) fn below(bits: u64, bound: u64) -> u64 {
    ((bits >> 32) * bound) >> 32
}

/// Bits of a key, the same in every process (FNV-1a, mixed).
pub(crate) fn of_key(key: &[u8]) -> u64 {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_their_bound_and_reach_both_ends() {
        assert_eq!([below(0, 7), below(u64::MAX, 7)], [0, 6]);
        assert_eq!([below(u64::MAX, 0), below(u64::MAX, 1)], [0, 0]);
        assert_eq!(below(u64::MAX, 1 << 32), (1 << 32) - 1);
    }

    #[test]
    fn keys_that_differ_a_little_are_spread_evenly() {
        let mut counts = [0; 10];
        for number in 0..10_000_u32 {
            let bits = of_key(format!("user-{number}").as_bytes());
            counts[usize::try_from(below(bits, 10)).unwrap()] += 1;
        }
        assert!(
            counts.iter().all(|n| (900..1_100).contains(n)),
            "{counts:?}"
        );
        assert_ne!(of_key(b""), of_key(b"\0"));
    }
}
