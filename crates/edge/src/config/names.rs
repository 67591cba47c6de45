//! Texts with a shape of their own: hosts, paths, labels. Never looks anything up.

use std::net::{IpAddr, SocketAddr};

use http::HeaderName;
use portcullis_ops::decode::Mistake;
use portcullis_traffic::route::plain_path;

use super::{HashKey, HostPattern, NamePattern};

/// Longest name of a listener, cluster or route.
const LABEL_CHARS_MAX: usize = 64;
/// Longest host name (RFC 1035 2.3.4) and longest label in it.
const HOST_BYTES_MAX: usize = 253;
const HOST_LABEL_BYTES_MAX: usize = 63;
/// Longest path of a route or check.
const PATH_BYTES_MAX: usize = 2048;

/// Where an endpoint is, before names are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostPort {
    Address(SocketAddr),
    Name(String, u16),
}

/// What `access_log` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Off,
    Stdout,
    File(String),
}

/// At most this much of a text is repeated in messages.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).filter(|c| !c.is_control()).collect()
}

/// A name that is safe as a metric label and in log lines.
pub(super) fn label(text: &str) -> Result<String, Mistake> {
    let hint = "letters, digits and . _ : - only, a letter or digit first, at most 64";
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let is_sound = text.bytes().all(is_inner)
        && text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.len() <= LABEL_CHARS_MAX;
    is_sound
        .then(|| text.to_owned())
        .ok_or_else(|| Mistake::new("is not a usable name", hint))
}

/// Any path in the file system.
pub(super) fn file(text: &str) -> Result<String, Mistake> {
    match text.contains('\0') {
        true => Err(Mistake::new("is not a path", "remove the NUL character")),
        false => Ok(text.to_owned()),
    }
}

/// `stdout`, `off`, or a path: one with a slash, so that a slip in the other two makes no file.
pub(super) fn access(text: &str) -> Result<Access, Mistake> {
    match text {
        "stdout" => Ok(Access::Stdout),
        "off" | "false" => Ok(Access::Off),
        _ if text.ends_with('/') => Err(Mistake::new("is a directory", "name a file inside it")),
        _ if text.contains('/') => file(text).map(Access::File),
        _ => {
            let hint = format!("write `stdout`, `off`, or a file with a slash: ./{text}");
            Err(Mistake::new("is neither `stdout`, `off` nor a path", hint))
        }
    }
}

/// The host of a route: a name, an address, `*.name` or `*`.
pub(super) fn host(text: &str) -> Result<HostPattern, Mistake> {
    if text == "*" {
        return Ok(HostPattern::Any);
    }
    if text.contains("://") || text.contains('/') {
        let hint = "the name alone, without scheme or path: auth.example.com";
        return Err(Mistake::new("is not a host name", hint));
    }
    if is_address_in_brackets(text) {
        return Ok(HostPattern::Exact(text.to_ascii_lowercase()));
    }
    if text.contains(':') {
        let hint = "without a port; an IPv6 address stands in brackets: \"[::1]\"";
        return Err(Mistake::new("is not a host name", hint));
    }
    match text.strip_prefix("*.") {
        Some(parent) => host_name(parent).map(HostPattern::Wildcard),
        None => host_name(text).map(HostPattern::Exact),
    }
}

/// The server name of TLS: never an address (RFC 6066 section 3).
pub(super) fn server_name(text: &str) -> Result<NamePattern, Mistake> {
    if text.parse::<IpAddr>().is_ok() {
        let hint = "clients send no server name for an address";
        return Err(Mistake::new("is an address, not a server name", hint));
    }
    match text.strip_prefix("*.") {
        Some(parent) => host_name(parent).map(NamePattern::Wildcard),
        None => host_name(text).map(NamePattern::Exact),
    }
}

/// A value for the Host header.
pub(super) fn authority(text: &str) -> Result<String, Mistake> {
    let wrong = || {
        Mistake::new(
            "is not a host with or without port",
            "such as auth.example.com or 10.0.0.1:80",
        )
    };
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if port.is_some_and(|port| !is_port(port)) {
        return Err(wrong());
    }
    if !is_address_in_brackets(host) {
        host_name(host).map_err(|_| wrong())?;
    }
    Ok(text.to_owned())
}

/// An endpoint's address.
pub(super) fn host_port(text: &str) -> Result<HostPort, Mistake> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => Err(Mistake::new(
                "has port 0",
                "nothing can be reached at port 0",
            )),
            _ => Ok(HostPort::Address(address)),
        };
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let hint = format!("without `{scheme}://`: {rest}");
        return Err(Mistake::new("is not an address with a port", hint));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        let hint = format!("add a port: {}", SocketAddr::new(ip, 8000));
        return Err(Mistake::new("has no port", hint));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(Mistake::new(
            "has no port",
            format!("add a port: {text}:8000"),
        ));
    };
    let port = Some(port)
        .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|port| port.parse::<u16>().ok())
        .filter(|port| *port > 0)
        .ok_or_else(|| Mistake::new("has no usable port", "a port is between 1 and 65535"))?;
    // A last label of digits makes it an address (RFC 3986 3.2.2), and it was none above.
    let is_number = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit());
    if host.rsplit('.').next().is_some_and(is_number) {
        return Err(Mistake::new(
            "is not an IP address",
            "four numbers from 0 to 255",
        ));
    }
    Ok(HostPort::Name(host_name(host)?, port))
}

/// The name of a service, as SRV records have it (RFC 2782).
pub(super) fn service(text: &str) -> Result<String, Mistake> {
    let mut labels = text.splitn(3, '.');
    let (service, protocol, host) = (labels.next(), labels.next(), labels.next());
    let is_label = |label: Option<&str>| label.is_some_and(|label| label.starts_with('_'));
    match (is_label(service) && is_label(protocol), host) {
        (true, Some(_)) => host_name(text),
        _ => {
            let hint = "service, protocol and domain: _http._tcp.app.internal";
            Err(Mistake::new("is not the name of a service", hint))
        }
    }
}

/// The path of a route, compared with what clients send byte by byte.
pub(super) fn path(text: &str) -> Result<String, Mistake> {
    if text.contains(['?', '#']) {
        let hint = "routes match the path only; leave out what follows it";
        return Err(Mistake::new("has more than a path", hint));
    }
    if text
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        return Err(Mistake::new(
            "has dot segments",
            "write the path without `.` and `..`",
        ));
    }
    let plain = plain_path(text);
    if plain != text {
        let hint = format!("write {plain}, as which it is compared; it means the same");
        return Err(Mistake::new("is not in its plain spelling", hint));
    }
    target(text)
}

/// Path and query as a request line holds them.
pub(super) fn target(text: &str) -> Result<String, Mistake> {
    if !text.starts_with('/') {
        return Err(Mistake::new(
            "is not a path",
            format!("begin with a slash: /{text}"),
        ));
    }
    if text.len() > PATH_BYTES_MAX {
        return Err(Mistake::new(
            "is too long",
            format!("at most {PATH_BYTES_MAX} bytes"),
        ));
    }
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !br#""<>\^`{|}#"#.contains(&byte);
    if !text.bytes().all(is_plain) {
        let hint = "write other characters percent-encoded, as clients send them: %20, %C3%A4";
        return Err(Mistake::new("has characters that no request holds", hint));
    }
    Ok(text.to_owned())
}

/// A cookie name is a token (RFC 6265 4.1.1, RFC 9110 5.6.2).
pub(super) fn cookie(text: &str) -> Result<String, Mistake> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match text.bytes().all(is_token) && (1..=LABEL_CHARS_MAX).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => {
            let hint = "letters, digits, - and _; no spaces, commas, semicolons or equals signs";
            Err(Mistake::new("is not a cookie name", hint))
        }
    }
}

/// What consistent hashing looks at.
pub(super) fn hash_key(text: &str) -> Result<HashKey, Mistake> {
    let (kind, name) = match text.split_once(':') {
        Some((kind, name)) => (kind, Some(name)),
        None => (text, None),
    };
    match (kind, name) {
        ("source", None) => Ok(HashKey::Source),
        ("path", None) => Ok(HashKey::Path),
        ("host", None) => Ok(HashKey::Host),
        ("header", Some(name)) => header(name).map(HashKey::Header),
        ("cookie", Some(name)) => cookie(name).map(HashKey::Cookie),
        ("query", Some(name)) => query_name(name).map(HashKey::Query),
        _ => {
            let hint = "source, path, host, header:NAME, cookie:NAME or query:NAME";
            Err(Mistake::new("is nothing that can be hashed", hint))
        }
    }
}

/// The name of a header field, in any case.
pub(super) fn header(text: &str) -> Result<HeaderName, Mistake> {
    let wrong = |_| {
        let hint = "letters, digits, - and _, such as `x-user`";
        Mistake::new("is not a header name", hint)
    };
    HeaderName::from_bytes(text.as_bytes()).map_err(wrong)
}

/// The name of a query parameter, compared with what clients send byte by byte.
pub(super) fn query_name(text: &str) -> Result<String, Mistake> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"&=#\"<>".contains(&byte);
    match (1..=LABEL_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => {
            let hint = "as it stands in the address, percent-encoded, without `&` and `=`";
            Err(Mistake::new("is not the name of a query parameter", hint))
        }
    }
}

/// Lower case, without a dot at the end.
fn host_name(text: &str) -> Result<String, Mistake> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.contains('*') {
        let hint = "a star stands alone in front: \"*.example.com\"";
        return Err(Mistake::new("has a star in the wrong place", hint));
    }
    if !name.is_ascii() {
        let hint = "write international names in their ASCII form: xn--...";
        return Err(Mistake::new("is not a host name", hint));
    }
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| {
        (1..=HOST_LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match name.len() <= HOST_BYTES_MAX && name.split('.').all(is_label) {
        true => Ok(name.to_ascii_lowercase()),
        false => {
            let hint = "letters, digits, - and dots: auth.example.com";
            Err(Mistake::new("is not a host name", hint))
        }
    }
}

fn is_address_in_brackets(text: &str) -> bool {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_safe_in_metrics_and_logs() {
        for good in ["auth", "a", "0.0.0.0:8080", "auth-v2_x.y", &"a".repeat(64)] {
            assert!(label(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            ".a",
            "a b",
            "a/b",
            "ä",
            "a\"",
            "a\n",
            "[::]:80",
            &"a".repeat(65),
        ] {
            assert!(label(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_are_kept_in_lower_case_without_the_last_dot() {
        assert_eq!(
            host("Auth.Example.COM."),
            Ok(HostPattern::Exact("auth.example.com".into()))
        );
        assert_eq!(
            host("*.Example.com"),
            Ok(HostPattern::Wildcard("example.com".into()))
        );
        assert_eq!(host("*"), Ok(HostPattern::Any));
        assert_eq!(host("10.0.0.1"), Ok(HostPattern::Exact("10.0.0.1".into())));
        assert_eq!(host("[::1]"), Ok(HostPattern::Exact("[::1]".into())));
    }

    #[test]
    fn what_no_host_header_holds_is_no_host() {
        for (text, hint) in [
            ("https://a.example", "scheme"),
            ("a.example/x", "path"),
            ("a.example:443", "port"),
            ("::1", "brackets"),
            ("a.*.example", "star"),
            ("**.example", "star"),
            ("*example.com", "star"),
            ("*.*.example", "star"),
            ("bücher.example", "xn--"),
            ("a..b", "letters"),
            ("-a.example", "letters"),
            ("a-.example", "letters"),
            ("a b", "letters"),
            (".", "letters"),
            ("*.", "letters"),
        ] {
            let mistake = host(text).unwrap_err();
            assert!(mistake.hint.contains(hint), "{text}: {mistake:?}");
        }
        assert!(host(&"a".repeat(64)).is_err());
        assert!(host(&"a.".repeat(127)).is_ok());
        assert!(host(&"a.".repeat(128)).is_err());
    }

    #[test]
    fn server_names_are_names() {
        assert_eq!(
            server_name("A.example"),
            Ok(NamePattern::Exact("a.example".into()))
        );
        assert_eq!(
            server_name("*.a.example"),
            Ok(NamePattern::Wildcard("a.example".into()))
        );
        for text in ["10.0.0.1", "::1", "*", "a.example:443", ""] {
            assert!(server_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn authorities_may_have_a_port() {
        for good in [
            "a.example",
            "a.example:80",
            "10.0.0.1:80",
            "[::1]",
            "[::1]:80",
        ] {
            assert_eq!(authority(good).as_deref(), Ok(good));
        }
        for bad in [
            "", "a b", "a:", "a:x", "a:65536", "::1", "a\r\nb", "a:+1", "http://a",
        ] {
            assert!(authority(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn endpoints_are_addresses_or_names_with_a_port() {
        let address = |text: &str| HostPort::Address(text.parse().unwrap());
        assert_eq!(host_port("10.0.0.1:80"), Ok(address("10.0.0.1:80")));
        assert_eq!(host_port("[::1]:80"), Ok(address("[::1]:80")));
        assert_eq!(
            host_port("Auth.internal:80"),
            Ok(HostPort::Name("auth.internal".into(), 80))
        );
        assert_eq!(
            host_port("localhost:1"),
            Ok(HostPort::Name("localhost".into(), 1))
        );
    }

    #[test]
    fn anything_else_is_no_endpoint() {
        for (text, hint) in [
            ("10.0.0.1", "10.0.0.1:8000"),
            ("auth", "auth:8000"),
            ("::1", "[::1]:8000"),
            ("http://auth:80", "without `http://`: auth:80"),
            ("10.0.0.1:0", "port 0"),
            ("auth:0", "between 1 and"),
            ("auth:65536", "between 1 and"),
            ("auth:+80", "between 1 and"),
            ("auth:", "between 1 and"),
            ("10.0.0.256:80", "from 0 to 255"),
            ("10.0.0:80", "from 0 to 255"),
            (":80", "letters"),
            ("a b:80", "letters"),
        ] {
            let mistake = host_port(text).unwrap_err();
            assert!(mistake.hint.contains(hint), "{text}: {mistake:?}");
        }
    }

    #[test]
    fn paths_are_what_clients_can_send() {
        for good in ["/", "/api", "/api/", "/a%20b", "/a.b/..c", "/a;b=c", "//"] {
            assert_eq!(path(good).as_deref(), Ok(good));
        }
        for (text, hint) in [
            ("api", "/api"),
            ("/api?x=1", "path only"),
            ("/api#x", "path only"),
            ("/a/../b", "without"),
            ("/.", "without"),
            ("/a b", "percent"),
            ("/ä", "percent"),
            ("/a\tb", "percent"),
            ("/a\\b", "percent"),
            ("/{id}", "percent"),
        ] {
            let mistake = path(text).unwrap_err();
            assert!(mistake.hint.contains(hint), "{text}: {mistake:?}");
        }
        assert!(path(&format!("/{}", "a".repeat(PATH_BYTES_MAX))).is_err());
        assert!(path(&format!("/{}", "a".repeat(PATH_BYTES_MAX - 1))).is_ok());
    }

    #[test]
    fn check_targets_may_have_a_query() {
        assert_eq!(target("/health?deep=1").as_deref(), Ok("/health?deep=1"));
        assert!(target("/health#x").is_err());
        assert!(target("http://a/").is_err());
    }

    #[test]
    fn hash_keys_name_their_source() {
        assert_eq!(hash_key("source"), Ok(HashKey::Source));
        let header = HashKey::Header(HeaderName::from_static("x-user"));
        assert_eq!(hash_key("header:X-User"), Ok(header));
        assert_eq!(hash_key("query:id"), Ok(HashKey::Query("id".into())));
        for bad in [
            "",
            "sources",
            "source:x",
            "header",
            "header:",
            "header:a b",
            "cookie:",
            "cookie:a=b",
            "query:",
            "query:a&b",
            "body:x",
        ] {
            assert!(hash_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cookie_names_are_tokens() {
        assert!(cookie("_portcullis_affinity").is_ok());
        for bad in ["a b", "a=b", "a;b", "a,b", "ä", "a\"", "a\n"] {
            assert!(cookie(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn access_log_file_has_a_slash() {
        assert_eq!(access("stdout"), Ok(Access::Stdout));
        assert_eq!(access("off"), Ok(Access::Off));
        assert_eq!(access("false"), Ok(Access::Off));
        assert_eq!(
            access("./access.log"),
            Ok(Access::File("./access.log".into()))
        );
        assert!(access("stdot").unwrap_err().hint.contains("./stdot"));
        assert!(access("/var/log/").is_err());
    }

    #[test]
    fn files_hold_no_nul() {
        assert!(file("certs/auth.pem").is_ok());
        assert!(file("a\0b").is_err());
    }
}
