//! Hashes that another system made, as accounts bring them along when they move here. Only ever verified, and rewritten at
//! the first right login. Never accepts a cost that could hold a hashing thread for longer than about a second: a row
//! of a table that somebody else filled must not be a weapon.
//!
//! | scheme | written as | at most |
//! |---|---|---|
//! | bcrypt | `$2a$`, `$2b$`, `$2y$` | cost 14 |
//! | PBKDF2-HMAC-SHA-256 | PHC, passlib, Django | 2,000,000 iterations |
//! | scrypt | PHC | 128 MiB, N·r·p of 2^21 |
//! | argon2id, argon2i | PHC | 128 MiB, 1 GiB written |

use argon2::{Algorithm, Params};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD, STANDARD_NO_PAD};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

use super::arena::Arena;
use super::phc::number;
use crate::random;

const SALT_BYTES_MAX: usize = 64;
const TAG_BYTES: std::ops::RangeInclusive<usize> = 16..=64;
const MEMORY_KIB_MAX: u32 = 128 * 1024;
/// Memory times passes.
const ARGON2_WORK_MAX: u64 = 1 << 20;
const LANES_MAX: u32 = 16;
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=14;
const ITERATIONS_MAX: u32 = 2_000_000;
/// N times r times p.
const SCRYPT_WORK_MAX: u64 = 1 << 21;
const BCRYPT_SALT_BYTES: usize = 16;
/// The last of its 24 bytes is not written down.
const BCRYPT_TAG_BYTES: usize = 23;
/// What it looks at of a password.
const BCRYPT_PASSWORD_BYTES: usize = 72;

/// Old implementations leave bits behind the last byte.
const BCRYPT64: GeneralPurpose =
    GeneralPurpose::new(&BCRYPT, NO_PAD.with_decode_allow_trailing_bits(true));

/// A scheme with its parameters: what one run costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Bcrypt {
        cost: u32,
    },
    Pbkdf2 {
        iterations: NonZeroU32,
    },
    Scrypt {
        log_n: u8,
        r: u32,
        p: u32,
    },
    Argon2 {
        is_hybrid: bool,
        memory_kib: u32,
        passes: u32,
        lanes: u32,
    },
}

/// A foreign hash taken apart.
#[derive(Clone)]
pub(super) struct Foreign {
    pub(super) scheme: Scheme,
    salt: Vec<u8>,
    tag: Vec<u8>,
}

impl Foreign {
    /// Reads a stored string; `None` for what is unknown, malformed or beyond the bounds.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > 512 {
            return None;
        }
        let foreign = match text.split_once('$')? {
            ("pbkdf2_sha256", rest) => Self::django(rest),
            ("", rest) => match rest.split_once('$')? {
                ("2a" | "2b" | "2y", rest) => Self::bcrypt(rest),
                ("pbkdf2-sha256", rest) => Self::pbkdf2(rest),
                ("scrypt", rest) => Self::scrypt(rest),
                ("argon2id", rest) => Self::argon2(true, rest),
                ("argon2i", rest) => Self::argon2(false, rest),
                _ => None,
            },
            _ => None,
        }?;
        let is_sized =
            foreign.salt.len() <= SALT_BYTES_MAX && TAG_BYTES.contains(&foreign.tag.len());
        is_sized.then_some(foreign)
    }

    /// One that no password leads to, of the same cost.
    pub(super) fn unmatchable(scheme: Scheme) -> Self {
        let bytes = match scheme {
            Scheme::Bcrypt { .. } => BCRYPT_TAG_BYTES,
            _ => 32,
        };
        Self {
            scheme,
            salt: random::bytes::<BCRYPT_SALT_BYTES>().to_vec(),
            tag: random::bytes::<32>()[..bytes].to_vec(),
        }
    }

    /// Whether the password is the one that was hashed. The whole run, whatever the answer.
    pub(super) fn is_of(&self, password: &str, arena: &mut Arena) -> bool {
        let mut tag = Zeroizing::new(vec![0; self.tag.len()]);
        self.run(password.as_bytes(), arena, &mut tag);
        verify_slices_are_equal(&tag, &self.tag).is_ok()
    }

    fn run(&self, password: &[u8], arena: &mut Arena, tag: &mut [u8]) {
        match self.scheme {
            Scheme::Bcrypt { cost } => {
                let mut text = Zeroizing::new(password.to_vec());
                text.push(0);
                text.truncate(BCRYPT_PASSWORD_BYTES);
                let salt = <[u8; BCRYPT_SALT_BYTES]>::try_from(&self.salt[..]);
                let salt = salt.expect("the parser asks for as many bytes");
                let whole = bcrypt::bcrypt(cost, salt, &text);
                tag.copy_from_slice(&whole[..BCRYPT_TAG_BYTES]);
            }
            Scheme::Pbkdf2 { iterations } => {
                let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
                pbkdf2::derive(algorithm, iterations, &self.salt, password, tag);
            }
            Scheme::Scrypt { log_n, r, p } => {
                let params = scrypt::Params::new(log_n, r, p).expect("the parser checked them");
                scrypt::scrypt(password, &self.salt, &params, tag)
                    .expect("the parser checked the length of the tag");
            }
            Scheme::Argon2 {
                is_hybrid,
                memory_kib,
                passes,
                lanes,
            } => {
                let params = Params::new(memory_kib, passes, lanes, Some(tag.len()))
                    .expect("the parser checked them");
                let algorithm = match is_hybrid {
                    true => Algorithm::Argon2id,
                    false => Algorithm::Argon2i,
                };
                arena.run(algorithm, params, &self.salt, password, tag);
            }
        }
    }

    /// `12$` and 53 symbols: salt and tag.
    fn bcrypt(rest: &str) -> Option<Self> {
        let (cost, text) = rest.split_once('$')?;
        let cost = (cost.len() == 2).then(|| number(cost))??;
        let (salt, tag) = text.split_at_checked(22)?;
        let salt = BCRYPT64.decode(salt).ok()?;
        let tag = BCRYPT64.decode(tag).ok()?;
        let is_whole = salt.len() == BCRYPT_SALT_BYTES && tag.len() == BCRYPT_TAG_BYTES;
        (BCRYPT_COSTS.contains(&cost) && is_whole).then_some(Self {
            scheme: Scheme::Bcrypt { cost },
            salt,
            tag,
        })
    }

    /// `i=600000,l=32$salt$tag`, or passlib's `29000$salt$tag`, which writes `.` for `+`.
    fn pbkdf2(rest: &str) -> Option<Self> {
        let [params, salt, tag] = fields(rest)?;
        let (iterations, length) = match params.strip_prefix("i=") {
            None => (params, None),
            Some(params) => match params.split_once(",l=") {
                None => (params, None),
                Some((iterations, length)) => (iterations, Some(number(length)?)),
            },
        };
        let decode = |text: &str| STANDARD_NO_PAD.decode(text.replace('.', "+")).ok();
        let (salt, tag) = (decode(salt)?, decode(tag)?);
        let is_whole = length.is_none_or(|length| length as usize == tag.len());
        is_whole.then_some(())?;
        Self::of_iterations(iterations, salt, tag)
    }

    /// Django: `600000$salt$tag`; the salt is text.
    fn django(rest: &str) -> Option<Self> {
        let [iterations, salt, tag] = fields(rest)?;
        let tag = STANDARD.decode(tag).ok()?;
        Self::of_iterations(iterations, salt.as_bytes().to_vec(), tag)
    }

    fn of_iterations(iterations: &str, salt: Vec<u8>, tag: Vec<u8>) -> Option<Self> {
        let iterations = NonZeroU32::new(number(iterations)?)?;
        (iterations.get() <= ITERATIONS_MAX).then_some(Self {
            scheme: Scheme::Pbkdf2 { iterations },
            salt,
            tag,
        })
    }

    /// `ln=16,r=8,p=1$salt$tag`.
    fn scrypt(rest: &str) -> Option<Self> {
        let [params, salt, tag] = fields(rest)?;
        let [log_n, r, p] = numbers(params, ["ln=", "r=", "p="])?;
        let log_n = u8::try_from(log_n)
            .ok()
            .filter(|log_n| (1..=20).contains(log_n))?;
        let work = u64::from(r)
            .checked_mul(u64::from(p))?
            .checked_mul(1 << log_n)?;
        let memory_kib = (u64::from(r) << log_n) / 8;
        let is_bounded =
            r >= 1 && p >= 1 && memory_kib <= u64::from(MEMORY_KIB_MAX) && work <= SCRYPT_WORK_MAX;
        is_bounded.then_some(())?;
        scrypt::Params::new(log_n, r, p).ok()?;
        Some(Self {
            scheme: Scheme::Scrypt { log_n, r, p },
            salt: STANDARD_NO_PAD.decode(salt).ok()?,
            tag: STANDARD_NO_PAD.decode(tag).ok()?,
        })
    }

    /// `v=19$m=65536,t=3,p=4$salt$tag`.
    fn argon2(is_hybrid: bool, rest: &str) -> Option<Self> {
        let [params, salt, tag] = fields(rest.strip_prefix("v=19$")?)?;
        let [memory_kib, passes, lanes] = numbers(params, ["m=", "t=", "p="])?;
        let work = u64::from(memory_kib) * u64::from(passes);
        let is_bounded = memory_kib <= MEMORY_KIB_MAX
            && work <= ARGON2_WORK_MAX
            && (1..=LANES_MAX).contains(&lanes);
        is_bounded.then_some(())?;
        let salt = STANDARD_NO_PAD.decode(salt).ok()?;
        let tag = STANDARD_NO_PAD.decode(tag).ok()?;
        let is_salted = salt.len() >= argon2::MIN_SALT_LEN;
        // What the crate itself refuses, too little memory for the lanes for one.
        Params::new(memory_kib, passes, lanes, Some(tag.len())).ok()?;
        is_salted.then_some(Self {
            scheme: Scheme::Argon2 {
                is_hybrid,
                memory_kib,
                passes,
                lanes,
            },
            salt,
            tag,
        })
    }
}

fn fields(text: &str) -> Option<[&str; 3]> {
    let fields: Vec<&str> = text.split('$').collect();
    fields.try_into().ok()
}

/// Named numbers in this order, and nothing else.
fn numbers(text: &str, names: [&str; 3]) -> Option<[u32; 3]> {
    let mut parts = text.split(',');
    let mut found = [0; 3];
    for (value, name) in found.iter_mut().zip(names) {
        *value = number(parts.next()?.strip_prefix(name)?)?;
    }
    parts.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests;
