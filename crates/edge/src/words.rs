//! Looks at text eight bytes at a time, each byte compared in its place of one number. Never says yes
//! where a look at each byte would say no.

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

/// Whether every byte is one that `is_plain` takes. `is_suspect` says of eight bytes at once whether
/// one of them may not be; what it suspects is looked at byte by byte.
#[inline]
pub(crate) fn all(
    bytes: &[u8],
    is_suspect: impl Fn(u64) -> bool,
    is_plain: impl Fn(u8) -> bool,
) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().all(|byte| is_plain(*byte));
    };
    // The last word overlaps the one before it, so that no byte is left over.
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().chain([last]).all(|word| {
        !is_suspect(u64::from_ne_bytes(*word)) || word.iter().all(|byte| is_plain(*byte))
    })
}

/// Whether a byte of `word` is less than `bound`, which is at most 128. Bytes above ASCII are not.
#[inline]
pub(crate) fn has_below(word: u64, bound: u8) -> bool {
    // Subtracting borrows from the highest bit of a byte that is too small.
    word.wrapping_sub(ONES * u64::from(bound)) & !word & HIGH != 0
}

/// Whether a byte of `word` is this one.
#[inline]
pub(crate) fn has(word: u64, byte: u8) -> bool {
    has_below(word ^ (ONES * u64::from(byte)), 1)
}

/// Whether a byte of `word` is above ASCII.
#[inline]
pub(crate) fn has_high(word: u64) -> bool {
    word & HIGH != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_found_wherever_it_stands() {
        for at in 0..8 {
            for byte in 0..=u8::MAX {
                for around in [0x80, 0xff, b'~'] {
                    let mut word = [around; 8];
                    word[at] = byte;
                    let word = u64::from_ne_bytes(word);
                    assert_eq!(has_below(word, b' '), byte < b' ', "{byte} at {at}");
                    assert_eq!(has(word, b'"'), byte == b'"', "{byte} at {at}");
                    assert_eq!(has_high(word), byte >= 0x80 || around >= 0x80);
                }
            }
        }
    }

    #[test]
    fn what_is_only_suspected_is_looked_at_again() {
        let is_plain = |byte: u8| byte != b'b';
        for text in ["", "a", "aaaaaaaa", "aaaaaaaaaaa"] {
            assert!(all(text.as_bytes(), |_| true, is_plain), "{text}");
        }
        for text in ["b", "aaaaaaab", "aaaaaaaab", "baaaaaaaaaa"] {
            assert!(!all(text.as_bytes(), |_| true, is_plain), "{text}");
        }
    }
}
