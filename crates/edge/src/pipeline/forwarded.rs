//! `Forwarded` (RFC 7239): what proxies say of the hops before them, read from the right and
//! written anew. Never takes what could be read in two ways.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderName;
use http::header::FORWARDED;

use super::head::Fields;

/// Longest element that is read: names of hosts are the longest in it.
const ELEMENT_BYTES_MAX: usize = 512;
/// More hops than anybody has; what is left of them is not read.
pub(super) const HOPS_MAX: usize = 32;

/// One hop as the proxy behind it saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) address: IpAddr,
    /// `http` or `https`.
    pub(super) proto: Option<&'static str>,
    pub(super) host: Option<String>,
}

/// The hops in front of whoever sent this, nearest first, up to the first that is not named by an
/// address or not well-formed: what is left of that is hearsay.
pub(super) fn hops(fields: &impl Fields) -> Vec<Hop> {
    let mut hops = Vec::new();
    for value in fields.all(&FORWARDED).rev() {
        let mut rest = value;
        while hops.len() < HOPS_MAX {
            match last_element(rest) {
                Last::Element(element, before) => {
                    let Some(hop) = element.hop() else {
                        return hops;
                    };
                    hops.push(hop);
                    rest = before;
                }
                Last::Empty(before) => rest = before,
                Last::Nothing => break,
                Last::Malformed => return hops,
            }
        }
    }
    hops
}

/// The parameters of one hop, unquoted. Others than these are passed over.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    node: Option<String>,
    proto: Option<String>,
    host: Option<String>,
}

impl Element {
    /// `None` for `unknown` and obfuscated nodes.
    fn hop(self) -> Option<Hop> {
        Some(Hop {
            address: node_address(&self.node?)?,
            proto: self.proto.and_then(|proto| match proto {
                _ if proto.eq_ignore_ascii_case("https") => Some("https"),
                _ if proto.eq_ignore_ascii_case("http") => Some("http"),
                _ => None,
            }),
            host: self.host.filter(|host| !host.is_empty()),
        })
    }
}

enum Last<'a> {
    Element(Element, &'a [u8]),
    /// An empty element does not count (RFC 9110, 5.6.1.2).
    Empty(&'a [u8]),
    Nothing,
    Malformed,
}

/// The last element of a list and what is in front of it. A comma may stand inside a quoted string:
/// then what follows it is no element, for it ends in a quote that nothing opens. So what a client
/// has left open in front of a proxy's element does not spoil that.
fn last_element(list: &[u8]) -> Last<'_> {
    let list = list.trim_ascii_end();
    if list.is_empty() {
        return Last::Nothing;
    }
    let mut end = list.len();
    loop {
        let comma = list[..end].iter().rposition(|byte| *byte == b',');
        let begin = comma.map_or(0, |at| at + 1);
        let before = &list[..comma.unwrap_or(0)];
        let text = list[begin..].trim_ascii();
        if text.is_empty() {
            return Last::Empty(before);
        }
        if text.len() > ELEMENT_BYTES_MAX {
            return Last::Malformed;
        }
        match (element(text), comma) {
            (Some(element), _) => return Last::Element(element, before),
            (None, Some(comma)) => end = comma,
            (None, None) => return Last::Malformed,
        }
    }
}

/// `name=value;name=value`, each name once.
fn element(text: &[u8]) -> Option<Element> {
    let mut element = Element::default();
    let mut has_by = false;
    let mut rest = text;
    loop {
        let equals = rest.iter().position(|byte| *byte == b'=')?;
        let (name, after) = (&rest[..equals], &rest[equals + 1..]);
        if name.is_empty() || !name.iter().copied().all(is_token_byte) {
            return None;
        }
        let (value, after) = value(after)?;
        let place = match name.to_ascii_lowercase().as_slice() {
            b"for" => Some(&mut element.node),
            b"proto" => Some(&mut element.proto),
            b"host" => Some(&mut element.host),
            b"by" if has_by => return None,
            b"by" => {
                has_by = true;
                None
            }
            _ => None,
        };
        if let Some(place) = place
            && place.replace(value).is_some()
        {
            return None;
        }
        rest = match after {
            [] => return Some(element),
            [b';', after @ ..] => after,
            _ => return None,
        };
    }
}

/// A token or a quoted string, and what follows it.
fn value(text: &[u8]) -> Option<(String, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let is_over = |byte: &u8| !is_token_byte(*byte);
        let end = text.iter().position(is_over).unwrap_or(text.len());
        let token = std::str::from_utf8(&text[..end]).ok()?;
        return (!token.is_empty()).then(|| (token.to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        let byte = match byte {
            b'"' => return Some((value, &quoted[at + 1..])),
            b'\\' => *bytes.next()?.1,
            byte => *byte,
        };
        if !matches!(byte, b' '..=b'~') {
            return None;
        }
        value.push(char::from(byte));
    }
    None
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `192.0.2.1`, `[2001:db8::1]`, either with a port; the port may be obfuscated (RFC 7239, 6).
fn node_address(node: &str) -> Option<IpAddr> {
    let (address, port) = match node.strip_prefix('[') {
        Some(rest) => {
            let (inner, port) = rest.split_once(']')?;
            (IpAddr::V6(inner.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let end = node.find(':').unwrap_or(node.len());
            let (inner, port) = node.split_at(end);
            (IpAddr::V4(inner.parse::<Ipv4Addr>().ok()?), port)
        }
    };
    let is_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(port) if port.starts_with('_') => is_obfuscated(port),
        Some(port) => {
            (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
        }
    };
    is_port.then(|| address.to_canonical())
}

/// A name that says nothing of the network (RFC 7239, 6.3).
pub(crate) fn is_obfuscated(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let inner = text.strip_prefix('_');
    inner.is_some_and(|inner| !inner.is_empty() && inner.bytes().all(is_inner))
}

/// The field name, for those who remove it.
pub(super) const NAME: HeaderName = FORWARDED;

/// Writes an element behind those that are there.
pub(super) fn write(out: &mut String, hop: &Hop, by: Option<&str>) {
    if !out.is_empty() {
        out.push_str(", ");
    }
    out.push_str("for=");
    write_value(out, &node(hop.address));
    if let Some(by) = by {
        out.push_str(";by=");
        write_value(out, by);
    }
    if let Some(host) = &hop.host {
        out.push_str(";host=");
        write_value(out, host);
    }
    if let Some(proto) = hop.proto {
        out.push_str(";proto=");
        out.push_str(proto);
    }
}

/// An address as a node: IPv6 stands in brackets.
pub(super) fn node(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn write_value(out: &mut String, value: &str) {
    if !value.is_empty() && value.bytes().all(is_token_byte) {
        out.push_str(value);
        return;
    }
    out.push('"');
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

/// Whatever a proxy says: what is believed of it and written anew must be read as the same.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn holds(bytes: &[u8]) {
    let Ok(value) = http::HeaderValue::from_bytes(bytes) else {
        return;
    };
    let read = hops(&http::HeaderMap::from_iter([(FORWARDED, value)]));
    assert!(read.len() <= HOPS_MAX);
    let mut written = String::new();
    for hop in read.iter().rev() {
        write(&mut written, hop, Some("_edge"));
    }
    let value = http::HeaderValue::from_str(&written).expect("visible ASCII");
    let again = hops(&http::HeaderMap::from_iter([(FORWARDED, value)]));
    assert_eq!(read, again, "{written}");
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn read(values: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                FORWARDED,
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let shown = |hop: &Hop| {
            let mut text = String::new();
            write(&mut text, hop, None);
            text
        };
        hops(&headers).iter().map(shown).collect()
    }

    #[test]
    fn hops_are_read_from_the_nearest_to_the_farthest() {
        for (values, expected) in [
            (
                &["for=192.0.2.60;proto=http;by=203.0.113.43"][..],
                &["for=192.0.2.60;proto=http"][..],
            ),
            (
                &["For=192.0.2.43, for=198.51.100.17"],
                &["for=198.51.100.17", "for=192.0.2.43"],
            ),
            (
                &["for=192.0.2.43", "for=198.51.100.17"],
                &["for=198.51.100.17", "for=192.0.2.43"],
            ),
            (
                &["for=\"[2001:db8:cafe::17]:4711\""],
                &["for=\"[2001:db8:cafe::17]\""],
            ),
            (
                &["FOR=\"192.0.2.43:_port\";HOST=a.example"],
                &["for=192.0.2.43;host=a.example"],
            ),
            (
                &["for=\"192.0.2.43:47011\";host=\"a:81\";proto=HTTPS"],
                &["for=192.0.2.43;host=\"a:81\";proto=https"],
            ),
            (
                &["for=192.0.2.43;ext=\"a, for=6.6.6.6\""],
                &["for=192.0.2.43"],
            ),
            (
                &["for=192.0.2.43;ext=\"\\\", for=6.6.6.6, \\\"\""],
                &["for=192.0.2.43"],
            ),
            (&["for=\"\\1\\92.0.2.43\" , ,"], &["for=192.0.2.43"]),
        ] {
            assert_eq!(read(values), expected, "{values:?}");
        }
    }

    #[test]
    fn belief_ends_at_what_is_no_address_or_malformed() {
        let near = &["for=10.0.0.2"][..];
        for (value, expected, why) in [
            ("for=6.6.6.6, for=unknown, for=10.0.0.2", near, "unknown"),
            ("for=6.6.6.6, for=_hidden, for=10.0.0.2", near, "obfuscated"),
            ("for=6.6.6.6, proto=http, for=10.0.0.2", near, "nobody"),
            ("for=6.6.6.6;for=7.7.7.7, for=10.0.0.2", near, "two at once"),
            ("for=6.6.6.6;by=a;by=b, for=10.0.0.2", near, "twice by"),
            ("for=\"6.6.6.6, for=10.0.0.2", near, "a quote left open"),
            ("for=\"6.6.6.6\\\", for=10.0.0.2", near, "and an escape"),
            ("for=6.6.6.6 ;proto=http, for=10.0.0.2", near, "a space"),
            ("for=2001:db8::1, for=10.0.0.2", near, "no brackets"),
            ("for=\"2001:db8::1\", for=10.0.0.2", near, "nor there"),
            ("for=\"[10.0.0.1]\", for=10.0.0.2", near, "IPv4 in brackets"),
            ("for=\"10.0.0.1:123456\", for=10.0.0.2", near, "no port"),
            ("for=\"10.0.0.1:\", for=10.0.0.2", near, "an empty port"),
            ("for=, for=10.0.0.2", near, "nothing"),
            ("garbage, for=10.0.0.2", near, "garbage"),
            ("for=10.0.0.2, \u{e9}", &[], "not ASCII"),
        ] {
            assert_eq!(read(&[value]), expected, "{why}: {value}");
        }
        let long = format!("for=10.0.0.2;x={}", "x".repeat(ELEMENT_BYTES_MAX));
        assert_eq!(read(&[&long]), [""; 0]);
        let many = ["for=10.0.0.2"; 1000].join(",");
        assert_eq!(read(&[&many]).len(), HOPS_MAX);
    }

    #[test]
    fn what_is_no_token_is_quoted() {
        let mut text = String::new();
        let hop = Hop {
            address: "2001:db8::1".parse().unwrap(),
            proto: Some("https"),
            host: Some("a\"b\\:1".to_owned()),
        };
        write(&mut text, &hop, Some("[::1]:443"));
        assert_eq!(
            text,
            "for=\"[2001:db8::1]\";by=\"[::1]:443\";host=\"a\\\"b\\\\:1\";proto=https"
        );
        assert!(is_obfuscated("_edge-1.a_b"));
        for text in ["", "_", "edge", "_a b", "_\u{e9}"] {
            assert!(!is_obfuscated(text), "{text}");
        }
    }
}
