//! What another process takes over of endpoints: what operators did, and what checks found. Never
//! carries over what is counted.

use std::net::SocketAddr;
use std::time::Instant;

use portcullis_traffic::containment::{ObstacleKind, Verdict};

use super::Cluster;

/// What one process knows of an endpoint that the next would have to learn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndpointPast {
    /// The weight of the configuration, and the operator's; `None` if that is the same.
    pub(crate) weight: Option<(u16, u16)>,
    /// The operator put it aside.
    pub(crate) is_drained: bool,
    /// It said that it is about to leave.
    pub(crate) is_leaving: bool,
    /// By check: whether it passes.
    pub(crate) passes: Vec<bool>,
}

impl Cluster {
    /// What is known of all endpoints, but for those of which nothing is.
    pub(crate) fn past(&self, now: Instant) -> Vec<(SocketAddr, EndpointPast)> {
        let known = self.shape.members.iter().zip(self.endpoints());
        let past = known.filter_map(|(member, endpoint)| {
            let status = self.endpoint_status(endpoint, now)?;
            let has = |kind: ObstacleKind| {
                let mut obstacles = status.report.obstacles.iter();
                obstacles.any(|obstacle| obstacle.kind == kind)
            };
            let checks = status.report.checks.iter();
            let past = EndpointPast {
                weight: (status.weight != member.weight).then_some((member.weight, status.weight)),
                is_drained: has(ObstacleKind::Drained),
                is_leaving: has(ObstacleKind::AnnouncedDraining),
                passes: checks
                    .map(|check| check.verdict == Verdict::Passing)
                    .collect(),
            };
            Some((endpoint.address(), past))
        });
        past.filter(|(_, past)| *past != EndpointPast::default())
            .collect()
    }

    /// Goes on where another process was. What this one has found out itself since counts more.
    pub(crate) fn resume(&self, address: SocketAddr, past: &EndpointPast, now: Instant) {
        let known = self.shape.members.iter().zip(self.endpoints());
        let mut here = known.filter(|(_, endpoint)| endpoint.address() == address);
        let Some((member, endpoint)) = here.next() else {
            return;
        };
        if let Some((written, weight)) = past.weight
            && written == member.weight
        {
            self.set_weight(endpoint, weight, now);
        }
        if past.is_drained {
            self.drain(endpoint, true, now);
        }
        if let Some(status) = self.endpoint_status(endpoint, now)
            && status.report.checks.len() == past.passes.len()
        {
            let checks = self.shape.policy.checks.iter().zip(&status.report.checks);
            for (check, ((policy, report), passes)) in checks.zip(&past.passes).enumerate() {
                if *passes && report.verdict == Verdict::Unproven && report.failures == 0 {
                    for _ in 0..policy.rise.get() {
                        self.probed(endpoint, check, Ok(()), now);
                    }
                }
            }
        }
        // Probes that pass would end it.
        if past.is_leaving {
            self.announced_draining(endpoint, now);
        }
    }

    /// Whether nobody takes traffic yet though somebody may: not everybody has been asked.
    pub(crate) fn is_unproven(&self, now: Instant) -> bool {
        if self.has_eligible() {
            return false;
        }
        let unasked = |checks: &[portcullis_traffic::containment::CheckReport]| {
            checks.iter().any(|check| check.last.is_none())
        };
        let status = self.status(now);
        let mut endpoints = status.endpoints.iter();
        endpoints.any(|endpoint| unasked(&endpoint.report.checks))
    }
}
