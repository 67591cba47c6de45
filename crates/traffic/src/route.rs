//! Route matching by host and path. Never looks at anything but the two strings.

/// Which hosts a rule applies to. Names are lower case, without port or trailing dot.
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// Exactly this path.
    Exact(String),
    /// This path and everything below it; ends at a segment boundary.
    Prefix(String),
}
