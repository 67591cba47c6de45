//! Reads single variables and collects every mistake on the way. Never stops at
//! the first one: a bad value is replaced by its default and reported.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ipnet::IpNet;
use portcullis_ops::Secret;
use zeroize::Zeroizing;

use super::{ConfigError, Environment, KeySource};

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

/// Words that appear in documented examples and placeholders, never in a random secret.
const EXAMPLE_WORDS: [&str; 6] = [
    "your-",
    "your_",
    "example",
    "change",
    "placeholder",
    "same-salt",
];

/// The variables of one environment, and what was wrong with them so far.
pub(super) struct Values<'a> {
    vars: &'a dyn Fn(&str) -> Option<String>,
    errors: Vec<ConfigError>,
    warnings: Vec<String>,
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

    fn get(&self, name: &'static str) -> Option<String> {
        (self.vars)(name).filter(|value| !value.trim().is_empty())
    }

    fn error(
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

    pub(super) fn database(&mut self, environment: Environment) -> PathBuf {
        match self.get("DATABASE_URL") {
            Some(url) => self.sqlite_path("DATABASE_URL", &url),
            None => {
                if environment == Environment::Production {
                    self.error(
                        "DATABASE_URL",
                        "is not set, and production has no default database",
                        "name it, for example sqlite:///var/lib/portcullis/auth.db",
                    );
                }
                PathBuf::from("auth.db")
            }
        }
    }

    pub(super) fn shared_state(&mut self, database: &Path) -> PathBuf {
        let path = match self.get("SHARED_STATE_URL") {
            Some(url) => self.sqlite_path("SHARED_STATE_URL", &url),
            None => database.with_file_name("shared.db"),
        };
        if path == database && !path.as_os_str().is_empty() {
            self.error(
                "SHARED_STATE_URL",
                "names the same file as DATABASE_URL",
                "give it a file of its own, so that counters never block durable writes",
            );
        }
        path
    }

    /// `sqlite:///absolute` and `sqlite://relative` name files. The value is not
    /// repeated in messages, since other databases' addresses hold passwords.
    fn sqlite_path(&mut self, name: &'static str, url: &str) -> PathBuf {
        let hint = "use sqlite:///absolute/path/auth.db or sqlite://relative/path/auth.db";
        let scheme = url.split(':').next().unwrap_or_default();
        let path = match url
            .strip_prefix("sqlite://")
            .or_else(|| url.strip_prefix("sqlite:"))
        {
            Some(path) => path.split('?').next().unwrap_or_default(),
            None => {
                let what = match scheme {
                    "postgres" | "postgresql" => "PostgreSQL is not supported by this version yet",
                    "redis" | "rediss" => "Redis is not supported by this version yet",
                    _ => "is not a sqlite:// address",
                };
                self.error(name, what, hint);
                return PathBuf::new();
            }
        };
        if path.is_empty() || path.contains(":memory:") || url.contains("mode=memory") {
            self.error(
                name,
                "names no file: a database in memory is lost with the process",
                hint,
            );
        }
        PathBuf::from(path)
    }

    pub(super) fn issuer(&mut self, port: u16, environment: Environment) -> String {
        let production = environment == Environment::Production;
        let example = "https://auth.example.com";
        let Some(text) = self.get("ISSUER_URL") else {
            if production {
                self.error(
                    "ISSUER_URL",
                    "is not set, and production has no default issuer",
                    format!("set the public address, for example {example}"),
                );
            }
            return format!("http://localhost:{port}");
        };
        match text.parse::<http::Uri>() {
            Ok(uri) if is_plain_origin(&uri, &text) => {
                if production && uri.scheme_str() != Some("https") {
                    self.error(
                        "ISSUER_URL",
                        "is not https, which production requires",
                        format!("use the public address that clients reach, such as {example}"),
                    );
                }
            }
            _ => self.error(
                "ISSUER_URL",
                "is not an http(s) address without user, query, fragment and trailing slash",
                format!("write it like {example}: verifiers compare it byte for byte"),
            ),
        }
        text
    }

    pub(super) fn audience(&mut self, issuer: &str) -> String {
        match self.get("TOKEN_AUDIENCE") {
            None => issuer.to_owned(),
            Some(_) => self.text("TOKEN_AUDIENCE", issuer),
        }
    }

    pub(super) fn pepper(
        &mut self,
        environment: Environment,
        min_bytes: usize,
    ) -> Option<Secret<String>> {
        let production = environment == Environment::Production;
        let hint = "make one with: openssl rand -base64 48; give every instance the same";
        let Some(text) = self.get("SECURITY_SALT").map(Secret::new) else {
            if production {
                self.error(
                    "SECURITY_SALT",
                    "is not set, which production requires",
                    hint,
                );
            }
            return None;
        };
        let fault = if text.expose().len() < min_bytes {
            Some(format!("is shorter than {min_bytes} bytes"))
        } else if is_example(text.expose()) {
            Some("is an example, not a secret".to_owned())
        } else {
            None
        };
        match fault {
            Some(fault) if production => self.error("SECURITY_SALT", fault, hint),
            Some(fault) => self
                .warnings
                .push(format!("SECURITY_SALT {fault}: production refuses it")),
            None => {}
        }
        Some(text)
    }

    pub(super) fn key_encryption_key(
        &mut self,
        environment: Environment,
        database: &Path,
    ) -> KeySource {
        let hint = "make one with: openssl rand -base64 32; give every instance the same";
        let inline = self.get("KEY_ENCRYPTION_KEY").map(Zeroizing::new);
        let file = self.get("KEY_ENCRYPTION_KEY_FILE").map(PathBuf::from);
        match (inline, file) {
            (Some(_), Some(path)) => {
                self.error(
                    "KEY_ENCRYPTION_KEY",
                    "is set together with KEY_ENCRYPTION_KEY_FILE",
                    "set one of the two",
                );
                KeySource::File(path)
            }
            (Some(text), None) => match decode_key(&text) {
                Some(key) => KeySource::Inline(key),
                None => {
                    self.error(
                        "KEY_ENCRYPTION_KEY",
                        "is not 32 random bytes as base64 or hex",
                        hint,
                    );
                    KeySource::Inline(Secret::default())
                }
            },
            (None, Some(path)) if environment == Environment::Production => KeySource::File(path),
            (None, Some(path)) => KeySource::FileOrCreate(path),
            (None, None) => {
                if environment == Environment::Production {
                    self.error(
                        "KEY_ENCRYPTION_KEY_FILE",
                        "is not set, and neither is KEY_ENCRYPTION_KEY: production requires one",
                        hint,
                    );
                }
                KeySource::FileOrCreate(database.with_extension("key"))
            }
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

/// Only scheme, host, optional port and path, exactly as they will be compared.
fn is_plain_origin(uri: &http::Uri, text: &str) -> bool {
    matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|host| !host.is_empty())
        && !text.contains(['?', '#', '@', '"', '\\'])
        && !text.ends_with('/')
}

fn is_example(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let distinct: BTreeSet<char> = lower.chars().collect();
    distinct.len() < 8 || EXAMPLE_WORDS.iter().any(|word| lower.contains(word))
}

/// 32 bytes written as base64 (either alphabet) or as 64 hex digits.
pub(crate) fn decode_key(text: &str) -> Option<Secret<[u8; 32]>> {
    let text = text.trim();
    let bytes = if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
        text.as_bytes()
            .chunks_exact(2)
            .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
            .collect()
    } else {
        let url_safe = text
            .trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_");
        URL_SAFE_NO_PAD
            .decode(url_safe)
            .or_else(|_| STANDARD.decode(text))
            .ok()?
    };
    let bytes = Zeroizing::new(bytes);
    let key: [u8; 32] = bytes.as_slice().try_into().ok()?;
    let distinct: BTreeSet<u8> = key.iter().copied().collect();
    // 32 random bytes with fewer than 8 distinct values happen once in 10^40.
    (distinct.len() >= 8).then(|| Secret::new(key))
}
