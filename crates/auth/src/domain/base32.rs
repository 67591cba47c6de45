//! RFC 4648 base32 without padding, as authenticators and people read it. One text for each sequence of bytes.

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// In upper case; a number of bytes that is no multiple of five ends in zero bits.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(symbol(held >> bits));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(symbol(held << (5 - bits)));
    }
    text
}

fn symbol(value: u32) -> char {
    char::from(ALPHABET[(value & 31) as usize])
}

/// `N` bytes out of exactly as many symbols as they need, in either case; `N` is a multiple of five.
pub(super) fn decode<const N: usize>(symbols: impl Iterator<Item = char>) -> Option<[u8; N]> {
    const { assert!(N.is_multiple_of(5)) };
    let mut bytes = [0; N];
    let (mut at, mut held, mut bits) = (0, 0_u32, 0);
    for symbol in symbols {
        let symbol = u8::try_from(symbol.to_ascii_uppercase()).ok()?;
        let value = ALPHABET.iter().position(|known| *known == symbol)?;
        held = held << 5 | value as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            *bytes.get_mut(at)? = (held >> bits) as u8;
            held &= (1 << bits) - 1;
            at += 1;
        }
    }
    (at == N && bits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_hold() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn what_is_written_reads_back_and_nothing_else_does() {
        let bytes: [u8; 10] = std::array::from_fn(|i| (i * 29 + 3) as u8);
        let text = encode(&bytes);
        assert_eq!(decode(text.chars()), Some(bytes));
        assert_eq!(decode(text.to_lowercase().chars()), Some(bytes));
        for other in [
            &text[1..],
            &format!("{text}A"),
            &format!("{}0", &text[1..]),
            &format!("{}Ä", &text[1..]),
            "",
            &"A".repeat(5000),
        ] {
            assert_eq!(decode::<10>(other.chars()), None, "{other:.20}");
        }
    }
}
