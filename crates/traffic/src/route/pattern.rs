//! What a rule matches, and which of two rules is more specific. Never used for lookup itself:
//! `matches` and `Ord` say what the router must find, its own structures find it fast.

use std::cmp::Ordering;

use super::conditions::Conditions;
use super::details::Details;
use super::regex::Regex;

/// Everything that decides whether a rule takes a request. The greater of two patterns is the more
/// specific: by host, then by path, then by conditions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    /// Which hosts.
    pub host: HostPattern,
    /// Which paths.
    pub path: PathPattern,
    /// What else is asked for.
    pub conditions: Conditions,
}

/// Which hosts a rule applies to. Names are lower case, without port or trailing dot.
///
/// The greater of two patterns is the more specific: exact names, then wildcards by length, then
/// [`HostPattern::Any`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Every host, also a missing one.
    Any,
    /// Exactly this name.
    Exact(String),
    /// `*.example.com`, kept as `example.com`: any name that ends in `.example.com`.
    Wildcard(String),
}

/// Which paths a rule applies to.
///
/// The greater of two patterns is the more specific: exact paths, then expressions, the longer text
/// first, then prefixes by length.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// Exactly this path.
    Exact(String),
    /// This path and everything below it; ends at a segment boundary: `/api` takes `/api` and
    /// `/api/x`, not `/apix`. One that ends in a slash takes only what is below it.
    Prefix(String),
    /// Whatever the whole expression matches.
    Regex(Regex),
}

impl Pattern {
    /// Whether a rule of this pattern takes the request: the definition that [`super::Router`] is
    /// held to.
    pub fn matches(&self, host: Option<&str>, path: &str, details: &impl Details) -> bool {
        self.host.matches(host) && self.path.matches(path) && self.conditions.matches(details)
    }

    pub(super) fn to_lower_case(&self) -> Self {
        Self {
            host: self.host.to_lower_case(),
            ..self.clone()
        }
    }
}

impl HostPattern {
    /// Whether the pattern covers this name, in any case.
    pub fn matches(&self, host: Option<&str>) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (_, None) => false,
            (Self::Exact(name), Some(host)) => !host.is_empty() && name.eq_ignore_ascii_case(host),
            (Self::Wildcard(name), Some(host)) => {
                // In bytes: a cut inside a character is no match, not an error.
                let (name, host) = (name.as_bytes(), host.as_bytes());
                host.len().checked_sub(name.len() + 1).is_some_and(|front| {
                    let (label, rest) = host.split_at(front);
                    !label.is_empty()
                        && rest.split_first().is_some_and(|(dot, tail)| {
                            *dot == b'.' && tail.eq_ignore_ascii_case(name)
                        })
                })
            }
        }
    }

    pub(super) fn to_lower_case(&self) -> Self {
        match self {
            Self::Any => Self::Any,
            Self::Exact(name) => Self::Exact(name.to_ascii_lowercase()),
            Self::Wildcard(name) => Self::Wildcard(name.to_ascii_lowercase()),
        }
    }

    /// Class and length decide; the name itself only makes the order total and agree with `Eq`.
    fn rank(&self) -> (u8, usize, &str) {
        match self {
            Self::Any => (0, 0, ""),
            Self::Wildcard(name) => (1, name.len(), name),
            Self::Exact(name) => (2, 0, name),
        }
    }
}

impl PathPattern {
    /// Whether the pattern covers this path.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            Self::Prefix(prefix) => {
                path.starts_with(prefix.as_str()) && ends_segment(path, prefix.len())
            }
            Self::Regex(regex) => regex.is_match(path.as_bytes()),
        }
    }

    fn rank(&self) -> (u8, usize, &str) {
        match self {
            Self::Prefix(prefix) => (0, prefix.len(), prefix),
            Self::Regex(regex) => (1, regex.source().len(), regex.source()),
            Self::Exact(path) => (2, 0, path),
        }
    }
}

/// Whether a segment ends after the first `length` bytes of `path`: at its end, before a slash, or
/// after one.
pub(super) fn ends_segment(path: &str, length: usize) -> bool {
    let path = path.as_bytes();
    let slash_before = length > 0 && path.get(length - 1) == Some(&b'/');
    slash_before || path.get(length).is_none_or(|next| *next == b'/')
}

impl Ord for HostPattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for HostPattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PathPattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for PathPattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(name: &str) -> HostPattern {
        HostPattern::Exact(name.to_owned())
    }

    fn wildcard(name: &str) -> HostPattern {
        HostPattern::Wildcard(name.to_owned())
    }

    fn prefix(path: &str) -> PathPattern {
        PathPattern::Prefix(path.to_owned())
    }

    #[test]
    fn more_specific_hosts_are_greater() {
        let rising = [
            HostPattern::Any,
            wildcard("example"),
            wildcard("a.example"),
            exact("x"),
            exact("y"),
        ];
        assert!(rising.is_sorted());
        assert_ne!(
            exact("x").cmp(&exact("y")),
            Ordering::Equal,
            "order agrees with equality"
        );
    }

    #[test]
    fn more_specific_paths_are_greater() {
        let rising = [
            prefix("/"),
            prefix("/zz"),
            prefix("/api"),
            PathPattern::Regex(Regex::new("/z").unwrap()),
            PathPattern::Regex(Regex::new("/a.*").unwrap()),
            PathPattern::Exact("/".to_owned()),
        ];
        assert!(rising.is_sorted());
        assert_ne!(prefix("/a").cmp(&prefix("/b")), Ordering::Equal);
    }

    #[test]
    fn a_wildcard_needs_a_label_in_front_and_a_dot_between() {
        let pattern = wildcard("example.com");
        for host in ["a.example.com", "a.b.example.com", "A.EXAMPLE.com"] {
            assert!(pattern.matches(Some(host)), "{host}");
        }
        for host in [
            "example.com",
            ".example.com",
            "badexample.com",
            "com",
            "",
            "ß.xample.com",
        ] {
            assert!(!pattern.matches(Some(host)), "{host}");
        }
        assert!(!pattern.matches(None));
    }

    #[test]
    fn only_any_matches_a_missing_or_empty_host() {
        for host in [None, Some("")] {
            assert!(HostPattern::Any.matches(host));
            assert!(!exact("").matches(host));
            assert!(!wildcard("").matches(host));
        }
    }

    #[test]
    fn a_prefix_ends_at_a_segment_boundary() {
        for path in ["/api", "/api/", "/api/x", "/api//"] {
            assert!(prefix("/api").matches(path), "{path}");
        }
        for path in ["/apix", "/ap", "/", "", "api", "/API", "/api%2Fx"] {
            assert!(!prefix("/api").matches(path), "{path}");
        }
    }

    #[test]
    fn a_prefix_with_a_slash_takes_only_what_is_below() {
        assert!(prefix("/api/").matches("/api/"));
        assert!(prefix("/api/").matches("/api/x"));
        assert!(!prefix("/api/").matches("/api"));
    }

    #[test]
    fn the_root_prefix_takes_every_path_that_begins_with_a_slash() {
        assert!(prefix("/").matches("/") && prefix("/").matches("//") && prefix("/").matches("/x"));
        assert!(!prefix("/").matches("*") && !prefix("/").matches("") && !prefix("/").matches("x"));
    }
}
