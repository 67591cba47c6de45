//! Cost of taking a place and giving it back. Targets: under 150 ns among 16 endpoints, under
//! 1 us among 1,000, for every algorithm; 100 us to tell 1,000 endpoints standings that they
//! have already. Never measures waiting or the mutex around it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis_traffic::endpoint::{EndpointId, Standing};
use portcullis_traffic::select::{
    Ask, Balance, Member, Picked, Selector, Settings, SlowStart, Zone,
};

const SIZES: [u16; 3] = [3, 16, 1_000];

const ALGORITHMS: [(&str, Balance); 5] = [
    ("round_robin", Balance::RoundRobin),
    ("least_conn", Balance::LeastConn),
    ("p2c", Balance::P2c),
    (
        "peak_ewma",
        Balance::PeakEwma {
            decay: Duration::from_secs(10),
        },
    ),
    (
        "hash",
        Balance::Hash {
            bounded_load_percent: Some(150),
        },
    ),
];

/// A selector at work, and what random bits, keys and time are made from.
struct Bench {
    selector: Selector,
    now: Instant,
    step: u64,
}

impl Bench {
    fn new(settings: Settings, members: &[Member]) -> Self {
        Self {
            selector: Selector::new(settings, members),
            now: Instant::now(),
            step: 0,
        }
    }

    /// Some requests are under way, some endpoints are out.
    fn busy(settings: Settings, members: &[Member]) -> Self {
        let mut bench = Self::new(settings, members);
        for _ in 0..3 * members.len() {
            bench.pick(&[]);
        }
        for member in members.iter().skip(2).step_by(10) {
            bench.set(
                member.id,
                Standing::Out {
                    is_last_resort: true,
                },
            );
        }
        bench
    }

    fn set(&mut self, id: EndpointId, standing: Standing) {
        self.selector.set_standing(id, standing, self.now);
    }

    fn pick(&mut self, tried: &[EndpointId]) -> Option<EndpointId> {
        self.step = self.step.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.now += Duration::from_micros(20);
        let key = self.step.to_le_bytes();
        let ask = Ask {
            bound: None,
            key: Some(&key),
            tried,
            now: self.now,
            chance: self.step,
        };
        match self.selector.pick(black_box(&ask)) {
            Picked::Endpoint { id, .. } => Some(id),
            Picked::Full | Picked::Nobody => None,
        }
    }

    fn serve(&mut self, tried: &[EndpointId]) {
        if let Some(id) = self.pick(tried) {
            let latency = Duration::from_micros(900 + self.step % 256);
            self.selector.release(id, Some(latency), self.now);
        }
    }
}

/// Members of unequal weights.
fn members(size: u16) -> Vec<Member> {
    let member = |id: u16| Member {
        weight: 1 + id % 3,
        max_in_flight: 1_024,
        ..Member::new(EndpointId(id.into()), ([10, 0, 0, 1], id).into())
    };
    (0..size).map(member).collect()
}

fn each_algorithm(criterion: &mut Criterion, case: &str, bench: impl Fn(Settings, u16) -> Bench) {
    for (name, balance) in ALGORITHMS {
        let mut group = criterion.benchmark_group(format!("{name}/{case}"));
        for size in SIZES {
            let mut bench = bench(Settings::new(balance), size);
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(|| bench.serve(&[]));
            });
        }
        group.finish();
    }
}

fn idle(criterion: &mut Criterion) {
    each_algorithm(criterion, "idle", |settings, size| {
        Bench::new(settings, &members(size))
    });
}

fn busy(criterion: &mut Criterion) {
    each_algorithm(criterion, "busy", |settings, size| {
        Bench::busy(settings, &members(size))
    });
}

/// Two tiers of two zones, of which the preferred one is short: traffic is divided.
fn tiers(criterion: &mut Criterion) {
    each_algorithm(criterion, "tiers", |settings, size| {
        let mut tiered = members(size);
        for (position, member) in tiered.iter_mut().enumerate() {
            member.priority = u8::from(position % 2 == 1);
            member.zone = Some(Zone::new(if position % 3 == 0 { "a" } else { "b" }));
        }
        let settings = Settings {
            zone: Some(Zone::new("a")),
            ..settings
        };
        let mut bench = Bench::busy(settings, &tiered);
        for member in tiered.iter().step_by(3) {
            bench.set(
                member.id,
                Standing::Out {
                    is_last_resort: true,
                },
            );
        }
        bench
    });
}

/// The standing of an endpoint changes before every pick.
fn changing(criterion: &mut Criterion) {
    for (name, balance) in ALGORITHMS {
        let mut group = criterion.benchmark_group(format!("{name}/changing"));
        for size in SIZES {
            let mut bench = Bench::busy(Settings::new(balance), &members(size));
            let mut is_in = false;
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(|| {
                    is_in = !is_in;
                    let standing = if is_in {
                        Standing::FULL
                    } else {
                        Standing::Draining
                    };
                    bench.set(EndpointId(1), standing);
                    bench.serve(&[]);
                });
            });
        }
        group.finish();
    }
}

/// A retry while others begin slowly.
fn retry_in_slow_start(criterion: &mut Criterion) {
    for (name, balance) in ALGORITHMS {
        let mut group = criterion.benchmark_group(format!("{name}/retry"));
        for size in SIZES {
            let settings = Settings {
                slow_start: Some(SlowStart {
                    window: Duration::from_secs(100_000),
                }),
                ..Settings::new(balance)
            };
            let mut bench = Bench::busy(settings, &members(size));
            for id in [0, 1] {
                bench.set(
                    EndpointId(id),
                    Standing::Out {
                        is_last_resort: true,
                    },
                );
                bench.set(EndpointId(id), Standing::FULL);
            }
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(|| bench.serve(&[EndpointId(0), EndpointId(2)]));
            });
        }
        group.finish();
    }
}

/// Everybody is told its standing again, as after a reload, and everybody returns at once.
fn all_told(criterion: &mut Criterion) {
    for (name, balance) in ALGORITHMS {
        let mut group = criterion.benchmark_group(format!("{name}/all_told"));
        let settings = Settings {
            slow_start: Some(SlowStart {
                window: Duration::from_secs(100_000),
            }),
            ..Settings::new(balance)
        };
        let members = members(1_000);
        let mut bench = Bench::busy(settings, &members);
        let tell = |bench: &mut Bench, standing| {
            members
                .iter()
                .for_each(|member| bench.set(member.id, standing));
        };
        tell(&mut bench, Standing::FULL);
        group.bench_function("again", |bencher| {
            bencher.iter(|| tell(&mut bench, Standing::FULL));
        });
        group.bench_function("returning", |bencher| {
            bencher.iter(|| {
                tell(&mut bench, Standing::Draining);
                tell(
                    &mut bench,
                    Standing::Out {
                        is_last_resort: true,
                    },
                );
                tell(&mut bench, Standing::FULL);
            });
        });
        group.finish();
    }
}

fn brief() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
}

criterion_group! {
    name = benches;
    config = brief();
    targets = idle, busy, tiers, changing, retry_in_slow_start, all_told
}
criterion_main!(benches);
