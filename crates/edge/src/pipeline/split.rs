//! Which target of a route a request goes to. Never remembers a user: what tells users apart comes
//! with the request.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};
use portcullis_traffic::route::split;

use super::admit::Request;
use super::head::{Fields, Head};
use super::identify::{IdSource, hex};
use crate::config::SplitBy;
use crate::state::{Choice, Target};

/// The target, and what our cookie must say from now on if the client has none.
pub(super) fn choose(
    choice: &Choice,
    head: &impl Head,
    request: &Request,
    ids: &IdSource,
) -> (Option<Arc<Target>>, Option<u64>) {
    let Some(by) = &choice.by else {
        return (choice.targets.first().cloned(), None);
    };
    let fields = head.fields();
    let of_address = || split::hash(request.client.to_string().as_bytes());
    let (key, drawn) = match by {
        SplitBy::OwnCookie => match cookie(fields, COOKIE_NAME).and_then(number) {
            Some(key) => (key, None),
            None => {
                let key = ids.draw_span();
                (key, Some(key))
            }
        },
        SplitBy::Cookie(name) => {
            let value = cookie(fields, name);
            (value.map_or_else(of_address, split::hash), None)
        }
        SplitBy::Header(name) => {
            let value = field(fields, name);
            (value.map_or_else(of_address, split::hash), None)
        }
    };
    let shares = choice.targets.iter();
    let shares = shares.map(|target| (target.cluster.name(), target.weight));
    let position = split::choose(shares, key);
    let target = position.and_then(|position| choice.targets.get(position));
    (target.cloned(), drawn)
}

/// The value by which a browser says who it is next time. It names no target: whatever a client
/// writes there, it gets one that others get too.
pub(super) fn set_cookie(key: u64, is_https: bool) -> Option<HeaderValue> {
    let digits = hex::<16>(key.into());
    let digits = std::str::from_utf8(&digits).ok()?;
    let secure = if is_https { "; Secure" } else { "" };
    HeaderValue::try_from(format!(
        "{COOKIE_NAME}={digits}; Path=/; Max-Age={MAX_AGE_SECONDS}; HttpOnly; SameSite=Lax{secure}"
    ))
    .ok()
}

pub(super) fn field<'f>(fields: &'f impl Fields, name: &HeaderName) -> Option<&'f [u8]> {
    let value = fields.first(name)?.trim_ascii();
    (!value.is_empty()).then_some(value)
}

pub(super) fn cookie<'f>(fields: &'f impl Fields, name: &str) -> Option<&'f [u8]> {
    let pairs = fields
        .all(&header::COOKIE)
        .flat_map(|field| field.split(|byte| *byte == b';'))
        .take(COOKIES_MAX);
    let mut values = pairs.filter_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=").map(<[u8]>::trim_ascii)
    });
    values.find(|value| !value.is_empty())
}

/// Sixteen digits as [`set_cookie`] writes them, and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    let is_ours = text.len() == 16 && text.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_ours)?;
    u64::from_str_radix(text, 16).ok()
}

/// The same on every route, and on none the application's.
pub(super) const COOKIE_NAME: &str = "portcullis_split";
const MAX_AGE_SECONDS: u32 = 30 * 24 * 3600;
/// More cookies than browsers send.
const COOKIES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn only_our_own_digits_are_a_number() {
        assert_eq!(number(b"00000000000000ff"), Some(255));
        for bad in [
            "ff",
            "",
            "+0000000000000ff",
            "00000000000000fg",
            "00000000000000ff0",
        ] {
            assert_eq!(number(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_cookie_comes_back_as_it_was_set() {
        let set = set_cookie(0xabc, true).unwrap();
        let set = set.to_str().unwrap();
        assert!(set.ends_with("; HttpOnly; SameSite=Lax; Secure"), "{set}");
        let pair = set.split(';').next().unwrap();
        let mut fields = HeaderMap::new();
        fields.append(header::COOKIE, HeaderValue::from_static("a=1; b"));
        fields.append(header::COOKIE, format!("x=2;{pair}").parse().unwrap());
        assert_eq!(cookie(&fields, COOKIE_NAME).and_then(number), Some(0xabc));
        assert_eq!(cookie(&fields, "a"), Some(&b"1"[..]));
        assert_eq!(cookie(&fields, "b"), None);
    }
}
