//! Affinity of a cluster after parsing. Never holds two values that contradict each other.

use std::time::Duration;

use http::HeaderName;
use portcullis_ops::Secret;

/// How a client is kept at one endpoint.
#[derive(Debug)]
pub struct Affinity {
    /// What tells a client from another (default: a cookie of ours).
    pub by: AffinityBy,
    /// A client that stays away longer is forgotten (default 1 h).
    pub ttl: Duration,
    /// After this time a client is placed anew, however busy it is (default 24 h, and never less
    /// than `ttl`); `None` is never.
    pub max_age: Option<Duration>,
    /// Key material shared by several edges; `None` draws one at start, so that bindings end with
    /// the process.
    pub secret: Option<Secret<String>>,
    /// Secrets whose cookies are still read, and replaced by new ones.
    pub previous_secrets: Vec<Secret<String>>,
}

/// What tells a client from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AffinityBy {
    /// An opaque cookie that the edge sets.
    Cookie(AffinityCookie),
    /// Something that the client sends by itself.
    Value(AffinityValue),
}

/// Where in a request a client says who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AffinityValue {
    /// A header.
    Header(HeaderName),
    /// A parameter of the query, decoded.
    Query(String),
    /// A claim of the bearer token, which is not verified: it decides about placement alone.
    Claim(String),
}

/// The cookie and its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffinityCookie {
    /// Default `_portcullis_affinity`.
    pub name: String,
    /// Further names under which a cookie of ours is understood.
    pub accept: Vec<String>,
    /// Default `/`.
    pub path: String,
    /// `None` (default) keeps it to the very host.
    pub domain: Option<String>,
    /// Default `Lax`.
    pub same_site: SameSite,
    /// When it is for HTTPS alone (default: if it was asked for over HTTPS).
    pub secure: Secure,
    /// One per embedding site (default no).
    pub is_partitioned: bool,
}

/// Whether requests that begin at other sites carry the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Navigation only.
    Lax,
    /// Never.
    Strict,
    /// Always.
    None,
}

/// When the cookie is for HTTPS alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secure {
    /// If the request came by HTTPS.
    Auto,
    /// Even if the edge sees HTTP.
    Always,
}
