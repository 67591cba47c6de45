//! Clusters played through on a virtual clock: endpoints slow down, fail, return and are drained,
//! and [`witness`] checks every decision. Never sleeps and never reads the clock but once.
//!
//! A failure prints its seed; `PORTCULLIS_SEED=n` plays that seed alone.

mod endpoint;
mod settings;
mod witness;
mod world;

use std::time::Duration;

use portcullis_traffic::balance::Balancer;

use endpoint::Condition;
use settings::Settings;
use world::World;

/// Names the seed if the test ends in a panic, also in one of the crate under test.
struct SeedOnPanic(u64);

impl Drop for SeedOnPanic {
    #[expect(
        clippy::print_stderr,
        reason = "a test tells how to replay its failure"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "failed with seed {0}; replay with PORTCULLIS_SEED={0}",
                self.0
            );
        }
    }
}

fn for_each_seed(count: u64, play: impl Fn(u64)) {
    let seeds = match std::env::var("PORTCULLIS_SEED") {
        Ok(text) => {
            let seed = text.parse().expect("PORTCULLIS_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..count,
    };
    for seed in seeds {
        let _guard = SeedOnPanic(seed);
        play(seed);
    }
}

#[test]
fn every_decision_holds_in_any_weather() {
    for_each_seed(40, |seed| {
        let settings = Settings::random(seed);
        let mut world = World::new(settings, seed);
        world.change_weather_every(Duration::from_millis(700));
        world.play_for(Duration::from_secs(40));
        assert!(
            world.totals().picks > 1_000,
            "only {} picks: the simulation is idle",
            world.totals().picks
        );
    });
}

#[test]
fn a_cluster_recovers_when_the_weather_clears() {
    for_each_seed(20, |seed| {
        let mut world = World::new(Settings::random(seed), seed);
        world.change_weather_every(Duration::from_secs(1));
        world.play_for(Duration::from_secs(15));
        world.clear_weather();
        // Ejections run out, and probes pass `rise` times in a row.
        world.play_for(Duration::from_secs(35));
        let failed_before = world.totals().failed;
        world.play_for(Duration::from_secs(5));
        assert_eq!(world.eligible(), world.len(), "somebody never came back");
        assert_eq!(
            world.totals().failed,
            failed_before,
            "requests fail in fair weather"
        );
    });
}

#[test]
fn round_robin_serves_equal_endpoints_alike() {
    for_each_seed(10, |seed| {
        let mut world = World::new(Settings::calm(3, Balancer::round_robin), seed);
        world.play_for(Duration::from_secs(10));
        let served = world.served();
        let (least, most) = (served.iter().min(), served.iter().max());
        // One more than the picks may differ by, for each client whose attempt is still running.
        assert!(most.unwrap() - least.unwrap() <= 1 + 30, "{served:?}");
    });
}

#[test]
fn least_conn_spares_an_endpoint_that_is_ten_times_slower() {
    for_each_seed(20, |seed| {
        let mut world = World::new(Settings::calm(3, Balancer::least_conn), seed);
        world.set(1, Condition::Slow);
        world.play_for(Duration::from_secs(10));
        let served = world.served();
        let share = 100 * served[1] / served.iter().sum::<u64>();
        assert!(share < 15, "the slow endpoint got {share} % of {served:?}");
        assert!(served[1] > 0, "it is slow, not gone");
    });
}

#[test]
fn killing_each_endpoint_in_turn_fails_no_idempotent_request() {
    for balancer in [Balancer::round_robin, Balancer::least_conn] {
        for_each_seed(5, |seed| {
            let mut world = World::new(Settings::calm(3, balancer), seed);
            for victim in [0, 1, 2] {
                world.play_for(Duration::from_secs(5));
                world.set(victim, Condition::Refusing);
                world.play_for(Duration::from_secs(5));
                world.set(victim, Condition::Up);
            }
            // The ejection of the last victim runs out.
            world.play_for(Duration::from_secs(35));
            assert_eq!(world.totals().failed_idempotent, 0);
            assert_eq!(world.eligible(), 3);
        });
    }
}

#[test]
fn a_cluster_that_refuses_every_connection_fails_fast_and_keeps_one_endpoint() {
    for_each_seed(5, |seed| {
        let settings = Settings {
            probe_interval: None,
            ..Settings::calm(3, Balancer::round_robin)
        };
        let mut world = World::new(settings, seed);
        (0..3).for_each(|endpoint| world.set(endpoint, Condition::Refusing));
        world.play_for(Duration::from_secs(20));
        assert!(world.eligible() >= 1);
        assert_eq!(world.served().iter().sum::<u64>(), 0);
        assert!(world.totals().failed > 0);
    });
}
