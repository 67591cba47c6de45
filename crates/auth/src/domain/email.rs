//! The address an account is found by. Never holds anything that could break out of a mail header or a log line.

use std::fmt;

/// A normalised address: trimmed, lower case, one `@`, at most 254 bytes.
///
/// Two spellings that differ in case only are one account; nothing else is folded, because mailbox rules
/// (dots, plus parts) belong to the receiving provider.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

/// Why a text is no address we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmail {
    /// Nothing but blanks.
    #[error("the email address is empty")]
    Empty,
    /// Longer than SMTP can carry (RFC 5321 4.5.3.1.3, less the brackets).
    #[error("the email address is longer than {max} bytes", max = MAX_BYTES)]
    TooLong,
    /// Control or invisible characters, CR and LF among them.
    #[error("the email address contains characters that are not allowed")]
    ForbiddenCharacter,
    /// Not `local@domain`.
    #[error("the email address is not of the form name@domain")]
    Malformed,
}

const MAX_BYTES: usize = 254;
const MAX_LOCAL_BYTES: usize = 64;

impl Email {
    /// Parses and normalises what a person typed.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        // Before anything allocates or folds: an attacker chooses the length.
        if text.len() > 4 * MAX_BYTES {
            return Err(InvalidEmail::TooLong);
        }
        let trimmed = text.trim_matches(' ');
        if trimmed.is_empty() {
            return Err(InvalidEmail::Empty);
        }
        if trimmed.chars().any(is_forbidden) {
            return Err(InvalidEmail::ForbiddenCharacter);
        }
        let address = trimmed.to_lowercase();
        if address.len() > MAX_BYTES {
            return Err(InvalidEmail::TooLong);
        }
        let (local, domain) = address.split_once('@').ok_or(InvalidEmail::Malformed)?;
        if !is_local(local) || !is_domain(domain) {
            return Err(InvalidEmail::Malformed);
        }
        Ok(Self(address))
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`.
    pub fn local_part(&self) -> &str {
        self.0.split_once('@').map_or("", |(local, _)| local)
    }

    /// What stands behind the `@`.
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }
}

/// Personal data: logs get the shape, never the address.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email([redacted])")
    }
}

fn is_forbidden(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        // Quoting, lists and comments of RFC 5322: legal in theory, header injection in practice.
        || "\"(),:;<>[\\]".contains(c)
        // Zero-width, direction-changing and other invisible format characters.
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn is_local(local: &str) -> bool {
    !local.is_empty()
        && local.len() <= MAX_LOCAL_BYTES
        && local.split('.').all(|atom| !atom.is_empty())
}

fn is_domain(domain: &str) -> bool {
    domain.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c == '-' || c.is_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_that_differ_in_case_or_blanks_are_one_address() {
        let email = Email::parse("  Ada.Lovelace+x@Example.COM ").unwrap();
        assert_eq!(email.as_str(), "ada.lovelace+x@example.com");
        assert_eq!(
            (email.local_part(), email.domain()),
            ("ada.lovelace+x", "example.com")
        );
        assert_eq!(
            Email::parse("ADMIN@localhost").unwrap().as_str(),
            "admin@localhost"
        );
        assert_eq!(
            Email::parse("ÄNNE@Bücher.example").unwrap().as_str(),
            "änne@bücher.example"
        );
    }

    #[test]
    fn normalising_twice_changes_nothing() {
        for text in ["A@B.c", "İ@x.example", "ΑΣ@x.example", "ẞ@x.example"] {
            let once = Email::parse(text).map(|email| email.0);
            let twice = once
                .clone()
                .and_then(|text| Email::parse(&text))
                .map(|email| email.0);
            assert_eq!(once, twice, "{text}");
        }
    }

    #[test]
    fn control_and_invisible_characters_are_refused() {
        for text in [
            "a@b.c\r\nbcc: x@y.z",
            "a@b.c\n",
            "\ta@b.c",
            "a\0@b.c",
            "a b@c.d",
            "a@b.c\u{202e}",
            "a\u{200b}@b.c",
            "a@b\u{a0}.c",
            "\"a\"@b.c",
            "a@b.c,d@e.f",
            "<a@b.c>",
            "a\u{7f}@b.c",
            "a\u{85}@b.c",
        ] {
            assert_eq!(
                Email::parse(text).unwrap_err(),
                InvalidEmail::ForbiddenCharacter,
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "a", "@", "a@", "@b.c", "a@b@c.d", ".a@b.c", "a..b@c.d", "a.@b.c", "a@.c", "a@b..c",
            "a@-b.c", "a@b_c.d",
        ] {
            assert_eq!(
                Email::parse(text).unwrap_err(),
                InvalidEmail::Malformed,
                "{text:?}"
            );
        }
        assert_eq!(Email::parse("   ").unwrap_err(), InvalidEmail::Empty);
        assert_eq!(Email::parse("").unwrap_err(), InvalidEmail::Empty);
    }

    #[test]
    fn length_is_bounded_in_bytes_after_folding() {
        let domain = ["d".repeat(60), "d".repeat(60), "d".repeat(60)].join(".");
        let fits = format!("{}@{domain}", "l".repeat(64));
        assert_eq!(fits.len(), 247);
        assert!(Email::parse(&fits).is_ok());
        assert_eq!(
            Email::parse(&format!("{fits}.ddddddd")).unwrap_err(),
            InvalidEmail::TooLong
        );
        assert_eq!(
            Email::parse(&"x".repeat(1 << 20)).unwrap_err(),
            InvalidEmail::TooLong
        );
        assert_eq!(
            Email::parse(&format!("{}@b.c", "l".repeat(65))).unwrap_err(),
            InvalidEmail::Malformed
        );
    }

    #[test]
    fn debug_never_shows_the_address() {
        assert!(!format!("{:?}", Email::parse("a@b.c").unwrap()).contains("a@b"));
    }
}
