//! One endpoint: everything known of it, and the standing that follows. Never looks at the others.

use std::time::Instant;

use super::availability::Uptime;
use super::cause::Traffic;
use super::check::Check;
use super::eject::{Ejection, Out};
use super::{Change, Changes, Policy, Reason, Role, Trouble, Verdict, What};
use crate::breaker::{Breaker, Mode, State};
use crate::endpoint::{EndpointId, Standing};

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: EndpointId,
    /// As many as the policy has.
    pub(super) checks: Vec<Check>,
    pub(super) ejection: Ejection,
    /// If the policy has one.
    pub(super) breaker: Option<Breaker>,
    pub(super) traffic: Traffic,
    /// What was last seen of its connections. With checks only they can show that it accepts
    /// some: the end of an attempt may be news of long ago.
    pub(super) accepts: Option<bool>,
    pub(super) drained_since: Option<Instant>,
    pub(super) announced_since: Option<Instant>,
    /// As it was last told.
    pub(super) standing: Standing,
    pub(super) since: Instant,
    pub(super) uptime: Uptime,
}

impl Member {
    /// A new endpoint: unproven if there are checks that eject.
    pub(super) fn new(id: EndpointId, policy: &Policy, now: Instant) -> Self {
        let checks = policy.checks.iter();
        let mut member = Self {
            id,
            checks: checks.map(|_| Check::new(Verdict::Unproven, now)).collect(),
            ejection: Ejection::new(policy.ejection.as_ref(), now),
            breaker: policy.breaker.map(|policy| Breaker::new(&policy, now)),
            traffic: Traffic::new(now),
            accepts: None,
            drained_since: None,
            announced_since: None,
            standing: NOTHING,
            since: now,
            uptime: Uptime::new(false, now),
        };
        member.standing = member.present_standing(policy);
        member.uptime = Uptime::new(is_available(member.standing), now);
        member
    }

    pub(super) fn is_in(&self) -> bool {
        matches!(self.standing, Standing::In { .. })
    }

    /// A change of this endpoint. Its standing is filled in when all that changes has.
    pub(super) fn change(&self, what: What, reason: Reason) -> Change {
        Change {
            endpoint: Some((self.id, self.standing)),
            what,
            reason,
        }
    }

    /// What all checks that eject say together.
    pub(super) fn verdict(&self, policy: &Policy) -> Verdict {
        let mut together = Verdict::Passing;
        for (check, policy) in self.checks.iter().zip(&policy.checks) {
            match (policy.role, check.verdict) {
                (Role::Eject, Verdict::Failing) => return Verdict::Failing,
                (Role::Eject, Verdict::Unproven) => together = Verdict::Unproven,
                (Role::Eject, Verdict::Passing) | (Role::Degrade { .. }, _) => {}
            }
        }
        together
    }

    /// The share that failing checks leave it.
    pub(super) fn share_percent(&self, policy: &Policy) -> u8 {
        let checks = self.checks.iter().zip(&policy.checks);
        let shares = checks.filter_map(|(check, policy)| match policy.role {
            Role::Degrade { share_percent } if check.verdict == Verdict::Failing => {
                Some(share_percent.clamp(1, 100))
            }
            Role::Degrade { .. } | Role::Eject => None,
        });
        shares.min().unwrap_or(100)
    }

    /// A probe passed.
    pub(super) fn passed(
        &mut self,
        check: usize,
        policy: &Policy,
        nobody_is_in: bool,
        now: Instant,
        changes: &mut Changes,
    ) {
        let (before, share) = (self.verdict(policy), self.share_percent(policy));
        let rise = policy.checks.get(check).map_or(1, |check| check.rise.get());
        if let Some(check) = self.checks.get_mut(check) {
            check.passed(needed_passes(rise, nobody_is_in), now);
        }
        self.accepts = Some(true);
        if before != Verdict::Passing && self.verdict(policy) == Verdict::Passing {
            changes.push(self.change(What::Healthy, Reason::Passed));
        }
        self.tell_share(share, policy, Reason::Passed, changes);
        if !self.has_passed_again(policy, nobody_is_in) {
            return;
        }
        if self.announced_since.take().is_some() {
            changes.push(self.change(What::Undrained, Reason::Passed));
        }
        // An ejection for what was answered runs its time: probes that pass now passed then. One
        // that refused connections was gone, and is another process now.
        let may_return = |out: &Out| out.was_refused || nobody_is_in;
        if self.ejection.out().is_some_and(may_return) {
            self.ejection.end(now);
            changes.push(self.change(What::EjectionOver, Reason::Passed));
        }
    }

    /// A probe failed. What follows depends on the others too.
    pub(super) fn failed(&mut self, check: usize, trouble: Trouble, now: Instant) {
        self.accepts = Some(!trouble.is_connect());
        if trouble.is_connect() {
            self.ejection.refused();
        }
        if let Some(check) = self.checks.get_mut(check) {
            check.failed(trouble, now);
        }
    }

    /// The failures of a check take effect.
    pub(super) fn fall(
        &mut self,
        check: usize,
        policy: &Policy,
        trouble: Trouble,
        now: Instant,
        changes: &mut Changes,
    ) {
        let (before, share) = (self.verdict(policy), self.share_percent(policy));
        if let Some(check) = self.checks.get_mut(check) {
            check.fall(now);
        }
        if before != Verdict::Failing && self.verdict(policy) == Verdict::Failing {
            changes.push(self.change(What::Unhealthy, Reason::Trouble(trouble.clone())));
        }
        self.tell_share(share, policy, Reason::Trouble(trouble), changes);
    }

    /// Time passed.
    pub(super) fn tick(&mut self, policy: &Policy, now: Instant, changes: &mut Changes) {
        if self.ejection.out().is_some_and(|out| out.until <= now) {
            self.ejection.end(now);
            changes.push(self.change(What::EjectionOver, Reason::Elapsed));
        }
        if let (Some(breaker), Some(policy)) = (&mut self.breaker, policy.breaker) {
            let was_open = breaker.state() == State::Open;
            if breaker.tick(&policy, now) && was_open && policy.mode == Mode::Enforce {
                changes.push(self.change(What::BreakerHalfOpen, Reason::Elapsed));
            }
        }
    }

    /// Whether every check that ejects has passed often enough in a row, all before the last
    /// announcement or ejection aside.
    fn has_passed_again(&self, policy: &Policy, nobody_is_in: bool) -> bool {
        let mut checks = self.checks.iter().zip(&policy.checks);
        policy.has_ejecting_checks()
            && checks.all(|(check, policy)| {
                let needed = needed_passes(policy.rise.get(), nobody_is_in);
                policy.role != Role::Eject || check.passes >= needed
            })
    }

    /// It is leaving, or put aside: passes count anew.
    pub(super) fn forget_passes(&mut self) {
        for check in &mut self.checks {
            check.passes = 0;
        }
    }

    /// Follows a changed policy, and tells what that ends.
    pub(super) fn reshape(
        &mut self,
        old: &Policy,
        new: &Policy,
        now: Instant,
        changes: &mut Changes,
    ) {
        let before = self.verdict(old);
        let share_before = self.share_percent(old);
        let unproven = || Check::new(Verdict::Unproven, now);
        self.checks.resize_with(new.checks.len(), unproven);
        if before == Verdict::Passing {
            // Who serves goes on serving, until a probe says otherwise.
            let checks = self.checks.iter_mut();
            let unproven = checks.filter(|check| check.verdict == Verdict::Unproven);
            unproven.for_each(|check| check.verdict = Verdict::Passing);
        }
        let after = self.verdict(new);
        match (before, after) {
            (Verdict::Unproven | Verdict::Failing, Verdict::Passing) => {
                changes.push(self.change(What::Healthy, Reason::Configured));
            }
            (Verdict::Unproven | Verdict::Passing, Verdict::Failing) => {
                changes.push(self.change(What::Unhealthy, Reason::Configured));
            }
            _ => {}
        }
        self.tell_share(share_before, new, Reason::Configured, changes);
        if !new.has_ejecting_checks() && self.announced_since.take().is_some() {
            changes.push(self.change(What::Undrained, Reason::Configured));
        }
        let ejections = (old.ejection.as_ref(), new.ejection.as_ref());
        self.ejection.reshape(ejections.0, ejections.1, now);
        if ejections.1.is_none() && self.ejection.end(now) {
            changes.push(self.change(What::EjectionOver, Reason::Configured));
        }
        self.reshape_breaker(old, new, now, changes);
    }

    fn reshape_breaker(&mut self, old: &Policy, new: &Policy, now: Instant, changes: &mut Changes) {
        let state = self.breaker.as_ref().map(Breaker::state);
        // One that begins to act, or to watch, begins anew.
        let modes = old.breaker.zip(new.breaker);
        let goes_on = modes.is_some_and(|(old, new)| old.mode == new.mode);
        if let (Some(old), Some(State::Open | State::HalfOpen), false) =
            (old.breaker, state, goes_on)
        {
            let (_, closed) = told(old.mode);
            changes.push(self.change(closed, Reason::Configured));
        }
        let share = |policy: &Policy| policy.breaker.and_then(|policy| policy.error_share);
        match (&mut self.breaker, new.breaker) {
            (_, None) => self.breaker = None,
            (None, Some(policy)) => self.breaker = Some(Breaker::new(&policy, now)),
            (Some(breaker), Some(policy)) => {
                // What was counted in a window of another length cannot be carried over.
                let is_recount = state == Some(State::Closed) && share(old) != share(new);
                if !goes_on || is_recount {
                    breaker.restart(&policy, now);
                }
            }
        }
    }

    /// Tells of a share that is not what it was.
    fn tell_share(&self, before: u8, policy: &Policy, reason: Reason, changes: &mut Changes) {
        let share_percent = self.share_percent(policy);
        if share_percent != before {
            let what = match share_percent {
                100 => What::Restored,
                _ => What::Degraded { share_percent },
            };
            changes.push(self.change(what, reason));
        }
    }

    /// What it may be given as things are now.
    pub(super) fn present_standing(&self, policy: &Policy) -> Standing {
        let verdict = self.verdict(policy);
        let is_rejected = self.is_rejected(policy);
        let is_draining = self.drained_since.or(self.announced_since).is_some();
        if verdict != Verdict::Passing || self.ejection.out().is_some() || is_rejected {
            let accepts = match verdict {
                Verdict::Unproven => self.has_answered(policy),
                Verdict::Passing | Verdict::Failing => self.accepts != Some(false),
            };
            Standing::Out {
                is_last_resort: accepts && !is_draining && !is_rejected,
            }
        } else if is_draining {
            Standing::Draining
        } else {
            Standing::In {
                share_percent: self.share_percent(policy),
            }
        }
    }

    /// Whether a new endpoint answered all that was asked of it, if not with what was expected:
    /// it runs, and what it misses may be down for everybody.
    fn has_answered(&self, policy: &Policy) -> bool {
        let mut checks = self.checks.iter().zip(&policy.checks);
        self.accepts == Some(true)
            && checks.all(|(check, policy)| match check.last() {
                Some((_, Ok(()))) => true,
                Some((_, Err(trouble))) => trouble.is_answer(),
                None => policy.role != Role::Eject,
            })
    }

    /// A breaker that acts and is open, or has all its trials running. That is why it is there, so
    /// it holds even if nobody else is left.
    fn is_rejected(&self, policy: &Policy) -> bool {
        self.breaker
            .as_ref()
            .zip(policy.breaker)
            .is_some_and(|(breaker, policy)| {
                policy.mode == Mode::Enforce && !breaker.admits(&policy)
            })
    }

    /// When time changes something.
    pub(super) fn next_change(&self, policy: &Policy) -> Option<Instant> {
        let ejection = self.ejection.out().map(|out| out.until);
        let breaker = self.breaker.as_ref().zip(policy.breaker);
        let breaker = breaker.and_then(|(breaker, policy)| breaker.next_change(&policy));
        ejection.into_iter().chain(breaker).min()
    }
}

/// One pass is enough when nobody is eligible: what passes is better than nothing.
fn needed_passes(rise: u32, nobody_is_in: bool) -> u32 {
    if nobody_is_in { 1 } else { rise }
}

/// What the opening and the closing of a breaker are called.
pub(super) fn told(mode: Mode) -> (What, What) {
    match mode {
        Mode::Enforce => (What::BreakerOpened, What::BreakerClosed),
        Mode::Monitor => (What::BreakerWouldOpen, What::BreakerWouldClose),
    }
}

/// Draining is planned, and clients bound to it are served.
pub(super) fn is_available(standing: Standing) -> bool {
    !matches!(standing, Standing::Out { .. })
}

/// Of what is no member, or nothing is known of.
pub(super) const NOTHING: Standing = Standing::Out {
    is_last_resort: false,
};
