//! What is written into tokens and how long they live. Never how they are signed.

use std::time::Duration;

use super::values::Values;
use super::{Environment, Variable, var};

pub(super) const VARIABLES: &[Variable] = &[
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
        "SEEN_TOKENS",
        "8192",
        "tokens whose good signature is remembered, about 1 KB each; 0 remembers none",
    ),
    var(
        "SEEN_SUBJECTS",
        "8192",
        "subjects whose permission sets are remembered, about 2 KB each; 0 remembers none, nor in the shared state",
    ),
];

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// An access token cannot be taken back from an application that only checks
/// its signature, so its life is short.
pub(crate) const ACCESS_TTL_CEILING: u64 = HOUR;
/// Half a gigabyte.
const MOST_SEEN: u64 = 1 << 19;
const REFRESH_IDLE_CEILING: u64 = 90 * DAY;
const REFRESH_ABSOLUTE_CEILING: u64 = 365 * DAY;

/// What tokens say and how long they hold.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// `iss` of every token; no trailing slash.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// Lifetime of access tokens.
    pub access_ttl: Duration,
    /// How long an unused refresh token stays good.
    pub refresh_idle_ttl: Duration,
    /// How long a session can be refreshed at all.
    pub refresh_absolute_ttl: Duration,
    /// Tokens whose good signature is remembered.
    pub seen: usize,
    /// Subjects whose permission sets are remembered.
    pub seen_subjects: usize,
}

impl Tokens {
    /// The name of the service as people know it: the host of the issuer.
    pub(crate) fn issuer_host(&self) -> &str {
        let behind_scheme = self.issuer.split_once("://");
        let rest = behind_scheme.map_or(self.issuer.as_str(), |(_, rest)| rest);
        rest.split(['/', ':']).next().unwrap_or(rest)
    }

    pub(super) fn read(v: &mut Values<'_>, environment: Environment, port: u16) -> Self {
        let issuer = v.issuer(port, environment);
        let access = v.number("ACCESS_TOKEN_TTL", 600, 1..=ACCESS_TTL_CEILING);
        let idle = v.number("REFRESH_IDLE_TTL", 14 * DAY, 60..=REFRESH_IDLE_CEILING);
        let range = 60..=REFRESH_ABSOLUTE_CEILING;
        let absolute = v.number("REFRESH_ABSOLUTE_TTL", 90 * DAY, range).max(idle);
        let mut seen = |name| {
            let seen = v.number(name, 8192, 0..=MOST_SEEN);
            usize::try_from(seen).unwrap_or(usize::MAX)
        };
        let (tokens, subjects) = (seen("SEEN_TOKENS"), seen("SEEN_SUBJECTS"));
        Self {
            audience: v.audience(&issuer),
            issuer,
            access_ttl: Duration::from_secs(access),
            refresh_idle_ttl: Duration::from_secs(idle),
            refresh_absolute_ttl: Duration::from_secs(absolute),
            seen: tokens,
            seen_subjects: subjects,
        }
    }
}

impl Values<'_> {
    fn issuer(&mut self, port: u16, environment: Environment) -> String {
        let production = environment.is_production();
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

    fn audience(&mut self, issuer: &str) -> String {
        match self.get("TOKEN_AUDIENCE") {
            None => issuer.to_owned(),
            Some(_) => self.text("TOKEN_AUDIENCE", issuer),
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
