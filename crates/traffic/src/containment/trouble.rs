//! What can be wrong with an attempt or a probe, as far as containment cares. Never holds text of strangers unchecked.

use std::fmt;
use std::sync::Arc;

/// Why an attempt or a probe failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The connection was refused.
    Refused,
    /// No connection in time.
    ConnectTimeout,
    /// No connection for another reason.
    ConnectFailed,
    /// No secure connection.
    Tls,
    /// The connection broke before the answer began.
    Reset,
    /// No answer in time.
    Timeout,
    /// The answer was not HTTP.
    Malformed,
    /// The answer broke off.
    Truncated,
    /// An answer with this status.
    Status(u16),
    /// The health service answered, but not that all is well.
    Mismatch,
    /// The status was right, but a header was not.
    HeaderMismatch,
    /// The status and the headers were right, but the body was not.
    BodyMismatch,
    /// The endpoint named what it depends on and cannot reach.
    Dependency(DependencyName),
}

impl Trouble {
    /// Whether nobody accepted a connection: such an endpoint is not even a last resort.
    pub fn is_connect(&self) -> bool {
        matches!(
            self,
            Self::Refused | Self::ConnectTimeout | Self::ConnectFailed
        )
    }

    /// Whether the endpoint itself said that something is wrong. Only what is said can be the
    /// same on several endpoints for the same reason.
    pub fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::Status(_)
                | Self::Dependency(_)
                | Self::Mismatch
                | Self::HeaderMismatch
                | Self::BodyMismatch
        )
    }

    /// Statuses by which an endpoint says that it, or what stands behind it, cannot serve just
    /// now: 502, 503 and 504, and an answer that names what is missing.
    pub fn is_gateway(&self) -> bool {
        matches!(self, Self::Status(502..=504) | Self::Dependency(_))
    }

    /// Whether it speaks against the endpoint. A status below 500 is the client's business.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Status(status) if *status < 500)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::ConnectTimeout => f.write_str("no connection in time"),
            Self::ConnectFailed => f.write_str("no connection"),
            Self::Tls => f.write_str("no secure connection"),
            Self::Reset => f.write_str("connection broke before the answer"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Malformed => f.write_str("answer is not HTTP"),
            Self::Truncated => f.write_str("answer broke off"),
            Self::Status(status) => write!(f, "answered {status}"),
            Self::Mismatch => f.write_str("answer is not the expected one"),
            Self::HeaderMismatch => f.write_str("a header is not the expected one"),
            Self::BodyMismatch => f.write_str("the body is not the expected one"),
            Self::Dependency(name) => write!(f, "its dependency {name} is down"),
        }
    }
}

/// What an endpoint says it depends on: `database`, `redis`. Safe for logs and labels whoever sent
/// it, since [`DependencyName::new`] takes nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DependencyName(Arc<str>);

impl DependencyName {
    /// Longest name taken.
    pub const MAX_LENGTH: usize = 64;

    /// `None` unless the name is 1 to 64 lower-case letters, digits, `_`, `-` or `.`.
    pub fn new(name: &str) -> Option<Self> {
        let is_plain =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.');
        let fits = (1..=Self::MAX_LENGTH).contains(&name.len());
        (fits && name.bytes().all(is_plain)).then(|| Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DependencyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_name_is_short_and_plain() {
        for name in ["redis", "user-db_2", "a.b", &"x".repeat(64)] {
            assert_eq!(
                DependencyName::new(name).map(|n| n.to_string()).as_deref(),
                Some(name)
            );
        }
        for name in [
            "",
            "Redis",
            "a b",
            "a\n",
            "ü",
            "\u{1b}[31m",
            &"x".repeat(65),
        ] {
            assert_eq!(DependencyName::new(name), None, "{name:?}");
        }
    }

    #[test]
    fn only_answers_can_be_shared_and_only_connections_can_be_refused() {
        for trouble in [
            Trouble::Refused,
            Trouble::ConnectTimeout,
            Trouble::ConnectFailed,
        ] {
            assert!(trouble.is_connect() && !trouble.is_answer(), "{trouble}");
        }
        for trouble in [Trouble::Timeout, Trouble::Reset, Trouble::Tls] {
            assert!(!trouble.is_connect() && !trouble.is_answer(), "{trouble}");
        }
        assert!(Trouble::Status(500).is_answer());
    }

    #[test]
    fn a_status_below_500_is_no_failure() {
        let failures: Vec<u16> = [200, 404, 429, 499, 500, 503, 599]
            .into_iter()
            .filter(|status| Trouble::Status(*status).is_failure())
            .collect();
        assert_eq!(failures, [500, 503, 599]);
    }
}
