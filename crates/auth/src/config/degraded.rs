//! What goes on while the shared state is away. Never whether it is.

use super::values::Values;
use super::{Variable, var};

pub(super) const VARIABLES: &[Variable] = &[
    var(
        "REVOCATION_DEGRADED",
        "store",
        "who knows of revocations while the shared state is away: store, or deny or allow every token",
    ),
    var(
        "LOGIN_DEGRADED",
        "local",
        "logins while the shared state is away: local counts failures in the instance, deny refuses",
    ),
];

/// Whom to ask while the shared state is down or does not know everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationFallback {
    /// The store: one read per token.
    Store,
    /// Nobody: every token is refused.
    Deny,
    /// Nobody: every token counts as not revoked.
    Allow,
}

impl RevocationFallback {
    /// Whether tokens can be checked without the shared state.
    pub(crate) fn knows(self) -> bool {
        match self {
            Self::Store | Self::Allow => true,
            Self::Deny => false,
        }
    }
}

/// What goes on while the shared state is away.
#[derive(Debug, Clone, Copy)]
pub struct Degraded {
    /// Who knows of revocations.
    pub revocations: RevocationFallback,
    /// Whether logins go on, each instance counting failures by itself.
    pub allows_logins: bool,
}

impl Degraded {
    pub(super) fn read(v: &mut Values<'_>) -> Self {
        let revocations = match v.get("REVOCATION_DEGRADED").as_deref() {
            None | Some("store") => RevocationFallback::Store,
            Some("deny") => RevocationFallback::Deny,
            Some("allow") => {
                v.warnings.push(
                    "REVOCATION_DEGRADED=allow: without the shared state, tokens of ended sessions are accepted".to_owned(),
                );
                RevocationFallback::Allow
            }
            Some(_) => {
                let hint = "use store; deny and allow ask nobody";
                v.error("REVOCATION_DEGRADED", "is not store, deny or allow", hint);
                RevocationFallback::Deny
            }
        };
        let allows_logins = match v.get("LOGIN_DEGRADED").as_deref() {
            None | Some("local") => true,
            Some("deny") => false,
            Some(_) => {
                v.error("LOGIN_DEGRADED", "is neither local nor deny", "use local");
                false
            }
        };
        Self {
            revocations,
            allows_logins,
        }
    }
}
