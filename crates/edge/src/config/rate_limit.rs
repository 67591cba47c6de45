//! Limits of how often and how many at once, after parsing. Never counts.

use std::num::NonZeroU32;

use http::{HeaderName, Method};
use ipnet::IpNet;
use portcullis_traffic::rate::Rate;

use super::PathPattern;

/// Position of a limit in [`Config::rate_limits`](super::Config). Made by the parser, so it always resolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RateLimitId(pub usize);

/// How often one key may come, and how many of its requests may run at once.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Unique; the `limit` label in metrics.
    pub name: String,
    /// What requests have in common that share a limit; all parts together.
    pub key: Vec<KeyPart>,
    /// How often; `None` (default): as often as they like.
    pub rate: Option<Rate>,
    /// How many at once; `None` (default): as many as they like.
    pub concurrent: Option<NonZeroU32>,
    /// Other rates for some, and what tells them apart.
    pub tiers: Option<Tiers>,
    /// What requests count as; the first match wins, and others count as one.
    pub costs: Vec<Cost>,
    /// Percent of both limits that routes leave for more critical ones (default 0).
    pub reserve: u8,
    /// Bits of an IPv6 address that make one client (default 64).
    pub ipv6_prefix: u8,
    /// Keys that are remembered at once (default 100,000).
    pub max_keys: usize,
    /// Clients that are not limited.
    pub exempt: Vec<IpNet>,
    /// Whether requests that ask what health checks ask are not limited (default yes).
    pub exempts_health_checks: bool,
    /// What clients are told.
    pub fields: LimitFields,
    /// Whether nobody is refused, only counted and logged (default no).
    pub is_dry_run: bool,
}

/// Part of the key of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// The same for all.
    All,
    /// The client, behind trusted proxies.
    ClientAddress,
    /// The host, in lower case and without port.
    Host,
    /// The path in its plain spelling.
    Path,
    /// The name of the route.
    Route,
    /// A header field.
    Header(HeaderName),
    /// A parameter of the query.
    Query(String),
    /// A cookie.
    Cookie(String),
    /// A claim of a verified token.
    Claim(String),
}

/// Other rates for some.
#[derive(Clone, Debug)]
pub struct Tiers {
    /// What a tier is known by: a header field or a claim.
    pub by: KeyPart,
    /// Values, and their rates, in file order.
    pub rates: Vec<(String, Rate)>,
}

/// What some requests count as.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Which paths.
    pub path: PathPattern,
    /// Which methods; all if there are none.
    pub methods: Vec<Method>,
    /// So many requests.
    pub cost: u32,
}

/// The header fields that tell clients of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitFields {
    /// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10).
    Draft,
    /// `RateLimit-Limit`, `-Remaining` and `-Reset`, as its versions up to 6 had them.
    Classic,
    /// All of them (default).
    Both,
    /// None; refusals have their `Retry-After` all the same.
    Off,
}

/// How much a route matters when there is not enough for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Criticality {
    /// It may have all there is.
    Critical,
    /// It leaves what a limit reserves (default).
    #[default]
    Normal,
    /// It leaves twice as much.
    Low,
}

impl RateLimit {
    /// Whether it can be asked before the token was read.
    pub fn needs_token(&self) -> bool {
        let mut parts = self
            .key
            .iter()
            .chain(self.tiers.as_ref().map(|tiers| &tiers.by));
        parts.any(|part| matches!(part, KeyPart::Claim(_)))
    }

    /// Percent that a route of this criticality leaves.
    pub fn reserve(&self, criticality: Criticality) -> u8 {
        match criticality {
            Criticality::Critical => 0,
            Criticality::Normal => self.reserve,
            Criticality::Low => self.reserve.saturating_mul(2).min(95),
        }
    }
}
