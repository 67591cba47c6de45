//! Cost of asking a limit among a million keys: one that comes again, one that is new, and one that pushes another out.
//! Target: under 1 µs. Never measures how a key is hashed.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis_traffic::rate::{Ask, Rate, Table};

const KEYS: usize = 1_000_000;

/// Hashes as they come: without a pattern that memory could learn.
fn ask(random: &mut u64, among: u64, now: Duration) -> Ask {
    *random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
    let number = (*random >> 20) % among;
    Ask {
        key: (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        cost: 1,
        reserve: 0,
        now,
    }
}

fn filled(rate: &Rate, now: Duration) -> Table {
    let mut table = Table::new(KEYS);
    for number in 0..KEYS as u64 {
        let key = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let ask = Ask {
            key,
            cost: 1,
            reserve: 0,
            now,
        };
        table.take(rate, &ask);
    }
    table
}

fn take(criterion: &mut Criterion) {
    let one = NonZeroU32::MIN;
    let rate = Rate::new(
        one,
        Duration::from_secs(3_600),
        NonZeroU32::new(100).unwrap_or(one),
    );
    let now = Duration::from_secs(1);
    let mut group = criterion.benchmark_group("rate limit among 1,000,000 keys");
    let mut table = filled(&rate, now);
    let mut random = 7;
    group.bench_function("a key that comes again", |bench| {
        bench.iter(|| table.take(&rate, &ask(&mut random, KEYS as u64, black_box(now))));
    });
    let mut table = filled(&rate, now);
    group.bench_function("a key that nobody knows", |bench| {
        bench.iter(|| table.take(&rate, &ask(&mut random, u64::MAX, black_box(now))));
    });
    let mut table = Table::new(KEYS);
    group.bench_function("keys that are free again", |bench| {
        let mut now = now;
        bench.iter(|| {
            now += Duration::from_secs(3_600);
            table.take(&rate, &ask(&mut random, KEYS as u64, black_box(now)))
        });
    });
    group.finish();
}

criterion_group!(benches, take);
criterion_main!(benches);
