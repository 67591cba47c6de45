//! The address an account is found by. Never holds anything that could break out of a mail header or a log line.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;

/// A normalised address: trimmed, NFKC, lower case, one `@`, at most 254 bytes.
///
/// Two spellings that look the same are one account; nothing else is folded, because mailbox rules
/// (dots, plus parts) belong to the receiving provider.
///
/// Releases before NFKC folded case alone. What they stored stays as it is, and is found by whoever types it as they
/// did: an address knows how it would have been stored then.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email {
    address: String,
    /// Only where it differs.
    earlier: Option<String>,
}

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
/// Folding changes nothing any more after the second time; this only makes it end whatever Unicode adds.
const FOLDS_MAX: usize = 4;

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
        let earlier = trimmed.to_lowercase();
        let address = normal(trimmed);
        check(&address)?;
        let earlier = Some(earlier).filter(|earlier| *earlier != address);
        Ok(Self { address, earlier })
    }

    /// Reads what the store holds, as it is: accounts of earlier releases too.
    pub(crate) fn from_store(text: &str) -> Result<Self, InvalidEmail> {
        check(text)?;
        Ok(Self {
            address: text.to_owned(),
            earlier: None,
        })
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.address
    }

    /// The address as earlier releases stored it, which mostly is the same.
    pub(crate) fn as_stored_before(&self) -> &str {
        self.earlier.as_deref().unwrap_or(&self.address)
    }

    /// What stands before the `@`.
    pub fn local_part(&self) -> &str {
        self.address.split_once('@').map_or("", |(local, _)| local)
    }

    /// What stands behind the `@`.
    pub fn domain(&self) -> &str {
        self.address
            .split_once('@')
            .map_or("", |(_, domain)| domain)
    }
}

/// Personal data: logs get the shape, never the address.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email([redacted])")
    }
}

/// Compatible forms first: full width, ligatures and letters in circles are the letters they show. Lower case can bring
/// marks out of order, which the last step puts right.
fn normal(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..FOLDS_MAX {
        let lower = text.nfkc().collect::<String>().to_lowercase();
        let folded: String = lower.nfkc().collect();
        if folded == text {
            break;
        }
        text = folded;
    }
    text
}

/// After normalising, since that can bring forth what was not there: an @, a bracket, a blank.
fn check(address: &str) -> Result<(), InvalidEmail> {
    if address.len() > MAX_BYTES {
        return Err(InvalidEmail::TooLong);
    }
    if address.chars().any(is_forbidden) {
        return Err(InvalidEmail::ForbiddenCharacter);
    }
    let (local, domain) = address.split_once('@').ok_or(InvalidEmail::Malformed)?;
    if !is_local(local) || !is_domain(domain) {
        return Err(InvalidEmail::Malformed);
    }
    Ok(())
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
            let once = Email::parse(text).map(|email| email.address);
            let twice = once
                .clone()
                .and_then(|text| Email::parse(&text))
                .map(|email| email.address);
            assert_eq!(once, twice, "{text}");
        }
    }

    #[test]
    fn sec_h06_what_looks_the_same_is_the_same_address() {
        let fi = Email::parse("fi@example.com").unwrap();
        for text in [
            "\u{fb01}@example.com",
            "ＦＩ@example.com",
            "fi＠example.com",
            "ﬁ@ⓔxample.com",
        ] {
            let email = Email::parse(text).unwrap();
            assert_eq!(email.as_str(), fi.as_str(), "{text}");
            assert_ne!(email.as_stored_before(), fi.as_str(), "{text}");
        }
        assert_eq!(fi.as_stored_before(), fi.as_str());
        // The Kelvin sign is a k, the dotted capital I of Turkish no i, the dotless one neither.
        assert_eq!(
            Email::parse("\u{212a}@example.com").unwrap().as_str(),
            "k@example.com"
        );
        for text in ["\u{130}@example.com", "\u{131}@example.com"] {
            assert_ne!(
                Email::parse(text).unwrap().as_str(),
                "i@example.com",
                "{text}"
            );
        }
        // Marks that are composed or not.
        let composed = Email::parse("\u{e9}@example.com").unwrap();
        assert_eq!(
            Email::parse("e\u{301}@example.com").unwrap().as_str(),
            composed.as_str()
        );
    }

    #[test]
    fn sec_h06_folding_brings_nothing_forbidden_forth() {
        for text in [
            "a@b.c＠evil.example",
            "a\u{fe64}b@c.example",
            "a\u{ff1c}b@c.example",
            "a\u{2025}b@c.example",
            "a\u{a8}b@c.example",
        ] {
            assert!(Email::parse(text).is_err(), "{text}");
        }
        // One sign becomes eighteen: the length counts after folding.
        let long = format!("{}@example.com", "\u{fdfa}".repeat(20));
        assert_eq!(Email::parse(&long), Err(InvalidEmail::TooLong));
    }

    #[test]
    fn sec_g07_control_and_invisible_characters_are_refused() {
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
