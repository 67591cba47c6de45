//! Cookie affinity. Never trusts what a client sends: a cookie that does not authenticate counts as absent.
//!
//! The value is AES-256-GCM over the endpoint's id and the end of the binding, with the cluster's
//! name as associated data: opaque, and worthless in another cluster. Edges that share a secret
//! understand each other's cookies.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, header};

use crate::config;
use crate::pipeline::Fields;

/// Cookie affinity of one cluster.
#[derive(Debug)]
pub struct Affinity {
    cookie: String,
    ttl: Duration,
    cluster: String,
    key: Arc<RandomizedNonceKey>,
    is_key_drawn: bool,
}

/// The system has no randomness to draw a key from.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw a key for affinity cookies: the system's random source fails")]
pub struct KeyError;

/// What an authentic cookie says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// [`crate::cluster::Endpoint::affinity_id`] of the endpoint.
    pub(crate) endpoint: u64,
    expires_unix_seconds: u64,
}

impl Affinity {
    /// From the configuration. A key that was drawn, not configured, is kept from the previous
    /// generation, so that a reload does not end bindings.
    pub(crate) fn build(
        config: &config::Affinity,
        cluster: &str,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, KeyError> {
        let drawn_before = previous
            .filter(|affinity| affinity.is_key_drawn)
            .map(|affinity| &affinity.key);
        let key = match (&config.secret, drawn_before) {
            (Some(secret), _) => derived_key(secret.expose().as_bytes())?,
            (None, Some(key)) => Arc::clone(key),
            (None, None) => {
                let mut seed = [0; 32];
                rand::fill(&mut seed).map_err(|_| KeyError)?;
                derived_key(&seed)?
            }
        };
        Ok(Arc::new(Self {
            cookie: config.cookie.clone(),
            ttl: config.ttl,
            cluster: cluster.to_owned(),
            key,
            is_key_drawn: config.secret.is_none(),
        }))
    }

    /// The binding that the request's cookie proves, if it does and has not run out.
    pub(crate) fn read(&self, fields: &impl Fields, now_unix_seconds: u64) -> Option<Binding> {
        // A browser may send several of a name (paths, domains); a stranger may send many.
        cookies(fields, &self.cookie)
            .take(COOKIES_MAX)
            .filter_map(|value| self.open(value))
            .find(|binding| binding.expires_unix_seconds > now_unix_seconds)
    }

    /// Whether the response must carry a cookie: the client has none for this endpoint, or the one
    /// it has is past the middle of its life.
    pub(crate) fn is_due(
        &self,
        binding: Option<Binding>,
        endpoint: u64,
        now_unix_seconds: u64,
    ) -> bool {
        binding.is_none_or(|binding| {
            let left = binding
                .expires_unix_seconds
                .saturating_sub(now_unix_seconds);
            binding.endpoint != endpoint || left < self.ttl.as_secs() / 2
        })
    }

    /// The `Set-Cookie` value that binds a client to an endpoint. `None` if sealing fails: affinity
    /// is an optimisation, never a reason to fail a request.
    pub(crate) fn issue(
        &self,
        endpoint: u64,
        now_unix_seconds: u64,
        is_https: bool,
    ) -> Option<HeaderValue> {
        let ttl_seconds = self.ttl.as_secs();
        let value = self.seal(Binding {
            endpoint,
            expires_unix_seconds: now_unix_seconds.saturating_add(ttl_seconds),
        })?;
        let secure = if is_https { "; Secure" } else { "" };
        let name = &self.cookie;
        HeaderValue::from_str(&format!(
            "{name}={value}; Path=/; Max-Age={ttl_seconds}; HttpOnly; SameSite=Lax{secure}"
        ))
        .ok()
    }

    fn seal(&self, binding: Binding) -> Option<String> {
        let mut sealed = Vec::with_capacity(SEALED_BYTES);
        sealed.extend_from_slice(&binding.endpoint.to_be_bytes());
        sealed.extend_from_slice(&binding.expires_unix_seconds.to_be_bytes());
        let aad = Aad::from(self.cluster.as_bytes());
        let nonce = self.key.seal_in_place_append_tag(aad, &mut sealed).ok()?;
        sealed.extend_from_slice(nonce.as_ref());
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    fn open(&self, value: &[u8]) -> Option<Binding> {
        let mut bytes = [0; SEALED_BYTES];
        // The length is checked first: base64 would otherwise decode what it can.
        if value.len() != (SEALED_BYTES * 4).div_ceil(3) {
            return None;
        }
        let length = URL_SAFE_NO_PAD.decode_slice(value, &mut bytes).ok()?;
        let (sealed, nonce) = bytes
            .get_mut(..length)?
            .split_last_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let aad = Aad::from(self.cluster.as_bytes());
        let plain = self.key.open_in_place(nonce, aad, sealed).ok()?;
        let (endpoint, expires) = plain.split_first_chunk()?;
        Some(Binding {
            endpoint: u64::from_be_bytes(*endpoint),
            expires_unix_seconds: u64::from_be_bytes(expires.try_into().ok()?),
        })
    }
}

/// Values of one cookie over all `Cookie` fields.
fn cookies<'a>(fields: &'a impl Fields, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields
        .all(&header::COOKIE)
        .flat_map(|field| field.split(|byte| *byte == b';'))
        .filter_map(|pair| {
            pair.trim_ascii()
                .strip_prefix(name.as_bytes())?
                .strip_prefix(b"=")
        })
}

/// The secret is text of any length; the cipher needs 32 bytes used for nothing else.
fn derived_key(secret: &[u8]) -> Result<Arc<RandomizedNonceKey>, KeyError> {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let key = hmac::sign(&secret, b"portcullis affinity cookie 1");
    RandomizedNonceKey::new(&AES_256_GCM, key.as_ref())
        .map(Arc::new)
        .map_err(|_| KeyError)
}

/// Endpoint, expiry, tag, nonce.
const SEALED_BYTES: usize = 8 + 8 + 16 + NONCE_LEN;
/// More cookies of our name than that are nobody's browser; each costs a decryption.
const COOKIES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use portcullis_ops::Secret;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn affinity(cluster: &str, secret: Option<&str>) -> Arc<Affinity> {
        let config = config::Affinity {
            cookie: "_a".to_owned(),
            ttl: Duration::from_secs(3_600),
            secret: secret.map(|secret| Secret::new(secret.to_owned())),
        };
        Affinity::build(&config, cluster, None).unwrap()
    }

    fn value(affinity: &Affinity) -> String {
        let cookie = affinity.issue(7, NOW, false).unwrap();
        let (pair, _) = cookie.to_str().unwrap().split_once(';').unwrap();
        pair.to_owned()
    }

    fn read(affinity: &Affinity, cookies: &[&str], now: u64) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, cookie.parse().unwrap());
        }
        affinity.read(&headers, now).map(|binding| binding.endpoint)
    }

    #[test]
    fn cookie_names_its_endpoint_until_it_runs_out() {
        let affinity = affinity("auth", None);
        let cookie = value(&affinity);
        assert_eq!(read(&affinity, &[&cookie], NOW), Some(7));
        assert_eq!(read(&affinity, &[&cookie], NOW + 3_599), Some(7));
        assert_eq!(read(&affinity, &[&cookie], NOW + 3_600), None);
    }

    #[test]
    fn cookie_is_found_among_others() {
        let affinity = affinity("auth", None);
        let cookie = value(&affinity);
        for cookies in [
            &[&*format!("x=1; {cookie}; y=2")][..],
            &["x=1", &cookie],
            &[&format!("_a=forged; {cookie}")],
            &[&format!("_ab=1;{cookie}")],
        ] {
            assert_eq!(read(&affinity, cookies, NOW), Some(7), "{cookies:?}");
        }
    }

    #[test]
    fn forged_and_foreign_cookies_count_as_absent() {
        let affinity_here = affinity("auth", Some("one"));
        let cookie = value(&affinity_here);
        let mut flipped = cookie.clone().into_bytes();
        flipped[10] = if flipped[10] == b'A' { b'B' } else { b'A' };
        for (forged, why) in [
            (String::from_utf8(flipped).unwrap(), "a digit changed"),
            (cookie[..cookie.len() - 1].to_owned(), "cut short"),
            (format!("{cookie}A"), "prolonged"),
            ("_a=".to_owned(), "empty"),
            ("_a".to_owned(), "no value"),
            (format!("_a={}", "!".repeat(59)), "not base64"),
            (value(&affinity("auth", Some("two"))), "another secret"),
            (value(&affinity("shop", Some("one"))), "another cluster"),
        ] {
            assert_eq!(
                read(&affinity_here, &[&forged], NOW),
                None,
                "{why}: {forged}"
            );
        }
    }

    #[test]
    fn edges_with_one_secret_read_each_others_cookies() {
        let cookie = value(&affinity("auth", Some("shared")));
        assert_eq!(
            read(&affinity("auth", Some("shared")), &[&cookie], NOW),
            Some(7)
        );
    }

    #[test]
    fn drawn_key_survives_a_reload() {
        let before = affinity("auth", None);
        let config = config::Affinity {
            cookie: "_a".to_owned(),
            ttl: Duration::from_secs(60),
            secret: None,
        };
        let after = Affinity::build(&config, "auth", Some(&before)).unwrap();
        assert_eq!(read(&after, &[&value(&before)], NOW), Some(7));
    }

    #[test]
    fn attributes_guard_the_cookie() {
        let affinity = affinity("auth", None);
        let text = |is_https| {
            affinity
                .issue(7, NOW, is_https)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert!(text(true).ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"));
        assert!(text(false).ends_with("; SameSite=Lax"));
    }

    #[test]
    fn two_cookies_for_one_endpoint_look_unlike() {
        let affinity = affinity("auth", None);
        assert_ne!(value(&affinity), value(&affinity));
    }

    #[test]
    fn cookie_is_due_for_newcomers_movers_and_old_bindings() {
        let affinity = affinity("auth", None);
        let binding = Some(Binding {
            endpoint: 7,
            expires_unix_seconds: NOW + 3_600,
        });
        assert!(affinity.is_due(None, 7, NOW), "newcomer");
        assert!(affinity.is_due(binding, 8, NOW), "moved");
        assert!(!affinity.is_due(binding, 7, NOW), "fresh");
        assert!(
            affinity.is_due(binding, 7, NOW + 1_801),
            "past the middle of its life"
        );
    }
}
