//! A place at an endpoint, and what became of the attempt that held it. Never given back twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_traffic::containment::Trouble;
use portcullis_traffic::select::Why;

use super::Endpoint;
use super::core::Core;

/// A place at an endpoint. Dropping it gives the place back, so exactly once; without a verdict the
/// attempt counts as abandoned, for the endpoint neither good nor bad.
#[derive(Debug)]
pub struct Slot {
    core: Arc<Core>,
    endpoint: Arc<Endpoint>,
    why: Why,
    since: Instant,
    latency: Option<Duration>,
    is_judged: bool,
    is_returned: bool,
}

impl Slot {
    pub(super) fn new(core: Arc<Core>, endpoint: Arc<Endpoint>, why: Why, since: Instant) -> Self {
        endpoint.metrics().requests.inc();
        Self {
            core,
            endpoint,
            why,
            since,
            latency: None,
            is_judged: false,
            is_returned: false,
        }
    }

    /// Whose place it is.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// How this endpoint came to be chosen.
    pub fn why(&self) -> Why {
        self.why
    }

    /// When it was taken: a request that waited took it later than it asked.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The response head came after this time.
    pub fn answered(&mut self, latency: Duration) {
        self.latency = Some(latency);
        let duration = &self.endpoint.metrics().duration;
        duration.observe(latency.as_secs_f64());
    }

    /// How the attempt went; the place stays taken. The first verdict counts.
    pub fn judge(&mut self, result: Result<(), Trouble>, now: Instant) {
        if std::mem::replace(&mut self.is_judged, true) {
            return;
        }
        self.count(&result);
        self.core.judge(&self.endpoint, result, now);
    }

    /// How the attempt went, and the place is free again.
    pub fn finish(mut self, result: Result<(), Trouble>, now: Instant) {
        let verdict = if std::mem::replace(&mut self.is_judged, true) {
            Verdict::Given
        } else {
            self.count(&result);
            Verdict::Now(result)
        };
        self.give_back(verdict, now);
    }

    /// The attempt ended through nobody's fault, and the place is free again.
    pub fn abandon(mut self, now: Instant) {
        let verdict = self.open_verdict();
        self.give_back(verdict, now);
    }

    fn open_verdict(&self) -> Verdict {
        if self.is_judged {
            Verdict::Given
        } else {
            Verdict::None
        }
    }

    fn count(&self, result: &Result<(), Trouble>) {
        if result.as_ref().is_err_and(Trouble::is_failure) {
            self.endpoint.metrics().failures.inc();
        }
    }

    fn give_back(&mut self, verdict: Verdict, now: Instant) {
        if !std::mem::replace(&mut self.is_returned, true) {
            self.core
                .release(&self.endpoint, self.latency, verdict, now);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.is_returned {
            let verdict = self.open_verdict();
            self.give_back(verdict, Instant::now());
        }
    }
}

/// What is known of an attempt when its place is given back.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It was told before.
    Given,
    /// This.
    Now(Result<(), Trouble>),
    /// Nothing.
    None,
}
