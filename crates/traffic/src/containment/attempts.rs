//! What real traffic shows: ejections and breakers. Nearly free while nothing is wrong.

use std::time::{Duration, Instant};

use super::cause::{Complaint, MEMORY, Ruling, TRAFFIC_MEMORY, sum_up};
use super::member::told;
use super::{Changes, Containment, Reason, Trouble, What};
use crate::breaker::{self, Breaker, Mode, State};
use crate::endpoint::{EndpointId, Standing};
use crate::share::Ask;

/// What a failure asks for.
#[derive(Clone, Copy, Debug)]
struct Asks {
    ejection: Ask,
    breaker: Ask,
}

impl Containment {
    /// An attempt at this endpoint begins. Each is followed by exactly one of
    /// [`Containment::ended`] and [`Containment::abandoned`].
    pub fn attempted(&mut self, id: EndpointId, now: Instant) -> Changes {
        self.count_trial(id, now, |breaker, policy| breaker.began(policy, now))
    }

    /// An attempt ended without a verdict on the endpoint: the client left, say.
    pub fn abandoned(&mut self, id: EndpointId, now: Instant) -> Changes {
        self.count_trial(id, now, |breaker, _| breaker.abandoned())
    }

    fn count_trial(
        &mut self,
        id: EndpointId,
        now: Instant,
        count: impl FnOnce(&mut Breaker, &breaker::Policy),
    ) -> Changes {
        let changes = self.tick(now);
        let (Some(policy), Some(position)) = (self.policy.breaker, self.position(id)) else {
            return changes;
        };
        let Some(breaker) = &mut self.members[position].breaker else {
            return changes;
        };
        let before = breaker.next_change(&policy);
        count(breaker, &policy);
        if breaker.next_change(&policy) == before {
            return changes;
        }
        self.settle(changes, &Reason::Passed, now)
    }

    /// An attempt ended with this result. A status below 500 is as good as success.
    pub fn ended(&mut self, id: EndpointId, result: Result<(), Trouble>, now: Instant) -> Changes {
        let changes = self.tick(now);
        let Some(position) = self.position(id) else {
            return changes;
        };
        match result {
            Err(trouble) if trouble.is_failure() => {
                self.ended_badly(position, trouble, changes, now)
            }
            Ok(()) | Err(_) => self.ended_well(position, changes, now),
        }
    }

    fn ended_well(&mut self, position: usize, mut changes: Changes, now: Instant) -> Changes {
        let member = &mut self.members[position];
        let mut is_news = false;
        if self.policy.checks.is_empty() && member.accepts != Some(true) {
            member.accepts = Some(true);
            is_news = true;
        }
        member.traffic.succeeded(now);
        member.ejection.succeeded(now);
        if let (Some(breaker), Some(policy)) = (&mut member.breaker, self.policy.breaker) {
            let before = breaker.next_change(&policy);
            let has_closed = breaker.succeeded(&policy, now);
            is_news |= has_closed || breaker.next_change(&policy) != before;
            if has_closed {
                let (_, closed) = told(policy.mode);
                changes.push(member.change(closed, Reason::Passed));
            }
        }
        if !is_news {
            return changes;
        }
        self.settle(changes, &Reason::Passed, now)
    }

    fn ended_badly(
        &mut self,
        position: usize,
        trouble: Trouble,
        mut changes: Changes,
        now: Instant,
    ) -> Changes {
        let member = &mut self.members[position];
        if trouble.is_connect() {
            member.accepts = Some(false);
        } else if self.policy.checks.is_empty() && trouble.is_answer() {
            member.accepts = Some(true);
        }
        let before = member.next_change(&self.policy);
        member.traffic.failed(&trouble, now);
        let asks = self.asks(position, &trouble, now);
        if asks.ejection != Ask::Nothing || asks.breaker != Ask::Nothing {
            self.answer(position, asks, &trouble, now, &mut changes);
        }
        let reason = Reason::Trouble(trouble);
        if self.members[position].next_change(&self.policy) == before {
            self.settle_one(position, changes, &reason, now)
        } else {
            self.settle(changes, &reason, now)
        }
    }

    /// What one more failure asks for. Ejection only of one that takes traffic, and only as far as
    /// the cap allows.
    fn asks(&mut self, position: usize, trouble: &Trouble, now: Instant) -> Asks {
        let total = self.members.len();
        let member = &mut self.members[position];
        let mut asks = Asks {
            ejection: Ask::Nothing,
            breaker: Ask::Nothing,
        };
        if let Some(policy) = &self.policy.ejection {
            let others_in = self.eligible - usize::from(member.is_in());
            let ask = member.ejection.failed(trouble, policy, now);
            let takes_traffic = !matches!(member.standing, Standing::Out { .. });
            if takes_traffic && policy.allows(total, others_in) {
                asks.ejection = ask;
            }
        }
        if let (Some(breaker), Some(policy)) = (&mut member.breaker, self.policy.breaker) {
            asks.breaker = breaker.failed(&policy, now);
        }
        asks
    }

    /// Does what is asked for, unless it is held because all share the cause.
    fn answer(
        &mut self,
        position: usize,
        asks: Asks,
        trouble: &Trouble,
        now: Instant,
        changes: &mut Changes,
    ) {
        let shared = self.shared.cause().cloned();
        match self.rule(position, asks, trouble, now) {
            Ruling::Open => return,
            Ruling::Shared => {
                let is_known = self.shared.checks.iter().any(Option::is_some);
                if trouble.is_answer() && !is_known {
                    self.shared.traffic = Some((trouble.clone(), now + TRAFFIC_MEMORY));
                    self.refresh_next();
                }
                return self.tell_shared(shared, Reason::Passed, changes);
            }
            Ruling::Own => {
                let is_same = |(cause, _): &mut (Trouble, Instant)| cause == trouble;
                self.shared.traffic.take_if(is_same);
                self.tell_shared(shared, Reason::Passed, changes);
            }
        }
        let member = &mut self.members[position];
        if let (Some(policy), true) = (&self.policy.ejection, asks.ejection != Ask::Nothing) {
            let out = member.ejection.eject(trouble.clone(), policy, now);
            let what = What::Ejected {
                duration: out.until.saturating_duration_since(now),
                times: out.times,
            };
            changes.push(member.change(what, Reason::Trouble(trouble.clone())));
            member.forget_passes();
        }
        if let (Some(breaker), Some(policy)) = (&mut member.breaker, self.policy.breaker)
            && asks.breaker != Ask::Nothing
        {
            let was_closed = breaker.state() == State::Closed;
            breaker.open(&policy, now);
            // One that only watches rejects nothing while half-open: to its reader it stays open.
            if was_closed || policy.mode == Mode::Enforce {
                let (opened, _) = told(policy.mode);
                changes.push(member.change(opened, Reason::Trouble(trouble.clone())));
            }
        }
    }

    /// Whose trouble this is, by what traffic says about the others.
    fn rule(&self, position: usize, asks: Asks, trouble: &Trouble, now: Instant) -> Ruling {
        let member = &self.members[position];
        let is_explained = member
            .checks
            .iter()
            .zip(&self.shared.checks)
            .any(|(check, shared)| shared.is_some() && check.trouble() == shared.as_ref());
        let may_be_shared = trouble.is_answer() || (is_explained && *trouble == Trouble::Timeout);
        if !may_be_shared {
            return Ruling::Own;
        }
        let was_just_ruled = |(cause, until): &(Trouble, Instant)| {
            cause == trouble && now + TRAFFIC_MEMORY <= *until + STILL_TRUE
        };
        if self.shared.traffic.as_ref().is_some_and(was_just_ruled) {
            return Ruling::Shared;
        }
        let is_share = Ask::ForShare == asks.ejection || Ask::ForShare == asks.breaker;
        let failing_since = member.traffic.failing_since(now);
        let complaint = Complaint {
            trouble,
            since: match is_share {
                true => now.checked_sub(MEMORY).unwrap_or(failing_since),
                false => failing_since,
            },
            totals: member.traffic.totals(now),
            is_explained,
        };
        let others = self.members.iter().filter(|other| {
            other.id != member.id
                && other.accepts != Some(false)
                && !matches!(other.standing, Standing::Out { .. })
        });
        sum_up(&complaint, others.map(|o| o.traffic.about(&complaint, now)))
    }
}

/// Comparing all endpoints at each of thousands of failures in a second would tell nothing new.
const STILL_TRUE: Duration = Duration::from_millis(100);
