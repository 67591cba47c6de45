//! Mail to owners of accounts: what kinds there are, how long each is worth sending, and what a link in one proves.
//! Never the text of one.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_ops::Secret;

use super::{TokenHash, UnixMillis};

/// Why somebody gets mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// An account was registered with the address: is it theirs?
    VerifyEmail,
    /// Somebody says that they forgot the password.
    ResetPassword,
    /// Somebody registered an address that has an account.
    RegisteredAgain,
    /// The password is another one now.
    PasswordChanged,
    /// A spent refresh token came back, and a session was ended for it.
    SessionStolen,
}

/// Between a failure and the next attempt, at first.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

impl MailKind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 5] = [
        Self::VerifyEmail,
        Self::ResetPassword,
        Self::RegisteredAgain,
        Self::PasswordChanged,
        Self::SessionStolen,
    ];
    /// Mails of one kind that an account gets within [`MailKind::PERIOD`]; more are not even kept.
    pub const MOST: u16 = 5;
    /// See [`MailKind::MOST`].
    pub const PERIOD: Duration = Duration::from_secs(3600);

    /// The stored word, and a label of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::RegisteredAgain => "registered_again",
            Self::PasswordChanged => "password_changed",
            Self::SessionStolen => "session_stolen",
        }
    }

    /// Reads the stored word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// How long the token in such a mail is good; `None`: it carries none.
    pub fn token_ttl(self) -> Option<Duration> {
        match self {
            Self::VerifyEmail => Some(Duration::from_secs(24 * 3600)),
            Self::ResetPassword => Some(Duration::from_secs(15 * 60)),
            Self::RegisteredAgain | Self::PasswordChanged | Self::SessionStolen => None,
        }
    }

    /// When to try again after `attempts` failed; `None`: nobody waits for this mail any more.
    pub fn retry(
        self,
        created_at: UnixMillis,
        attempts: u32,
        now: UnixMillis,
    ) -> Option<UnixMillis> {
        let doublings = attempts.saturating_sub(1).min(16);
        let pause = FIRST_PAUSE
            .saturating_mul(2_u32.pow(doublings))
            .min(LONGEST_PAUSE);
        let next = now.plus(pause);
        (next.since(created_at) <= self.patience()).then_some(next)
    }

    fn patience(self) -> Duration {
        match self {
            // Whoever forgot a password asks again.
            Self::ResetPassword => Duration::from_secs(3600),
            _ => Duration::from_secs(24 * 3600),
        }
    }
}

const PREFIX: &str = "pcm_";

/// What only a mail to an address contains: 256 random bits behind a prefix that secret scanners can find.
#[derive(Clone, Debug)]
pub struct MailToken(Secret<[u8; 32]>);

impl MailToken {
    /// Makes a token of random bytes.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Reads what somebody sent; `None` when it cannot be one of ours, without touching the store.
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(PREFIX).filter(|it| it.len() == 43)?;
        let mut bytes = [0; 32];
        let length = URL_SAFE_NO_PAD.decode_slice(encoded, &mut bytes).ok()?;
        (length == bytes.len()).then(|| Self::from_random(bytes))
    }

    /// The text for the mail.
    pub fn reveal(&self) -> Secret<String> {
        Secret::new(format!(
            "{PREFIX}{}",
            URL_SAFE_NO_PAD.encode(self.0.expose())
        ))
    }

    /// What the store keeps: 256 bits of entropy need no slow hash.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.0.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_one_word_each() {
        for kind in MailKind::ALL {
            assert_eq!(MailKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(MailKind::parse("x"), None);
    }

    #[test]
    fn a_mail_is_tried_ever_more_rarely_and_not_for_ever() {
        for (kind, most, hours) in [
            (MailKind::ResetPassword, 12, 1),
            (MailKind::VerifyEmail, 105, 24),
        ] {
            let (mut now, mut attempts, mut pause) = (UnixMillis(0), 1, Duration::ZERO);
            while let Some(next) = kind.retry(UnixMillis(0), attempts, now) {
                let waited = next.since(now);
                assert!(
                    waited >= pause && waited <= LONGEST_PAUSE,
                    "{kind:?} {attempts}"
                );
                (pause, now) = (waited, next);
                attempts += 1;
            }
            assert!((5..=most).contains(&attempts), "{kind:?} {attempts}");
            assert!(now.since(UnixMillis(0)) <= Duration::from_secs(hours * 3600));
        }
        assert_eq!(
            MailKind::VerifyEmail.retry(UnixMillis(0), u32::MAX, UnixMillis(0)),
            Some(UnixMillis(900_000))
        );
    }

    #[test]
    fn sec_g06_a_mail_token_has_256_bits_and_one_spelling() {
        let token = MailToken::from_random([0xa5; 32]);
        let text = token.reveal();
        assert_eq!(
            MailToken::parse(text.expose()).unwrap().hash(),
            token.hash()
        );
        let mut other_bits = text.expose().clone();
        other_bits.pop();
        other_bits.push('V');
        for bad in [
            "",
            "pcm_",
            "pcr_AAAA",
            &other_bits,
            &format!("{}=", text.expose()),
            &format!(" {}", text.expose()),
        ] {
            assert!(MailToken::parse(bad).is_none(), "{bad:?}");
        }
        assert_eq!(format!("{token:?}"), "MailToken([redacted])");
    }
}
