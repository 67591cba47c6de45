//! Takes apart the DER `RSAPublicKey` that the cryptographic library prints. Never a general DER reader.

/// Modulus and exponent without leading zeros (RFC 8017 appendix A.1.1).
pub(crate) fn rsa_public_key(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    let (sequence, rest) = element(SEQUENCE, der)?;
    let (n, after) = element(INTEGER, sequence)?;
    let (e, end) = element(INTEGER, after)?;
    (rest.is_empty() && end.is_empty()).then(|| (unsigned(n), unsigned(e)))
}

/// The content of the first element, which must bear `tag`, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, der) = der.split_first()?;
    let (&length, mut der) = der.split_first()?;
    if first != tag {
        return None;
    }
    let mut length = usize::from(length);
    if length >= 0x80 {
        // Long form: the low bits count the bytes of the length. Two suffice for 8192-bit keys.
        let (bytes, after) = der.split_at_checked(length & 0x7f)?;
        if bytes.len() > 2 {
            return None;
        }
        length = bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        der = after;
    }
    der.split_at_checked(length)
}

/// DER puts a zero in front of a number whose top bit is set.
fn unsigned(integer: &[u8]) -> Vec<u8> {
    integer
        .iter()
        .copied()
        .skip_while(|byte| *byte == 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_short_and_long_lengths() {
        let small = [0x30, 0x07, 0x02, 0x02, 0x00, 0xff, 0x02, 0x01, 0x03];
        assert_eq!(rsa_public_key(&small), Some((vec![0xff], vec![3])));
        let long = [0x30, 0x82, 0, 7, 0x02, 0x81, 1, 0x55, 0x02, 1, 3];
        assert_eq!(rsa_public_key(&long), Some((vec![0x55], vec![3])));
    }

    #[test]
    fn every_truncation_is_refused() {
        let der = [0x30, 0x08, 0x02, 0x02, 0x00, 0xff, 0x02, 0x02, 0x01, 0x03];
        assert!(rsa_public_key(&der).is_some());
        for end in 0..der.len() {
            assert_eq!(rsa_public_key(&der[..end]), None, "{end} bytes");
        }
    }
}
