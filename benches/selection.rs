//! Cost of one pick. Targets: under 150 ns among 16 candidates, under 1 us among 1,000.
//! Never measures the gathering of candidates, which is the edge's.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis_traffic::balance::{Balancer, Candidate};

const SIZES: [usize; 3] = [3, 16, 1_000];

/// Weights and loads differ, some are out: a cluster at work.
fn busy(size: usize) -> Vec<Candidate> {
    let number = |position: usize| u32::try_from(position).expect("small");
    (0..size)
        .map(|position| Candidate {
            weight: 1 + number(position % 3),
            in_flight: 2 + number(position * 7 % 11),
            is_eligible: position % 10 != 9,
        })
        .collect()
}

/// Nothing in flight and equal weights: least connections must look at every tie.
fn idle(size: usize) -> Vec<Candidate> {
    vec![
        Candidate {
            weight: 1,
            in_flight: 0,
            is_eligible: true
        };
        size
    ]
}

fn selection(criterion: &mut Criterion) {
    pick(criterion, "round_robin/busy", Balancer::round_robin, busy);
    pick(criterion, "round_robin/idle", Balancer::round_robin, idle);
    pick(criterion, "least_conn/busy", Balancer::least_conn, busy);
    pick(criterion, "least_conn/idle", Balancer::least_conn, idle);
}

fn pick(
    criterion: &mut Criterion,
    name: &str,
    balancer: fn(usize) -> Balancer,
    candidates: fn(usize) -> Vec<Candidate>,
) {
    let mut group = criterion.benchmark_group(name);
    for size in SIZES {
        let (mut balancer, candidates) = (balancer(size), candidates(size));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| balancer.pick(black_box(&candidates)));
        });
    }
    group.finish();
}

/// The dearest case of round robin: who is eligible changes at every pick.
fn changing_eligibility(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round_robin/changing");
    for size in SIZES {
        let (mut balancer, mut candidates) = (Balancer::round_robin(size), idle(size));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                candidates[0].is_eligible = !candidates[0].is_eligible;
                balancer.pick(black_box(&candidates))
            });
        });
    }
    group.finish();
}

fn brief() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
}

criterion_group! { name = benches; config = brief(); targets = selection, changing_eligibility }
criterion_main!(benches);
