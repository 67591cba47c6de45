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
use crate::eject::{EjectionState, may_eject};
use crate::endpoint::{EndpointId, Standing};
use crate::health::{HealthState, Observation, Thresholds};

mod change;
pub mod eject;
mod report;
mod trouble;

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
#[derive(Debug)]
pub struct Containment {
    policy: Policy,
    members: Vec<Member>,
    is_panicking: bool,
}

#[derive(Debug)]
struct Member {
    id: EndpointId,
    health: HealthState,
    ejection: EjectionState,
    ejected_until: Option<Instant>,
    refuses: Option<bool>,
    is_drained: bool,
    is_announced: bool,
    standing: Standing,
    since: Instant,
}

impl Containment {
    /// A cluster whose endpoints are unproven if it has checks that eject, else taken for healthy.
    pub fn new(policy: Policy, members: &[EndpointId], now: Instant) -> Self {
        let mut containment = Self {
            policy: Policy::default(),
            members: Vec::new(),
            is_panicking: false,
        };
        containment.reshape(policy, members, now);
        containment
    }

    /// The policy or the membership changed. What is known of those that stay is kept. New ones
    /// get no change; ask for their standing.
    pub fn reshape(&mut self, policy: Policy, members: &[EndpointId], now: Instant) -> Changes {
        let is_checked = policy.checks.iter().any(|c| c.role == Role::Eject);
        self.policy = policy;
        self.members.retain(|member| members.contains(&member.id));
        for id in members {
            if self.members.iter().all(|member| member.id != *id) {
                self.members.push(Member::new(*id, is_checked, now));
            }
        }
        self.settle(Vec::new(), now)
    }

    /// A probe of the check at this position ended.
    pub fn probed(
        &mut self,
        id: EndpointId,
        check: usize,
        result: Result<(), Trouble>,
        now: Instant,
    ) -> Changes {
        let Some(policy) = self.policy.checks.get(check).copied() else {
            return Vec::new();
        };
        let thresholds = Thresholds {
            rise: policy.rise,
            fall: policy.fall,
        };
        let mut changes = Vec::new();
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id)
            && policy.role == Role::Eject
        {
            member.refuses = Some(matches!(&result, Err(trouble) if trouble.is_connect()));
            let observation = if result.is_ok() {
                Observation::Pass
            } else {
                Observation::Fail
            };
            let reason = result.err().map_or(Reason::Passed, Reason::Trouble);
            if std::mem::take(&mut member.is_announced) && observation == Observation::Pass {
                changes.push(member.change(What::Undrained, Reason::Passed));
            }
            if member.health.record(observation, &thresholds).is_some() {
                let what = match member.health.is_healthy() {
                    true => What::Healthy,
                    false => What::Unhealthy,
                };
                changes.push(member.change(what, reason));
            }
        }
        self.settle(changes, now)
    }

    /// The endpoint announced, by a probe's answer or any other, that it is about to leave. Acts
    /// at once, and ends when its checks pass again `rise` times. Without a check that ejects
    /// nothing could end it, so it is ignored then.
    pub fn announced_draining(&mut self, id: EndpointId, now: Instant) -> Changes {
        let mut changes = Vec::new();
        let is_checked = self.policy.checks.iter().any(|c| c.role == Role::Eject);
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id)
            && is_checked
            && !std::mem::replace(&mut member.is_announced, true)
        {
            changes.push(member.change(What::Draining, Reason::Announced));
        }
        self.settle(changes, now)
    }

    /// The operator puts an endpoint aside, or takes it back.
    pub fn drain(&mut self, id: EndpointId, is_drained: bool, now: Instant) -> Changes {
        let mut changes = Vec::new();
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id)
            && member.is_drained != is_drained
        {
            member.is_drained = is_drained;
            let what = match is_drained {
                true => What::Draining,
                false => What::Undrained,
            };
            changes.push(member.change(what, Reason::Operator));
        }
        self.settle(changes, now)
    }

    /// An attempt at this endpoint begins. Each is followed by exactly one of
    /// [`Containment::ended`] and [`Containment::abandoned`].
    pub fn attempted(&mut self, _id: EndpointId, _now: Instant) -> Changes {
        Vec::new()
    }

    /// An attempt ended with this result.
    pub fn ended(&mut self, id: EndpointId, result: Result<(), Trouble>, now: Instant) -> Changes {
        let Some(policy) = self.policy.ejection else {
            return Vec::new();
        };
        let out = self.members.iter().filter(|m| !m.is_in()).count();
        let may_eject = may_eject(self.members.len(), out, &old(&policy));
        let Some(member) = self.members.iter_mut().find(|member| member.id == id) else {
            return Vec::new();
        };
        let trouble = match result {
            Err(trouble) if trouble.is_failure() => trouble,
            _ => {
                member.ejection.success();
                return Vec::new();
            }
        };
        if trouble.is_connect() {
            member.refuses = Some(true);
        }
        let mut changes = Vec::new();
        if member.ejection.failure(now, &old(&policy)) && may_eject && member.is_in() {
            member.ejection.eject(now, &old(&policy));
            member.ejected_until = now.checked_add(policy.duration);
            let what = What::Ejected {
                duration: policy.duration,
                times: 1,
            };
            changes.push(member.change(what, Reason::Trouble(trouble)));
        }
        self.settle(changes, now)
    }

    /// An attempt ended without a verdict on the endpoint: the client left, say.
    pub fn abandoned(&mut self, _id: EndpointId, _now: Instant) -> Changes {
        Vec::new()
    }

    /// Time passed: ejections run out, open breakers become half-open.
    pub fn tick(&mut self, now: Instant) -> Changes {
        let mut changes = Vec::new();
        for member in &mut self.members {
            if member.ejected_until.is_some_and(|until| until <= now) {
                member.ejected_until = None;
                changes.push(member.change(What::EjectionOver, Reason::Elapsed));
            }
        }
        self.settle(changes, now)
    }

    /// When [`Containment::tick`] has something to do next. Nothing changes by time before.
    pub fn next_change(&self) -> Option<Instant> {
        self.members.iter().filter_map(|m| m.ejected_until).min()
    }

    /// What the endpoint may be given now; of one that is not a member, nothing.
    pub fn standing(&self, id: EndpointId) -> Standing {
        self.members
            .iter()
            .find(|member| member.id == id)
            .map_or(NOBODY, |member| member.standing)
    }

    /// The cause that all endpoints share at present.
    pub fn shared_cause(&self) -> Option<&Trouble> {
        None
    }

    /// Whether nobody is eligible and endpoints of last resort are used.
    pub fn is_panicking(&self) -> bool {
        self.is_panicking
    }

    /// Why the endpoint is out, or all about it if it is not; `None` of one that is not a member.
    pub fn report(&self, id: EndpointId, now: Instant) -> Option<Report> {
        let member = self.members.iter().find(|member| member.id == id)?;
        Some(Report {
            standing: member.standing,
            since: member.since,
            obstacles: Vec::new(),
            checks: Vec::new(),
            accepts_connections: member.refuses.map(|refuses| !refuses),
            ejections: 0,
            breaker: None,
            availability: Availability {
                overall_percent: 100.0,
                last_hour_percent: 100.0,
                known_for: now.saturating_duration_since(member.since),
            },
        })
    }

    fn settle(&mut self, mut changes: Changes, now: Instant) -> Changes {
        for member in &mut self.members {
            let standing = member.present_standing();
            if standing == member.standing {
                continue;
            }
            (member.standing, member.since) = (standing, now);
            if changes
                .iter()
                .all(|c| c.endpoint.map(|e| e.0) != Some(member.id))
            {
                changes.push(member.change(What::Shifted, Reason::Configured));
            }
        }
        for (id, standing) in changes.iter_mut().filter_map(|c| c.endpoint.as_mut()) {
            if let Some(member) = self.members.iter().find(|member| member.id == *id) {
                *standing = member.standing;
            }
        }
        let last_resort = Standing::Out {
            is_last_resort: true,
        };
        let panics = !self.members.iter().any(Member::is_in)
            && self.members.iter().any(|m| m.standing == last_resort);
        if self.is_panicking != panics {
            self.is_panicking = panics;
            changes.push(Change {
                endpoint: None,
                what: match panics {
                    true => What::PanicBegan,
                    false => What::PanicEnded,
                },
                reason: changes
                    .last()
                    .map_or(Reason::Configured, |c| c.reason.clone()),
            });
        }
        changes
    }
}

impl Member {
    fn new(id: EndpointId, is_checked: bool, now: Instant) -> Self {
        let mut member = Self {
            id,
            health: match is_checked {
                true => HealthState::new(),
                false => HealthState::assumed_healthy(),
            },
            ejection: EjectionState::new(),
            ejected_until: None,
            refuses: None,
            is_drained: false,
            is_announced: false,
            standing: NOBODY,
            since: now,
        };
        member.standing = member.present_standing();
        member
    }

    fn is_in(&self) -> bool {
        matches!(self.standing, Standing::In { .. })
    }

    fn change(&self, what: What, reason: Reason) -> Change {
        Change {
            endpoint: Some((self.id, self.standing)),
            what,
            reason,
        }
    }

    fn present_standing(&self) -> Standing {
        let is_draining = self.is_drained || self.is_announced;
        if !self.health.is_healthy() || self.ejected_until.is_some() {
            Standing::Out {
                is_last_resort: self.refuses == Some(false) && !is_draining,
            }
        } else if is_draining {
            Standing::Draining
        } else {
            Standing::In { share_percent: 100 }
        }
    }
}

fn old(policy: &eject::Policy) -> crate::eject::Policy {
    crate::eject::Policy {
        failures: policy.failures,
        window: policy.window,
        duration: policy.duration,
        max_percent: policy.max_percent,
    }
}

const NOBODY: Standing = Standing::Out {
    is_last_resort: false,
};

#[cfg(test)]
mod tests;
