//! Numbers that name requests, traces and spans. Never a secret: unique and evenly spread, not unguessable.

use std::sync::atomic::{AtomicU64, Ordering};

/// Hands out 128-bit numbers without locks or system calls. Two processes share no numbers because
/// each draws its own keys from the system.
#[derive(Debug)]
pub struct IdSource {
    keys: [u64; 2],
    next: AtomicU64,
}

impl IdSource {
    /// A source of its own for every seed.
    pub fn new(seed: u128) -> Self {
        Self {
            keys: [(seed >> 64) as u64, seed as u64],
            next: AtomicU64::new(0),
        }
    }

    /// A number never given before by this source, and never zero.
    pub fn draw(&self) -> u128 {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let high = mix(self.keys[0] ^ count);
        let low = mix(self.keys[1].wrapping_add(count));
        // `mix` is a bijection, so `low` alone already repeats only after 2^64 draws.
        (u128::from(high) << 64 | u128::from(low)).max(1)
    }

    /// A source that gives what this one would give next.
    #[cfg(test)]
    pub(crate) fn fork(&self) -> Self {
        Self {
            keys: self.keys,
            next: AtomicU64::new(self.next.load(Ordering::Relaxed)),
        }
    }

    /// A span id: never zero.
    pub fn draw_span(&self) -> u64 {
        (self.draw() as u64).max(1)
    }
}

/// The low `N` digits of a number, hexadecimal in lower case. `N` is even.
pub(crate) fn hex<const N: usize>(number: u128) -> [u8; N] {
    const { assert!(N.is_multiple_of(2) && N <= 32) };
    let bytes = number.to_be_bytes();
    let mut text = [0; N];
    let (pairs, _) = text.as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(&bytes[16 - N / 2..]) {
        *pair = PAIRS[usize::from(*byte)];
    }
    text
}

/// Both digits of each byte.
static PAIRS: [[u8; 2]; 256] = pairs();

const fn pairs() -> [[u8; 2]; 256] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xf]];
        byte += 1;
    }
    pairs
}

/// The finaliser of SplitMix64: a bijection that spreads every input bit.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_never_repeat() {
        let ids = IdSource::new(7);
        let seen: HashSet<u128> = (0..10_000).map(|_| ids.draw()).collect();
        assert_eq!(seen.len(), 10_000);
    }

    #[test]
    fn sources_of_different_seeds_share_no_ids() {
        let (one, other) = (IdSource::new(1), IdSource::new(2));
        let seen: HashSet<u128> = (0..1_000).map(|_| one.draw()).collect();
        assert!((0..1_000).all(|_| !seen.contains(&other.draw())));
    }

    #[test]
    fn hex_keeps_leading_zeros() {
        assert_eq!(&hex::<32>(0xab), b"000000000000000000000000000000ab");
        assert_eq!(&hex::<4>(0x1ab), b"01ab");
    }
}
