//! What an account may bring along from another system. Never runs a hash.

use crate::password::is_readable;

/// Whether a stored hash, of this service or of another system, would be checked at a login here: argon2id, argon2i,
/// bcrypt, PBKDF2-SHA-256 or scrypt, in the form and within the bounds of docs/passwords.md. One under a pepper needs
/// that pepper as well.
pub fn is_importable(password_hash: &str) -> bool {
    is_readable(password_hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_b02_what_would_hang_a_thread_or_is_unknown_is_not_imported() {
        let bcrypt = "$2y$12$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
        assert!(is_importable(bcrypt));
        for text in [
            "",
            "secret",
            &bcrypt.replace("$12$", "$31$"),
            "$1$x$y",
            "{SHA}x",
        ] {
            assert!(!is_importable(text), "{text}");
        }
    }
}
