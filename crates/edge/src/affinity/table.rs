//! What is remembered about values: hash to endpoint. Never holds a value, and never grows beyond its bound.
//!
//! Sixteen shards of 6,250 places (100,000 in all), each a map and a list in the order of last use:
//! beyond the bound the longest unused goes. Full it takes about 6 MiB; empty nothing.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Places of values at endpoints. Every call takes one short lock.
#[derive(Debug)]
pub(super) struct Table {
    ttl_seconds: u32,
    max_age_seconds: Option<u32>,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug)]
struct Shard {
    positions: HashMap<u64, u32, BuildHasherDefault<AlreadyHashed>>,
    entries: Vec<Entry>,
    /// Ends of the list in the order of last use, and the first of the entries that are free.
    newest: u32,
    oldest: u32,
    free: u32,
}

/// 40 bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    endpoint: u64,
    since_seconds: u64,
    /// Last use, counted from then.
    used_after_seconds: u32,
    newer: u32,
    older: u32,
}

impl Table {
    /// For values that stay away for `ttl` and come for `max_age` at most.
    pub(super) fn new(ttl: Duration, max_age: Option<Duration>) -> Self {
        Self {
            ttl_seconds: seconds(ttl),
            max_age_seconds: max_age.map(seconds),
            shards: std::array::from_fn(|_| Mutex::new(Shard::new())),
        }
    }

    /// Whether it keeps values for so long.
    pub(super) fn lives(&self, ttl: Duration, max_age: Option<Duration>) -> bool {
        self.ttl_seconds == seconds(ttl) && self.max_age_seconds == max_age.map(seconds)
    }

    /// The endpoint of a value that is used now.
    pub(super) fn find(&self, hash: u64, now_seconds: u64) -> Option<u64> {
        let mut shard = self.shard(hash);
        let position = *shard.positions.get(&hash)?;
        if self.is_over(&shard.entries[at(position)], now_seconds) {
            shard.remove(position);
            return None;
        }
        shard.unlink(position);
        shard.link_newest(position);
        let entry = &mut shard.entries[at(position)];
        entry.used_after_seconds = elapsed(entry.since_seconds, now_seconds);
        Some(entry.endpoint)
    }

    /// Binds a value to an endpoint from now on.
    pub(super) fn remember(&self, hash: u64, endpoint: u64, now_seconds: u64) {
        let mut shard = self.shard(hash);
        if let Some(known) = shard.positions.get(&hash).copied() {
            shard.remove(known);
        }
        // Two go for one that comes, so that what is over does not linger.
        for _ in 0..2 {
            let oldest = shard.oldest;
            if shard
                .entries
                .get(at(oldest))
                .is_some_and(|entry| self.is_over(entry, now_seconds))
            {
                shard.remove(oldest);
            }
        }
        if shard.positions.len() >= PLACES_PER_SHARD {
            let oldest = shard.oldest;
            shard.remove(oldest);
        }
        shard.insert(hash, endpoint, now_seconds);
    }

    fn is_over(&self, entry: &Entry, now_seconds: u64) -> bool {
        let age = elapsed(entry.since_seconds, now_seconds);
        age.saturating_sub(entry.used_after_seconds) >= self.ttl_seconds
            || self.max_age_seconds.is_some_and(|max| age >= max)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // Other bits than the map inside goes by.
        let position = (hash >> 32) as usize % SHARDS;
        self.shards[position]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let count = |shard: &Mutex<Shard>| shard.lock().unwrap().positions.len();
        self.shards.iter().map(count).sum()
    }
}

/// Positions come from the map or the list, so they are always of an entry.
impl Shard {
    fn new() -> Self {
        Self {
            positions: HashMap::default(),
            entries: Vec::new(),
            newest: NOWHERE,
            oldest: NOWHERE,
            free: NOWHERE,
        }
    }

    fn insert(&mut self, hash: u64, endpoint: u64, now_seconds: u64) {
        let entry = Entry {
            hash,
            endpoint,
            since_seconds: now_seconds,
            used_after_seconds: 0,
            newer: NOWHERE,
            older: NOWHERE,
        };
        let position = if self.free == NOWHERE {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("places are bounded")
        } else {
            let position = self.free;
            self.free = self.entries[at(position)].older;
            self.entries[at(position)] = entry;
            position
        };
        self.positions.insert(hash, position);
        self.link_newest(position);
    }

    fn remove(&mut self, position: u32) {
        self.unlink(position);
        let entry = &mut self.entries[at(position)];
        entry.older = self.free;
        self.free = position;
        self.positions.remove(&entry.hash);
    }

    fn unlink(&mut self, position: u32) {
        let Entry { newer, older, .. } = self.entries[at(position)];
        match newer {
            NOWHERE => self.newest = older,
            newer => self.entries[at(newer)].older = older,
        }
        match older {
            NOWHERE => self.oldest = newer,
            older => self.entries[at(older)].newer = newer,
        }
    }

    fn link_newest(&mut self, position: u32) {
        let second = self.newest;
        let entry = &mut self.entries[at(position)];
        (entry.newer, entry.older) = (NOWHERE, second);
        match second {
            NOWHERE => self.oldest = position,
            second => self.entries[at(second)].newer = position,
        }
        self.newest = position;
    }
}

/// The keys of the map are hashes under a secret key: nobody can make them collide.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("keys are u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

fn at(position: u32) -> usize {
    position as usize
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// A clock that was set back counts as one that stands.
fn elapsed(since_seconds: u64, now_seconds: u64) -> u32 {
    u32::try_from(now_seconds.saturating_sub(since_seconds)).unwrap_or(u32::MAX)
}

const SHARDS: usize = 16;
const PLACES_PER_SHARD: usize = 6_250;
const NOWHERE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const NOW: u64 = 1_800_000_000;

    fn day() -> Table {
        Table::new(HOUR, Some(24 * HOUR))
    }

    /// Hashes that all fall into the first shard.
    fn hash(number: u64) -> u64 {
        number
    }

    #[test]
    fn a_value_stays_while_it_is_used() {
        let table = day();
        assert_eq!(table.find(7, NOW), None);
        table.remember(7, 1, NOW);
        for half_hours in 0..47 {
            assert_eq!(table.find(7, NOW + half_hours * 1_800), Some(1));
        }
        assert_eq!(table.find(7, NOW + 24 * 3_600), None, "its time is over");
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_value_that_stays_away_is_forgotten() {
        let table = day();
        table.remember(7, 1, NOW);
        assert_eq!(table.find(7, NOW + 3_599), Some(1));
        assert_eq!(table.find(7, NOW + 3_599 + 3_600), None);
    }

    #[test]
    fn without_an_end_a_busy_value_stays() {
        let table = Table::new(HOUR, None);
        table.remember(7, 1, NOW);
        for hours in 1..1_000 {
            assert_eq!(table.find(7, NOW + hours * 3_599), Some(1));
        }
    }

    #[test]
    fn a_value_that_moves_begins_anew() {
        let table = day();
        table.remember(7, 1, NOW);
        table.remember(7, 2, NOW + 3_000);
        assert_eq!(table.find(7, NOW + 6_000), Some(2));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn beyond_the_bound_the_longest_unused_goes() {
        let table = day();
        let last = PLACES_PER_SHARD as u64;
        (0..last).for_each(|number| table.remember(hash(number), number, NOW));
        assert_eq!(table.find(hash(0), NOW), Some(0), "used just now");
        table.remember(hash(last), last, NOW);
        assert_eq!(table.len(), PLACES_PER_SHARD);
        assert_eq!(table.find(hash(1), NOW), None);
        assert_eq!(table.find(hash(0), NOW), Some(0));
        assert_eq!(table.find(hash(last), NOW), Some(last));
    }

    #[test]
    fn what_is_over_makes_room() {
        let table = day();
        (0..1_000).for_each(|number| table.remember(hash(number), number, NOW));
        (1_000..1_600).for_each(|number| table.remember(hash(number), number, NOW + 4_000));
        assert_eq!(table.len(), 600);
        let entries = table.shards[0].lock().unwrap().entries.len();
        assert!(entries <= 1_001, "places are used again: {entries}");
    }

    #[test]
    fn a_clock_set_back_ends_nothing() {
        let table = day();
        table.remember(7, 1, NOW);
        assert_eq!(table.find(7, NOW - 100_000), Some(1));
    }

    #[test]
    fn a_full_table_keeps_to_its_memory() {
        assert_eq!(size_of::<Entry>(), 40);
        // The map doubles at seven eighths: 8,192 places of 17 bytes for 6,250 entries.
        let bytes = SHARDS * (8_192 * (40 + 17));
        assert!(bytes <= 8 << 20, "{bytes}");
    }

    /// Against a map without a bound, over random uses.
    #[test]
    fn a_table_within_its_bound_is_a_map_with_deadlines() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let table = day();
        let mut model: BTreeMap<u64, (u64, u64, u64)> = BTreeMap::new();
        let mut now = NOW;
        for _ in 0..100_000 {
            now += random.u64(..40);
            let hash = random.u64(..500) << 20 | random.u64(..4) << 32;
            let alive = model
                .get(&hash)
                .copied()
                .filter(|(_, since, used)| now - used < 3_600 && now - since < 24 * 3_600);
            assert_eq!(
                table.find(hash, now),
                alive.map(|alive| alive.0),
                "seed {seed}"
            );
            match alive {
                Some((endpoint, since, _)) => model.insert(hash, (endpoint, since, now)),
                None => model.remove(&hash),
            };
            if random.bool() {
                let endpoint = random.u64(..);
                table.remember(hash, endpoint, now);
                model.insert(hash, (endpoint, now, now));
            }
        }
    }
}
