//! The two facts about P-256 that JWS needs beside the library: point layout and low `s`. Never does curve arithmetic.

/// Half the order of the curve, rounded down: the largest `s` in use.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// `x` and `y` of an uncompressed point.
pub(crate) fn coordinates(point: &[u8]) -> Option<([u8; 32], [u8; 32])> {
    let (x, y) = point.strip_prefix(&[4])?.split_at_checked(32)?;
    Some((x.try_into().ok()?, y.try_into().ok()?))
}

/// Whether a fixed-width signature holds the smaller of the two `s` that verify.
pub(crate) fn is_low_s(signature: &[u8]) -> bool {
    signature.len() == 64 && signature[32..] <= HALF_ORDER[..]
}

/// Replaces `s` by `n - s` where that is smaller; both verify. `s` is public, so time may depend on it.
pub(crate) fn lower_s(signature: &mut [u8]) {
    if signature.len() != 64 || is_low_s(signature) {
        return;
    }
    let mut borrow = false;
    for (s, n) in signature[32..].iter_mut().zip(ORDER).rev() {
        let (difference, first) = n.overflowing_sub(*s);
        let (difference, second) = difference.overflowing_sub(u8::from(borrow));
        borrow = first || second;
        *s = difference;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_order_is_the_border_between_low_and_high() {
        let mut signature = [1; 64];
        signature[32..].copy_from_slice(&HALF_ORDER);
        assert!(is_low_s(&signature));
        lower_s(&mut signature);
        assert_eq!(signature[32..], HALF_ORDER);
        // The order is odd: n - (half + 1) = half.
        signature[63] += 1;
        assert!(!is_low_s(&signature));
        lower_s(&mut signature);
        assert_eq!(signature[32..], HALF_ORDER);
    }
}
