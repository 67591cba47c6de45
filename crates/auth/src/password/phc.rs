//! The stored form of a password hash: the PHC string of argon2id. Never accepts parameters that a row could use to exhaust memory.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::pepper::{Pepper, PepperId};
use crate::domain::PasswordHash;
use crate::random;

pub(super) const SALT_BYTES: usize = 16;
pub(super) const TAG_BYTES: usize = 32;

/// Bounds on what a stored hash may ask for.
const MAX_MEMORY_KIB: u32 = 64 * 1024;
const MAX_PASSES: u32 = 16;

/// Memory and passes of argon2id with one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashCost {
    memory_kib: u32,
    passes: u32,
}

impl HashCost {
    /// The first choice of the OWASP Password Storage cheat sheet.
    pub const RECOMMENDED: Self = Self {
        memory_kib: 19456,
        passes: 2,
    };

    /// Small enough for tests that hash a lot.
    #[cfg(test)]
    pub(crate) const CHEAP: Self = Self {
        memory_kib: 64,
        passes: 1,
    };

    /// The rows of that cheat sheet; each is about as strong as the others.
    const FLOOR: [Self; 5] = [
        Self {
            memory_kib: 47104,
            passes: 1,
        },
        Self {
            memory_kib: 19456,
            passes: 2,
        },
        Self {
            memory_kib: 12288,
            passes: 3,
        },
        Self {
            memory_kib: 9216,
            passes: 4,
        },
        Self {
            memory_kib: 7168,
            passes: 5,
        },
    ];

    /// A cost no weaker than OWASP asks for and no larger than a row may have.
    pub fn new(memory_kib: u32, passes: u32) -> Option<Self> {
        let cost = Self { memory_kib, passes };
        let is_strong = Self::FLOOR
            .iter()
            .any(|row| memory_kib >= row.memory_kib && passes >= row.passes);
        (is_strong && cost.is_bounded()).then_some(cost)
    }

    fn is_bounded(self) -> bool {
        (8..=MAX_MEMORY_KIB).contains(&self.memory_kib) && (1..=MAX_PASSES).contains(&self.passes)
    }

    pub(super) fn params(self) -> argon2::Params {
        argon2::Params::new(self.memory_kib, self.passes, 1, Some(TAG_BYTES))
            .expect("bounded costs are within argon2's own limits")
    }
}

/// A PHC string taken apart.
#[derive(Clone)]
pub(super) struct Phc {
    pub(super) cost: HashCost,
    /// Which pepper the tag went through, if any. PHC's `keyid`.
    pub(super) pepper: Option<PepperId>,
    pub(super) salt: Vec<u8>,
    pub(super) tag: [u8; TAG_BYTES],
}

impl Phc {
    /// Looks like any other hash of today, but no password leads to its random tag.
    pub(super) fn unmatchable(cost: HashCost, pepper: Option<&Pepper>) -> Self {
        Self {
            cost,
            pepper: pepper.map(Pepper::id),
            salt: random::bytes::<SALT_BYTES>().to_vec(),
            tag: random::bytes(),
        }
    }

    /// Reads a stored string; `None` for anything but what this service writes: `foreign.rs` reads others.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("$argon2id$v=19$")?;
        let mut fields = rest.split('$');
        let (params, salt, tag) = (fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() {
            return None;
        }
        let mut params = params.split(',');
        let cost = HashCost {
            memory_kib: number(params.next()?.strip_prefix("m=")?)?,
            passes: number(params.next()?.strip_prefix("t=")?)?,
        };
        if params.next()? != "p=1" || !cost.is_bounded() {
            return None;
        }
        let pepper = match params.next() {
            None => None,
            Some(field) => Some(PepperId::parse(field.strip_prefix("keyid=")?)?),
        };
        let salt = STANDARD_NO_PAD.decode(salt).ok()?;
        let tag = STANDARD_NO_PAD.decode(tag).ok()?.try_into().ok()?;
        let is_whole = params.next().is_none() && (8..=64).contains(&salt.len());
        is_whole.then_some(Self {
            cost,
            pepper,
            salt,
            tag,
        })
    }

    pub(super) fn to_password_hash(&self) -> PasswordHash {
        PasswordHash::from_phc(self.to_string())
    }
}

impl fmt::Display for Phc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HashCost { memory_kib, passes } = self.cost;
        write!(f, "$argon2id$v=19$m={memory_kib},t={passes},p=1")?;
        if let Some(pepper) = &self.pepper {
            write!(f, ",keyid={pepper}")?;
        }
        write!(
            f,
            "${}${}",
            STANDARD_NO_PAD.encode(&self.salt),
            STANDARD_NO_PAD.encode(self.tag)
        )
    }
}

/// Decimal digits only: `parse` alone would take a sign.
pub(super) fn number(text: &str) -> Option<u32> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn sec_b01_costs_below_every_owasp_row_are_refused() {
        for (memory, passes) in [(19456, 2), (47104, 1), (7168, 5), (65536, 16), (20000, 3)] {
            assert!(HashCost::new(memory, passes).is_some(), "{memory} {passes}");
        }
        for (memory, passes) in [
            (19455, 2),
            (19456, 1),
            (7167, 5),
            (7168, 4),
            (0, 0),
            (65537, 2),
            (65536, 17),
            (u32::MAX, u32::MAX),
        ] {
            assert!(HashCost::new(memory, passes).is_none(), "{memory} {passes}");
        }
    }

    #[test]
    fn the_string_reads_back_with_and_without_pepper() {
        assert_eq!(Phc::parse(GOOD).unwrap().to_string(), GOOD);
        let peppered = GOOD.replace("p=1", "p=1,keyid=AAECAwQF");
        let phc = Phc::parse(&peppered).unwrap();
        assert!(phc.pepper.is_some());
        assert_eq!(phc.to_string(), peppered);
    }

    #[test]
    fn anything_else_is_refused() {
        for (from, to) in [
            ("argon2id", "argon2i"),
            ("argon2id", "bcrypt"),
            ("v=19", "v=16"),
            ("m=19456", "m=4294967295"),
            ("m=19456", "m=65537"),
            ("m=19456", "m=+9456"),
            ("m=19456", "m="),
            ("t=2", "t=0"),
            ("t=2", "t=1000000"),
            ("p=1", "p=4"),
            ("p=1", "p=1,x=1"),
            ("p=1", "p=1,keyid="),
            ("p=1", "p=1,keyid=AAECAwQFAAAA"),
            ("p=1", "p=1,keyid=AAECAwQF,keyid=AAECAwQF"),
            ("m=19456,t=2", "t=2,m=19456"),
            ("$AAEC", "$=AEC"),
            ("$AAECAwQFBgcICQoLDA0ODw$", "$AA$"),
            ("Hh8", "Hh8$"),
            ("Hh8", "Hh"),
            ("Hh8", "Hh8A"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            assert!(Phc::parse(&text).is_none(), "{text}");
        }
        for length in 0..GOOD.len() {
            assert!(Phc::parse(&GOOD[..length]).is_none(), "cut at {length}");
        }
    }
}
