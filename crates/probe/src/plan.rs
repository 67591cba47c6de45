//! What to try, and within which bounds. Never tries it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use portcullis_ops::Secret;

use crate::target::Target;

/// One thing that can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Certificate, versions, redirects.
    Tls,
    /// Health paths answer.
    Health,
    /// Requests are spread as the weights say.
    Distribution,
    /// A cookie keeps a client with its endpoint.
    Affinity,
    /// Endpoints are told who asks, and are not lied to.
    Forwarding,
    /// Answers name a request id, and errors nothing of the inside.
    Errors,
    /// A logout ends the token on every instance.
    Logout,
    /// An endpoint leaves, and nobody notices.
    Failover,
    /// Clients bound to an endpoint that left get another one.
    Reassignment,
    /// Guessing passwords is slowed down by all instances together.
    Limits,
}

impl Check {
    /// In the order in which they are run.
    pub const ALL: [Self; 10] = [
        Self::Tls,
        Self::Health,
        Self::Distribution,
        Self::Affinity,
        Self::Forwarding,
        Self::Errors,
        Self::Logout,
        Self::Failover,
        Self::Reassignment,
        Self::Limits,
    ];

    /// Its name in tables and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Health => "health",
            Self::Distribution => "distribution",
            Self::Affinity => "affinity",
            Self::Forwarding => "forwarding",
            Self::Errors => "errors",
            Self::Logout => "logout",
            Self::Failover => "failover",
            Self::Reassignment => "reassignment",
            Self::Limits => "limits",
        }
    }

    /// Whether it needs or causes trouble, so that it is done only where somebody asks for it.
    pub fn disturbs(self) -> bool {
        matches!(self, Self::Failover | Self::Reassignment | Self::Limits)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keeps to a width that a table asks for.
        f.pad(self.name())
    }
}

/// Everything a visit needs to know.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The deployment.
    pub target: Target,
    /// What was asked for by name; what of that cannot be tried counts as failed. Empty: everything
    /// that disturbs nobody, as far as it can be tried.
    pub asked_for: Vec<Check>,
    /// Requests that measure the distribution.
    pub requests: u32,
    /// Weights of the endpoints in any order; `None` if the stranger was told nothing.
    pub weights: Option<Vec<u32>>,
    /// How far a share may be from its weight, in percent of what it should be, whatever chance says.
    pub tolerance_percent: u32,
    /// Paths that must answer 200. Empty: the usual ones, of those that exist.
    pub health_paths: Vec<String>,
    /// A path that answers with the request's headers as JSON.
    pub echo_path: Option<String>,
    /// The cookie that binds a client, where it has another name than ours.
    pub affinity_cookie: Option<String>,
    /// The field of an answer that says who gave it, where it is none of ours.
    pub instance_header: Option<HeaderName>,
    /// Somebody to log in as.
    pub account: Option<Account>,
    /// Where tokens are made, judged and ended.
    pub auth_paths: AuthPaths,
    /// A logout must have reached every instance after this.
    pub logout_bound: Duration,
    /// The watch while an endpoint leaves.
    pub disturbance: Disturbance,
    /// Whom to believe about certificates.
    pub trust: Trust,
    /// How long one request may take.
    pub timeout: Duration,
}

impl Plan {
    /// Requests that measure the distribution.
    pub const REQUESTS: u32 = 300;
    /// Less of a difference is nobody's trouble.
    pub const TOLERANCE_PERCENT: u32 = 25;
    /// The most that may be asked for.
    pub const REQUESTS_MAX: u32 = 10_000;
    /// The cookie our edge sets unless told otherwise.
    pub const AFFINITY_COOKIE: &str = "_portcullis_affinity";
    /// Paths that are asked for their health where the operator names none.
    pub const HEALTH_PATHS: [&str; 6] = [
        "/health",
        "/ready",
        "/alive",
        "/health/ready",
        "/health/live",
        "/healthz",
    ];

    /// Everything at its default.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            asked_for: Vec::new(),
            requests: Self::REQUESTS,
            weights: None,
            health_paths: Vec::new(),
            echo_path: None,
            affinity_cookie: None,
            instance_header: None,
            account: None,
            auth_paths: AuthPaths::default(),
            tolerance_percent: Self::TOLERANCE_PERCENT,
            logout_bound: Duration::from_secs(1),
            disturbance: Disturbance::default(),
            trust: Trust::default(),
            timeout: Duration::from_secs(5),
        }
    }

    /// What will be tried.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let is_wanted = |check: &Check| self.asked_for.is_empty() || self.asked_for.contains(check);
        Check::ALL.into_iter().filter(is_wanted).collect()
    }

    /// What the operator should know of the visit itself, whatever it finds.
    pub(crate) fn notes(&self) -> Vec<String> {
        let logs_in = self.account.is_some() && self.checks().contains(&Check::Logout);
        let is_readable = logs_in && !self.target.is_https();
        is_readable
            .then(|| PASSWORD_IN_THE_CLEAR.to_owned())
            .into_iter()
            .collect()
    }
}

const PASSWORD_IN_THE_CLEAR: &str = "the URL begins with http://, so the password of --user is sent in the \
    clear: whoever is on the way can read it";

/// Somebody to log in as.
#[derive(Clone, Debug)]
pub struct Account {
    /// The e-mail address.
    pub email: String,
    /// Its password.
    pub password: Secret<String>,
}

/// Where tokens are made, judged and ended; the default is our auth service.
#[derive(Clone, Debug)]
pub struct AuthPaths {
    /// Takes `email` and `password` as JSON and answers with `access_token`.
    pub login: String,
    /// Says whether a bearer token is good.
    pub verify: String,
    /// Ends the session of a bearer token.
    pub logout: String,
}

impl Default for AuthPaths {
    fn default() -> Self {
        let path = |verb| format!("/api/v1/auth/{verb}");
        Self {
            login: path("login"),
            verify: path("verify"),
            logout: path("logout"),
        }
    }
}

/// How to watch while an endpoint leaves.
#[derive(Clone, Copy, Debug)]
pub struct Disturbance {
    /// How long.
    pub watch: Duration,
    /// Requests a second.
    pub rate: u32,
}

impl Default for Disturbance {
    fn default() -> Self {
        Self {
            watch: Duration::from_secs(30),
            rate: 50,
        }
    }
}

/// Whom to believe about certificates.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// PEM file with authorities; `None` for the system's.
    pub authorities: Option<PathBuf>,
    /// Visit all the same where the certificate is bad, and say so only in the check for it.
    pub is_insecure: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_over_plain_http_is_worth_a_note() {
        let plan = |url: &str, has_account: bool, asked_for: &[Check]| {
            let mut plan = Plan::new(url.parse().unwrap());
            plan.asked_for = asked_for.to_vec();
            plan.account = has_account.then(|| Account {
                email: "ada@example.com".to_owned(),
                password: Secret::new("secret".to_owned()),
            });
            plan
        };
        for (url, has_account, asked_for, count) in [
            ("http://a.test/", true, &[][..], 1),
            ("http://a.test/", true, &[Check::Logout], 1),
            ("http://a.test/", true, &[Check::Health], 0),
            ("http://a.test/", false, &[], 0),
            ("https://a.test/", true, &[], 0),
        ] {
            let notes = plan(url, has_account, asked_for).notes();
            assert_eq!(notes.len(), count, "{url} {has_account} {asked_for:?}");
        }
    }

    #[test]
    fn without_a_wish_everything_is_looked_at_in_order() {
        let mut plan = Plan::new("http://127.0.0.1/".parse().unwrap());
        assert_eq!(plan.checks(), Check::ALL);
        plan.asked_for = vec![Check::Health, Check::Tls];
        assert_eq!(plan.checks(), [Check::Tls, Check::Health]);
    }
}
