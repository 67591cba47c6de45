//! Clusters played through on a virtual clock: endpoints slow down, fail, hang, return, are drained,
//! reweighed, added and removed, and [`witness`] checks every decision. Never sleeps and never reads
//! the clock but once.
//!
//! A failure prints its seed; `PORTCULLIS_SEED=n` plays that seed alone.

mod client;
mod cluster;
mod endpoint;
mod judges;
mod light;
mod movement;
mod ring;
mod settings;
mod waiting;
mod weather;
mod witness;
mod world;

use std::time::Duration;

use portcullis_traffic::select::Balance;

use endpoint::Condition;
use settings::{ALGORITHMS, Settings};
use world::World;

const PEAK_EWMA: Balance = ALGORITHMS[3];

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
    for_each_seed(60, |seed| {
        let mut world = World::new(Settings::random(seed), seed);
        world.change_weather_every(Duration::from_millis(400));
        world.play_for(Duration::from_secs(25));
        let attempts = world.totals().attempts;
        assert!(
            attempts > 200,
            "only {attempts} attempts: the simulation is idle"
        );
    });
}

#[test]
fn a_cluster_recovers_when_the_weather_clears() {
    for_each_seed(12, |seed| {
        let mut settings = Settings::random(seed);
        // Nobody is shed in fair weather for want of places.
        (settings.places, settings.queue.length) = (1_024, 256);
        let mut world = World::new(settings, seed);
        world.change_weather_every(Duration::from_millis(700));
        world.play_for(Duration::from_secs(12));
        world.clear_weather();
        // Ejections run out, and probes pass `rise` times in a row.
        world.play_for(Duration::from_secs(40));
        let failed_before = world.totals().failed;
        world.play_for(Duration::from_secs(3));
        let members = world.cluster.members().len();
        assert_eq!(
            world.cluster.selector.eligible(),
            members,
            "somebody never came back"
        );
        let failed = world.totals().failed;
        assert_eq!(failed, failed_before, "requests fail in fair weather");
    });
}

#[test]
fn every_algorithm_shares_fairly_among_equals() {
    for balance in ALGORITHMS {
        for_each_seed(3, |seed| {
            let mut world = World::new(Settings::calm(3, balance), seed);
            world.play_for(Duration::from_secs(10));
            let served = world.served();
            let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
            let is_fair = match balance {
                // Sixty keys on three endpoints.
                Balance::Hash { .. } => *least * 4 > *most,
                Balance::PeakEwma { .. } => *least * 2 > *most,
                _ => *least * 10 > *most * 9,
            };
            assert!(is_fair, "{balance:?}: {served:?}");
        });
    }
}

#[test]
fn least_conn_spares_an_endpoint_that_is_ten_times_slower() {
    for_each_seed(10, |seed| {
        let mut world = World::new(Settings::calm(3, Balance::LeastConn), seed);
        world.set(1, Condition::Slow);
        world.play_for(Duration::from_secs(10));
        let served = world.served();
        let share = 100 * served[1] / served.iter().sum::<u64>();
        assert!(share < 25, "the slow endpoint got {share} % of {served:?}");
        assert!(served[1] > 0, "it is slow, not gone");
    });
}

#[test]
fn peak_ewma_halves_the_slowest_requests_when_one_of_three_is_ten_times_slower() {
    for_each_seed(5, |seed| {
        let p99 = |balance| {
            let mut settings = Settings::calm(3, balance);
            settings.clients = 12;
            let mut world = World::new(settings, seed);
            world.set(1, Condition::Slow);
            world.play_for(Duration::from_secs(60));
            world.totals().p99()
        };
        let (in_turns, by_latency) = (p99(Balance::RoundRobin), p99(PEAK_EWMA));
        assert!(
            by_latency * 2 <= in_turns,
            "{by_latency:?} instead of {in_turns:?}"
        );
    });
}

#[test]
fn a_returning_endpoint_is_not_flooded() {
    for balance in [Balance::RoundRobin, Balance::LeastConn, Balance::P2c] {
        for_each_seed(3, |seed| {
            let mut world = World::new(Settings::calm(3, balance), seed);
            world.play_for(Duration::from_secs(3));
            world.set(1, Condition::Refusing);
            world.play_for(Duration::from_secs(10));
            world.set(1, Condition::Up);
            // It comes back some time in here, and a tenth of the window is two seconds more.
            while world.cluster.selector.eligible() < 3 {
                world.play_for(Duration::from_millis(100));
            }
            let before = world.served();
            world.play_for(Duration::from_secs(3));
            let after = world.served();
            let gained: Vec<_> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
            let share = 100 * gained[1] / gained.iter().sum::<u64>();
            assert!(share <= 15, "{balance:?}: {share} % of {gained:?} at once");
        });
    }
}

#[test]
fn killing_each_endpoint_in_turn_fails_no_idempotent_request() {
    for balance in ALGORITHMS {
        for_each_seed(2, |seed| {
            let mut settings = Settings::calm(3, balance);
            settings.max_retries = 2;
            let mut world = World::new(settings, seed);
            for victim in [0, 1, 2] {
                world.play_for(Duration::from_secs(5));
                world.set(victim, Condition::Refusing);
                world.play_for(Duration::from_secs(5));
                world.set(victim, Condition::Up);
            }
            // The ejection of the last victim runs out.
            world.play_for(Duration::from_secs(45));
            assert_eq!(world.totals().failed_idempotent, 0, "{balance:?}");
            assert_eq!(world.cluster.selector.eligible(), 3);
        });
    }
}

#[test]
fn a_queue_carries_a_cluster_over_its_limit() {
    for_each_seed(5, |seed| {
        let mut settings = Settings::calm(3, Balance::LeastConn);
        settings.places = 4;
        settings.wake_time = Duration::from_micros(300);
        let mut world = World::new(settings, seed);
        world.play_for(Duration::from_secs(5));
        let totals = world.totals();
        assert!(totals.waited > 100, "only {} waited", totals.waited);
        assert_eq!(totals.failed, 0, "all were served in the end");
    });
}

#[test]
fn a_cluster_that_refuses_every_connection_fails_fast() {
    for_each_seed(3, |seed| {
        let mut settings = Settings::calm(3, Balance::RoundRobin);
        settings.policy.checks.clear();
        let mut world = World::new(settings, seed);
        (0..3).for_each(|endpoint| world.set(endpoint, Condition::Refusing));
        world.play_for(Duration::from_secs(20));
        assert_eq!(world.served().iter().sum::<u64>(), 0);
        assert!(world.totals().failed > 0);
        assert_eq!(
            world.totals().waited,
            0,
            "nobody waits for what does not come"
        );
    });
}
