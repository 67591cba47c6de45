//! How passwords are hashed. Never repeats the pepper in a message.

use std::num::NonZeroUsize;

use portcullis_ops::Secret;

use super::values::Values;
use super::{Environment, Variable, secrets, var};

pub(super) const VARIABLES: &[Variable] = &[
    var(
        "SECURITY_SALT",
        "none",
        "pepper mixed into stored password hashes: the same on every instance",
    ),
    var(
        "HASH_WORKERS",
        "number of cores",
        "password hashes computed at once",
    ),
];

/// HMAC-SHA-256 gains nothing from a longer pepper and loses from a shorter one.
const PEPPER_MIN_BYTES: usize = 32;

/// How passwords are hashed.
#[derive(Debug, Clone)]
pub struct Passwords {
    /// Pepper of stored password hashes.
    pub pepper: Option<Secret<String>>,
    /// Password hashes computed at once.
    pub hash_workers: NonZeroUsize,
}

impl Passwords {
    pub(super) fn read(v: &mut Values<'_>, environment: Environment) -> Self {
        Self {
            pepper: v.pepper(environment, PEPPER_MIN_BYTES),
            hash_workers: v.hash_workers(),
        }
    }
}

impl Values<'_> {
    fn pepper(&mut self, environment: Environment, min_bytes: usize) -> Option<Secret<String>> {
        let production = environment.is_production();
        let hint = "make one with: openssl rand -base64 48; give every instance the same";
        let Some(text) = self.get("SECURITY_SALT").map(Secret::new) else {
            if production {
                self.error(
                    "SECURITY_SALT",
                    "is not set, which production requires",
                    hint,
                );
            }
            return None;
        };
        let fault = if text.expose().len() < min_bytes {
            Some(format!("is shorter than {min_bytes} bytes"))
        } else if secrets::is_example(text.expose()) {
            Some("is an example, not a secret".to_owned())
        } else {
            None
        };
        match fault {
            Some(fault) if production => self.error("SECURITY_SALT", fault, hint),
            Some(fault) => self
                .warnings
                .push(format!("SECURITY_SALT {fault}: production refuses it")),
            None => {}
        }
        Some(text)
    }

    fn hash_workers(&mut self) -> NonZeroUsize {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let number = self.number("HASH_WORKERS", cores.get() as u64, 1..=256);
        NonZeroUsize::new(number as usize).unwrap_or(cores)
    }
}
