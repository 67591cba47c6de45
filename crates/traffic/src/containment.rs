//! Which endpoints take traffic, and why not: probes, failures of real traffic, breakers, drains. Never does IO or reads a clock.
//!
//! One [`Containment`] stands for one cluster. It is told what was observed, answers with the
//! [`Change`]s that follow, and knows the [`Standing`] of every endpoint at any time:
//!
//! ```
//! use std::time::Instant;
//! use portcullis_traffic::containment::{CheckPolicy, Containment, Policy, Role, What};
//! use portcullis_traffic::endpoint::{EndpointId, Standing};
//!
//! let policy = Policy {
//!     checks: vec![CheckPolicy::new(2, 3, Role::Eject)],
//!     ..Policy::default()
//! };
//! let (id, now) = (EndpointId(1), Instant::now());
//! let mut cluster = Containment::new(policy, &[id], now);
//! assert_eq!(cluster.standing(id), Standing::Out { is_last_resort: false });
//! let changes = cluster.probed(id, 0, Ok(()), now);
//! assert_eq!(changes[0].what, What::Healthy);
//! assert_eq!(cluster.standing(id), Standing::In { share_percent: 100 });
//! ```
//!
//! Time is an argument of every call. Calls may come out of order by a little, as threads that
//! read the clock before they wait for the lock do.

use std::num::NonZeroU32;
use std::time::Instant;

use crate::breaker;
use crate::endpoint::{EndpointId, Standing};

mod attempts;
mod availability;
mod cause;
mod change;
mod check;
pub mod eject;
mod judge;
mod member;
mod report;
mod trouble;

use cause::Shared;
use check::Check;
use member::{Member, NOTHING};

pub use change::{Change, Changes, Reason, What};
pub use report::{
    Availability, BreakerReport, CheckReport, Obstacle, ObstacleKind, Report, Verdict,
};
pub use trouble::{DependencyName, Trouble};

/// What a cluster does about trouble.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Its health checks. [`Containment::probed`] names them by position.
    pub checks: Vec<CheckPolicy>,
    /// When failures of real traffic put an endpoint aside; `None`: never.
    pub ejection: Option<eject::Policy>,
    /// The breaker each endpoint has; `None`: none.
    pub breaker: Option<breaker::Policy>,
}

impl Policy {
    fn has_ejecting_checks(&self) -> bool {
        self.checks.iter().any(|check| check.role == Role::Eject)
    }
}

/// One health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckPolicy {
    /// Passes in a row that make it pass again.
    pub rise: NonZeroU32,
    /// Failures in a row that make it fail.
    pub fall: NonZeroU32,
    /// What its failing means.
    pub role: Role,
}

impl CheckPolicy {
    /// A check; counts of 0 are taken as 1.
    pub fn new(rise: u32, fall: u32, role: Role) -> Self {
        Self {
            rise: NonZeroU32::new(rise).unwrap_or(NonZeroU32::MIN),
            fall: NonZeroU32::new(fall).unwrap_or(NonZeroU32::MIN),
            role,
        }
    }
}

/// What the failing of a check means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The endpoint takes no traffic; one that never passed takes none yet.
    Eject,
    /// The endpoint takes less traffic.
    Degrade {
        /// Percent of its weight that it keeps.
        share_percent: u8,
    },
}

/// Health, ejections, breakers and drains of one cluster.
#[derive(Clone, Debug)]
pub struct Containment {
    policy: Policy,
    /// Sorted; of the same length as `members`.
    ids: Vec<EndpointId>,
    members: Vec<Member>,
    /// How many are eligible.
    eligible: usize,
    is_panicking: bool,
    shared: Shared,
    /// When time changes something next.
    next: Option<Instant>,
}

impl Containment {
    /// A cluster whose endpoints are unproven if it has checks that eject, else taken for healthy.
    pub fn new(policy: Policy, members: &[EndpointId], now: Instant) -> Self {
        let mut containment = Self {
            policy: Policy::default(),
            ids: Vec::new(),
            members: Vec::new(),
            eligible: 0,
            is_panicking: false,
            shared: Shared::default(),
            next: None,
        };
        containment.reshape(policy, members, now);
        containment
    }

    /// The policy or the membership changed. What is known of those that stay is kept; checks are
    /// the same if they have the same position. New members get no change; ask for their standing.
    pub fn reshape(&mut self, policy: Policy, members: &[EndpointId], now: Instant) -> Changes {
        let mut changes = self.tick(now);
        let old = std::mem::replace(&mut self.policy, policy);
        self.members.retain(|member| members.contains(&member.id));
        if old != self.policy {
            for member in &mut self.members {
                member.reshape(&old, &self.policy, now, &mut changes);
            }
        }
        for id in members {
            if self.members.iter().all(|member| member.id != *id) {
                self.members.push(Member::new(*id, &self.policy, now));
            }
        }
        self.members.sort_by_key(|member| member.id);
        self.ids = self.members.iter().map(|member| member.id).collect();
        let shared = self.shared.cause().cloned();
        self.shared.checks.resize(self.policy.checks.len(), None);
        for check in 0..self.policy.checks.len() {
            self.judge(check, now, &mut changes);
        }
        self.tell_shared(shared, Reason::Configured, &mut changes);
        self.settle(changes, &Reason::Configured, now)
    }

    /// A probe of the check at this position ended.
    pub fn probed(
        &mut self,
        id: EndpointId,
        check: usize,
        result: Result<(), Trouble>,
        now: Instant,
    ) -> Changes {
        let mut changes = self.tick(now);
        let Some(position) = self.position(id) else {
            return changes;
        };
        let nobody_is_in = self.eligible == 0;
        let (member, policy) = (&mut self.members[position], &self.policy);
        if check >= member.checks.len() {
            return changes;
        }
        let reason = match result {
            Ok(()) => {
                member.passed(check, policy, nobody_is_in, now, &mut changes);
                Reason::Passed
            }
            Err(trouble) => {
                member.failed(check, trouble.clone(), now);
                Reason::Trouble(trouble)
            }
        };
        let shared = self.shared.cause().cloned();
        self.judge(check, now, &mut changes);
        self.tell_shared(shared, reason.clone(), &mut changes);
        self.settle_one(position, changes, &reason, now)
    }

    /// The endpoint announced, by a probe's answer or any other, that it is about to leave. Acts
    /// at once, and ends when its checks pass again `rise` times. Without a check that ejects
    /// nothing could end it, so it is ignored then.
    pub fn announced_draining(&mut self, id: EndpointId, now: Instant) -> Changes {
        let mut changes = self.tick(now);
        let Some(position) = self.position(id) else {
            return changes;
        };
        if !self.policy.has_ejecting_checks() {
            return changes;
        }
        let member = &mut self.members[position];
        member.checks.iter_mut().for_each(Check::forget);
        if member.announced_since.is_some() {
            return changes;
        }
        member.announced_since = Some(now);
        changes.push(member.change(What::Draining, Reason::Announced));
        self.settle(changes, &Reason::Announced, now)
    }

    /// The operator puts an endpoint aside, or takes it back.
    pub fn drain(&mut self, id: EndpointId, is_drained: bool, now: Instant) -> Changes {
        let mut changes = self.tick(now);
        let Some(position) = self.position(id) else {
            return changes;
        };
        let member = &mut self.members[position];
        let what = match (member.drained_since, is_drained) {
            (None, true) => What::Draining,
            (Some(_), false) => What::Undrained,
            (None, false) | (Some(_), true) => return changes,
        };
        member.drained_since = is_drained.then_some(now);
        changes.push(member.change(what, Reason::Operator));
        self.settle(changes, &Reason::Operator, now)
    }

    /// Time passed: ejections run out, open breakers become half-open. Every other call does the
    /// same first, so this is for when nothing else happens.
    pub fn tick(&mut self, now: Instant) -> Changes {
        if self.next.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let mut changes = Vec::new();
        for member in &mut self.members {
            member.tick(&self.policy, now, &mut changes);
        }
        let shared = self.shared.cause().cloned();
        self.shared.traffic.take_if(|(_, until)| *until <= now);
        self.tell_shared(shared, Reason::Elapsed, &mut changes);
        self.settle(changes, &Reason::Elapsed, now)
    }

    /// When [`Containment::tick`] has something to do next. Nothing changes by time before.
    pub fn next_change(&self) -> Option<Instant> {
        self.next
    }

    /// What the endpoint may be given now; of one that is not a member, nothing.
    pub fn standing(&self, id: EndpointId) -> Standing {
        let position = self.position(id);
        position.map_or(NOTHING, |position| self.members[position].standing)
    }

    /// The cause that all endpoints share at present, if they do: nobody goes out for it.
    pub fn shared_cause(&self) -> Option<&Trouble> {
        self.shared.cause()
    }

    /// Whether nobody is eligible and endpoints of last resort are used.
    pub fn is_panicking(&self) -> bool {
        self.is_panicking
    }

    /// Why the endpoint is out, or all about it if it is not; `None` of one that is not a member.
    pub fn report(&self, id: EndpointId, now: Instant) -> Option<Report> {
        let member = &self.members[self.position(id)?];
        Some(member.report(&self.policy, now))
    }

    /// Always within `members`.
    fn position(&self, id: EndpointId) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }
}

#[cfg(test)]
mod tests;
