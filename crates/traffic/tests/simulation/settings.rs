//! How a simulated cluster is set up. Never changes while it runs.

use std::num::NonZeroU32;
use std::time::Duration;

use portcullis_traffic::balance::Balancer;
use portcullis_traffic::eject;
use portcullis_traffic::health::Thresholds;

pub(crate) struct Settings {
    pub(crate) balancer: fn(usize) -> Balancer,
    pub(crate) weights: Vec<u32>,
    pub(crate) clients: usize,
    pub(crate) thresholds: Thresholds,
    pub(crate) ejection: eject::Policy,
    pub(crate) max_retries: u32,
    /// `None`: no probes, so every endpoint counts as healthy.
    pub(crate) probe_interval: Option<Duration>,
}

impl Settings {
    /// Equal endpoints, thirty clients, the defaults of the edge.
    pub(crate) fn calm(endpoints: usize, balancer: fn(usize) -> Balancer) -> Self {
        Self {
            balancer,
            weights: vec![1; endpoints],
            clients: 30,
            thresholds: thresholds(2, 3),
            ejection: eject::Policy {
                failures: count(3),
                window: Duration::from_secs(30),
                duration: Duration::from_secs(30),
                max_percent: 50,
            },
            max_retries: 1,
            probe_interval: Some(Duration::from_secs(1)),
        }
    }

    pub(crate) fn random(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5e77);
        let endpoints = rng.usize(1..=8);
        let most = if rng.bool() { 1 } else { 10 };
        Self {
            balancer: if rng.bool() {
                Balancer::round_robin
            } else {
                Balancer::least_conn
            },
            weights: (0..endpoints).map(|_| rng.u32(1..=most)).collect(),
            clients: rng.usize(1..=40),
            thresholds: thresholds(rng.u32(1..=4), rng.u32(1..=4)),
            ejection: eject::Policy {
                failures: count(rng.u32(1..=5)),
                window: Duration::from_secs(rng.u64(1..=30)),
                duration: Duration::from_secs(rng.u64(1..=30)),
                max_percent: rng.u8(0..=100),
            },
            max_retries: rng.u32(0..=3),
            probe_interval: (rng.u8(..4) > 0).then(|| Duration::from_millis(rng.u64(200..=2_000))),
        }
    }
}

fn thresholds(rise: u32, fall: u32) -> Thresholds {
    Thresholds {
        rise: count(rise),
        fall: count(fall),
    }
}

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("counts here are positive")
}
