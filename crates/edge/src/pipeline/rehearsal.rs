//! An exchange that only finds out what would become of a request: the same phases decide, and nothing takes
//! effect. Never counts, logs, takes or remembers anything that another request could notice.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use portcullis_traffic::rate::{Rate, Verdict};
use prometheus::IntCounter;

use super::authorize::Principal;
use super::head::Head;
use super::route::{self, Missed};
use super::{Answer, Exchange, IdSource, fail, let_in, path};
use crate::affinity::Bond;
use crate::cluster::{Rehearsed, Would};
use crate::connection::Connection;
use crate::jwks::Passport;
use crate::outcome::{Cause, Outcome, TokenResult};
use crate::state::{Decided, Edge, RouteState, Snapshot, Target};

/// What makes an exchange a rehearsal, with what phases found out that no exchange keeps.
#[derive(Debug)]
pub(super) struct Rehearsal {
    /// Draws in place of the edge's.
    ids: IdSource,
    limits: Vec<(usize, Option<AskedLimit>)>,
    token: Option<TokenResult>,
}

/// What a limit would answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskedLimit {
    pub(crate) is_admitted: bool,
    /// Of how often, where there is a bound.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) rate: Option<Rate>,
    pub(crate) cost: u32,
    /// Of how many at once, where there is a bound.
    pub(crate) running: Option<u32>,
    pub(crate) may_run: Option<u64>,
}

/// All that a rehearsal found out up to where it came.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// Behind trusted proxies.
    pub(crate) client: Option<IpAddr>,
    pub(crate) is_peer_trusted: bool,
    pub(crate) is_https: bool,
    pub(crate) is_repeatable: bool,
    /// The path to go by, where it is not the one that was sent.
    pub(crate) path: Option<&'a str>,
    pub(crate) route: Option<&'a RouteState>,
    /// Limits by position in the order asked; nothing of those that the request is exempt from.
    pub(crate) limits: &'a [(usize, Option<AskedLimit>)],
    pub(crate) token: Option<TokenResult>,
    pub(crate) passport: Option<&'a Passport>,
    pub(crate) target: Option<&'a Target>,
    /// What our cookie for splits would say from then on.
    pub(crate) split_key: Option<u64>,
    pub(crate) bond: Bond,
    pub(crate) balancing_key: Option<&'a [u8]>,
    /// Path and query for the endpoint, if they are not the client's.
    pub(crate) rewritten: Option<&'a str>,
    /// How it would end here, if it does.
    pub(crate) outcome: Option<Outcome>,
}

/// How a failure is told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) outcome: Outcome,
    pub(crate) status: StatusCode,
}

/// What a cause leads to.
pub(crate) fn told(cause: Cause) -> Told {
    let failure = fail::failure(cause);
    let status = failure.answer(None).status;
    Told {
        outcome: failure.outcome,
        status,
    }
}

/// Whether a connection would be refused before anything is read from it.
pub(crate) fn would_refuse_connection(edge: &Edge, connection: &Connection) -> bool {
    let_in::would_refuse_connection(edge, connection.listener.index, connection.client.ip())
}

impl Exchange {
    /// An exchange that changes nothing. What a real one would draw from the edge, it draws from `ids`.
    pub(crate) fn rehearse(
        edge: &Arc<Edge>,
        connection: &Arc<Connection>,
        ids: IdSource,
        now: Instant,
    ) -> Self {
        let (edge, snapshot) = (Arc::clone(edge), edge.snapshot.load_full());
        let mut exchange = Self::begin(edge, Arc::clone(connection), snapshot, now);
        exchange.rehearsal = Some(Box::new(Rehearsal {
            ids,
            limits: Vec::new(),
            token: None,
        }));
        exchange
    }

    /// Supposes that attempts at these endpoints of the cluster have failed.
    pub(crate) fn suppose_tried(&mut self, tried: &[SocketAddr]) {
        let Some(target) = &self.target else { return };
        let known = tried.iter().filter_map(|one| target.cluster.endpoint(*one));
        self.tried = known.map(|endpoint| endpoint.id()).collect();
    }

    /// Where the next attempt would go. `Err` beside it is the answer that would be sent instead.
    pub(crate) fn rehearse_attempt(&mut self, now: Instant) -> (Option<Rehearsed>, Option<Answer>) {
        let Some(target) = self.target.clone() else {
            return (None, Some(self.on_failure(Cause::NoRoute)));
        };
        let ask = self.ask(&target.cluster, now);
        let rehearsed = target.cluster.rehearse(&ask);
        let answer = match &rehearsed.would {
            Would::Have(endpoint, _) => {
                self.endpoint = Some(Arc::clone(endpoint));
                None
            }
            Would::Wait { .. } => None,
            Would::Fail(refusal) => Some(self.on_refusal(*refusal)),
        };
        (Some(rehearsed), answer)
    }

    /// Which routes would not take the request, and why; `None` of those that would.
    pub(crate) fn compare_routes(&self, head: &impl Head) -> Vec<(&RouteState, Option<Missed>)> {
        let sent = self.path.as_deref().unwrap_or(head.path());
        let head = &path::Normal { head, path: sent };
        let (snapshot, flags) = (&*self.snapshot, Decided::default());
        let asked = route::Compared::new(snapshot, head, &self.connection, &flags, self.route);
        let routes = self.snapshot.routes.iter();
        routes
            .map(|route| (route, asked.missed(&route.pattern)))
            .collect()
    }

    /// What was found out.
    pub(crate) fn findings(&self) -> Findings<'_> {
        let request = self.request.as_ref();
        let rehearsal = self.rehearsal.as_deref();
        Findings {
            snapshot: &self.snapshot,
            client: request.map(|request| request.client),
            is_peer_trusted: request.is_some_and(|request| request.is_peer_trusted),
            is_https: request.is_some_and(|request| request.is_https),
            is_repeatable: self.is_repeatable(),
            path: self.path.as_deref(),
            route: self.route.map(|route| self.snapshot.route(route)),
            limits: rehearsal.map_or(&[], |rehearsal| &rehearsal.limits),
            token: rehearsal.and_then(|rehearsal| rehearsal.token),
            passport: match &self.principal {
                Principal::Nobody => None,
                Principal::Verified(passport) => Some(passport),
            },
            target: self.target.as_deref(),
            split_key: self.split_key,
            bond: self.bond,
            balancing_key: self.balancing_key.as_deref(),
            rewritten: self.rewritten.as_deref(),
            outcome: self.failed.or(self.answered),
        }
    }

    pub(super) fn is_rehearsed(&self) -> bool {
        self.rehearsal.is_some()
    }

    /// What numbers are drawn from.
    pub(super) fn ids(&self) -> &IdSource {
        match &self.rehearsal {
            Some(rehearsal) => &rehearsal.ids,
            None => &self.edge.ids,
        }
    }

    /// Counts, unless it is a rehearsal.
    pub(super) fn count(&self, counter: &IntCounter) {
        if !self.is_rehearsed() {
            counter.inc();
        }
    }

    pub(super) fn note_limit(&mut self, position: usize, asked: Option<AskedLimit>) {
        if let Some(rehearsal) = &mut self.rehearsal {
            rehearsal.limits.push((position, asked));
        }
    }

    pub(super) fn note_token(&mut self, result: TokenResult) {
        if let Some(rehearsal) = &mut self.rehearsal {
            rehearsal.token = Some(result);
        }
    }
}
