//! Texts that routes compare with requests or write into messages. Never looks anything up.

use http::{HeaderName, Method};
use portcullis_ops::decode::Mistake;
use portcullis_traffic::route::{Regex, VALUE_BYTES_MAX};

use super::route::{Location, PathPart, Scheme, SplitBy};
use super::template::{self, Piece};
use super::{names, template::Template};

/// A method that is served.
pub(super) fn method(text: &str) -> Result<Method, Mistake> {
    let is_word = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT | Method::TRACE) => Err(Mistake::new(
            "is never served",
            "the edge answers CONNECT and TRACE with 405",
        )),
        Ok(method) if text.bytes().all(is_word) => Ok(method),
        _ => Err(Mistake::new(
            "is not a method",
            format!(
                "in capitals, as clients send it: {}",
                names::shown(&text.to_uppercase())
            ),
        )),
    }
}

/// The name of any header field.
pub(super) fn field(text: &str) -> Result<HeaderName, Mistake> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        let hint = "letters, digits and hyphens, such as X-Version";
        Mistake::new("is not the name of a header field", hint)
    })
}

/// The name of a header field that an operator may change.
pub(super) fn changeable_field(text: &str) -> Result<HeaderName, Mistake> {
    let name = field(text)?;
    // Many applications read `_` as `-`, so that such a spelling would get past this list.
    let plain = name.as_str().replace('_', "-");
    let reason = match plain.as_str() {
        "connection"
        | "keep-alive"
        | "proxy-connection"
        | "te"
        | "trailer"
        | "upgrade"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "expect" => "it belongs to one connection, which the edge governs",
        "content-length" | "transfer-encoding" => "the edge frames messages itself",
        "host" => "use `rewrite: { host: NAME }`",
        "x-real-ip" | "forwarded" | "x-request-id" | "traceparent" | "tracestate"
        | "x-served-by" | "x-instance-id" | "x-health-cause" | "proxy" => {
            "endpoints and clients rely on what the edge says there"
        }
        name if name.starts_with("x-forwarded-") => {
            "endpoints rely on what the edge says there; see `trusted_proxies`"
        }
        name if name.starts_with("x-auth-") => "endpoints take identities from there",
        _ => return Ok(name),
    };
    Err(Mistake::new("cannot be changed", reason))
}

/// The name of a header field that tells an endpoint what a token says.
pub(super) fn claim_field(text: &str) -> Result<HeaderName, Mistake> {
    let name = changeable_field(text)?;
    let reason = match name.as_str() {
        // What clients send is removed in every spelling, so one spelling is enough.
        name if name.contains('_') => "write it with hyphens: many applications read `_` as `-`",
        "authorization" | "cookie" | "origin" | "range" | "idempotency-key" => {
            "it has a meaning of its own; choose a name such as X-Tenant"
        }
        name if ["content-", "accept", "if-", "sec-", "access-control-"]
            .iter()
            .any(|prefix| name.starts_with(prefix)) =>
        {
            "it has a meaning of its own; choose a name such as X-Tenant"
        }
        _ => return Ok(name),
    };
    Err(Mistake::new("cannot carry a claim", reason))
}

/// A field with a value, for `set` and `add`.
pub(super) fn field_and_value(name: &str, value: &str) -> Result<(HeaderName, Template), Mistake> {
    Ok((changeable_field(name)?, template::header_value(value)?))
}

/// A value that a condition asks for.
pub(super) fn value(text: &str) -> Result<String, Mistake> {
    let is_visible = text.chars().all(|c| !c.is_control());
    match is_visible && text.trim() == text && text.len() <= VALUE_BYTES_MAX {
        true => Ok(text.to_owned()),
        false => {
            let hint =
                format!("no control characters or outer spaces, at most {VALUE_BYTES_MAX} bytes");
            Err(Mistake::new("is nothing that a request carries", hint))
        }
    }
}

/// An expression.
pub(super) fn regex(text: &str) -> Result<Regex, Mistake> {
    Regex::new(text).map_err(|error| {
        let place = error.offset.map(|offset| {
            let rest: String = text.chars().skip(offset).take(20).collect();
            match rest.is_empty() {
                true => format!("the mistake is at its end, character {}", offset + 1),
                false => format!("the mistake is at character {}: `{rest}`", offset + 1),
            }
        });
        let hint = place.unwrap_or_else(|| "make it shorter or simpler".to_owned());
        Mistake::new(format!("does not compile: {}", error.message), hint)
    })
}

/// An expression for paths.
pub(super) fn path_regex(text: &str) -> Result<Regex, Mistake> {
    let regex = regex(text)?;
    match regex.beginning().first() {
        Some(first) if !b"/*".contains(first) => Err(Mistake::new(
            "matches no path",
            format!("paths begin with a slash, and the whole path must match: /{text}"),
        )),
        _ => Ok(regex),
    }
}

/// The path that an expression's groups make.
pub(super) fn path_of_groups(text: &str, regex: &Regex) -> Result<Vec<PathPart>, Mistake> {
    if !text.starts_with('/') {
        let hint = format!("begin with a slash: /{text}");
        return Err(Mistake::new("is not a path", hint));
    }
    let part = |piece: Piece<'_>| match piece {
        Piece::Text(text) => {
            names::target(&format!("/{text}")).and_then(|_| match text.contains('?') {
                true => Err(Mistake::new(
                    "has more than a path",
                    "the query stays as it is",
                )),
                false => Ok(PathPart::Text(text.to_owned())),
            })
        }
        Piece::Braced(word) => match regex.group(word) {
            Some(group) => Ok(PathPart::Group(group)),
            None => {
                let hint = format!("`{}` has no such group", names::shown(regex.source()));
                Err(Mistake::new(
                    format!("asks for the group {{{}}}", names::shown(word)),
                    hint,
                ))
            }
        },
    };
    template::pieces(text)?.into_iter().map(part).collect()
}

/// What a user of a split is known by.
pub(super) fn split_by(text: &str) -> Result<SplitBy, Mistake> {
    match text.split_once(':') {
        None if text == "cookie" => Ok(SplitBy::OwnCookie),
        Some(("cookie", name)) if !name.is_empty() => names::cookie(name).map(SplitBy::Cookie),
        Some(("header", name)) => field(name).map(SplitBy::Header),
        _ => {
            let hint = "write `cookie`, \"cookie:NAME\" or \"header:NAME\"";
            Err(Mistake::new("is nothing to know a user by", hint))
        }
    }
}

/// `http` or `https`.
pub(super) fn scheme(text: &str) -> Result<Scheme, Mistake> {
    match text {
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        _ => Err(Mistake::new(
            "is no scheme to redirect to",
            "write `http` or `https`",
        )),
    }
}

/// A host without port, for an address.
pub(super) fn plain_host(text: &str) -> Result<String, Mistake> {
    match names::host(text)? {
        super::HostPattern::Exact(name) => Ok(name),
        _ => Err(Mistake::new(
            "is more than one host",
            "name the one to send clients to",
        )),
    }
}

/// A whole address of a redirect.
pub(super) fn location(text: &str) -> Result<Location, Mistake> {
    let after = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let rest = match after {
        Some(after) => {
            let end = after.find('/').unwrap_or(after.len());
            let (authority, rest) = after.split_at(end);
            names::authority(authority)?;
            rest
        }
        None if text.starts_with("//") => {
            let hint = "two slashes begin the name of another host; write its scheme too";
            return Err(Mistake::new("is not a path", hint));
        }
        None => text,
    };
    if after.is_none() || !rest.is_empty() {
        names::target(rest)?;
    }
    Ok(Location::Fixed(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_go_into_fields_without_another_meaning() {
        assert!(claim_field("X-Tenant").is_ok());
        for name in [
            "X_Tenant",
            "Authorization",
            "Cookie",
            "Content-Type",
            "Accept-Encoding",
            "If-Match",
            "Sec-Fetch-Mode",
            "Connection",
            "Host",
            "X-Auth-Subject",
            "a b",
        ] {
            assert!(claim_field(name).is_err(), "{name}");
        }
    }

    #[test]
    fn fields_that_the_edge_answers_for_cannot_be_changed() {
        for name in [
            "Connection",
            "TE",
            "Content-Length",
            "Transfer-Encoding",
            "Host",
            "X-Forwarded-For",
            "X-Forwarded-Anything",
            "X_Forwarded_For",
            "Forwarded",
            "X-Real-IP",
            "X-Request-Id",
            "X-Auth-Subject",
            "x_auth_roles",
            "Traceparent",
            "X-Served-By",
            "Proxy",
            "Upgrade",
        ] {
            let mistake = changeable_field(name).unwrap_err();
            assert!(mistake.message.contains("cannot be changed"), "{name}");
        }
        for name in [
            "X-Tenant",
            "Authorization",
            "Set-Cookie",
            "Cache-Control",
            "X-Authority",
        ] {
            assert!(changeable_field(name).is_ok(), "{name}");
        }
        assert!(changeable_field("a b").is_err());
        for name in portcullis_token::headers::IDENTITY {
            assert!(changeable_field(name).is_err(), "{name}");
        }
    }

    #[test]
    fn expressions_tell_the_place_of_their_mistake() {
        let mistake = path_regex("/users/(").unwrap_err();
        assert!(mistake.message.contains("unclosed group"), "{mistake:?}");
        assert!(mistake.hint.contains("character 8"), "{mistake:?}");
        assert!(path_regex("users/.*").unwrap_err().hint.contains("slash"));
        assert!(path_regex("(/a|/b)").is_ok() && path_regex(".*").is_ok());
    }

    #[test]
    fn groups_of_a_path_must_exist() {
        let regex = Regex::new("/users/(?<id>[0-9]+)").unwrap();
        assert_eq!(
            path_of_groups("/people/{id}/x", &regex).unwrap(),
            [
                PathPart::Text("/people/".to_owned()),
                PathPart::Group(1),
                PathPart::Text("/x".to_owned())
            ]
        );
        for (text, word) in [
            ("/{2}", "group {2}"),
            ("/{user}", "group {user}"),
            ("people", "path"),
            ("/a?b={1}", "more than a path"),
            ("/a b", "characters"),
            ("/{", "brace"),
        ] {
            let mistake = path_of_groups(text, &regex).unwrap_err();
            assert!(mistake.message.contains(word), "{text}: {mistake:?}");
        }
    }

    #[test]
    fn addresses_of_redirects_lead_where_they_say() {
        for good in [
            "https://a.example",
            "http://a.example:81/x?y",
            "/x",
            "https://[::1]/",
        ] {
            assert!(location(good).is_ok(), "{good}");
        }
        for bad in [
            "//evil.example",
            "ftp://a.example",
            "x",
            "https://",
            "https://a b/",
            "https:///x",
            "https://u@a.example/",
            "/a\r\nb",
            "javascript:alert(1)",
            "https://a.example?x",
        ] {
            assert!(location(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn methods_are_written_as_sent() {
        assert_eq!(method("GET"), Ok(Method::GET));
        assert!(method("PURGE").is_ok());
        for bad in ["get", "TRACE", "CONNECT", "", "A B"] {
            assert!(method(bad).is_err(), "{bad}");
        }
    }
}
