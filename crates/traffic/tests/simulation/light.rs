//! One client that waits for each answer: whoever is eligible still gets its part. Never loads a
//! cluster.

use std::time::Duration;

use portcullis_traffic::breaker::{self, State};
use portcullis_traffic::containment::{CheckPolicy, Role};
use portcullis_traffic::endpoint::{EndpointId, Standing};
use portcullis_traffic::select::{Balance, SlowStart};

use crate::endpoint::Condition;
use crate::for_each_seed;
use crate::settings::{ALGORITHMS, Settings};
use crate::world::World;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Those that do not follow a key.
fn algorithms() -> impl Iterator<Item = Balance> {
    let by_key = |balance: &Balance| matches!(balance, Balance::Hash { .. });
    ALGORITHMS.into_iter().filter(move |it| !by_key(it))
}

fn one_client(balance: Balance, seed: u64) -> Settings {
    let mut settings = Settings::calm(3, balance);
    settings.clients = 1;
    settings.most_weight = match balance {
        // By design it prefers the heavier of two that are idle and equally quick.
        Balance::PeakEwma { .. } => 1,
        _ => [1, 3, 10][usize::try_from(seed % 3).expect("small")],
    };
    settings
}

/// Plays until a thousand more were served: each gets at least half of its share, given these parts
/// of their weights. With peak EWMA this is said of `returned` alone, since the others' order by
/// latency is what it is for.
fn check_shares(world: &mut World, parts: [u64; 3], returned: Option<usize>) {
    let balance = world.settings.select.balance;
    let before = world.served();
    let total = |served: &[u64]| served.iter().sum::<u64>();
    while total(&world.served()) < total(&before) + 1_000 {
        world.play_for(Duration::from_millis(100));
    }
    let after = world.served();
    let gained: Vec<_> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
    let members = world.cluster.members().iter().zip(parts);
    let weights: Vec<_> = members
        .map(|(member, part)| u64::from(member.weight) * part)
        .collect();
    let is_by_latency = matches!(balance, Balance::PeakEwma { .. });
    for (endpoint, (of_it, weight)) in gained.iter().zip(&weights).enumerate() {
        if is_by_latency && returned != Some(endpoint) {
            continue;
        }
        let share = total(&gained) * weight / total(&weights);
        assert!(
            of_it * 2 >= share,
            "{balance:?}: {gained:?} for {weights:?}"
        );
    }
}

#[test]
fn nobody_with_a_weight_is_starved() {
    for balance in algorithms() {
        for_each_seed(6, |seed| {
            let mut world = World::new(one_client(balance, seed), seed);
            check_shares(&mut world, [1, 1, 1], None);
        });
    }
}

#[test]
fn nobody_that_begins_slowly_is_starved() {
    for balance in algorithms() {
        for_each_seed(6, |seed| {
            let mut settings = one_client(balance, seed);
            settings.select.slow_start = Some(SlowStart { window: DAY });
            let mut world = World::new(settings, seed);
            world.play_for(Duration::from_secs(2));
            world.set(1, Condition::Refusing);
            world.play_for(Duration::from_secs(10));
            world.set(1, Condition::Up);
            while world.cluster.selector.eligible() < 3 {
                world.play_for(Duration::from_millis(100));
            }
            check_shares(&mut world, [10, 1, 10], Some(1));
        });
    }
}

#[test]
fn nobody_that_is_degraded_is_starved() {
    for balance in algorithms() {
        for_each_seed(6, |seed| {
            let mut settings = one_client(balance, seed);
            let role = Role::Degrade { share_percent: 25 };
            settings.policy.checks = vec![CheckPolicy::new(2, 1, role)];
            settings.policy.ejection = None;
            let mut world = World::new(settings, seed);
            world.set(2, Condition::Refusing);
            let degraded = Standing::In { share_percent: 25 };
            while world.cluster.selector.standing(EndpointId(2)) != Some(degraded) {
                world.play_for(Duration::from_millis(100));
            }
            // It would be well again with the next probes.
            world.settings.probe_interval = DAY;
            world.play_for(Duration::from_secs(2));
            world.set(2, Condition::Up);
            check_shares(&mut world, [4, 4, 1], Some(2));
        });
    }
}

#[test]
fn a_breaker_that_is_half_open_gets_its_trials() {
    for balance in algorithms() {
        for_each_seed(6, |seed| {
            let mut settings = one_client(balance, seed);
            settings.policy.checks.clear();
            settings.policy.ejection = None;
            settings.policy.breaker = Some(breaker::Policy {
                duration: Duration::from_secs(5),
                ..breaker::Policy::default()
            });
            let mut world = World::new(settings, seed);
            world.set(1, Condition::Erring);
            let state = |world: &World| {
                let report = world.cluster.containment.report(EndpointId(1), world.now());
                report.and_then(|it| it.breaker).map(|it| it.state)
            };
            while state(&world) != Some(State::Open) {
                world.play_for(Duration::from_millis(100));
            }
            world.set(1, Condition::Up);
            world.play_for(Duration::from_secs(5 + 30));
            assert_eq!(state(&world), Some(State::Closed), "{balance:?}");
        });
    }
}
