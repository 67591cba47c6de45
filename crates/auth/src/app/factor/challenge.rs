//! What somebody holds between the right password and the code: good for one account, one client and five minutes, and
//! for nothing but the second step. Never stored, so that no instance has to know of it; a code it is used with is
//! good once all the same.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_ops::Secret;

use super::super::{App, FIRST_PARTY};
use crate::domain::{Account, AccountId, PasswordHash, TokenHash, UnixMillis};

/// Time to find the phone.
const TTL: Duration = Duration::from_secs(5 * 60);
const PREFIX: &str = "pcc_";
const PURPOSE: &str = "login challenge v1";
/// Longer than any of ours.
const BYTES_MAX: usize = 256;
/// Of a digest: enough to see that a password is another one.
const MARK_BYTES: usize = 8;

/// Proof that its holder typed the right password.
#[derive(Debug)]
pub(crate) struct Challenge {
    pub(crate) token: Secret<String>,
    pub(crate) expires_in: Duration,
}

/// What a good challenge says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenged {
    pub(super) account: AccountId,
    /// Of the password that was right.
    mark: String,
}

impl Challenged {
    /// Whether the password is still the one that was typed.
    pub(super) fn is_of(&self, password_hash: &PasswordHash) -> bool {
        self.mark == mark(password_hash)
    }
}

impl App {
    /// For an account whose password was right a moment ago.
    pub(in super::super) fn challenge(
        &self,
        account: &Account,
        password_hash: &PasswordHash,
        now: UnixMillis,
    ) -> Challenge {
        let text = format!("{} {} {}", account.id, now.plus(TTL).0, mark(password_hash));
        let tag = self.mac_of(&text);
        let encoded = URL_SAFE_NO_PAD.encode(&text);
        let tag = URL_SAFE_NO_PAD.encode(tag);
        Challenge {
            token: Secret::new(format!("{PREFIX}{encoded}.{tag}")),
            expires_in: TTL,
        }
    }

    /// Reads a challenge; `None` when it is not ours, or over.
    pub(super) fn challenged(&self, token: &str, now: UnixMillis) -> Option<Challenged> {
        if token.len() > BYTES_MAX {
            return None;
        }
        let (encoded, tag) = token.strip_prefix(PREFIX)?.split_once('.')?;
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        verify_slices_are_equal(self.mac_of(&text).as_ref(), &tag).ok()?;
        let mut parts = text.split(' ');
        let (account, end, mark) = (parts.next()?, parts.next()?, parts.next()?);
        let is_running = now < UnixMillis(end.parse().ok()?);
        is_running.then_some(Challenged {
            account: AccountId::parse(account)?,
            mark: mark.to_owned(),
        })
    }

    fn mac_of(&self, text: &str) -> impl AsRef<[u8]> {
        self.keys.mac(PURPOSE, &format!("{FIRST_PARTY} {text}"))
    }
}

fn mark(hash: &PasswordHash) -> String {
    let digest = TokenHash::of(hash.expose().as_bytes());
    URL_SAFE_NO_PAD.encode(&digest.as_bytes()[..MARK_BYTES])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::{AccountStatus, Email};
    use crate::server::tests::inside;

    #[tokio::test]
    async fn a_challenge_is_good_for_its_account_and_password_for_five_minutes() {
        let (_directory, inside) = inside().await;
        let app = inside.app();
        let hash = |text: &str| PasswordHash::from_phc(text.to_owned());
        let account = Account {
            id: AccountId::from_random([1; 16]),
            email: Email::parse("ada@example.com").unwrap(),
            password_hash: hash("a"),
            status: AccountStatus::Active,
            roles: BTreeSet::new(),
            tier: crate::domain::Tier::Free,
            created_at: UnixMillis(0),
        };
        let now = UnixMillis::from_seconds(1_800_000_000);
        let challenge = app.challenge(&account, &hash("a"), now);
        let token = challenge.token.expose();
        assert!(token.len() < BYTES_MAX);
        let read = app.challenged(token, now).unwrap();
        assert_eq!(read.account, account.id);
        assert!(read.is_of(&hash("a")) && !read.is_of(&hash("b")));
        let end = now.plus(TTL);
        assert!(app.challenged(token, UnixMillis(end.0 - 1)).is_some());
        assert!(app.challenged(token, end).is_none());
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            // The last symbol of either part has bits that nobody reads only if the decoder let them differ.
            assert!(app.challenged(&other, now).is_none(), "byte {at}");
            assert!(app.challenged(&token[..at], now).is_none(), "cut at {at}");
        }
    }
}
