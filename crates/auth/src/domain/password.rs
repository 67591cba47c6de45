//! Which passwords are accepted. Length and known-bad words only, no composition rules; never changes what was typed.

mod pattern;

use portcullis_ops::Secret;

use super::Email;

const MIN_CHARS: usize = 8;
const MAX_CHARS: usize = 128;
/// Refused before hashing, so that a login costs bounded work whatever is sent.
const MAX_BYTES: usize = 512;

/// Words about this service that make a password guessable.
const PRODUCT_WORDS: &[&str] = &["portcullis"];

/// One word a line, lower case, each at least [`MIN_CHARS`] long, in order: the 3,000 that are most frequent among published
/// passwords, and some more.
const COMMON: &str = include_str!("password/common.txt");

/// A password somebody wants to use from now on; passed the policy.
#[derive(Clone, Debug)]
pub struct NewPassword(Secret<String>);

/// A password somebody claims to know. Only bounded: an old password may break today's policy.
#[derive(Clone, Debug)]
pub struct PresentedPassword(Secret<String>);

/// Why a password was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    /// Fewer characters than required.
    #[error("the password needs at least {MIN_CHARS} characters")]
    TooShort,
    /// More characters or bytes than are hashed.
    #[error("the password may have at most {MAX_CHARS} characters and {MAX_BYTES} bytes")]
    TooLong,
    /// On the list every attacker tries first.
    #[error("the password is one of the most common ones")]
    TooCommon,
    /// The address or the product name, with or without digits around it.
    #[error("the password repeats the email address or the name of this service")]
    Guessable,
}

impl NewPassword {
    /// Applies the policy for the account of `email`.
    pub fn parse(text: &str, email: &Email) -> Result<Self, PasswordRefused> {
        if text.len() > MAX_BYTES {
            return Err(PasswordRefused::TooLong);
        }
        match text.chars().count() {
            ..MIN_CHARS => return Err(PasswordRefused::TooShort),
            MIN_CHARS..=MAX_CHARS => {}
            _ => return Err(PasswordRefused::TooLong),
        }
        let folded = zeroize::Zeroizing::new(text.to_lowercase());
        if is_listed(&folded) || pattern::is_common(&folded) {
            return Err(PasswordRefused::TooCommon);
        }
        if is_guessable(&folded, email) {
            return Err(PasswordRefused::Guessable);
        }
        Ok(Self(Secret::new(text.to_owned())))
    }

    /// The text, for the hasher.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The text alone.
    pub(crate) fn into_secret(self) -> Secret<String> {
        self.0
    }
}

impl PresentedPassword {
    /// Bounds what a login may hash; `None` when it is too long to be anybody's password.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() <= MAX_BYTES).then(|| Self(Secret::new(text.to_owned())))
    }

    /// The text, for the hasher.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The text alone.
    pub(crate) fn into_secret(self) -> Secret<String> {
        self.0
    }
}

fn is_listed(folded: &str) -> bool {
    COMMON.lines().any(|word| word == folded)
}

/// `alice`, `alice2024!` and `alice@example.com` are the first guesses for alice@example.com.
fn is_guessable(folded: &str, email: &Email) -> bool {
    let stem = folded.trim_matches(|c: char| !c.is_alphabetic());
    let words = PRODUCT_WORDS.iter().copied();
    words
        .chain([email.as_str(), email.local_part(), email.domain()])
        .any(|word| folded == word || stem == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> PasswordRefused {
        parse(text).unwrap_err()
    }

    fn parse(text: &str) -> Result<NewPassword, PasswordRefused> {
        NewPassword::parse(
            text,
            &Email::parse("alice.smith@wonderland.example").unwrap(),
        )
    }

    #[test]
    fn sec_a06_length_is_counted_in_characters_of_any_script() {
        for text in [
            "correct horse",
            "        x",
            "пароль-с-пробелом",
            "🔒🗝🛡🏰⚔🐉🧙🏹",
            &"é".repeat(128),
            &"🔒".repeat(128),
        ] {
            assert_eq!(
                parse(text).unwrap().expose(),
                text,
                "never trimmed or folded"
            );
        }
        assert_eq!(refused("1234567"), PasswordRefused::TooShort);
        assert_eq!(refused("🔒🔒🔒🔒🔒🔒🔒"), PasswordRefused::TooShort);
        assert_eq!(refused(&"é".repeat(129)), PasswordRefused::TooLong);
        assert_eq!(refused(&"x".repeat(1 << 20)), PasswordRefused::TooLong);
        assert_eq!(refused(""), PasswordRefused::TooShort);
    }

    #[test]
    fn sec_a06_a_presented_password_is_only_bounded() {
        assert!(PresentedPassword::parse("").is_some());
        assert!(PresentedPassword::parse(&"x".repeat(512)).is_some());
        assert!(PresentedPassword::parse(&"x".repeat(513)).is_none());
    }

    #[test]
    fn sec_b07_common_words_are_refused_in_any_case() {
        for text in [
            "password",
            "PassWord",
            "12345678",
            "qwertyuiop",
            "iloveyou",
            "Password123",
        ] {
            assert_eq!(refused(text), PasswordRefused::TooCommon, "{text}");
        }
    }

    #[test]
    fn sec_b07_address_and_product_name_are_refused_with_digits_around() {
        for text in [
            "alice.smith",
            "Alice.Smith1999!",
            "12alice.smith",
            "wonderland.example",
            "alice.smith@wonderland.example",
            "portcullis",
            "Portcullis2026",
        ] {
            assert_eq!(refused(text), PasswordRefused::Guessable, "{text}");
        }
        assert!(
            parse("alice.smithereens").is_ok(),
            "containing is not repeating"
        );
    }

    #[test]
    fn sec_b07_the_three_thousand_commonest_passwords_are_refused() {
        let words: Vec<_> = COMMON.lines().collect();
        assert!(words.len() >= 3000);
        for word in words {
            for text in [word.to_owned(), word.to_uppercase()] {
                let refused = parse(&text);
                assert!(
                    matches!(refused, Err(PasswordRefused::TooCommon)),
                    "{text}: {refused:?}"
                );
            }
        }
        // No rule asks for kinds of characters.
        for good in [
            "tenpenny walrus",
            "ungewaschenes",
            "2718281828459045",
            "!?!?-!?!-?!?",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn the_list_of_common_words_is_clean() {
        let words: Vec<_> = COMMON.lines().collect();
        assert!(words.is_sorted());
        for word in &words {
            assert!(
                word.chars().count() >= MIN_CHARS,
                "{word} is refused by length already"
            );
            assert_eq!(*word, word.to_lowercase().trim());
        }
        assert_eq!(
            words
                .iter()
                .collect::<std::collections::BTreeSet<_>>()
                .len(),
            words.len()
        );
    }

    #[test]
    fn debug_never_shows_a_password() {
        assert!(
            !format!(
                "{:?}{:?}",
                parse("correct horse"),
                PresentedPassword::parse("correct horse")
            )
            .contains("horse")
        );
    }
}
