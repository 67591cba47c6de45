//! Who the client of a connection is, and what one client may take. Never holds a string that somebody must parse again.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::gate::{NetworkFile, NetworkSet};

/// PROXY headers in front of a listener's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Who may send them.
    pub from: Vec<IpNet>,
    /// Whether a connection without one is closed, and one from elsewhere as well (default). Else
    /// both are served as what they are.
    pub required: bool,
    /// Until the header is complete (default 5 s).
    pub timeout: Duration,
}

/// Connections that one client address may have at a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionsPerAddress {
    /// So many at once.
    pub most: NonZeroU32,
    /// IPv6 addresses that have so many bits in common are one client (default 64).
    pub ipv6_prefix: u8,
    /// Networks whose connections are not counted, beside trusted proxies.
    pub exempt: Vec<IpNet>,
}

/// Which clients may come in.
#[derive(Clone, Debug)]
pub struct ClientLists {
    /// Only these, if there are any here or in the file.
    pub allow: NetworkSet,
    /// Not these, whatever is allowed.
    pub deny: NetworkSet,
    /// More of `allow`.
    pub allow_file: Option<Arc<NetworkFile>>,
    /// More of `deny`.
    pub deny_file: Option<Arc<NetworkFile>>,
    /// Whether who may not come in is only counted (default false).
    pub is_dry_run: bool,
}

/// Which header fields tell of the hops before a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// What endpoints are told by.
    pub send: ForwardedBy,
    /// Whether trusted proxies are believed in `Forwarded`, and not in `X-Forwarded-*`.
    pub is_rfc7239_believed: bool,
    /// What we call ourselves in `Forwarded`; our address by default.
    pub by: Option<String>,
}

/// Header fields of forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedBy {
    /// `X-Forwarded-*`.
    XForwarded,
    /// `Forwarded`.
    Rfc7239,
    /// Both.
    Both,
}

impl Default for Forwarded {
    fn default() -> Self {
        Self {
            send: ForwardedBy::XForwarded,
            is_rfc7239_believed: false,
            by: None,
        }
    }
}
