//! Containment against an independent witness: random probes, attempts, drains, changes of policy and
//! membership on a virtual clock. Never asks the code under test how it decides.
//!
//! A failure prints its seed; `PORTCULLIS_SEED=n` plays that seed alone.

mod account;
mod probes;
mod witness;
mod world;

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

#[test]
fn every_change_is_legal_and_every_standing_follows_from_the_changes() {
    let seeds = match std::env::var("PORTCULLIS_SEED") {
        Ok(text) => {
            let seed = text.parse().expect("PORTCULLIS_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..100,
    };
    let is_replay = seeds.end - seeds.start == 1;
    let mut seen = witness::Seen::default();
    for seed in seeds {
        let _guard = SeedOnPanic(seed);
        let mut world = World::new(seed);
        for _ in 0..2_000 {
            world.step();
        }
        seen.add(world.seen());
    }
    // A model that never gets anywhere shows nothing.
    assert!(is_replay || seen.is_everything(), "{seen:?}");
}
