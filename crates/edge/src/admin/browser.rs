//! Keeps pages of strangers out, which a browser of somebody near the edge may have opened. Never
//! stands in for a token.
//!
//! A page can have a browser send requests here, or point a name of its own here to read the answers
//! (DNS rebinding). Browsers name the page in `Origin` and `Sec-Fetch-Site`, and the name in `Host`.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Uri};

use super::answer::Refused;

/// Refuses what a page of another origin asks for.
pub(super) fn check(uri: &Uri, headers: &HeaderMap, hosts: &[String]) -> Result<(), Refused> {
    let mut named = headers.get_all(HOST).iter();
    let (host, None) = (named.next(), named.next()) else {
        return Err(Refused::Foreign("The request names two hosts.".to_owned()));
    };
    // Before HTTP/1.1 there need be none; no browser leaves it out.
    let host = match (uri.authority(), host) {
        (Some(authority), _) => Some(authority.as_str()),
        (None, Some(host)) => Some(host.to_str().unwrap_or_default()),
        (None, None) => None,
    };
    if let Some(host) = host
        && !is_ours(host, hosts)
    {
        return Err(Refused::Foreign(
            "This is not served under that name: use an address, localhost, or one of `admin.hosts`."
                .to_owned(),
        ));
    }
    let site = headers.get(HeaderName::from_static("sec-fetch-site"));
    let is_of_other_site =
        site.is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    let own_origin = host.map(|host| format!("http://{host}"));
    let is_of_other_origin = headers.get_all(ORIGIN).iter().any(|origin| {
        let own = own_origin.as_deref().unwrap_or_default();
        !origin.as_bytes().eq_ignore_ascii_case(own.as_bytes())
    });
    if is_of_other_site || is_of_other_origin {
        return Err(Refused::Foreign(
            "Pages of other origins may not ask for this.".to_owned(),
        ));
    }
    Ok(())
}

/// An address, `localhost` or a name of the configuration, with or without port.
fn is_ours(host: &str, hosts: &[String]) -> bool {
    if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let in_brackets = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    if in_brackets.is_some_and(|inside| inside.parse::<IpAddr>().is_ok()) {
        return true;
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || hosts.contains(&name)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(fields: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_static(value));
        }
        let hosts = ["edge.example.com".to_owned()];
        check(&Uri::from_static("/v1/status"), &headers, &hosts).is_ok()
    }

    #[test]
    fn names_that_anybody_could_point_here_are_refused() {
        for host in [
            "127.0.0.1:2019",
            "127.0.0.1",
            "192.0.2.7:80",
            "[::1]:2019",
            "[::1]",
            "localhost:2019",
            "LOCALHOST",
            "edge.example.com:2019",
            "Edge.Example.com.",
        ] {
            assert!(asked(&[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:2019",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "edge.example.com.evil.example",
            "",
            ":2019",
            "[evil]:1",
        ] {
            assert!(!asked(&[("host", host)]), "{host}");
        }
        assert!(asked(&[]), "HTTP/1.0 names none");
        assert!(!asked(&[("host", "localhost"), ("host", "localhost")]));
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let host = ("host", "127.0.0.1:2019");
        for own in [
            ("origin", "http://127.0.0.1:2019"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert!(asked(&[host, own]), "{own:?}");
        }
        for foreign in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "https://127.0.0.1:2019"),
            ("origin", "http://127.0.0.1:3000"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!asked(&[host, foreign]), "{foreign:?}");
        }
        assert!(!asked(&[("origin", "http://evil.example")]));
    }
}
