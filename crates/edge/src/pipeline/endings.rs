//! How an exchange ends, for good or ill, and whose doing that was. Never asks for another attempt.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::HeaderName;

use super::{Answer, Cause, End, Exchange, HeaderEdit, Outcome, fail, finish, grpc};
use crate::cluster::Slot;
use crate::state::RouteId;

impl Exchange {
    /// The exchange failed for good. The answer is to be sent if nothing has been sent yet.
    pub fn on_failure(&mut self, cause: Cause) -> Answer {
        let cause = self.whose_doing(cause);
        let failure = fail::failure(cause);
        self.blame_endpoint(cause, Instant::now());
        self.failed.get_or_insert(failure.outcome);
        // Whoever reads the answer may ask again at once.
        self.limited.leave();
        let id = self.request.as_ref().map(|request| &request.excerpt.id);
        let answer = failure.answer(id);
        if self.is_grpc {
            return self.dressed(grpc::translate(answer, cause, failure.detail()));
        }
        let answer = match self.snapshot.words(self.route, answer.status.as_u16()) {
            Some(words) => answer.in_words(words),
            None => answer,
        };
        self.dressed(answer)
    }

    /// An answer of ours with what policies add to every answer.
    pub(super) fn dressed(&self, answer: Answer) -> Answer {
        let mut edits = Vec::new();
        self.policy_edits(&|_| false, &mut edits);
        answer.edited(edits)
    }

    /// Appends what policies say on every answer; `is_said` is whether the endpoint says something under a name.
    pub(super) fn policy_edits(
        &self,
        is_said: &dyn Fn(&HeaderName) -> bool,
        edits: &mut Vec<HeaderEdit>,
    ) {
        self.security_edits(is_said, edits);
        self.cors_edits(is_said, edits);
        self.limited.append(&self.snapshot, edits);
    }

    /// The route is closed, unless the client may look.
    pub(super) fn refuses_for_maintenance(&mut self, route: RouteId) -> Option<Answer> {
        let snapshot = Arc::clone(&self.snapshot);
        let maintenance = snapshot.route(route).maintenance.as_ref()?;
        let client = self.request.as_ref()?.client;
        if maintenance.lets_in(client) {
            return None;
        }
        let answer = self.on_failure(Cause::Maintenance);
        if self.is_grpc {
            return Some(answer);
        }
        let answer = answer.retry_after(maintenance.retry_after.as_secs());
        Some(match &maintenance.words {
            Some(words) => answer.in_words(words),
            None => answer,
        })
    }

    /// Always the last call: releases guards, feeds metrics and access log. Later calls do nothing.
    pub fn on_end(&mut self, end: End, now: Instant) {
        if std::mem::replace(&mut self.has_ended, true) || self.is_rehearsed() {
            return;
        }
        let gone = (end.failure.is_none() && end.status.is_none()).then_some(Cause::ClientGone);
        if let Some(cause) = end.failure.or(gone) {
            let cause = self.whose_doing(cause);
            self.failed.get_or_insert(fail::failure(cause).outcome);
            self.blame_endpoint(cause, now);
        }
        self.credit_endpoint(now);
        self.limited.leave();
        let outcome = self.failed.or(self.answered).unwrap_or(match end.status {
            Some(status) if status.is_server_error() => Outcome::EndpointError,
            _ => Outcome::Served,
        });
        let tls = self.connection.tls.as_ref();
        let ended = finish::Ended {
            told_id: None,
            connection: &self.connection,
            snapshot: &self.snapshot,
            request: self.request.as_ref(),
            route: self.route,
            target: self.target.as_deref(),
            endpoint: self.endpoint.as_deref(),
            attempts: self.attempts,
            outcome,
            status: end.status,
            duration: now.saturating_duration_since(self.started),
            endpoint_time: self.endpoint_time,
            request_bytes: self.body.bytes(),
            response_bytes: end.response_bytes,
            server_name: tls.and_then(|tls| tls.server_name.as_deref()),
            limited_by: self.limited.by(&self.snapshot),
        };
        finish::finish(&self.edge, &ended);
    }

    /// A connection that the edge itself cut off looks to its engine like a client that left.
    pub(super) fn whose_doing(&self, cause: Cause) -> Cause {
        let is_ours = self.edge.is_cutting_off.load(Ordering::Relaxed);
        if is_ours && cause == Cause::ClientGone {
            Cause::Draining
        } else {
            cause
        }
    }

    /// Ends the running attempt, against its endpoint if the fault was there. Without a running
    /// attempt it was counted before; so was an answer by which the endpoint failed.
    pub(super) fn blame_endpoint(&mut self, cause: Cause, now: Instant) {
        let Some(slot) = self.slot.take() else { return };
        match cause.trouble() {
            Some(trouble) => {
                self.tried.push(slot.endpoint().id());
                slot.finish(Err(trouble), now);
            }
            None => self.give_back(slot, now),
        }
    }

    /// Ends the running attempt in its endpoint's favour, if it answered.
    pub(super) fn credit_endpoint(&mut self, now: Instant) {
        if let Some(slot) = self.slot.take() {
            self.give_back(slot, now);
        }
    }

    /// Whatever cut the answer short was not its endpoint's doing, which a stream of hours shows as
    /// well as a short answer does.
    fn give_back(&self, slot: Slot, now: Instant) {
        match self.endpoint_status {
            Some(_) => slot.finish(Ok(()), now),
            None => slot.abandon(now),
        }
    }
}

impl Drop for Exchange {
    /// An engine that drops the exchange without [`Exchange::on_end`] was itself dropped: its
    /// client left, or it panicked.
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let failure = if std::thread::panicking() {
            Cause::Internal
        } else {
            Cause::ClientGone
        };
        let end = End {
            status: self.endpoint_status,
            response_bytes: 0,
            failure: Some(failure),
        };
        self.on_end(end, Instant::now());
    }
}
