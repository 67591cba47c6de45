//! Answers to "why is this endpoint out?". Never decides anything.

use std::time::{Duration, Instant};

use super::member::Member;
use super::{Policy, Role, Trouble};
use crate::breaker::{Mode, State};
use crate::endpoint::Standing;

/// Everything containment knows about one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it may be given now.
    pub standing: Standing,
    /// Since when.
    pub since: Instant,
    /// Every reason why it is not fully eligible; empty if it is.
    pub obstacles: Vec<Obstacle>,
    /// Its checks, in the order of the policy.
    pub checks: Vec<CheckReport>,
    /// What was last seen of its connections; `None` before anything was.
    pub accepts_connections: Option<bool>,
    /// Ejections since it was added.
    pub ejections: u32,
    /// Its breaker, if the policy has one.
    pub breaker: Option<BreakerReport>,
    /// How much of the time it could be used.
    pub availability: Availability,
}

/// One reason why an endpoint is not fully eligible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Which.
    pub kind: ObstacleKind,
    /// Since when.
    pub since: Instant,
    /// When it ends by itself; `None` if it does not.
    pub until: Option<Instant>,
    /// What went wrong, if something did.
    pub trouble: Option<Trouble>,
}

/// What stands between an endpoint and traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObstacleKind {
    /// A check that ejects has not passed yet.
    Unproven {
        /// Position of the check in the policy.
        check: usize,
    },
    /// A check that ejects fails.
    Unhealthy {
        /// Position of the check in the policy.
        check: usize,
    },
    /// A check that degrades fails.
    Degraded {
        /// Position of the check in the policy.
        check: usize,
    },
    /// Put aside for failures of real traffic.
    Ejected {
        /// The how-manieth time since it was last quiet.
        times: u32,
    },
    /// The breaker rejects.
    BreakerOpen,
    /// The breaker admits only trial requests.
    BreakerHalfOpen,
    /// Put aside by the operator.
    Drained,
    /// It announced that it is about to leave.
    AnnouncedDraining,
}

/// One check of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// What its failing means.
    pub role: Role,
    /// Its verdict.
    pub verdict: Verdict,
    /// Since when.
    pub since: Instant,
    /// Passes in a row.
    pub passes: u32,
    /// Failures in a row.
    pub failures: u32,
    /// When and how the last probe ended.
    pub last: Option<(Instant, Result<(), Trouble>)>,
    /// It has failed often enough but the cause is, or may be, shared by all.
    pub is_held: bool,
}

/// What one check says of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Nothing passed yet.
    Unproven,
    /// It passes.
    Passing,
    /// It failed `fall` times in a row and has not passed `rise` times since.
    Failing,
}

/// The breaker of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerReport {
    /// Its state.
    pub state: State,
    /// Whether it acts or only watches.
    pub mode: Mode,
    /// Since when.
    pub since: Instant,
    /// How often it opened since the endpoint was added.
    pub openings: u64,
    /// Attempts it would have rejected if it did more than watch.
    pub would_have_rejected: u64,
}

/// How much of the time an endpoint was not out, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Availability {
    /// Since it was added.
    pub overall_percent: f64,
    /// In the last hour, to the minute.
    pub last_hour_percent: f64,
    /// How long it is known.
    pub known_for: Duration,
}

impl Eq for Availability {}

impl Member {
    /// Everything known of it.
    pub(super) fn report(&self, policy: &Policy, now: Instant) -> Report {
        let checks = self.checks.iter().zip(&policy.checks);
        let breaker = self.breaker.as_ref().zip(policy.breaker);
        Report {
            standing: self.standing,
            since: self.since,
            obstacles: self.obstacles(policy),
            checks: checks.map(|(check, policy)| check.report(policy)).collect(),
            accepts_connections: self.accepts,
            ejections: self.ejection.total(),
            breaker: breaker.map(|(breaker, policy)| BreakerReport {
                state: breaker.state(),
                mode: policy.mode,
                since: breaker.since(),
                openings: breaker.openings(),
                would_have_rejected: breaker.would_have_rejected(),
            }),
            availability: self.uptime.report(now),
        }
    }

    fn obstacles(&self, policy: &Policy) -> Vec<Obstacle> {
        let without_end = |kind, since| Obstacle {
            kind,
            since,
            until: None,
            trouble: None,
        };
        let mut obstacles = Vec::new();
        for (position, check) in self.checks.iter().enumerate() {
            let role = policy.checks.get(position).map(|policy| policy.role);
            let kind = match (check.verdict, role) {
                (Verdict::Unproven, Some(Role::Eject)) => {
                    ObstacleKind::Unproven { check: position }
                }
                (Verdict::Failing, Some(Role::Eject)) => {
                    ObstacleKind::Unhealthy { check: position }
                }
                (Verdict::Failing, Some(Role::Degrade { .. })) => {
                    ObstacleKind::Degraded { check: position }
                }
                _ => continue,
            };
            obstacles.push(Obstacle {
                trouble: check.trouble().cloned(),
                ..without_end(kind, check.since)
            });
        }
        if let Some(out) = self.ejection.out() {
            let kind = ObstacleKind::Ejected { times: out.times };
            obstacles.push(Obstacle {
                until: Some(out.until),
                trouble: Some(out.trouble.clone()),
                ..without_end(kind, out.since)
            });
        }
        obstacles.extend(self.breaker_obstacle(policy));
        let drains = [
            (ObstacleKind::Drained, self.drained_since),
            (ObstacleKind::AnnouncedDraining, self.announced_since),
        ];
        let drains = drains
            .into_iter()
            .filter_map(|(kind, since)| Some((kind, since?)));
        obstacles.extend(drains.map(|(kind, since)| without_end(kind, since)));
        obstacles
    }

    fn breaker_obstacle(&self, policy: &Policy) -> Option<Obstacle> {
        let (breaker, policy) = self.breaker.as_ref().zip(policy.breaker)?;
        let kind = match (policy.mode, breaker.state()) {
            (Mode::Monitor, _) | (_, State::Closed) => return None,
            (Mode::Enforce, State::Open) => ObstacleKind::BreakerOpen,
            (Mode::Enforce, State::HalfOpen) => ObstacleKind::BreakerHalfOpen,
        };
        Some(Obstacle {
            kind,
            since: breaker.since(),
            until: breaker.next_change(&policy),
            trouble: self.traffic.last_trouble().cloned(),
        })
    }
}
