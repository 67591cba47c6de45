//! How a simulated cluster is set up. Never changes while it runs, but for the members.

use std::num::NonZeroU32;
use std::time::Duration;

use portcullis_traffic::breaker;
use portcullis_traffic::containment::{CheckPolicy, Policy, Role, eject};
use portcullis_traffic::queue;
use portcullis_traffic::retry::BudgetPolicy;
use portcullis_traffic::select::{self, Balance, SlowStart, Zone};

pub(crate) const ALGORITHMS: [Balance; 6] = [
    Balance::RoundRobin,
    Balance::LeastConn,
    Balance::P2c,
    Balance::PeakEwma {
        decay: Duration::from_secs(10),
    },
    Balance::Hash {
        bounded_load_percent: Some(150),
    },
    Balance::Hash {
        bounded_load_percent: None,
    },
];

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) select: select::Settings,
    pub(crate) policy: Policy,
    pub(crate) queue: queue::Limits,
    /// Of the members at the start, and what weights and limits may be later.
    pub(crate) endpoints: usize,
    pub(crate) most_weight: u16,
    pub(crate) tiers: u8,
    pub(crate) zones: usize,
    pub(crate) places: u32,
    pub(crate) clients: usize,
    pub(crate) max_retries: u32,
    pub(crate) budget: BudgetPolicy,
    /// Of a hundred requests, so many are bound to some endpoint.
    pub(crate) bound_percent: u8,
    pub(crate) probe_interval: Duration,
    /// How long somebody who is called takes to come.
    pub(crate) wake_time: Duration,
}

impl Settings {
    /// Equal endpoints, thirty clients, the defaults of the edge.
    pub(crate) fn calm(endpoints: usize, balance: Balance) -> Self {
        Self {
            select: select::Settings {
                slow_start: Some(SlowStart {
                    window: Duration::from_secs(30),
                }),
                ..select::Settings::new(balance)
            },
            policy: Policy {
                checks: vec![CheckPolicy::new(2, 3, Role::Eject)],
                ejection: Some(eject::Policy::default()),
                breaker: None,
            },
            queue: queue::Limits {
                length: 256,
                timeout: Duration::from_secs(5),
            },
            endpoints,
            most_weight: 1,
            tiers: 1,
            zones: 0,
            places: 1_024,
            clients: 30,
            max_retries: 1,
            budget: BudgetPolicy {
                percent: 100,
                min: 3,
            },
            bound_percent: 0,
            probe_interval: Duration::from_secs(1),
            wake_time: Duration::ZERO,
        }
    }

    pub(crate) fn random(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5e77);
        let balance = ALGORITHMS[usize::try_from(seed).unwrap_or(0) % ALGORITHMS.len()];
        let mut settings = Self::calm(rng.usize(1..=9), balance);
        settings.select.slow_start = rng.bool().then(|| SlowStart {
            window: Duration::from_millis(rng.u64(0..=15_000)),
        });
        settings.select.zone = rng.bool().then(|| Zone::new("0"));
        settings.select.overprovisioning_percent = rng.u16(100..=200);
        settings.policy = policy(&mut rng);
        settings.queue = queue::Limits {
            length: rng.usize(0..=12),
            timeout: Duration::from_millis(rng.u64(1..=400)),
        };
        settings.most_weight = match balance {
            // The witness makes its ring the slow way.
            Balance::Hash { .. } => rng.u16(1..=3),
            _ => [1, 3, 10, 1_000][rng.usize(..4)],
        };
        settings.tiers = rng.u8(1..=3);
        settings.zones = rng.usize(0..=2);
        settings.places = [1, 2, 4, 8, 1_024][rng.usize(..5)];
        settings.clients = rng.usize(1..=40);
        settings.max_retries = rng.u32(0..=3);
        settings.budget = BudgetPolicy::default();
        settings.bound_percent = rng.u8(0..40);
        settings.probe_interval = Duration::from_millis(rng.u64(200..=2_000));
        settings.wake_time = Duration::from_micros(rng.u64(0..=1_500));
        settings
    }
}

fn policy(rng: &mut fastrand::Rng) -> Policy {
    let mut checks = Vec::new();
    if rng.u8(..4) > 0 {
        checks.push(CheckPolicy::new(
            rng.u32(1..=4),
            rng.u32(1..=4),
            Role::Eject,
        ));
    }
    if rng.bool() {
        let share_percent = rng.u8(0..=100);
        checks.push(CheckPolicy::new(1, 2, Role::Degrade { share_percent }));
    }
    Policy {
        checks,
        ejection: (rng.u8(..4) > 0).then(|| eject::Policy {
            failures: NonZeroU32::new(rng.u32(1..=5)).expect("at least one"),
            window: Duration::from_secs(rng.u64(1..=30)),
            duration: Duration::from_secs(rng.u64(1..=10)),
            max_duration: Duration::from_secs(20),
            max_percent: rng.u8(0..=100),
            ..eject::Policy::default()
        }),
        breaker: rng.bool().then(|| breaker::Policy {
            duration: Duration::from_secs(rng.u64(1..=10)),
            ..breaker::Policy::default()
        }),
    }
}
