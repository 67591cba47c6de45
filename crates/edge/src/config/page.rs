//! Words of the operator for answers of ours, after parsing. Never chooses a status.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use ipnet::IpNet;

/// A body in place of ours.
#[derive(Clone, Debug)]
pub struct Words {
    /// `Content-Type` (default HTML).
    pub content_type: HeaderValue,
    /// Sent as it is.
    pub body: Bytes,
}

/// What to say with certain statuses.
#[derive(Clone, Debug)]
pub struct Page {
    /// 400 and above.
    pub statuses: RangeInclusive<u16>,
    /// Whether it stands for answers of endpoints, too (default: no).
    pub also_from_endpoints: bool,
    /// What to say.
    pub words: Words,
}

/// A route that is closed for now.
#[derive(Clone, Debug)]
pub struct Maintenance {
    /// What to say; `None`: what is said with any 503.
    pub words: Option<Words>,
    /// When clients may come back (default 5 min).
    pub retry_after: Duration,
    /// Clients that are let in all the same.
    pub allow: Vec<IpNet>,
}

impl Maintenance {
    /// Whether this client is let in.
    pub fn lets_in(&self, client: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(&client))
    }
}
