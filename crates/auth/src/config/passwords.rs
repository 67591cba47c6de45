//! How passwords are hashed. Never repeats the pepper in a message.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use portcullis_ops::Secret;

use super::values::Values;
use super::{Environment, Variable, secrets, var};
use crate::password::{Pepper, Peppers};

pub(super) const VARIABLES: &[Variable] = &[
    var(
        "SECURITY_SALT",
        "none",
        "pepper mixed into stored password hashes: the same on every instance",
    ),
    var(
        "SECURITY_SALT_PREVIOUS",
        "none",
        "another pepper whose hashes still verify, and are rewritten at login: for a change of SECURITY_SALT",
    ),
    var(
        "BREACHED_PASSWORDS_FILE",
        "none",
        "filter of stolen passwords, which nobody may choose: made by `auth breached build`",
    ),
    var(
        "PASSWORD_FORBIDDEN_WORDS",
        "none",
        "names that nobody may choose as a password, separated by commas; the host of ISSUER_URL is one",
    ),
    var(
        "HASH_WORKERS",
        "number of cores",
        "password hashes computed at once",
    ),
];

/// HMAC-SHA-256 gains nothing from a longer pepper and loses from a shorter one.
const PEPPER_MIN_BYTES: usize = 32;
const PEPPER_HINT: &str = "make one with: openssl rand -base64 48; give every instance the same";
const FORBIDDEN_WORDS_MAX: usize = 100;

/// How passwords are hashed.
#[derive(Debug, Clone)]
pub struct Passwords {
    /// Pepper of stored password hashes.
    pub pepper: Option<Secret<String>>,
    /// A pepper that hashes may still need.
    pub previous_pepper: Option<Secret<String>>,
    /// Filter of stolen passwords.
    pub breached: Option<PathBuf>,
    /// Names that nobody may choose.
    pub forbidden: Vec<String>,
    /// Password hashes computed at once.
    pub hash_workers: NonZeroUsize,
}

impl Passwords {
    /// The pepper of new hashes, and the one that older ones may need.
    pub(crate) fn peppers(&self) -> Peppers {
        let previous = self.previous_pepper.iter().map(Pepper::new).collect();
        match &self.pepper {
            Some(pepper) => Peppers::new(Pepper::new(pepper), previous),
            None => Peppers::none(),
        }
    }

    pub(super) fn read(v: &mut Values<'_>, environment: Environment) -> Self {
        let pepper = v.pepper(environment, PEPPER_MIN_BYTES);
        let previous_pepper = v.previous_pepper(environment, pepper.as_ref());
        Self {
            pepper,
            previous_pepper,
            breached: v.get("BREACHED_PASSWORDS_FILE").map(PathBuf::from),
            forbidden: v.forbidden_words(),
            hash_workers: v.hash_workers(),
        }
    }
}

impl Values<'_> {
    fn pepper(&mut self, environment: Environment, min_bytes: usize) -> Option<Secret<String>> {
        let Some(text) = self.get("SECURITY_SALT").map(Secret::new) else {
            if environment.is_production() {
                self.error(
                    "SECURITY_SALT",
                    "is not set, which production requires",
                    PEPPER_HINT,
                );
            }
            return None;
        };
        self.judge_pepper("SECURITY_SALT", &text, environment, min_bytes);
        Some(text)
    }

    /// Only beside a present one, and another one.
    fn previous_pepper(
        &mut self,
        environment: Environment,
        present: Option<&Secret<String>>,
    ) -> Option<Secret<String>> {
        let name = "SECURITY_SALT_PREVIOUS";
        let text = self.get(name).map(Secret::new)?;
        let hint = "leave it out unless SECURITY_SALT is being changed";
        match present {
            None => self.error(name, "is set, but SECURITY_SALT is not", hint),
            Some(present) if present.expose() == text.expose() => {
                self.error(name, "is the same as SECURITY_SALT", hint);
            }
            Some(_) => self.judge_pepper(name, &text, environment, PEPPER_MIN_BYTES),
        }
        Some(text)
    }

    fn judge_pepper(
        &mut self,
        name: &'static str,
        text: &Secret<String>,
        environment: Environment,
        min_bytes: usize,
    ) {
        let fault = if text.expose().len() < min_bytes {
            format!("is shorter than {min_bytes} bytes")
        } else if secrets::is_example(text.expose()) {
            "is an example, not a secret".to_owned()
        } else {
            return;
        };
        match environment.is_production() {
            true => self.error(name, fault, PEPPER_HINT),
            false => self
                .warnings
                .push(format!("{name} {fault}: production refuses it")),
        }
    }

    fn forbidden_words(&mut self) -> Vec<String> {
        let text = self.get("PASSWORD_FORBIDDEN_WORDS").unwrap_or_default();
        let words = text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        let words: Vec<String> = words.map(str::to_owned).collect();
        let is_word = |word: &String| (3..=64).contains(&word.chars().count());
        if words.len() > FORBIDDEN_WORDS_MAX || !words.iter().all(is_word) {
            self.error(
                "PASSWORD_FORBIDDEN_WORDS",
                "holds more than 100 words, or one with fewer than 3 or more than 64 characters",
                "name what everybody knows: your company, your products, separated by commas",
            );
        }
        words
    }

    fn hash_workers(&mut self) -> NonZeroUsize {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let number = self.number("HASH_WORKERS", cores.get() as u64, 1..=256);
        NonZeroUsize::new(number as usize).unwrap_or(cores)
    }
}
