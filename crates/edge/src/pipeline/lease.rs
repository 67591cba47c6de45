//! How long a connection that became a tunnel may last: as long as the token that opened it. Never asks
//! anybody, and never takes lost news for bad news: a tunnel ends for what is known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::authorize::{Principal, facts};
use super::{Exchange, unix_seconds};
use crate::config::Tunnels;
use crate::jwks::{Issuer, Passport};
use crate::revocation::Verdict;

/// How often an open tunnel is looked at. Whoever has a hundred thousand of them spends a tenth of a
/// processor on it.
pub const LEASE_LOOK: Duration = Duration::from_secs(1);

/// What a tunnel was opened with.
#[derive(Debug)]
pub struct Lease {
    passport: Arc<Passport>,
    issuer: Arc<Issuer>,
    tunnels: Tunnels,
}

/// Why a tunnel has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEnd {
    /// Its token was taken back.
    Revoked,
    /// The time of its token is over.
    Expired,
}

impl Exchange {
    /// How long a request body may be silent.
    pub fn body_timeout(&self) -> Duration {
        self.connection.listener.timeouts.body
    }

    /// How long both sides of a tunnel may be silent.
    pub fn tunnel_timeout(&self) -> Duration {
        self.connection.listener.timeouts.tunnel
    }

    /// What limits the life of the tunnel that this request opens, if its route asked for a token.
    pub fn lease(&self) -> Option<Lease> {
        let Principal::Verified(passport) = &self.principal else {
            return None;
        };
        let auth = self.snapshot.route(self.route?).auth.as_ref()?;
        Some(Lease {
            passport: Arc::clone(passport),
            issuer: Arc::clone(&self.snapshot.issuers[auth.issuer.0]),
            tunnels: auth.tunnels,
        })
    }
}

impl Lease {
    /// Whether the tunnel has to end now. Counted once it has, so nobody asks again.
    pub fn is_over(&self, at: Instant) -> bool {
        let now = i64::try_from(unix_seconds()).unwrap_or(i64::MAX);
        let Some(why) = self.end(now, at) else {
            return false;
        };
        self.issuer.metrics().tunnel_ended(why);
        true
    }

    /// Resolves when the tunnel has to end.
    pub async fn over(self) {
        loop {
            tokio::time::sleep(LEASE_LOOK).await;
            if self.is_over(Instant::now()) {
                return;
            }
        }
    }

    fn end(&self, now: i64, at: Instant) -> Option<LeaseEnd> {
        let revoked = self.issuer.revocations().is_some_and(|follower| {
            follower.set.is_revoked(at, &facts(&self.passport)) == Verdict::Revoked
        });
        if revoked {
            return Some(LeaseEnd::Revoked);
        }
        let is_expired = self.tunnels == Tunnels::UntilExpired
            && self.issuer.has_expired(&self.passport.claims, now);
        is_expired.then_some(LeaseEnd::Expired)
    }
}

/// Resolves when the tunnel has to end; never without a lease.
pub async fn lease_over(lease: Option<Lease>) {
    match lease {
        Some(lease) => lease.over().await,
        None => std::future::pending().await,
    }
}
