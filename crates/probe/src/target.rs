//! The URL of a deployment, taken apart. Never guesses a scheme, and takes no password in it.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use rustls_pki_types::ServerName;

/// Where a deployment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    is_https: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// Path and query.
    path: String,
}

/// Why a text is no URL of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL at all.
    #[error("not a URL: write it like https://auth.example.com or http://127.0.0.1:8080")]
    Malformed,
    /// Another scheme than the two, or none.
    #[error("begin the URL with http:// or https://")]
    Scheme,
    /// A name or a password in front of the host.
    #[error("leave user and password out of the URL: it shows in lists of processes")]
    Password,
    /// Port 0.
    #[error("port 0 cannot be connected to")]
    Port,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let uri: Uri = text.parse().map_err(|_| TargetError::Malformed)?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(TargetError::Scheme),
        };
        let authority = uri.authority().ok_or(TargetError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(TargetError::Password);
        }
        let host = authority.host().trim_matches(['[', ']']);
        if ServerName::try_from(host).is_err() {
            return Err(TargetError::Malformed);
        }
        let behind_host = &authority.as_str()[authority.host().len()..];
        let port = match (authority.port_u16(), behind_host) {
            (Some(0), _) => return Err(TargetError::Port),
            (Some(port), _) => port,
            (None, "") => default_port(is_https),
            (None, _) => return Err(TargetError::Malformed),
        };
        Ok(Self {
            is_https,
            host: host.to_owned(),
            port,
            path: uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
        })
    }
}

impl Target {
    /// Whether TLS is spoken.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also where the URL left it out.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What goes into the field `Host`.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == default_port(self.is_https) {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// What a certificate must be for.
    pub(crate) fn server_name(&self) -> ServerName<'static> {
        ServerName::try_from(self.host.clone()).expect("parsing made sure that it is a name")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

fn default_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let target: Target = "https://Auth.example.com/api/?x=1".parse().unwrap();
        assert!(target.is_https());
        assert_eq!(
            (target.port(), target.path(), target.authority().as_str()),
            (443, "/api/?x=1", "Auth.example.com")
        );
        let bare: Target = "http://127.0.0.1:8080".parse().unwrap();
        assert_eq!(bare.to_string(), "http://127.0.0.1:8080/");
    }

    #[test]
    fn ipv6_keeps_its_brackets_where_they_belong() {
        let target: Target = "http://[::1]:8080/".parse().unwrap();
        assert_eq!(
            (target.host(), target.authority().as_str()),
            ("::1", "[::1]:8080")
        );
    }

    #[test]
    fn what_cannot_be_visited_is_refused_with_a_hint() {
        for (text, error) in [
            ("", TargetError::Malformed),
            ("auth.example.com", TargetError::Scheme),
            ("ftp://auth.example.com", TargetError::Scheme),
            ("/health", TargetError::Scheme),
            ("https://ada:secret@auth.example.com", TargetError::Password),
            ("http://127.0.0.1:0/", TargetError::Port),
            ("http://127.0.0.1:99999/", TargetError::Malformed),
            ("http://exa mple/", TargetError::Malformed),
            ("http://-.-/", TargetError::Malformed),
        ] {
            assert_eq!(text.parse::<Target>(), Err(error), "{text}");
        }
    }
}
