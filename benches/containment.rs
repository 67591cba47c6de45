//! Cost of what real traffic tells containment. Targets: under 200 ns for an attempt that is served, at
//! any size, under 1 us for one that fails among 16 endpoints and 10 us among 1,000; among 1,000 under
//! 1 us to report one, under 50 ns for a tick with nothing due and under 1 ms for one that ends 500
//! ejections. Never measures the mutex around it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis_traffic::breaker;
use portcullis_traffic::containment::{CheckPolicy, Containment, Policy, Role, Trouble, eject};
use portcullis_traffic::endpoint::EndpointId;

const SIZES: [u32; 3] = [3, 16, MANY];
const MANY: u32 = 1_000;

/// A cluster in which all pass their check.
fn cluster(size: u32, now: Instant) -> (Containment, Vec<EndpointId>) {
    let policy = Policy {
        checks: vec![CheckPolicy::new(2, 3, Role::Eject)],
        ejection: Some(eject::Policy::default()),
        breaker: Some(breaker::Policy::default()),
    };
    let ids: Vec<_> = (0..size).map(EndpointId).collect();
    let mut containment = Containment::new(policy, &ids, now);
    for id in &ids {
        containment.probed(*id, 0, Ok(()), now);
    }
    (containment, ids)
}

/// Those that fail are ejected in time, and then fail on.
fn attempts(criterion: &mut Criterion) {
    for (name, result) in [("served", Ok(())), ("failed", Err(Trouble::Status(500)))] {
        let mut group = criterion.benchmark_group(format!("attempt/{name}"));
        for size in SIZES {
            let mut now = Instant::now();
            let (mut containment, ids) = cluster(size, now);
            let mut turn = ids.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(|| {
                    let Some(id) = turn.next() else { return };
                    now += Duration::from_micros(20);
                    black_box(containment.attempted(*id, now));
                    black_box(containment.ended(*id, result.clone(), now));
                });
            });
        }
        group.finish();
    }
}

fn report(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("report");
    for size in SIZES {
        let now = Instant::now();
        let (containment, ids) = cluster(size, now);
        let mut turn = ids.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| turn.next().and_then(|id| containment.report(*id, now)));
        });
    }
    group.finish();
}

/// Half of a cluster is ejected, as much as is allowed, and comes back at this instant.
fn half_ejected() -> (Containment, Instant) {
    let now = Instant::now();
    let (mut containment, ids) = cluster(MANY, now);
    for id in ids.iter().take(ids.len() / 2) {
        for _ in 0..3 {
            containment.attempted(*id, now);
            containment.ended(*id, Err(Trouble::Reset), now);
        }
    }
    let back = now + eject::Policy::default().duration;
    (containment, back)
}

fn ticks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick");
    let (mut containment, back) = half_ejected();
    let quiet = back - Duration::from_secs(1);
    group.bench_function(BenchmarkId::new("nothing_due", MANY), |bencher| {
        bencher.iter(|| containment.tick(black_box(quiet)));
    });
    let changes = containment.tick(back).len();
    assert!(changes >= 500, "{changes} changes end the ejections");
    group.bench_function(BenchmarkId::new("500_come_back", MANY), |bencher| {
        bencher.iter_batched_ref(
            half_ejected,
            |(containment, back)| containment.tick(*back),
            BatchSize::PerIteration,
        );
    });
    group.finish();
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
    targets = attempts, report, ticks
}
criterion_main!(benches);
