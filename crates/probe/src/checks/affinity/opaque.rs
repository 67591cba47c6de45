//! Whether a cookie's value can be read. Never tries to break a cipher: only what anybody would try.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::checks::inner::inner_address;

/// What a value tells about the inside, plainly or in one of the usual encodings.
pub(super) fn revealed(value: &str, instances: &[String]) -> Option<String> {
    readings(value).into_iter().find_map(|text| {
        let named = instances.iter().find(|name| {
            text == **name || (name.len() >= TELLING_CHARS && text.contains(name.as_str()))
        });
        match named {
            Some(name) => Some(format!("the instance {name}")),
            None => inner_address(&text, &[]).map(|address| format!("the address {address}")),
        }
    })
}

/// Shorter names are in many a text by chance.
const TELLING_CHARS: usize = 5;

fn readings(value: &str) -> Vec<String> {
    let mut readings = vec![value.to_owned(), percent_decoded(value)];
    let unpadded = value.trim_end_matches('=');
    let decoded = [
        STANDARD_NO_PAD.decode(unpadded).ok(),
        URL_SAFE_NO_PAD.decode(unpadded).ok(),
        hex_decoded(value),
    ];
    let texts = decoded.into_iter().flatten();
    readings.extend(texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    readings
}

fn percent_decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let decoded = match (first, behind.get(..2)) {
            (b'%', Some(digits)) => hex_byte(digits),
            _ => None,
        };
        bytes.push(decoded.unwrap_or(first));
        rest = if decoded.is_some() {
            &behind[2..]
        } else {
            behind
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_decoded(value: &str) -> Option<Vec<u8>> {
    let digits = value.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(hex_byte).collect()
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anybody_can_read_is_revealed() {
        let instances = ["auth-4001".to_owned(), "s1".to_owned()];
        for value in [
            "10.0.1.7:4001",
            "10.0.1.7%3A4001",
            "MTAuMC4xLjc6NDAwMQ==",
            "MTAuMC4xLjc6NDAwMQ",
            "31302e302e312e373a34303031",
            "v1.auth-4001.x",
            "s1",
        ] {
            assert!(revealed(value, &instances).is_some(), "{value}");
        }
    }

    #[test]
    fn random_values_reveal_nothing() {
        let instances = ["auth-4001".to_owned(), "s1".to_owned(), "a".to_owned()];
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..10_000 {
            let bytes: Vec<u8> = (0..44).map(|_| random.u8(..)).collect();
            let value = URL_SAFE_NO_PAD.encode(bytes);
            assert_eq!(revealed(&value, &instances), None, "{value}");
        }
    }
}
