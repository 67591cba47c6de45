//! A value that must never be printed. Never implements `Display` or `Serialize`.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// Wraps a password, key or token: `Debug` shows `[redacted]`, memory is wiped on drop.
#[derive(Clone, Default)]
pub struct Secret<T: Zeroize = String>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes ownership of the value.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Whether a value of this name, such as a header field, usually is one that must not be shown.
pub fn tells_of_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words = [
        "authorization",
        "cookie",
        "token",
        "secret",
        "key",
        "password",
    ];
    words.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(secret.expose(), "hunter2");
    }
    #[test]
    fn names_that_usually_carry_a_secret_are_told_in_any_case() {
        for name in ["Authorization", "set-cookie", "X-Api-Key", "client_secret"] {
            assert!(tells_of_secret(name), "{name}");
        }
        for name in ["accept", "x-request-id", "host"] {
            assert!(!tells_of_secret(name), "{name}");
        }
    }
}
