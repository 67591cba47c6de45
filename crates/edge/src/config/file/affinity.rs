//! Affinity as written. Never compares two values.

use std::net::IpAddr;
use std::time::Duration;

use http::HeaderName;
use portcullis_ops::Secret;
use portcullis_ops::decode::{Fields, Located, Mistake};
use portcullis_ops::diagnostic::Span;

use super::super::names;
use super::super::{AffinityCookie, AffinityValue, HostPattern, SameSite, Secure};

/// Longest name of a query parameter or claim.
const NAME_BYTES_MAX: usize = 256;

#[derive(Debug)]
pub(in crate::config) struct FileAffinity {
    pub(in crate::config) span: Span,
    /// `None` if mistaken.
    pub(in crate::config) by: Option<Located<By>>,
    pub(in crate::config) cookie: FileCookie,
    pub(in crate::config) ttl: Duration,
    pub(in crate::config) max_age: Located<Duration>,
    pub(in crate::config) secret: Option<Located<Secret<String>>>,
    pub(in crate::config) previous_secrets: Vec<Located<Secret<String>>>,
}

/// What `by` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum By {
    Cookie,
    Value(AffinityValue),
}

#[derive(Debug)]
pub(in crate::config) struct FileCookie {
    pub(in crate::config) cookie: AffinityCookie,
    /// Where the name, `path`, `domain`, `same_site` and `partitioned` stand.
    pub(in crate::config) name: Span,
    pub(in crate::config) path: Span,
    pub(in crate::config) domain: Span,
    pub(in crate::config) same_site: Span,
    pub(in crate::config) partitioned: Span,
    pub(in crate::config) accept: Vec<Located<String>>,
    /// Keys that the file has and that concern the cookie alone.
    pub(in crate::config) written: Vec<(&'static str, Span)>,
}

pub(super) fn affinity(fields: &Fields<'_>) -> FileAffinity {
    FileAffinity {
        span: fields.span(),
        by: fields.text("by", by),
        cookie: cookie(fields),
        ttl: fields.duration("ttl").value,
        max_age: fields.duration("max_age"),
        secret: fields.secret("secret"),
        previous_secrets: fields.secrets("previous_secrets"),
    }
}

fn cookie(fields: &Fields<'_>) -> FileCookie {
    let accept = fields.texts("accept", names::cookie);
    let written = COOKIE_KEYS
        .iter()
        .filter(|name| fields.is_written(name))
        .map(|name| (*name, fields.span_of(name)))
        .collect();
    let text = |found: Option<Located<String>>| found.map(|found| found.value);
    FileCookie {
        cookie: AffinityCookie {
            name: text(fields.text("cookie", names::cookie)).unwrap_or_default(),
            accept: accept.iter().map(|name| name.value.clone()).collect(),
            path: text(fields.text("path", cookie_path)).unwrap_or_default(),
            domain: text(fields.text("domain", cookie_domain)),
            same_site: match fields.word("same_site").value {
                "strict" => SameSite::Strict,
                "none" => SameSite::None,
                _ => SameSite::Lax,
            },
            secure: match fields.word("secure").value {
                "always" => Secure::Always,
                _ => Secure::Auto,
            },
            is_partitioned: fields.flag("partitioned").value,
        },
        name: fields.span_of("cookie"),
        path: fields.span_of("path"),
        domain: fields.span_of("domain"),
        same_site: fields.span_of("same_site"),
        partitioned: fields.span_of("partitioned"),
        accept,
        written,
    }
}

/// `cookie`, `header:NAME`, `query:NAME` or `claim:NAME`.
fn by(text: &str) -> Result<By, Mistake> {
    if text == "cookie" {
        return Ok(By::Cookie);
    }
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    let plain = || -> Result<String, Mistake> {
        let is_sound =
            !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
        let wrong = || Mistake::new("names nothing", format!("such as {kind}:tenant"));
        is_sound.then(|| name.to_owned()).ok_or_else(wrong)
    };
    let by = match kind {
        "header" => AffinityValue::Header(
            HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| Mistake::new("does not name a header", "such as header:X-Tenant"))?,
        ),
        "query" => AffinityValue::Query(plain()?),
        "claim" => AffinityValue::Claim(plain()?),
        _ => {
            let hint = "cookie, header:NAME, query:NAME or claim:NAME";
            return Err(Mistake::new("is no way to tell clients apart", hint));
        }
    };
    Ok(By::Value(by))
}

/// It stands between semicolons (RFC 6265 section 4.1.1).
fn cookie_path(text: &str) -> Result<String, Mistake> {
    if text.contains(';') {
        return Err(Mistake::new(
            "has a semicolon",
            "a cookie's path cannot hold one",
        ));
    }
    names::path(text)
}

/// Browsers ignore a dot in front, and keep no cookie for the domain of an address.
fn cookie_domain(text: &str) -> Result<String, Mistake> {
    let hint = "a name such as example.com";
    match names::host(text.strip_prefix('.').unwrap_or(text))? {
        HostPattern::Exact(host) if is_name(&host) => Ok(host),
        _ => Err(Mistake::new("is not a domain", hint)),
    }
}

fn is_name(host: &str) -> bool {
    !host.starts_with('[') && host.parse::<IpAddr>().is_err()
}

const COOKIE_KEYS: [&str; 8] = [
    "cookie",
    "same_site",
    "secure",
    "path",
    "domain",
    "partitioned",
    "accept",
    "previous_secrets",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_clients_apart_is_a_cookie_or_a_named_value() {
        let header = AffinityValue::Header(HeaderName::from_static("x-tenant"));
        for (text, expected) in [
            ("cookie", By::Cookie),
            ("header:X-Tenant", By::Value(header)),
            (
                "query:user id",
                By::Value(AffinityValue::Query("user id".to_owned())),
            ),
            (
                "claim:https://example.com/tenant",
                By::Value(AffinityValue::Claim(
                    "https://example.com/tenant".to_owned(),
                )),
            ),
        ] {
            assert_eq!(by(text), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "Cookie",
            "cookie:",
            "header",
            "header:",
            "header:a b",
            "query:",
            "query:a\nb",
            "claim:",
            "ip",
            "source",
        ] {
            assert!(by(bad).is_err(), "{bad:?}");
        }
        assert!(by(&format!("claim:{}", "a".repeat(NAME_BYTES_MAX + 1))).is_err());
    }

    #[test]
    fn domains_are_names() {
        assert_eq!(cookie_domain(".Example.com").as_deref(), Ok("example.com"));
        for bad in [
            "",
            ".",
            "*",
            "*.example.com",
            "10.0.0.1",
            "[::1]",
            "a;b",
            "a b",
            "a:80",
        ] {
            assert!(cookie_domain(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_path_ends_the_attribute() {
        assert_eq!(cookie_path("/app").as_deref(), Ok("/app"));
        for bad in ["", "app", "/a;Secure", "/a?b", "/a b"] {
            assert!(cookie_path(bad).is_err(), "{bad:?}");
        }
    }
}
