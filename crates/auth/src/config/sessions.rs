//! Sessions of browsers: the cookie that carries them and how long they live. Never over plain HTTP in production.

use std::time::Duration;

use super::values::Values;
use super::{Environment, Tokens, Variable, var};

pub(super) const VARIABLES: &[Variable] = &[
    var(
        "SESSION_COOKIE_ENABLED",
        "true",
        "let a login set the session cookie: true or false",
    ),
    var(
        "SESSION_TTL",
        "86400",
        "seconds until a session ends however it is used, at most 30 days",
    ),
    var(
        "SESSION_IDLE_TTL",
        "28800",
        "seconds until an unused session ends, at most SESSION_TTL",
    ),
    var(
        "SESSION_COOKIE_NAME",
        "__Host-portcullis_session, over http without __Host-",
        "name of the session cookie; `_csrf` behind it names the cookie with its CSRF token",
    ),
    var(
        "SESSION_COOKIE_SECURE",
        "true when ISSUER_URL is https",
        "send the cookie over https only: true or false; production refuses false",
    ),
    var(
        "SESSION_COOKIE_SAMESITE",
        "Lax",
        "Lax, Strict, or None where another site embeds this one",
    ),
];

const TTL: &str = "SESSION_TTL";
const IDLE_TTL: &str = "SESSION_IDLE_TTL";
const NAME: &str = "SESSION_COOKIE_NAME";
const SECURE: &str = "SESSION_COOKIE_SECURE";
const SAME_SITE: &str = "SESSION_COOKIE_SAMESITE";
const DAY: u64 = 86_400;

/// The sessions' settings.
#[derive(Debug, Clone)]
pub struct Sessions {
    /// Whether a login sets the cookie, and requests may use it.
    pub is_enabled: bool,
    /// A session ends then however it is used.
    pub ttl: Duration,
    /// A session that is not used ends then.
    pub idle_ttl: Duration,
    /// Name of the cookie.
    pub cookie_name: String,
    /// Whether the cookie is for https alone.
    pub is_secure: bool,
    /// When browsers send it along with requests that other sites cause.
    pub same_site: SameSite,
}

/// When a browser sends a cookie with requests that other sites cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// When a link is followed.
    Lax,
    /// Never.
    Strict,
    /// Always.
    None,
}

impl SameSite {
    /// The value of the attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::Strict => "Strict",
            Self::None => "None",
        }
    }
}

impl Sessions {
    pub(super) fn read(v: &mut Values<'_>, environment: Environment, tokens: &Tokens) -> Self {
        let is_https = tokens.issuer.starts_with("https://");
        let is_secure = v.switch(SECURE, is_https || environment.is_production());
        if environment.is_production() && !is_secure {
            v.error(
                SECURE,
                "would let the session cookie travel in clear, which production refuses",
                "leave it out, with an https ISSUER_URL",
            );
        }
        let same_site = v.same_site();
        if same_site == SameSite::None && !is_secure {
            v.error(
                SAME_SITE,
                "is None without Secure: browsers drop such cookies",
                "use Lax, or https",
            );
        }
        let ttl = v.number(TTL, DAY, 60..=30 * DAY);
        let idle_ttl = v.number(IDLE_TTL, (8 * 3600).min(ttl), 60..=30 * DAY);
        if idle_ttl > ttl {
            v.error(
                IDLE_TTL,
                format!("{idle_ttl} is longer than SESSION_TTL, {ttl}"),
                "a session ends after SESSION_TTL at the latest: use less than that",
            );
        }
        Self {
            is_enabled: v.switch("SESSION_COOKIE_ENABLED", true),
            ttl: Duration::from_secs(ttl),
            idle_ttl: Duration::from_secs(idle_ttl),
            cookie_name: v.cookie_name(is_secure),
            is_secure,
            same_site,
        }
    }
}

impl Values<'_> {
    fn same_site(&mut self) -> SameSite {
        let Some(text) = self.get(SAME_SITE) else {
            return SameSite::Lax;
        };
        let known = [SameSite::Lax, SameSite::Strict, SameSite::None];
        let found = known
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text.trim()));
        found.unwrap_or_else(|| {
            self.error(
                SAME_SITE,
                format!("{text:?} is neither Lax, Strict nor None"),
                "leave it out for the default, Lax",
            );
            SameSite::Lax
        })
    }

    fn cookie_name(&mut self, is_secure: bool) -> String {
        let default = if is_secure {
            "__Host-portcullis_session"
        } else {
            "portcullis_session"
        };
        let Some(name) = self.get(NAME) else {
            return default.to_owned();
        };
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.len() > 64 || !name.bytes().all(is_token) {
            self.error(
                NAME,
                "is longer than 64 characters or holds something else than letters, digits and - _ .",
                format!("use a name such as {default}"),
            );
            return default.to_owned();
        }
        if !is_secure && (name.starts_with("__Host-") || name.starts_with("__Secure-")) {
            self.error(
                NAME,
                "has a prefix that browsers accept over https alone",
                "use a name without prefix, or https",
            );
        }
        name
    }
}
