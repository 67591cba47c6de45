//! Codes of authenticators (RFC 6238: SHA-1, six digits, 30 seconds), which every app knows. Never compares in a time
//! that depends on the code, and never tells by how much a wrong one missed.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use portcullis_ops::Secret;

use super::{Email, UnixMillis, base32};

/// How long a secret may wait for its first code.
pub const ENROLMENT_TTL: Duration = Duration::from_secs(10 * 60);

/// As long as the output of SHA-1 (RFC 4226 section 4, R6).
const SECRET_BYTES: usize = 20;
const PERIOD_SECONDS: i64 = 30;
const DIGITS: usize = 6;

/// What authenticator and service share. `Debug` never shows it.
#[derive(Clone, Debug)]
pub struct TotpSecret(Secret<[u8; SECRET_BYTES]>);

/// Six digits that somebody typed.
#[derive(Clone, Debug)]
pub struct TotpCode(Secret<[u8; DIGITS]>);

/// One period since the epoch: what a code is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TotpStep(pub i64);

impl TotpStep {
    fn at(now: UnixMillis) -> Self {
        Self(now.seconds().div_euclid(PERIOD_SECONDS))
    }
}

impl TotpCode {
    /// Exactly six digits; a blank in the middle, as apps show them, is passed over.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches(' ').as_bytes();
        let (first, second) = match text.len() {
            DIGITS => text.split_at(3),
            7 if text[3] == b' ' => (&text[..3], &text[4..]),
            _ => return None,
        };
        let mut digits = [0; DIGITS];
        digits[..3].copy_from_slice(first);
        digits[3..].copy_from_slice(second);
        let is_code = digits.iter().all(u8::is_ascii_digit);
        is_code.then(|| Self(Secret::new(digits)))
    }
}

impl TotpSecret {
    /// Makes a secret of random bytes.
    pub fn from_random(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Reads what [`TotpSecret::expose`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_random)
    }

    /// The bytes, for sealing.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// As a person types it into an app.
    pub fn to_base32(&self) -> Secret<String> {
        Secret::new(base32::encode(self.expose()))
    }

    /// As an app reads it from a picture.
    pub fn to_url(&self, issuer: &str, email: &Email) -> Secret<String> {
        let (issuer, name) = (escaped(issuer), escaped(email.as_str()));
        let secret = self.to_base32();
        let secret = secret.expose();
        Secret::new(format!(
            "otpauth://totp/{issuer}:{name}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={PERIOD_SECONDS}"
        ))
    }

    /// The step that the code is of, if it is of this one or one of its neighbours: clocks differ, and people type.
    pub fn step_of(&self, code: &TotpCode, now: UnixMillis) -> Option<TotpStep> {
        let TotpStep(this) = TotpStep::at(now);
        let mut found = None;
        for step in [this - 1, this, this + 1].map(TotpStep) {
            let digits = self.digits(step);
            if verify_slices_are_equal(&digits, code.0.expose()).is_ok() {
                found = found.or(Some(step));
            }
        }
        found
    }

    /// RFC 4226 section 5.3.
    fn digits(&self, step: TotpStep) -> [u8; DIGITS] {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.expose());
        let tag = hmac::sign(&key, &step.0.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag[19] & 15);
        let mut value = (0..4).fold(0_u32, |held, i| held << 8 | u32::from(tag[offset + i]));
        value &= 0x7fff_ffff;
        let mut digits = [0; DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
        digits
    }

    /// The code of an instant, for tests that stand in for an app.
    #[cfg(test)]
    pub(crate) fn code_at(&self, now: UnixMillis) -> String {
        String::from_utf8(self.digits(TotpStep::at(now)).to_vec()).unwrap()
    }
}

/// Percent-encodes everything but letters and digits of ASCII and what is never special.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> TotpSecret {
        TotpSecret::from_random(*b"12345678901234567890")
    }

    #[test]
    fn sec_g01_codes_are_those_of_rfc_6238() {
        for (seconds, digits) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret().code_at(UnixMillis::from_seconds(seconds)), digits);
        }
    }

    #[test]
    fn sec_g01_a_code_is_good_one_step_around_its_own() {
        let at = |seconds: i64| UnixMillis::from_seconds(1_800_000_000 + seconds);
        let code = TotpCode::parse(&secret().code_at(at(0))).unwrap();
        let own = TotpStep(1_800_000_000 / 30);
        for (seconds, step) in [
            (-31, None),
            (-30, Some(own)),
            (0, Some(own)),
            (29, Some(own)),
            (59, Some(own)),
            (60, None),
        ] {
            assert_eq!(secret().step_of(&code, at(seconds)), step, "{seconds} s");
        }
        let other = TotpSecret::from_random([7; 20]);
        assert_eq!(other.step_of(&code, at(0)), None);
    }

    #[test]
    fn six_digits_are_a_code_and_nothing_else_is() {
        for text in ["123456", "123 456", " 000000 "] {
            assert!(TotpCode::parse(text).is_some(), "{text:?}");
        }
        for text in [
            "",
            "12345",
            "1234567",
            "12345a",
            "12 3456",
            "１２３４５６",
            "123-456",
            "+12345",
        ] {
            assert!(TotpCode::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn the_url_says_what_an_app_has_to_know() {
        let email = Email::parse("ada+x@example.com").unwrap();
        let url = secret().to_url("Acme & Sons", &email);
        assert_eq!(
            url.expose(),
            "otpauth://totp/Acme%20%26%20Sons:ada%2Bx%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Acme%20%26%20Sons&algorithm=SHA1&digits=6&period=30"
        );
    }

    #[test]
    fn debug_shows_neither_secret_nor_code() {
        let code = TotpCode::parse("123456").unwrap();
        let shown = format!("{:?}{code:?}", secret());
        assert!(!shown.contains("49") && !shown.contains("123"), "{shown}");
    }
}
