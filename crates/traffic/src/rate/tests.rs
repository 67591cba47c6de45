//! Rates as requests meet them, played through on a clock of their own. Random ones print their seed.

use std::collections::HashMap;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn rate(count: u32, period: Duration, burst: u32) -> Rate {
    let number = |number| NonZeroU32::new(number).unwrap();
    Rate::new(number(count), period, number(burst))
}

fn ask(key: u64, now: Duration) -> Ask {
    Ask {
        key: scatter(key + 1),
        cost: 1,
        reserve: 0,
        now,
    }
}

#[test]
fn a_burst_is_admitted_and_refills_evenly() {
    let (rate, mut table) = (rate(2, SECOND, 4), Table::new(10));
    for left in [3, 2, 1, 0] {
        let verdict = table.take(&rate, &ask(1, SECOND));
        assert_eq!((verdict.is_admitted, verdict.remaining), (true, left));
    }
    let refused = table.take(&rate, &ask(1, SECOND));
    assert_eq!((refused.is_admitted, refused.remaining), (false, 0));
    assert_eq!(refused.retry_after, SECOND / 2);
    assert_eq!(refused.reset_after, 2 * SECOND);
    assert!(
        table.take(&rate, &ask(2, SECOND)).is_admitted,
        "another key"
    );
    let early = SECOND + SECOND / 2 - Duration::from_nanos(1);
    assert!(!table.take(&rate, &ask(1, early)).is_admitted);
    assert!(table.take(&rate, &ask(1, SECOND + SECOND / 2)).is_admitted);
    let full = table.take(&rate, &ask(1, 100 * SECOND));
    assert_eq!(full.remaining, 3, "never more than the burst");
}

#[test]
fn a_peek_answers_what_is_taken_then_and_takes_nothing() {
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let (rate, mut table) = (rate(5, SECOND, 3), Table::new(4));
    let mut now = SECOND;
    for step in 0..10_000 {
        now += Duration::from_millis(rng.u64(..90));
        let ask = Ask {
            cost: rng.u32(1..3),
            ..ask(rng.u64(..30), now)
        };
        let before = format!("{table:?}");
        let peeked = table.peek(&rate, &ask);
        assert_eq!(format!("{table:?}"), before, "seed {seed}, step {step}");
        assert_eq!(peeked, table.take(&rate, &ask), "seed {seed}, step {step}");
    }
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    let (rate, mut table) = (rate(1, SECOND, 1), Table::new(10));
    let ask = ask(1, SECOND);
    assert!(table.take(&rate, &ask).is_admitted);
    assert!(!table.take(&rate, &ask).is_admitted);
    table.give_back(&rate, &ask);
    assert!(table.take(&rate, &ask).is_admitted);
}

#[test]
fn a_request_may_count_as_several_but_never_as_more_than_there_are() {
    let (rate, mut table) = (rate(1, SECOND, 5), Table::new(10));
    let costly = Ask {
        cost: 3,
        ..ask(1, SECOND)
    };
    assert_eq!(table.take(&rate, &costly).remaining, 2);
    assert_eq!(table.take(&rate, &costly).retry_after, SECOND);
    let huge = Ask {
        cost: 1_000,
        ..ask(2, SECOND)
    };
    assert_eq!(table.take(&rate, &huge).remaining, 0);
    assert!(!table.take(&rate, &huge).is_admitted);
}

#[test]
fn what_is_reserved_is_left_for_those_who_need_not_leave_it() {
    let (rate, mut table) = (rate(1, SECOND, 10), Table::new(10));
    let modest = Ask {
        reserve: 40,
        ..ask(1, SECOND)
    };
    let admitted = (0..20).filter(|_| table.take(&rate, &modest).is_admitted);
    assert_eq!(admitted.count(), 6);
    let admitted = (0..20).filter(|_| table.take(&rate, &ask(1, SECOND)).is_admitted);
    assert_eq!(admitted.count(), 4);
    let last = Ask {
        reserve: 100,
        ..ask(2, SECOND)
    };
    assert!(table.take(&rate, &last).is_admitted, "one is open to all");
}

#[test]
fn a_slower_rate_of_before_locks_nobody_out_for_longer_than_the_new_one() {
    let (slow, fast) = (rate(1, 3_600 * SECOND, 1), rate(10, SECOND, 10));
    let mut table = Table::new(10);
    assert!(table.take(&slow, &ask(1, SECOND)).is_admitted);
    let refused = table.take(&fast, &ask(1, SECOND));
    assert!(refused.reset_after <= SECOND, "{refused:?}");
}

/// Whatever comes when, between any two instants no more is admitted than the rate allows and a burst.
#[test]
fn never_more_than_the_rate_and_a_burst() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (count, burst) = (random.u32(1..2_000), random.u32(1..50));
        let period = Duration::from_millis(random.u64(1..100_000));
        let rate = rate(count, period, burst);
        let mut table = Table::new(64);
        let mut now = Duration::from_millis(random.u64(0..1_000));
        let mut admitted: HashMap<u64, Vec<(Duration, u32)>> = HashMap::new();
        let pace = period.as_nanos() as u64 / u64::from(count) + 1;
        for _ in 0..2_000 {
            if random.u8(..) < 200 {
                now += Duration::from_nanos(random.u64(0..pace * 2));
            }
            let key = random.u64(0..4);
            let ask = Ask {
                cost: random.u32(1..=burst.min(3)),
                reserve: random.u8(0..=50),
                ..ask(key, now)
            };
            if table.take(&rate, &ask).is_admitted {
                admitted.entry(key).or_default().push((now, ask.cost));
            }
        }
        for times in admitted.values() {
            for (at, (from, _)) in times.iter().enumerate().step_by(7) {
                let mut sum = 0;
                for (to, cost) in &times[at..] {
                    sum += cost;
                    let elapsed = (*to - *from).as_nanos() * u128::from(count);
                    let allowed = elapsed / period.as_nanos() + u128::from(burst);
                    assert!(u128::from(sum) <= allowed, "seed {seed}: {sum} > {allowed}");
                }
            }
        }
    }
}

/// A key that has used up what it had stays known, however many others are invented meanwhile.
#[test]
fn invented_keys_push_out_each_other() {
    let (rate, mut table) = (rate(1, SECOND, 20), Table::new(1_000));
    let now = SECOND;
    for _ in 0..20 {
        assert!(table.take(&rate, &ask(7, now)).is_admitted);
    }
    let mut evicted = 0;
    for invented in 100..200_000 {
        let verdict = table.take(&rate, &ask(invented, now));
        assert!(verdict.is_admitted);
        evicted += u32::from(verdict.has_evicted);
    }
    assert!(evicted > 190_000, "{evicted}: the table has not grown");
    assert!(!table.take(&rate, &ask(7, now)).is_admitted);
}

#[test]
fn as_many_keys_as_there_is_room_for_are_all_known() {
    let (rate, mut table) = (rate(1, SECOND, 1), Table::new(50_000));
    let evicted = (0..50_000).filter(|key| table.take(&rate, &ask(*key, SECOND)).has_evicted);
    assert!(evicted.count() < 50, "one in a thousand at most");
    let forgotten = (0..50_000).filter(|key| table.take(&rate, &ask(*key, SECOND)).is_admitted);
    assert!(forgotten.count() < 50);
    // A while later every place is free again.
    let evicted =
        (60_000..110_000).filter(|key| table.take(&rate, &ask(*key, 9 * SECOND)).has_evicted);
    assert!(evicted.count() < 50);
}
