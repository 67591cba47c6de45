//! One instance as others see it: its address, its name, how it leaves, whom it
//! believes. Never what it stores or signs.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::values::Values;
use super::{Variable, var};

pub(super) const VARIABLES: &[Variable] = &[
    var("HOST", "127.0.0.1", "address to listen on"),
    var("PORT", "8000", "port to listen on"),
    var(
        "INSTANCE_ID",
        "auth-<port>",
        "name of this instance, sent as X-Instance-Id",
    ),
    var(
        "ADVERTISED_ADDRESS",
        "the one it listens on",
        "address and port at which others reach this instance: what the registry says to edges",
    ),
    var(
        "HEARTBEAT_INTERVAL",
        "5000",
        "milliseconds between two signs of life in the registry; one that misses three is gone",
    ),
    var("APP_NAME", "Auth Server", "service name in health answers"),
    var(
        "APP_VERSION",
        "this build's version",
        "version in health answers",
    ),
    var(
        "SHUTDOWN_TIMEOUT",
        "30000",
        "milliseconds for requests in flight to finish",
    ),
    var(
        "DRAIN_DELAY",
        "15000",
        "milliseconds to keep serving after readiness has failed",
    ),
    var(
        "TRUST_PROXY",
        "false",
        "whose X-Forwarded-For to believe: false, true (loopback and private ranges) or CIDRs",
    ),
    var("LOG_LEVEL", "info", "trace, debug, info, warn or error"),
];

/// Ten minutes in milliseconds: nothing waits longer for a process to leave.
const SHUTDOWN_CEILING_MS: u64 = 600_000;

/// What `TRUST_PROXY=true` means: never the whole internet.
const PRIVATE_RANGES: [&str; 7] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// How one instance appears and leaves.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Where to listen; `serve` takes a bound listener, so this is for its caller.
    pub address: SocketAddr,
    /// Where others reach it, if not at the address it listens on.
    pub advertised: Option<SocketAddr>,
    /// Between two signs of life.
    pub heartbeat: Duration,
    /// Sent as `X-Instance-Id`; unique among instances.
    pub id: String,
    /// Service name in health answers.
    pub name: String,
    /// Version in health answers.
    pub version: String,
    /// How long requests in flight may take to finish on shutdown.
    pub shutdown_timeout: Duration,
    /// How long to serve after readiness has failed.
    pub drain_delay: Duration,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Least severe level that is logged.
    pub log_level: tracing::Level,
}

impl Instance {
    pub(super) fn read_log_level(v: &mut Values<'_>) -> tracing::Level {
        v.log_level()
    }

    pub(super) fn read(v: &mut Values<'_>) -> Self {
        let address = SocketAddr::new(v.host(), v.number("PORT", 8000, 1..=65535) as u16);
        Self {
            address,
            advertised: v.advertised(),
            heartbeat: Duration::from_millis(v.number("HEARTBEAT_INTERVAL", 5000, 100..=60_000)),
            id: v.instance_id(address.port()),
            name: v.text("APP_NAME", "Auth Server"),
            version: v.text("APP_VERSION", env!("CARGO_PKG_VERSION")),
            shutdown_timeout: v.milliseconds("SHUTDOWN_TIMEOUT", 30_000, SHUTDOWN_CEILING_MS),
            drain_delay: v.milliseconds("DRAIN_DELAY", 15_000, SHUTDOWN_CEILING_MS),
            trusted_proxies: v.trusted_proxies(),
            log_level: v.log_level(),
        }
    }
}

impl Values<'_> {
    fn host(&mut self) -> IpAddr {
        let fallback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let Some(text) = self.get("HOST") else {
            return fallback;
        };
        text.trim().parse().unwrap_or_else(|_| {
            self.error(
                "HOST",
                format!("{text:?} is not an IP address"),
                "use 127.0.0.1, or 0.0.0.0 for every interface",
            );
            fallback
        })
    }
    fn advertised(&mut self) -> Option<SocketAddr> {
        let text = self.get("ADVERTISED_ADDRESS")?;
        let address = text.trim().parse::<SocketAddr>().ok();
        let address = address.filter(|one| !one.ip().is_unspecified() && one.port() > 0);
        if address.is_none() {
            self.error(
                "ADVERTISED_ADDRESS",
                format!("{text:?} is no address with a port that others could reach"),
                "use an IP address and a port, such as 10.0.1.7:8000",
            );
        }
        address
    }
    fn instance_id(&mut self, port: u16) -> String {
        let default = format!("auth-{port}");
        let Some(text) = self.get("INSTANCE_ID") else {
            return default;
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if text.len() <= 64 && text.chars().all(fits) {
            return text;
        }
        self.error(
            "INSTANCE_ID",
            "is longer than 64 characters or holds something else than letters, digits and - _ . :",
            format!("use a name such as {default}"),
        );
        default
    }
    fn trusted_proxies(&mut self) -> Vec<IpNet> {
        let Some(text) = self.get("TRUST_PROXY") else {
            return Vec::new();
        };
        match text.trim() {
            "false" | "0" => return Vec::new(),
            "true" | "1" => {
                self.warnings.push(
                    "TRUST_PROXY=true believes X-Forwarded-For from loopback and every private \
                     range: name the edge's CIDRs instead"
                        .to_owned(),
                );
                return PRIVATE_RANGES
                    .iter()
                    .filter_map(|range| range.parse().ok())
                    .collect();
            }
            _ => {}
        }
        let mut networks = BTreeSet::new();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let network = part
                .parse::<IpNet>()
                .or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
            match network {
                Ok(network) => drop(networks.insert(network)),
                Err(_) => self.error(
                    "TRUST_PROXY",
                    format!("{part:?} is neither a CIDR nor an address"),
                    "use false, true, or CIDRs such as 10.0.1.0/24,10.0.2.7",
                ),
            }
        }
        networks.into_iter().collect()
    }
    fn log_level(&mut self) -> tracing::Level {
        let Some(text) = self.get("LOG_LEVEL") else {
            return tracing::Level::INFO;
        };
        text.trim()
            .to_ascii_lowercase()
            .parse()
            .unwrap_or_else(|_| {
                self.error(
                    "LOG_LEVEL",
                    format!("{text:?} is not a level"),
                    "use trace, debug, info, warn or error",
                );
                tracing::Level::INFO
            })
    }
}
