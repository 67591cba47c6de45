//! When a connection has been used long enough. Pure: chance is an argument.

use std::time::Duration;

use sqlx::pool::PoolConnectionMetadata;

/// Connections that were opened together end anywhere within this part of their time, early or late, so that they are
/// not all replaced at once.
const JITTER: f64 = 0.1;

/// Whether a connection about to be used is to be replaced. Asked however often, it says so at a moment that is
/// uniform over the jitter's span: the chance of each asking is what has passed since the last, over what is left.
pub(super) fn is_worn(
    met: &PoolConnectionMetadata,
    recycle_after: Duration,
    chance: impl FnOnce() -> f64,
) -> bool {
    is_worn_at(met.age, met.idle_for, recycle_after, chance)
}

fn is_worn_at(
    age: Duration,
    idle_for: Duration,
    recycle_after: Duration,
    chance: impl FnOnce() -> f64,
) -> bool {
    let earliest = recycle_after.mul_f64(1.0 - JITTER);
    let latest = recycle_after.mul_f64(1.0 + JITTER);
    if age < earliest {
        return false;
    }
    let passed = idle_for.min(age - earliest);
    let left = (latest + passed).saturating_sub(age);
    chance() * left.as_secs_f64() < passed.as_secs_f64() || age >= latest
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn end(every: Duration, random: &mut fastrand::Rng) -> Duration {
        let mut age = Duration::ZERO;
        while !is_worn_at(age, every, HOUR, || random.f64()) {
            age += every;
        }
        age
    }

    #[test]
    fn connections_end_evenly_over_a_fifth_of_their_time_however_often_they_are_used() {
        let mut random = fastrand::Rng::with_seed(7);
        for every in [1, 10, 60].map(Duration::from_secs) {
            let ends: Vec<f64> = (0..500)
                .map(|_| end(every, &mut random).as_secs_f64())
                .collect();
            let mean = ends.iter().sum::<f64>() / 500.0;
            assert!((3560.0..3680.0).contains(&mean), "every {every:?}: {mean}");
            let early = ends.iter().filter(|&&end| end < 3420.0).count();
            assert!(
                (80..170).contains(&early),
                "every {every:?}: {early} in the first quarter"
            );
            assert!(ends.iter().all(|end| (3240.0..=4020.0).contains(end)));
        }
    }
}
