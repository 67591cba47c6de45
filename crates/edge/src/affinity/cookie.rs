//! The affinity cookie: read, hidden from endpoints, issued and renewed. Never tells a client what is wrong
//! with its cookie: it gets a new one.

use std::time::Duration;

use http::{HeaderValue, header};
use memchr::memchr;

use super::KeyError;
use super::seal::{Binding, Opened, Seal};
use crate::config::{self, AffinityCookie, SameSite, Secure};
use crate::pipeline::{Fields, HeaderEdit};

/// Issues and understands the cookies of one cluster.
#[derive(Debug)]
pub(super) struct Cookie {
    name: String,
    accept: Vec<String>,
    ttl_seconds: u64,
    max_age_seconds: Option<u64>,
    is_always_secure: bool,
    /// Attributes before and after `Max-Age`.
    place: String,
    guards: String,
    seal: Seal,
}

/// What an authentic cookie says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CookieBinding {
    /// [`crate::cluster::Endpoint::affinity_id`] of the endpoint.
    pub(super) endpoint: u64,
    since_unix_seconds: u64,
    renewed_unix_seconds: u64,
    /// Under the present name and the newest key.
    is_current: bool,
}

impl Cookie {
    /// `secret` is the newest one.
    pub(super) fn build(
        config: &config::Affinity,
        cookie: &AffinityCookie,
        cluster: &str,
        secret: &[u8],
    ) -> Result<Self, KeyError> {
        let previous = config.previous_secrets.iter();
        let previous = previous.map(|secret| secret.expose().as_bytes());
        let domain = cookie.domain.as_ref();
        let domain = domain.map_or_else(String::new, |domain| format!("; Domain={domain}"));
        let same_site = match cookie.same_site {
            SameSite::Lax => "Lax",
            SameSite::Strict => "Strict",
            SameSite::None => "None",
        };
        let partitioned = if cookie.is_partitioned {
            "; Partitioned"
        } else {
            ""
        };
        Ok(Self {
            name: cookie.name.clone(),
            accept: cookie.accept.clone(),
            ttl_seconds: config.ttl.as_secs(),
            max_age_seconds: config.max_age.as_ref().map(Duration::as_secs),
            is_always_secure: cookie.secure == Secure::Always,
            place: format!("; Path={}{domain}", cookie.path),
            guards: format!("; HttpOnly; SameSite={same_site}{partitioned}"),
            seal: Seal::new(cluster, std::iter::once(secret).chain(previous))?,
        })
    }

    /// The binding that the request proves, if it has not run out.
    pub(super) fn read(
        &self,
        fields: &impl Fields,
        now_unix_seconds: u64,
    ) -> Option<CookieBinding> {
        let names = std::iter::once(&self.name).chain(&self.accept);
        names.enumerate().find_map(|(position, name)| {
            // A browser may send several of a name (paths, domains); a stranger may send many.
            values(fields, name)
                .take(COOKIES_MAX)
                .filter_map(|value| self.seal.open(value))
                .map(|opened| binding(opened, position == 0))
                .find(|binding| self.is_alive(binding, now_unix_seconds))
        })
    }

    /// Its present name, which is ours. Names that are accepted besides may be the application's.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The `Set-Cookie` value for a client that was served by `endpoint`, if it needs one: it has no
    /// cookie for this endpoint, or an old one. `None` also if sealing fails: affinity is never a
    /// reason to fail a request.
    pub(super) fn settle(
        &self,
        binding: Option<CookieBinding>,
        endpoint: u64,
        now_unix_seconds: u64,
        is_https: bool,
    ) -> Option<HeaderValue> {
        let stays = binding.filter(|binding| binding.endpoint == endpoint);
        if stays.is_some_and(|binding| self.is_fresh(&binding, now_unix_seconds)) {
            return None;
        }
        let since = stays.map_or(now_unix_seconds, |binding| {
            binding.since_unix_seconds.min(now_unix_seconds)
        });
        let age = now_unix_seconds - since;
        let left = self
            .max_age_seconds
            .map_or(u64::MAX, |max| max.saturating_sub(age));
        let value = self.seal.seal(Binding {
            endpoint,
            since_unix_seconds: since,
            renewed_after_seconds: u32::try_from(age).unwrap_or(u32::MAX),
        })?;
        let secure = if is_https || self.is_always_secure {
            "; Secure"
        } else {
            ""
        };
        let Self {
            name,
            place,
            guards,
            ttl_seconds,
            ..
        } = self;
        let seconds = left.min(*ttl_seconds);
        let text = format!("{name}={value}{place}; Max-Age={seconds}{guards}{secure}");
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
    }

    fn is_alive(&self, binding: &CookieBinding, now_unix_seconds: u64) -> bool {
        let is_within = |since: u64, seconds: u64| now_unix_seconds < since.saturating_add(seconds);
        // Only an edge whose clock was wrong can have written a time to come.
        binding.renewed_unix_seconds <= now_unix_seconds.saturating_add(CLOCK_SKEW_SECONDS)
            && is_within(binding.renewed_unix_seconds, self.ttl_seconds)
            && self
                .max_age_seconds
                .is_none_or(|max| is_within(binding.since_unix_seconds, max))
    }

    /// Renewed within the first half of its idle time: so busy clients get few cookies.
    fn is_fresh(&self, binding: &CookieBinding, now_unix_seconds: u64) -> bool {
        let age = now_unix_seconds.saturating_sub(binding.renewed_unix_seconds);
        binding.is_current && age < self.ttl_seconds.div_ceil(2)
    }
}

fn binding(opened: Opened, has_present_name: bool) -> CookieBinding {
    let binding = opened.binding;
    let renewed = u64::from(binding.renewed_after_seconds);
    CookieBinding {
        endpoint: binding.endpoint,
        since_unix_seconds: binding.since_unix_seconds,
        renewed_unix_seconds: binding.since_unix_seconds.saturating_add(renewed),
        is_current: has_present_name && opened.is_newest_key,
    }
}

/// The edit that takes cookies of these names out of what the endpoint gets, whatever their values.
pub(crate) fn hide(fields: &impl Fields, names: &[&str]) -> Option<HeaderEdit> {
    let is_ours = |pair: &[u8]| names.iter().any(|name| value_of(pair, name).is_some());
    pairs(fields).find(|pair| is_ours(pair))?;
    let mut rest = Vec::new();
    for pair in pairs(fields).filter(|pair| !is_ours(pair)) {
        if !rest.is_empty() {
            rest.extend_from_slice(b"; ");
        }
        rest.extend_from_slice(pair);
    }
    if rest.is_empty() {
        return Some(HeaderEdit::Remove(header::COOKIE));
    }
    // Pieces of values are values.
    let rest = HeaderValue::from_maybe_shared(bytes::Bytes::from(rest)).ok()?;
    Some(HeaderEdit::Set(header::COOKIE, rest))
}

/// Values of one cookie over all `Cookie` fields.
pub(crate) fn values<'f, F: Fields>(fields: &'f F, name: &str) -> impl Iterator<Item = &'f [u8]> {
    pairs(fields).filter_map(move |pair| value_of(pair, name))
}

/// Cookies over all `Cookie` fields: HTTP/2 clients may send one field for each.
fn pairs(fields: &impl Fields) -> impl Iterator<Item = &[u8]> {
    fields
        .all(&header::COOKIE)
        .flat_map(pieces)
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
}

/// What stands between semicolons. Values are long, and looked through for each request.
fn pieces(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr(b';', text);
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

fn value_of<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// More cookies of our name than that are nobody's browser; each costs a decryption.
const COOKIES_MAX: usize = 4;
/// How far the clocks of two edges may differ.
const CLOCK_SKEW_SECONDS: u64 = 300;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
