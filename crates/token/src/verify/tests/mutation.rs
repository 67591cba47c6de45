//! Random damage: no changed byte of a token goes unnoticed. A failure prints the seed that replays it.

use crate::testing::{ALL, Forge, rng};

#[test]
fn any_replaced_byte_is_refused() {
    let mut rng = rng();
    for algorithm in ALL {
        let forge = Forge::new(algorithm);
        let valid = forge.valid().into_bytes();
        for at in 0..valid.len() {
            let mut changed = valid.clone();
            while changed[at] == valid[at] {
                changed[at] = if rng.bool() {
                    rng.u8(..0x80)
                } else {
                    rng.alphanumeric() as u8
                };
            }
            forge.refuses(std::str::from_utf8(&changed).expect("ASCII"));
        }
    }
}

#[test]
fn any_removed_inserted_or_swapped_bytes_are_refused() {
    let mut rng = rng();
    for algorithm in ALL {
        let forge = Forge::new(algorithm);
        let valid = forge.valid();
        for _ in 0..500 {
            let mut changed = valid.clone().into_bytes();
            for _ in 0..rng.usize(1..4) {
                match rng.u8(..4) {
                    0 => {
                        changed.remove(rng.usize(..changed.len()));
                    }
                    1 => changed.insert(rng.usize(..=changed.len()), rng.alphanumeric() as u8),
                    2 => {
                        let (a, b) = (rng.usize(..changed.len()), rng.usize(..changed.len()));
                        changed.swap(a, b);
                    }
                    _ => changed.truncate(rng.usize(changed.len() / 2..changed.len())),
                }
            }
            if changed != valid.as_bytes() {
                forge.refuses(std::str::from_utf8(&changed).expect("ASCII"));
            }
        }
    }
}

#[test]
fn noise_neither_panics_nor_passes() {
    let mut rng = rng();
    let forge = Forge::new(crate::Algorithm::EdDsa);
    for _ in 0..2000 {
        let length = rng.usize(..300);
        let noise: String = (0..length)
            .map(|_| match rng.u8(..8) {
                0 => '.',
                1 => rng.char(..),
                _ => rng.alphanumeric(),
            })
            .collect();
        forge.refuses(&noise);
        let (header, payload) = forge.texts();
        let (mut header, mut payload) = (header.into_bytes(), payload.into_bytes());
        let text = if rng.bool() {
            &mut header
        } else {
            &mut payload
        };
        let at = rng.usize(..text.len());
        text[at] = rng.u8(..0x80);
        // Signed noise: may well be a valid token with another subject, must not panic.
        let [header, payload] =
            [header, payload].map(|text| String::from_utf8(text).expect("ASCII"));
        let _verdict = forge.verify(&forge.raw(&header, &payload));
    }
}
