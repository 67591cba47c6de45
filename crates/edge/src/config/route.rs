//! A route after parsing. Never holds a string that somebody must parse again.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use portcullis_traffic::route::Regex;

use super::template::Template;
use super::{
    Auth, ClientLists, ClusterId, Cors, Criticality, Maintenance, Page, Pattern, RateLimitId,
    SecurityHeaders,
};

/// Match rule and what becomes of its requests.
#[derive(Debug)]
pub struct Route {
    /// Unique; the `route` label in logs and metrics. Defaults to host and path as written.
    pub name: String,
    /// Which requests.
    pub pattern: Pattern,
    /// What becomes of them.
    pub action: Action,
    /// What it asks of tokens; `None` (default): nothing.
    pub auth: Option<Auth>,
    /// Which clients may ask for it.
    pub clients: Option<ClientLists>,
    /// Which pages of other origins may read answers; `None` (default): whatever endpoints say.
    pub cors: Option<Cors>,
    /// Fields that make browsers careful; `None` (default): those of the listener.
    pub security_headers: Option<SecurityHeaders>,
    /// What limits its requests, beside what limits all of their listener.
    pub rate_limits: Vec<RateLimitId>,
    /// How much it matters to limits.
    pub criticality: Criticality,
    /// What the endpoint is asked for instead.
    pub rewrite: Rewrite,
    /// Changes on the way to the endpoint.
    pub request_headers: HeaderChanges,
    /// Changes on the way to the client.
    pub response_headers: HeaderChanges,
    /// Whether a request with an `Idempotency-Key` may be carried out twice (default no).
    pub idempotency_key: bool,
    /// What to say with answers of ours, before those of [`Config`](super::Config).
    pub pages: Vec<Page>,
    /// Whether the route is closed for now (default no).
    pub maintenance: Option<Maintenance>,
    /// Whether requests of this route are written to the access log (default yes).
    pub access_log: bool,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes to a cluster.
    Cluster(ClusterId),
    /// It goes to one of several clusters.
    Split(Split),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// It is answered without an endpoint.
    Respond(Respond),
}

/// Shares of several clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Clusters, each once, with weights that are not all zero.
    pub members: Vec<(ClusterId, u16)>,
    /// What a user is known by.
    pub by: SplitBy,
}

/// What a user of a split is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitBy {
    /// A cookie that the edge hands out.
    OwnCookie,
    /// A cookie of the application's.
    Cookie(String),
    /// A header field.
    Header(HeaderName),
}

/// Where a client is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The address.
    pub location: Location,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// Whether the query goes along.
    pub keeps_query: bool,
}

/// The address of a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// As written.
    Fixed(String),
    /// The request's own but for some parts.
    Changed {
        /// Another scheme.
        scheme: Option<Scheme>,
        /// Another host. Without one, and with another scheme or port, only hosts that the
        /// configuration names are repeated.
        host: Option<String>,
        /// Another port than the scheme's.
        port: Option<u16>,
        /// Another path.
        path: PathChange,
    },
}

/// A scheme that browsers follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// As in an address.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What becomes of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PathChange {
    /// Nothing.
    #[default]
    Kept,
    /// It is this one.
    Whole(String),
    /// Its first bytes, which the route matched, become this.
    Prefix {
        /// How many bytes.
        taken: usize,
        /// What stands there instead.
        put: String,
    },
    /// Where the expression matches, it becomes this.
    Regex {
        /// The expression.
        regex: Regex,
        /// Text and groups of the new path.
        to: Vec<PathPart>,
    },
}

/// A part of a path made from an expression's groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPart {
    /// As it is.
    Text(String),
    /// What the group at this position took.
    Group(usize),
}

/// A fixed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// From 200 to 599.
    pub status: StatusCode,
    /// Empty with a status that has no body.
    pub body: Bytes,
    /// Of the body.
    pub content_type: HeaderValue,
}

/// What an endpoint is asked for instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Path; never [`PathChange::Whole`].
    pub path: PathChange,
    /// Host; the client's by default.
    pub host: Option<HostChange>,
}

/// Another host for the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostChange {
    /// This one.
    To(HeaderValue),
    /// The address of the endpoint.
    Endpoint,
}

/// Changes of header fields. No name stands in two lists or twice in one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Taken away.
    pub remove: Vec<HeaderName>,
    /// In place of those of the same name.
    pub set: Vec<(HeaderName, Template)>,
    /// Beside those of the same name.
    pub add: Vec<(HeaderName, Template)>,
}
