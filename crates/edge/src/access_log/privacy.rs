//! What the access log says of a person: addresses cut short, fields hashed or left out. Never keeps a salt longer than
//! its time, so that nobody can tell afterwards whose hash it was.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand::SystemRandom;

use crate::config::{LogPrivacy, PrivateField};
use crate::pipeline::hex;

/// Hides what the configuration wants hidden.
#[derive(Debug)]
pub struct Privacy {
    policy: LogPrivacy,
    salt: Mutex<Option<Salt>>,
}

#[derive(Debug)]
struct Salt {
    key: hmac::Key,
    until: Instant,
}

impl Privacy {
    /// Without a salt until the first field that needs one.
    pub fn new(policy: &LogPrivacy) -> Self {
        Self {
            policy: policy.clone(),
            salt: Mutex::default(),
        }
    }

    /// Whether it hides what this policy wants hidden.
    pub(crate) fn is_of(&self, policy: &LogPrivacy) -> bool {
        self.policy == *policy
    }

    /// A client's address as it may be written, before it is hidden like any other field.
    pub(super) fn address(&self, client: IpAddr) -> IpAddr {
        match (self.policy.truncates_addresses, client) {
            (false, _) => client,
            (true, IpAddr::V4(four)) => Ipv4Addr::from(four.to_bits() & !0xff).into(),
            (true, IpAddr::V6(six)) => Ipv6Addr::from(six.to_bits() & !(u128::MAX >> 48)).into(),
        }
    }

    /// A client as other logs than this one may name it: the policy holds for them too.
    pub(crate) fn shown(&self, client: SocketAddr) -> String {
        let address = self.address(client.ip().to_canonical());
        let text = address.to_string();
        match self.hide(PrivateField::Client, &text) {
            Ok(()) if self.policy.truncates_addresses => text,
            Ok(()) => SocketAddr::new(address, client.port()).to_string(),
            Err(instead) => instead.unwrap_or_default(),
        }
    }

    /// What stands in place of a value; `Ok` where it may stay.
    pub(super) fn hide(&self, field: PrivateField, value: &str) -> Result<(), Option<String>> {
        if self.policy.dropped.contains(&field) {
            return Err(None);
        }
        match self.policy.hashed.contains(&field) {
            true => Err(self.hash(field, value, Instant::now())),
            false => Ok(()),
        }
    }

    /// The same for the same value of a field until the salt changes. `None` if no salt can be drawn.
    fn hash(&self, field: PrivateField, value: &str, now: Instant) -> Option<String> {
        let mut salt = self.salt.lock().unwrap_or_else(PoisonError::into_inner);
        if salt.as_ref().is_none_or(|salt| salt.until <= now) {
            *salt = Salt::draw(now + self.policy.salt_rotation);
        }
        let key = salt.as_ref()?;
        let mut context = hmac::Context::with_key(&key.key);
        context.update(&[field as u8]);
        context.update(value.as_bytes());
        drop(salt);
        let tag = context.sign();
        let (first, _) = tag.as_ref().split_first_chunk::<8>()?;
        let digits = hex::<16>(u64::from_be_bytes(*first).into());
        String::from_utf8(digits.to_vec()).ok()
    }
}

impl Salt {
    fn draw(until: Instant) -> Option<Self> {
        let key = hmac::Key::generate(HMAC_SHA256, &SystemRandom::new()).ok()?;
        Some(Self { key, until })
    }
}

impl Default for LogPrivacy {
    fn default() -> Self {
        Self {
            truncates_addresses: false,
            hashed: Vec::new(),
            dropped: Vec::new(),
            salt_rotation: Duration::from_secs(24 * 3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn privacy(change: impl FnOnce(&mut LogPrivacy)) -> Privacy {
        let mut policy = LogPrivacy::default();
        change(&mut policy);
        Privacy::new(&policy)
    }

    #[test]
    fn clients_are_hidden_wherever_they_are_named() {
        let client: SocketAddr = "[::ffff:203.0.113.77]:5000".parse().unwrap();
        let shown = |change: fn(&mut LogPrivacy)| privacy(change).shown(client);
        assert_eq!(shown(|_| ()), "203.0.113.77:5000");
        assert_eq!(
            shown(|policy| policy.truncates_addresses = true),
            "203.0.113.0"
        );
        assert_eq!(
            shown(|policy| policy.dropped = vec![PrivateField::Client]),
            ""
        );
        let hashed = shown(|policy| policy.hashed = vec![PrivateField::Client]);
        assert!(hashed.len() == 16 && !hashed.contains('.'), "{hashed}");
    }

    #[test]
    fn addresses_are_cut_to_their_network() {
        let privacy = privacy(|policy| policy.truncates_addresses = true);
        for (address, expected) in [
            ("203.0.113.77", "203.0.113.0"),
            ("255.255.255.255", "255.255.255.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
            ("::1", "::"),
        ] {
            let cut = privacy.address(address.parse().unwrap());
            assert_eq!(cut.to_string(), expected, "{address}");
        }
    }

    #[test]
    fn hashes_are_the_same_until_the_salt_changes_and_of_their_field_alone() {
        let privacy = privacy(|policy| policy.salt_rotation = Duration::from_secs(10));
        let now = Instant::now();
        let hash = |field, value, after| {
            let at = now + Duration::from_secs(after);
            privacy.hash(field, value, at).unwrap()
        };
        let first = hash(PrivateField::Client, "203.0.113.7", 0);
        assert_eq!(first.len(), 16);
        assert_eq!(hash(PrivateField::Client, "203.0.113.7", 9), first);
        assert_ne!(hash(PrivateField::Client, "203.0.113.8", 9), first);
        assert_ne!(hash(PrivateField::Path, "203.0.113.7", 9), first);
        assert_ne!(hash(PrivateField::Client, "203.0.113.7", 10), first);
    }

    #[test]
    fn a_field_is_dropped_rather_than_hashed() {
        let privacy = privacy(|policy| {
            policy.hashed = vec![PrivateField::Path, PrivateField::Host];
            policy.dropped = vec![PrivateField::Path];
        });
        assert_eq!(privacy.hide(PrivateField::Path, "/x"), Err(None));
        assert!(matches!(
            privacy.hide(PrivateField::Host, "a"),
            Err(Some(_))
        ));
        assert_eq!(privacy.hide(PrivateField::UserAgent, "a"), Ok(()));
    }
}
