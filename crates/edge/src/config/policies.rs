//! What a route or a listener adds to every answer, after parsing: CORS and security headers. Never holds a request.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

/// Which web pages of other origins may read answers (the CORS protocol of the Fetch standard).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// The edge answers preflights and says who may read; what endpoints say of it is removed.
    Edge(Box<CorsPolicy>),
    /// The endpoint does all of that; its preflights need no token.
    Endpoint,
}

/// What the edge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsPolicy {
    /// Who may read.
    pub origins: Vec<Origin>,
    /// Methods that a preflight allows.
    pub methods: Vec<Method>,
    /// Request fields that a preflight allows; `None`: whichever are asked for.
    pub headers: Option<Vec<HeaderName>>,
    /// Response fields that pages may read beside the usual ones.
    pub expose: Vec<HeaderName>,
    /// Whether requests may carry cookies and the like (default no).
    pub credentials: bool,
    /// How long a browser may remember a preflight (default 10 min).
    pub max_age: Duration,
}

/// One or more origins, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// All of them, but for `null`.
    Any,
    /// `null`: pages of files, sandboxes and others without an origin of their own.
    Null,
    /// `https://app.example.com`
    Exact(String),
    /// `https://*.example.com:8443`: every name below it.
    Below {
        /// `https://`
        scheme: String,
        /// `.example.com:8443`
        rest: String,
    },
}

impl CorsPolicy {
    /// Whether pages of this origin may read.
    pub fn allows(&self, origin: &[u8]) -> bool {
        if origin == b"null" {
            return self.origins.contains(&Origin::Null);
        }
        let Ok(origin) = std::str::from_utf8(origin) else {
            return false;
        };
        self.origins.iter().any(|pattern| pattern.matches(origin))
    }

    /// Whether answers say the same to every origin.
    pub fn is_for_all(&self) -> bool {
        self.origins.contains(&Origin::Any) && !self.credentials
    }
}

impl Origin {
    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Null => false,
            Self::Exact(exact) => exact == origin,
            Self::Below { scheme, rest } => {
                let host = origin.strip_prefix(scheme.as_str());
                let labels = host.and_then(|host| host.strip_suffix(rest.as_str()));
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                labels.is_some_and(|labels| {
                    !labels.is_empty() && !labels.starts_with('.') && labels.bytes().all(is_name)
                })
            }
        }
    }
}

/// Fields that make browsers careful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityHeaders {
    /// Fields and their values.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// Taken away: they tell what an endpoint is made of.
    pub removed: Vec<HeaderName>,
    /// `Strict-Transport-Security`, for answers over TLS.
    pub hsts: Option<HeaderValue>,
    /// Whether they replace what the endpoint says under these names (default no).
    pub overwrites: bool,
}
