//! Refuses Ed25519 public keys that verify more than their owner signed. Never does curve arithmetic.

/// The `y` of the points of order 1, 2, 4 and 8, little-endian with the sign bit cleared.
/// A signature under such a key can be made without any private key.
pub(crate) const SMALL_ORDER: [[u8; 32]; 5] = [
    // Order 4.
    [0; 32],
    // Order 1.
    [
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0,
    ],
    // Order 8, two values of y.
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    // Order 2: p - 1.
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0x7f,
    ],
];

/// Whether the point has small order or its `y` is not the canonical one below p = 2^255 - 19.
pub(crate) fn is_degenerate(public: &[u8; 32]) -> bool {
    let mut y = *public;
    y[31] &= 0x7f;
    let is_canonical = y[31] != 0x7f || y[1..31].iter().any(|byte| *byte != 0xff) || y[0] < 0xed;
    !is_canonical || SMALL_ORDER.contains(&y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_order_and_non_canonical_keys_are_degenerate() {
        for mut y in SMALL_ORDER {
            assert!(is_degenerate(&y));
            y[31] |= 0x80;
            assert!(is_degenerate(&y), "the sign of x does not matter");
        }
        for lowest in 0xed..=0xff {
            let mut y = [0xff; 32];
            (y[0], y[31]) = (lowest, 0x7f);
            assert!(is_degenerate(&y));
        }
        let mut fine = [0xff; 32];
        (fine[0], fine[31]) = (0xeb, 0x7f);
        assert!(!is_degenerate(&fine));
    }
}
