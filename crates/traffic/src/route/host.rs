//! Host names as requests carry them. Never checks that a name is a valid one.

/// A DNS name has at most 255 bytes (RFC 1035 section 2.3.4), so longer ones match no rule.
pub(super) const LONGEST_NAME: usize = 255;

/// The name inside a `Host` or `:authority` value: without port (RFC 9110 section 7.2) and without
/// the trailing dot of a fully qualified name. Letter case stays, since the router ignores it.
///
/// What is no `host:port` comes back unchanged and so matches no rule that names a host.
///
/// ```
/// use portcullis_traffic::route::normalize_host;
///
/// assert_eq!(normalize_host("example.com.:8443"), "example.com");
/// assert_eq!(normalize_host("[2001:db8::1]:443"), "[2001:db8::1]");
/// ```
pub fn normalize_host(authority: &str) -> &str {
    let name = without_port(authority);
    name.strip_suffix('.').unwrap_or(name)
}

fn without_port(authority: &str) -> &str {
    let Some((name, port)) = authority.rsplit_once(':') else {
        return authority;
    };
    let is_port = port.bytes().all(|b| b.is_ascii_digit());
    // Colons are part of an IPv6 literal only between brackets; elsewhere two of them are no name.
    let is_name = match name.strip_prefix('[') {
        Some(literal) => literal.ends_with(']'),
        None => !name.contains(':'),
    };
    if is_port && is_name { name } else { authority }
}

/// Copies `name` into `buffer` in lower case. `None` if it is empty or longer than a name can be.
pub(super) fn lower_case<'a>(name: &str, buffer: &'a mut [u8; LONGEST_NAME]) -> Option<&'a [u8]> {
    let lower = buffer
        .get_mut(..name.len())
        .filter(|room| !room.is_empty())?;
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    Some(lower)
}

/// `a.b.example` gives `b.example` and `example`: the names whose wildcards cover it, longest first.
pub(super) fn parent_names(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.iter()
        .enumerate()
        .filter(|(at, byte)| **byte == b'.' && *at > 0)
        .filter_map(|(at, _)| name.get(at + 1..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_and_trailing_dot_are_dropped() {
        for (given, name) in [
            ("example.com", "example.com"),
            ("example.com:8443", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("example.com:", "example.com"),
            ("Example.COM:80", "Example.COM"),
            ("127.0.0.1:8080", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[::1]:8080", "[::1]"),
            ("[2001:db8::1]:", "[2001:db8::1]"),
        ] {
            assert_eq!(normalize_host(given), name, "{given}");
        }
    }

    #[test]
    fn what_is_no_host_and_port_comes_back_unchanged() {
        for odd in [
            "", "::1", "::1:80", "[::1", "[::1:80", "a:b", "a:8b", "a:1:2", "a:+1", "a..b", "]:x",
            "ü:x",
        ] {
            assert_eq!(normalize_host(odd), odd);
        }
    }

    #[test]
    fn hosts_of_nothing_but_punctuation_do_no_harm() {
        assert_eq!(normalize_host("."), "");
        assert_eq!(normalize_host(":80"), "");
        assert_eq!(normalize_host(".."), ".");
    }

    #[test]
    fn lower_case_refuses_what_no_name_can_be() {
        let mut buffer = [0; LONGEST_NAME];
        assert_eq!(lower_case("", &mut buffer), None);
        assert_eq!(lower_case(&"a".repeat(256), &mut buffer), None);
        assert_eq!(
            lower_case(&"A".repeat(255), &mut buffer),
            Some(&[b'a'; 255][..])
        );
        assert_eq!(
            lower_case("Ä.eXample", &mut buffer),
            Some("Ä.example".as_bytes())
        );
    }

    #[test]
    fn parent_names_come_longest_first_and_need_a_label_in_front() {
        let parents = |name: &'static str| -> Vec<&str> {
            parent_names(name.as_bytes())
                .map(|p| std::str::from_utf8(p).unwrap())
                .collect()
        };
        assert_eq!(parents("a.b.example"), ["b.example", "example"]);
        assert_eq!(parents("localhost"), [""; 0]);
        assert_eq!(parents(".example"), [""; 0]);
        assert_eq!(parents("a."), [""]);
    }
}
