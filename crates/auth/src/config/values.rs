//! Reads single variables and collects every mistake on the way. Never stops at
//! the first one: a bad value is replaced by its default and reported.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::{ConfigError, Environment};

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

/// The variables of one environment, and what was wrong with them so far.
pub(super) struct Values<'a> {
    vars: &'a dyn Fn(&str) -> Option<String>,
    errors: Vec<ConfigError>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Values<'a> {
    pub(super) fn new(vars: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            vars,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> (Vec<ConfigError>, Vec<String>) {
        (self.errors, self.warnings)
    }

    pub(super) fn get(&self, name: &'static str) -> Option<String> {
        (self.vars)(name).filter(|value| !value.trim().is_empty())
    }

    pub(super) fn error(
        &mut self,
        variable: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.errors.push(ConfigError {
            variable,
            message: message.into(),
            hint: hint.into(),
        });
    }

    pub(super) fn text(&mut self, name: &'static str, default: &str) -> String {
        let value = self.get(name).unwrap_or_else(|| default.to_owned());
        if value.len() > 128 || value.chars().any(char::is_control) {
            self.error(
                name,
                "is longer than 128 bytes or holds control characters",
                format!("use a short printable text such as {default:?}"),
            );
            return default.to_owned();
        }
        value
    }

    pub(super) fn number(
        &mut self,
        name: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        let Some(text) = self.get(name) else {
            return default;
        };
        match text.trim().parse::<u64>() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                self.error(
                    name,
                    format!(
                        "{text:?} is not a whole number from {} to {}",
                        range.start(),
                        range.end()
                    ),
                    format!("leave it out for the default, {default}"),
                );
                default
            }
        }
    }

    pub(super) fn milliseconds(&mut self, name: &'static str, default: u64, max: u64) -> Duration {
        Duration::from_millis(self.number(name, default, 0..=max))
    }

    pub(super) fn switch(&mut self, name: &'static str, default: bool) -> bool {
        let Some(text) = self.get(name) else {
            return default;
        };
        match text.trim() {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => {
                self.error(
                    name,
                    format!("{text:?} is neither true nor false"),
                    format!("leave it out for the default, {default}"),
                );
                default
            }
        }
    }

    pub(super) fn host(&mut self) -> IpAddr {
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

    pub(super) fn environment(&mut self) -> Environment {
        let known = [
            Environment::Development,
            Environment::Test,
            Environment::Staging,
            Environment::Production,
        ];
        let Some(text) = self.get("APP_ENV") else {
            return Environment::Development;
        };
        known
            .into_iter()
            .find(|known| known.as_str() == text.trim())
            .unwrap_or_else(|| {
                self.error(
                    "APP_ENV",
                    format!("{text:?} is not a known environment"),
                    "use development, test, staging or production",
                );
                // The strictest one, so that a misspelling also shows what production would refuse.
                Environment::Production
            })
    }

    pub(super) fn instance_id(&mut self, port: u16) -> String {
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

    pub(super) fn audience(&mut self, issuer: &str) -> String {
        match self.get("TOKEN_AUDIENCE") {
            None => issuer.to_owned(),
            Some(_) => self.text("TOKEN_AUDIENCE", issuer),
        }
    }

    pub(super) fn hash_workers(&mut self) -> NonZeroUsize {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let number = self.number("HASH_WORKERS", cores.get() as u64, 1..=256);
        NonZeroUsize::new(number as usize).unwrap_or(cores)
    }

    pub(super) fn trusted_proxies(&mut self) -> Vec<IpNet> {
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

    pub(super) fn log_level(&mut self) -> tracing::Level {
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

    /// Settings that promise something this version does not do. Ignoring them
    /// would leave instances that believe they share state and do not.
    pub(super) fn refuse_unsupported(&mut self) {
        for name in ["REDIS_URL", "REDIS_HOST"] {
            if self.get(name).is_some() {
                self.error(
                    name,
                    "is set, but Redis is not supported by this version yet",
                    "unset it; SHARED_STATE_URL names the file that instances share",
                );
            }
        }
        if self
            .get("JWT_ALGORITHM")
            .is_some_and(|algorithm| algorithm.trim() != "RS256")
        {
            self.error(
                "JWT_ALGORITHM",
                "is not supported: tokens are signed with RS256",
                "unset it",
            );
        }
        if self.get("JWT_PRIVATE_KEY").is_some() {
            self.error(
                "JWT_PRIVATE_KEY",
                "is set, but importing a signing key is not supported by this version yet",
                "unset it: instances make and share their signing key through the database",
            );
        }
    }
}
