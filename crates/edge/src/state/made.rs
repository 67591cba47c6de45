//! What a snapshot is made of, from the configuration and from the generation before: what clients have
//! used up and what files have become stays. Never puts anything into force.

use std::collections::HashSet;
use std::sync::Arc;

use http::HeaderName;

use super::{BuildError, Seated, Snapshot};
use crate::access_log::Privacy;
use crate::config::{self, ClientLists, Config, RateLimitId};
use crate::gate::Gate;
use crate::jwks::Issuer;
use crate::metrics::Metrics;
use crate::rate_limit::Limiter;
use crate::tls::Terminator;

/// By number. Who is gone keeps the rules it had, for its last connections.
pub(super) fn listener_gates(
    config: &Config,
    seated: &Seated,
    metrics: &Metrics,
    previous: Option<&Snapshot>,
) -> Vec<Option<Arc<Gate>>> {
    let kept = |number: usize| previous?.listener_gates.get(number)?.clone();
    let mut gates: Vec<_> = (0..seated.names.len()).map(kept).collect();
    for (listener, seat) in config.listeners.iter().zip(&seated.configured) {
        let built = gate(
            listener.clients.as_ref(),
            "listener",
            &listener.name,
            metrics,
        );
        if let Some(gate) = gates.get_mut(seat.number) {
            *gate = built.map(Arc::new);
        }
    }
    gates
}

/// By number, as the gates are.
pub(super) fn listener_limits(
    config: &Config,
    seated: &Seated,
    previous: Option<&Snapshot>,
) -> Vec<Vec<RateLimitId>> {
    let renamed = |previous: &Snapshot, id: &RateLimitId| {
        let name = previous.limiters.get(id.0)?.name();
        let mut limits = config.rate_limits.iter();
        limits.position(|limit| limit.name == name).map(RateLimitId)
    };
    let kept = |number: usize| {
        let previous = previous?;
        let limits = previous.listener_limits.get(number)?.iter();
        Some(limits.filter_map(|id| renamed(previous, id)).collect())
    };
    let mut limits: Vec<Vec<RateLimitId>> = (0..seated.names.len())
        .map(|number| kept(number).unwrap_or_default())
        .collect();
    for (listener, seat) in config.listeners.iter().zip(&seated.configured) {
        if let Some(limits) = limits.get_mut(seat.number) {
            limits.clone_from(&listener.rate_limits);
        }
    }
    limits
}

/// A salt lives as long as nothing is said otherwise of what it hides.
pub(super) fn privacy(config: &Config, previous: Option<&Snapshot>) -> Arc<Privacy> {
    let known = previous.map(|previous| &previous.privacy);
    let same = known.filter(|known| known.is_of(&config.log_privacy));
    same.map_or_else(|| Arc::new(Privacy::new(&config.log_privacy)), Arc::clone)
}

pub(super) fn gate(
    lists: Option<&ClientLists>,
    by: &str,
    name: &str,
    metrics: &Metrics,
) -> Option<Gate> {
    lists.map(|lists| Gate::build(lists, metrics.gate(by, name)))
}

/// What is made of the same configuration goes on, with what its files have become since. Another one
/// takes over the keys of tickets.
pub(super) fn terminators(
    config: &Config,
    metrics: &Metrics,
    previous: Option<&Snapshot>,
) -> Result<Vec<Arc<Terminator>>, BuildError> {
    let listeners = config.listeners.iter();
    let terminating = listeners.filter_map(|one| Some((&one.name, one.tls.as_ref()?)));
    let build = |(listener, tls): (&String, &config::Tls)| {
        let known = previous.and_then(|previous| previous.terminator(listener));
        if let Some(same) = known.filter(|known| known.is_made_of(tls)) {
            return Ok(Arc::clone(same));
        }
        let known = known.map(Arc::as_ref);
        let built = Terminator::new(listener, tls, metrics.tls(listener), known);
        let built = built.map_err(|source| BuildError::Tls {
            listener: listener.clone(),
            source,
        })?;
        Ok(Arc::new(built))
    };
    terminating.map(build).collect()
}

/// Keys that are known already stay in use.
pub(super) fn issuers(
    config: &Config,
    metrics: &Metrics,
    previous: Option<&Snapshot>,
) -> Vec<Arc<Issuer>> {
    let build = |issuer: &config::Issuer| {
        let known = previous.and_then(|snapshot| {
            let mut issuers = snapshot.issuers.iter();
            issuers.find(|known| known.name() == issuer.name)
        });
        let known = known.map(Arc::as_ref);
        Arc::new(Issuer::build(issuer, metrics, known, previous.is_none()))
    };
    config.issuers.iter().map(build).collect()
}

/// What clients have used up stays used up.
pub(super) fn limiters(
    config: &Config,
    metrics: &Metrics,
    previous: Option<&Snapshot>,
) -> Vec<Limiter> {
    let build = |limit: &config::RateLimit| {
        let mut known = previous.iter().flat_map(|snapshot| &snapshot.limiters);
        let known = known.find(|known| known.name() == limit.name);
        Limiter::build(limit, metrics, known)
    };
    config.rate_limits.iter().map(build).collect()
}

pub(super) fn claim_fields(config: &Config) -> Vec<HeaderName> {
    let auths = config.routes.iter().filter_map(|route| route.auth.as_ref());
    let claims = auths.flat_map(|auth| &auth.claims);
    let mut names: Vec<_> = claims.map(|(name, _)| name.clone()).collect();
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    names
}

/// Without queries: neither does the access log know any.
pub(super) fn health_paths(config: &Config) -> HashSet<String> {
    let checks = config.clusters.iter().flat_map(|cluster| &cluster.health);
    let paths = checks.filter_map(|check| match &check.question {
        config::Question::Http(question) => question.path.split('?').next(),
        config::Question::Connect | config::Question::Grpc(_) => None,
    });
    paths.map(str::to_owned).collect()
}
