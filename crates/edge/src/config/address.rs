//! Addresses of services that the edge itself asks: scheme, host, port, target. Never holds a user's
//! name or a password.

use std::net::IpAddr;

use portcullis_ops::decode::Mistake;

use super::names;

/// An `http://` or `https://` address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HttpAddress {
    pub(super) is_https: bool,
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Host and port as written.
    pub(super) authority: String,
    /// Path and query; `/` where there is none.
    pub(super) target: String,
}

impl HttpAddress {
    /// Whether nobody but this machine is on the way.
    pub(super) fn is_of_this_machine(&self) -> bool {
        let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse().is_ok_and(is_loopback)
    }
}

/// Reads an address.
pub(super) fn http(text: &str) -> Result<HttpAddress, Mistake> {
    let (is_https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => {
            let hint = "it begins with https:// (or http:// on this machine)";
            return Err(Mistake::new("is no address", hint));
        }
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.contains('@') {
        let hint = "names and passwords do not belong in an address";
        return Err(Mistake::new("holds a name before `@`", hint));
    }
    names::authority(authority)?;
    let target = match target {
        "" => "/".to_owned(),
        query if query.starts_with('?') => format!("/{query}"),
        target => target.to_owned(),
    };
    names::target(&target)?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    };
    if port == Some(0) {
        let hint = "nothing can be reached at port 0";
        return Err(Mistake::new("has port 0", hint));
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(HttpAddress {
        is_https,
        host: host.to_owned(),
        port: port.unwrap_or(if is_https { 443 } else { 80 }),
        authority: authority.to_owned(),
        target,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, host, port, target) in [
            ("https://auth.example.com", "auth.example.com", 443, "/"),
            ("http://localhost/keys", "localhost", 80, "/keys"),
            ("http://[::1]:8000/k?v=1", "::1", 8000, "/k?v=1"),
            ("https://10.0.0.1:8443?v=1", "10.0.0.1", 8443, "/?v=1"),
        ] {
            let found = http(text).unwrap();
            assert_eq!(
                (found.host.as_str(), found.port, found.target.as_str()),
                (host, port, target)
            );
            assert_eq!(found.is_https, text.starts_with("https"));
        }
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        for text in [
            "",
            "auth.example.com",
            "ftp://auth.example.com",
            "HTTPS://auth.example.com",
            "https://",
            "https:///x",
            "https://user:secret@auth.example.com/",
            "https://auth.example.com:99999/",
            "https://auth.example.com:0/",
            "https://auth.example.com:/",
            "https://a b/",
            "https://auth.example.com/#keys",
            "https://auth.example.com/a b",
            "https://auth.example.com/\r\nX: y",
        ] {
            assert!(http(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn this_machine_is_known() {
        for (text, is_here) in [
            ("http://localhost/", true),
            ("http://127.0.0.1:1/", true),
            ("http://[::1]/", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("http://10.0.0.1/", false),
            ("http://localhost.example.com/", false),
        ] {
            assert_eq!(http(text).unwrap().is_of_this_machine(), is_here, "{text}");
        }
    }
}
