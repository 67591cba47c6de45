//! Passive ejection: when failures of real traffic put an endpoint aside, and for how long. Never empties a cluster.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::Trouble;
use crate::share::{Ask, ErrorShare, Window};

/// When to eject and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failures without an answer in a row, all within `window`, that ask for ejection.
    pub failures: NonZeroU32,
    /// How far apart the first and the last of them may be.
    pub window: Duration,
    /// How long the first ejection lasts; the n-th lasts n times as long.
    pub duration: Duration,
    /// The longest ejection. Quiet for as long, an endpoint is taken as if it had never been out.
    pub max_duration: Duration,
    /// Failures in a row, answers of 502, 503 and 504 among them, that ask for ejection; `None`:
    /// never.
    pub gateway_errors: Option<NonZeroU32>,
    /// Share of failures that asks for ejection; `None`: never.
    pub error_share: Option<ErrorShare>,
    /// Largest share of a cluster that may be out at once, in percent.
    pub max_percent: u8,
}

impl Policy {
    /// Whether one more endpoint of a cluster may be ejected: the share that is out then stays
    /// within `max_percent`, and one that takes traffic is left.
    ///
    /// `others_in` counts those that take traffic now, this one aside: the cap protects what is
    /// left, and what is left does not care why the others are out.
    pub fn allows(&self, total: usize, others_in: usize) -> bool {
        let out_then = total.saturating_sub(others_in);
        let cap = total.saturating_mul(usize::from(self.max_percent.min(100)));
        others_in > 0 && out_then.saturating_mul(100) <= cap
    }

    fn length(&self, times: u32) -> Duration {
        let limit = self.max_duration.min(A_DAY);
        self.duration.saturating_mul(times).min(limit)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            failures: NonZeroU32::new(3).expect("three is not zero"),
            window: Duration::from_secs(30),
            duration: Duration::from_secs(30),
            max_duration: Duration::from_secs(300),
            gateway_errors: NonZeroU32::new(5),
            error_share: Some(ErrorShare::default()),
            max_percent: 50,
        }
    }
}

/// What traffic says against one endpoint, and until when it is out for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ejection {
    /// Failures without an answer since the last one that came, oldest first; at most
    /// `Policy::failures`, since only that many can matter.
    unanswered: VecDeque<Instant>,
    /// Failures of any kind since the last success.
    row: u32,
    window: Option<Window>,
    out: Option<Out>,
    /// How often in a stretch without a long quiet time.
    times: u32,
    last_ended: Option<Instant>,
    total: u32,
}

/// A running ejection.
#[derive(Clone, Debug)]
pub(super) struct Out {
    pub(super) since: Instant,
    pub(super) until: Instant,
    pub(super) times: u32,
    pub(super) trouble: Trouble,
    /// It refused connections: what failed was gone then, and what passes probes now is new.
    pub(super) was_refused: bool,
}

impl Ejection {
    pub(super) fn new(policy: Option<&Policy>, now: Instant) -> Self {
        let mut ejection = Self::default();
        ejection.reshape(None, policy, now);
        ejection
    }

    /// The policy changed. Ejections that run go on.
    pub(super) fn reshape(&mut self, old: Option<&Policy>, new: Option<&Policy>, now: Instant) {
        let share = |policy: Option<&Policy>| policy.and_then(|policy| policy.error_share);
        if self.window.is_none() || share(old) != share(new) {
            self.window = share(new).map(|share| Window::new(share.window, now));
        }
    }

    pub(super) fn out(&self) -> Option<&Out> {
        self.out.as_ref()
    }

    pub(super) fn total(&self) -> u32 {
        self.total
    }

    pub(super) fn succeeded(&mut self, now: Instant) {
        self.unanswered.clear();
        self.row = 0;
        if let Some(window) = &mut self.window {
            window.succeeded(now);
        }
    }

    /// Records a failure and says whether it asks for ejection, which may be refused; then the
    /// next one asks again.
    ///
    /// While the endpoint is out, failures of attempts that began earlier count for nothing: they
    /// say what is known already, and must not lengthen the ejection.
    pub(super) fn failed(&mut self, trouble: &Trouble, policy: &Policy, now: Instant) -> Ask {
        if let Some(out) = &mut self.out {
            out.was_refused |= trouble.is_connect();
            return Ask::Nothing;
        }
        let is_row = self.lengthens_row(trouble, policy, now);
        let totals = self.window.as_mut().map(|window| {
            window.failed(now);
            window.totals(now)
        });
        let exceeds = |(share, totals): (ErrorShare, _)| share.is_exceeded_by(totals);
        if is_row {
            Ask::ForRow
        } else if policy.error_share.zip(totals).is_some_and(exceeds) {
            Ask::ForShare
        } else {
            Ask::Nothing
        }
    }

    /// Puts the endpoint aside, with a clean slate afterwards.
    pub(super) fn eject(&mut self, trouble: Trouble, policy: &Policy, now: Instant) -> &Out {
        let was_quiet = self
            .last_ended
            .is_none_or(|end| now.saturating_duration_since(end) >= policy.max_duration);
        self.times = if was_quiet { 0 } else { self.times };
        self.times = self.times.saturating_add(1);
        self.total = self.total.saturating_add(1);
        self.forget();
        self.out.insert(Out {
            since: now,
            until: now + policy.length(self.times),
            times: self.times,
            was_refused: trouble.is_connect(),
            trouble,
        })
    }

    /// Ends a running ejection. True if there was one.
    pub(super) fn end(&mut self, now: Instant) -> bool {
        let was_out = self.out.take().is_some();
        if was_out {
            self.last_ended = Some(now);
            self.forget();
        }
        was_out
    }

    /// A probe met a refusal.
    pub(super) fn refused(&mut self) {
        if let Some(out) = &mut self.out {
            out.was_refused = true;
        }
    }

    fn lengthens_row(&mut self, trouble: &Trouble, policy: &Policy, now: Instant) -> bool {
        if trouble.is_answer() {
            if !trouble.is_gateway() {
                // Wrong, but its own: it stands for itself and for what is behind it.
                (self.row, _) = (0, self.unanswered.clear());
                return false;
            }
        } else {
            let needed = usize::try_from(policy.failures.get()).unwrap_or(usize::MAX);
            self.unanswered.push_back(now);
            while self.unanswered.len() > needed || self.oldest_is_stale(now, policy) {
                self.unanswered.pop_front();
            }
        }
        self.row = self.row.saturating_add(1);
        let unanswered = u32::try_from(self.unanswered.len()).unwrap_or(u32::MAX);
        (!trouble.is_answer() && unanswered >= policy.failures.get())
            || policy
                .gateway_errors
                .is_some_and(|row| self.row >= row.get())
    }

    fn oldest_is_stale(&self, now: Instant, policy: &Policy) -> bool {
        let oldest = self.unanswered.front();
        oldest.is_some_and(|oldest| now.saturating_duration_since(*oldest) > policy.window)
    }

    fn forget(&mut self) {
        self.unanswered.clear();
        self.row = 0;
        if let Some(window) = &mut self.window {
            window.clear();
        }
    }
}

/// A duration beyond the clock's range would mean for ever; a day is as long as ejection, which is
/// a guess about the near future, can mean anything.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests;
