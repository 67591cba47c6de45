//! What happens to a cluster: weather, probes, clients, an operator. Does what the edge would do, and asks the witness after each step.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use portcullis_traffic::breaker;
use portcullis_traffic::containment::{
    Changes, CheckPolicy, Containment, DependencyName, Policy, Role, Trouble, eject,
};
use portcullis_traffic::endpoint::EndpointId;

use crate::witness::{Event, Seen, Witness};

/// How an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Fine,
    Refusing,
    Stopped,
    Failing,
    Resetting,
    Flaky,
}

const CONDITIONS: [Condition; 6] = [
    Condition::Fine,
    Condition::Refusing,
    Condition::Stopped,
    Condition::Failing,
    Condition::Resetting,
    Condition::Flaky,
];

pub(crate) struct World {
    rng: fastrand::Rng,
    now: Instant,
    policy: Policy,
    endpoints: Vec<(EndpointId, Condition)>,
    next_id: u32,
    is_database_down: bool,
    in_flight: Vec<EndpointId>,
    cluster: Containment,
    witness: Witness,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let now = Instant::now();
        let policy = random_policy(&mut rng);
        let count = rng.u32(1..7);
        let ids: Vec<EndpointId> = (0..count).map(EndpointId).collect();
        let cluster = Containment::new(policy.clone(), &ids, now);
        let witness = Witness::new(&policy, &ids, now);
        Self {
            rng,
            now,
            endpoints: ids.into_iter().map(|id| (id, Condition::Fine)).collect(),
            next_id: count,
            is_database_down: false,
            in_flight: Vec::new(),
            cluster,
            witness,
            policy,
        }
    }

    pub(crate) fn seen(&self) -> &Seen {
        self.witness.seen()
    }

    pub(crate) fn step(&mut self) {
        self.pass_time();
        match self.rng.u32(..1_000) {
            0..400 => self.probe(),
            400..620 => self.begin(),
            620..940 => self.end(),
            940..965 => self.change_weather(),
            965..980 => self.drain_or_announce(),
            980..990 => self.foretell(),
            990..997 => self.change_membership(),
            _ => self.change_policy(),
        }
    }

    /// Mostly a little; sometimes long; threads may also come late to the lock.
    fn pass_time(&mut self) {
        let millis = match self.rng.u32(..200) {
            0 => self.rng.u64(..7_200_000),
            1..10 => self.rng.u64(..60_000),
            _ => self.rng.u64(..900),
        };
        self.now += Duration::from_millis(millis);
    }

    fn moment(&mut self) -> Instant {
        let late = if self.rng.u8(..20) == 0 { 40 } else { 0 };
        self.now - Duration::from_millis(late)
    }

    fn told(&mut self, event: &Event, now: Instant, changes: Changes) {
        self.witness.check(event, &self.cluster, &changes, now);
    }

    fn anyone(&mut self) -> Option<(EndpointId, Condition)> {
        let position = self.rng.usize(..self.endpoints.len().max(1));
        self.endpoints.get(position).copied()
    }

    /// What an endpoint in this condition makes of a probe or a request.
    fn result(&mut self, condition: Condition) -> Result<(), Trouble> {
        match condition {
            Condition::Refusing => Err(match self.rng.u8(..3) {
                0 => Trouble::ConnectTimeout,
                _ => Trouble::Refused,
            }),
            Condition::Stopped => Err(Trouble::Timeout),
            Condition::Resetting => Err(Trouble::Reset),
            _ if self.is_database_down => {
                let name = DependencyName::new("database").expect("a plain name");
                Err(Trouble::Dependency(name))
            }
            Condition::Failing => Err(Trouble::Status(503)),
            Condition::Flaky if self.rng.bool() => {
                let statuses = [404, 500, 502, 503];
                Err(Trouble::Status(statuses[self.rng.usize(..statuses.len())]))
            }
            Condition::Flaky | Condition::Fine => Ok(()),
        }
    }

    fn probe(&mut self) {
        let Some((id, condition)) = self.anyone() else {
            return;
        };
        // One too many: probes of a check that a reload took away may still end.
        let check = self.rng.usize(..=self.policy.checks.len());
        let result = self.result(condition);
        let now = self.moment();
        let changes = self.cluster.probed(id, check, result.clone(), now);
        self.told(&Event::Probed { id, check, result }, now, changes);
    }

    fn begin(&mut self) {
        let Some((id, _)) = self.anyone() else { return };
        if self.in_flight.len() > 30 {
            return;
        }
        self.in_flight.push(id);
        let now = self.moment();
        let changes = self.cluster.attempted(id, now);
        self.told(&Event::Other, now, changes);
    }

    fn end(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let position = self.rng.usize(..self.in_flight.len());
        let id = self.in_flight.swap_remove(position);
        let now = self.moment();
        if self.rng.u8(..20) == 0 {
            let changes = self.cluster.abandoned(id, now);
            return self.told(&Event::Other, now, changes);
        }
        let known = self.endpoints.iter().find(|endpoint| endpoint.0 == id);
        let condition = known.map_or(Condition::Fine, |endpoint| endpoint.1);
        let result = self.result(condition);
        let changes = self.cluster.ended(id, result.clone(), now);
        self.told(&Event::Ended { id, result }, now, changes);
    }

    fn change_weather(&mut self) {
        match self.rng.u8(..8) {
            0 => self.is_database_down = !self.is_database_down,
            1 => self
                .endpoints
                .iter_mut()
                .for_each(|e| e.1 = Condition::Fine),
            2 => {
                let condition = CONDITIONS[self.rng.usize(..CONDITIONS.len())];
                self.endpoints.iter_mut().for_each(|e| e.1 = condition);
            }
            _ => {
                let position = self.rng.usize(..self.endpoints.len().max(1));
                let condition = CONDITIONS[self.rng.usize(..CONDITIONS.len())];
                if let Some(endpoint) = self.endpoints.get_mut(position) {
                    endpoint.1 = condition;
                }
            }
        }
    }

    fn drain_or_announce(&mut self) {
        let Some((id, _)) = self.anyone() else { return };
        let now = self.moment();
        if self.rng.bool() {
            let changes = self.cluster.announced_draining(id, now);
            return self.told(&Event::Announced { id }, now, changes);
        }
        let is_drained = self.rng.u8(..3) == 0;
        let changes = self.cluster.drain(id, is_drained, now);
        self.told(&Event::Other, now, changes);
    }

    /// The next change by time comes when it was foretold, and not before.
    fn foretell(&mut self) {
        let Some(next) = self.cluster.next_change() else {
            let changes = self.cluster.tick(self.now);
            return self.told(&Event::Early, self.now, changes);
        };
        let before = next - Duration::from_nanos(1);
        if before >= self.now {
            self.now = before;
            let changes = self.cluster.tick(before);
            self.told(&Event::Early, before, changes);
            assert_eq!(self.cluster.next_change(), Some(next));
        }
        self.now = self.now.max(next);
        let changes = self.cluster.tick(self.now);
        self.told(&Event::Other, self.now, changes);
    }

    fn change_membership(&mut self) {
        if self.rng.bool() && self.endpoints.len() > 1 {
            let position = self.rng.usize(..self.endpoints.len());
            self.endpoints.remove(position);
        } else if self.endpoints.len() < 8 {
            self.endpoints
                .push((EndpointId(self.next_id), Condition::Fine));
            self.next_id += 1;
        }
        self.reshape();
    }

    fn change_policy(&mut self) {
        let policy = random_policy(&mut self.rng);
        match self.rng.u8(..4) {
            0 => self.policy.checks = policy.checks,
            1 => self.policy.ejection = policy.ejection,
            2 => self.policy.breaker = policy.breaker,
            _ => self.policy = policy,
        }
        self.reshape();
    }

    fn reshape(&mut self) {
        let ids: Vec<EndpointId> = self.endpoints.iter().map(|e| e.0).collect();
        let (policy, now) = (self.policy.clone(), self.moment());
        let changes = self.cluster.reshape(policy.clone(), &ids, now);
        self.told(&Event::Reshaped { policy, ids }, now, changes);
    }
}

fn random_policy(rng: &mut fastrand::Rng) -> Policy {
    let mut check = |_| {
        let share_percent = [25, 50][rng.usize(..2)];
        let role = match rng.u8(..3) {
            0 => Role::Degrade { share_percent },
            _ => Role::Eject,
        };
        CheckPolicy::new(rng.u32(1..4), rng.u32(1..4), role)
    };
    let checks = (0..3).map(&mut check).collect::<Vec<_>>();
    let count = [0, 1, 1, 1, 2, 3][rng.usize(..6)];
    let mut number = |most| NonZeroU32::new(rng.u32(1..=most)).expect("at least 1");
    let ejection = eject::Policy {
        failures: number(4),
        gateway_errors: Some(number(6)),
        duration: Duration::from_secs(u64::from(number(40).get())),
        max_duration: Duration::from_secs(u64::from(number(300).get())),
        max_percent: [20, 50, 66, 100, 100][usize::try_from(number(5).get()).expect("small") - 1],
        ..eject::Policy::default()
    };
    let breaker = breaker::Policy {
        failures: number(6),
        duration: Duration::from_secs(u64::from(number(60).get())),
        successes: number(4),
        mode: [breaker::Mode::Enforce, breaker::Mode::Monitor][rng.usize(..2)],
        ..breaker::Policy::default()
    };
    Policy {
        checks: checks[..count].to_vec(),
        ejection: (rng.u8(..4) > 0).then_some(ejection),
        breaker: rng.bool().then_some(breaker),
    }
}
