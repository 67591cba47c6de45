//! What one auth instance runs with, parsed once from environment variables.
//! Never reads the process environment or a file itself, and never shows a
//! secret's value in a message.

mod places;
mod secrets;
mod values;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use portcullis_ops::Secret;

pub(crate) use secrets::decode_key;
use values::Values;

/// Every variable that has an effect, with its default and meaning: the
/// reference page and the test that no other variable is read use this table.
pub const VARIABLES: &[Variable] = &[
    var("HOST", "127.0.0.1", "address to listen on"),
    var("PORT", "8000", "port to listen on"),
    var(
        "INSTANCE_ID",
        "auth-<port>",
        "name of this instance, sent as X-Instance-Id",
    ),
    var(
        "APP_ENV",
        "development",
        "development, test, staging or production; production refuses unsafe settings",
    ),
    var("APP_NAME", "Auth Server", "service name in health answers"),
    var(
        "APP_VERSION",
        "this build's version",
        "version in health answers",
    ),
    var(
        "DATABASE_URL",
        "sqlite://./auth.db",
        "durable store; sqlite:///absolute/path or sqlite://relative/path",
    ),
    var("DATABASE_POOL_SIZE", "4", "database connections kept open"),
    var(
        "DATABASE_MAX_OVERFLOW",
        "4",
        "further database connections under load",
    ),
    var(
        "SHARED_STATE_URL",
        "shared.db beside the database",
        "short-lived state that all instances see",
    ),
    var(
        "ISSUER_URL",
        "http://localhost:<port>",
        "issuer (`iss`) of tokens: the public address",
    ),
    var(
        "TOKEN_AUDIENCE",
        "the issuer",
        "audience (`aud`) of access tokens",
    ),
    var(
        "ACCESS_TOKEN_TTL",
        "600",
        "lifetime of access tokens in seconds, at most 3600",
    ),
    var(
        "REFRESH_IDLE_TTL",
        "1209600",
        "seconds an unused refresh token stays good, at most 90 days",
    ),
    var(
        "REFRESH_ABSOLUTE_TTL",
        "7776000",
        "seconds until a login must be repeated, at most 365 days",
    ),
    var(
        "SECURITY_SALT",
        "none",
        "pepper mixed into stored password hashes: the same on every instance",
    ),
    var(
        "KEY_ENCRYPTION_KEY",
        "none",
        "32 bytes, as base64 or 64 hex digits, that encrypt signing keys at rest",
    ),
    var(
        "KEY_ENCRYPTION_KEY_FILE",
        "auth.key beside the database",
        "file holding the same; outside production it is made when missing",
    ),
    var(
        "HASH_WORKERS",
        "number of cores",
        "password hashes computed at once",
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
        "AUTH_RATE_LIMIT_ENABLED",
        "true",
        "slow down password guessing per account and network: true or false",
    ),
    var(
        "TRUST_PROXY",
        "false",
        "whose X-Forwarded-For to believe: false, true (loopback and private ranges) or CIDRs",
    ),
    var("LOG_LEVEL", "info", "trace, debug, info, warn or error"),
];

/// One row of [`VARIABLES`].
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name in the environment.
    pub name: &'static str,
    /// What holds when it is not set.
    pub default: &'static str,
    /// One line of meaning.
    pub meaning: &'static str,
}

const fn var(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable {
        name,
        default,
        meaning,
    }
}

/// One instance's settings. Everything in it has been checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; `serve` takes a bound listener, so this is for its caller.
    pub address: SocketAddr,
    /// Sent as `X-Instance-Id`; unique among instances.
    pub instance_id: String,
    /// Which checks apply.
    pub environment: Environment,
    /// Service name in health answers.
    pub name: String,
    /// Version in health answers.
    pub version: String,
    /// File of the durable store.
    pub database: PathBuf,
    /// Connections kept open to the durable store.
    pub database_pool_size: NonZeroU32,
    /// Connections beyond that under load.
    pub database_max_overflow: u32,
    /// File of the state that all instances share.
    pub shared_state: PathBuf,
    /// `iss` of every token; no trailing slash.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// Lifetime of access tokens.
    pub access_token_ttl: Duration,
    /// How long an unused refresh token stays good.
    pub refresh_idle_ttl: Duration,
    /// How long a session can be refreshed at all.
    pub refresh_absolute_ttl: Duration,
    /// Pepper of stored password hashes.
    pub pepper: Option<Secret<String>>,
    /// Where the key that encrypts signing keys comes from.
    pub key_encryption_key: KeySource,
    /// Password hashes computed at once.
    pub hash_workers: NonZeroUsize,
    /// How long requests in flight may take to finish on shutdown.
    pub shutdown_timeout: Duration,
    /// How long to serve after readiness has failed.
    pub drain_delay: Duration,
    /// Whether password guessing is slowed down.
    pub limits_logins: bool,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Least severe level that is logged.
    pub log_level: tracing::Level,
    /// What works but deserves a look; for the caller to print.
    pub warnings: Vec<String>,
}

/// The kind of place an instance runs in. A closed set, so that a misspelt
/// `prodution` cannot switch the production checks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// A developer's machine: defaults suffice.
    Development,
    /// An automated test.
    Test,
    /// A rehearsal of production, without its checks.
    Staging,
    /// Unsafe settings are refused.
    Production,
}

impl Environment {
    /// The name as written in `APP_ENV`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Test => "test",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}

/// Where the key that encrypts signing keys at rest comes from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Given in the environment.
    Inline(Secret<[u8; 32]>),
    /// Read from a file that must exist.
    File(PathBuf),
    /// Read from a file that is made, readable by its owner alone, when missing.
    FileOrCreate(PathBuf),
}

/// Every mistake found in the environment.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// One variable that cannot be used, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {message}\n  hint: {hint}")]
pub struct ConfigError {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong with it.
    pub message: String,
    /// How to put it right.
    pub hint: String,
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// An access token cannot be taken back from an application that only checks
/// its signature, so its life is short.
pub(crate) const ACCESS_TTL_CEILING: u64 = HOUR;
const REFRESH_IDLE_CEILING: u64 = 90 * DAY;
const REFRESH_ABSOLUTE_CEILING: u64 = 365 * DAY;
/// Ten minutes in milliseconds: nothing waits longer for a process to leave.
const SHUTDOWN_CEILING_MS: u64 = 600_000;
/// HMAC-SHA-256 gains nothing from a longer pepper and loses from a shorter one.
const PEPPER_MIN_BYTES: usize = 32;

impl Config {
    /// Reads every variable through `vars` and reports all mistakes at once.
    /// An empty value counts as not set.
    pub fn from_env(vars: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut v = Values::new(&vars);
        let environment = v.environment();
        let address = SocketAddr::new(v.host(), v.number("PORT", 8000, 1..=65535) as u16);
        let database = v.database(environment);
        let idle = v.number("REFRESH_IDLE_TTL", 14 * DAY, 60..=REFRESH_IDLE_CEILING);
        let absolute = v
            .number(
                "REFRESH_ABSOLUTE_TTL",
                90 * DAY,
                60..=REFRESH_ABSOLUTE_CEILING,
            )
            .max(idle);
        let issuer = v.issuer(address.port(), environment);
        let config = Self {
            address,
            instance_id: v.instance_id(address.port()),
            environment,
            name: v.text("APP_NAME", "Auth Server"),
            version: v.text("APP_VERSION", env!("CARGO_PKG_VERSION")),
            database_pool_size: NonZeroU32::new(v.number("DATABASE_POOL_SIZE", 4, 1..=100) as u32)
                .unwrap_or(NonZeroU32::MIN),
            database_max_overflow: v.number("DATABASE_MAX_OVERFLOW", 4, 0..=100) as u32,
            shared_state: v.shared_state(&database),
            audience: v.audience(&issuer),
            issuer,
            access_token_ttl: Duration::from_secs(v.number(
                "ACCESS_TOKEN_TTL",
                600,
                1..=ACCESS_TTL_CEILING,
            )),
            refresh_idle_ttl: Duration::from_secs(idle),
            refresh_absolute_ttl: Duration::from_secs(absolute),
            pepper: v.pepper(environment, PEPPER_MIN_BYTES),
            key_encryption_key: v.key_encryption_key(environment, &database),
            database,
            hash_workers: v.hash_workers(),
            shutdown_timeout: v.milliseconds("SHUTDOWN_TIMEOUT", 30_000, SHUTDOWN_CEILING_MS),
            drain_delay: v.milliseconds("DRAIN_DELAY", 15_000, SHUTDOWN_CEILING_MS),
            limits_logins: v.switch("AUTH_RATE_LIMIT_ENABLED", true),
            trusted_proxies: v.trusted_proxies(),
            log_level: v.log_level(),
            warnings: Vec::new(),
        };
        v.refuse_unsupported();
        let (errors, warnings) = v.finish();
        if errors.is_empty() {
            Ok(Self { warnings, ..config })
        } else {
            Err(ConfigErrors(errors))
        }
    }
}

#[cfg(test)]
mod tests;
