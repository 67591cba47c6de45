//! What is remembered about values: hash to endpoint. Never holds a value, and never grows beyond its bound.
//!
//! Sixteen shards of 6,250 places (100,000 in all), each a map and a segmented LRU: a value that came
//! once is on trial, one that came again is settled, and beyond the bound the longest unused of those on
//! trial goes. So a flood of new values drives out each other, and never a client that is known: the
//! settled have at most four fifths of the places, and lose them only to others that came again. Full it
//! takes about 7 MiB; empty nothing.

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
    trial: List,
    settled: List,
    /// The first of the entries that are free.
    free: u32,
}

/// Ends of a list in the order of last use.
#[derive(Debug)]
struct List {
    newest: u32,
    oldest: u32,
    count: usize,
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
    is_settled: bool,
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
        shard.settle(position);
        let entry = &mut shard.entries[at(position)];
        entry.used_after_seconds = elapsed(entry.since_seconds, now_seconds);
        Some(entry.endpoint)
    }

    /// The same of a value that is only asked for: it is as unused as before.
    pub(super) fn peek(&self, hash: u64, now_seconds: u64) -> Option<u64> {
        let shard = self.shard(hash);
        let position = *shard.positions.get(&hash)?;
        let entry = &shard.entries[at(position)];
        (!self.is_over(entry, now_seconds)).then_some(entry.endpoint)
    }

    /// Binds a value to an endpoint from now on.
    pub(super) fn remember(&self, hash: u64, endpoint: u64, now_seconds: u64) {
        let mut shard = self.shard(hash);
        if let Some(known) = shard.positions.get(&hash).copied() {
            shard.remove(known);
        }
        // Two of each list go for one that comes, so that what is over does not linger.
        for turn in 0..4 {
            let oldest = match turn % 2 {
                0 => shard.trial.oldest,
                _ => shard.settled.oldest,
            };
            let oldest_entry = shard.entries.get(at(oldest));
            if oldest_entry.is_some_and(|entry| self.is_over(entry, now_seconds)) {
                shard.remove(oldest);
            }
        }
        if shard.positions.len() >= PLACES_PER_SHARD {
            // The settled leave a fifth of the places, so somebody is on trial.
            let oldest = shard.trial.oldest;
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
            trial: List::EMPTY,
            settled: List::EMPTY,
            free: NOWHERE,
        }
    }

    /// It came again.
    fn settle(&mut self, position: u32) {
        self.unlink(position);
        self.entries[at(position)].is_settled = true;
        self.link_newest(position);
        if self.settled.count > SETTLED_PER_SHARD {
            let oldest = self.settled.oldest;
            self.unlink(oldest);
            self.entries[at(oldest)].is_settled = false;
            self.link_newest(oldest);
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
            is_settled: false,
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
        let list = self.list_of(position);
        list.count -= 1;
        if newer == NOWHERE {
            list.newest = older;
        }
        if older == NOWHERE {
            list.oldest = newer;
        }
        if let Some(newer) = self.entries.get_mut(at(newer)) {
            newer.older = older;
        }
        if let Some(older) = self.entries.get_mut(at(older)) {
            older.newer = newer;
        }
    }

    /// Into the list that it says it is of.
    fn link_newest(&mut self, position: u32) {
        let list = self.list_of(position);
        let second = std::mem::replace(&mut list.newest, position);
        list.count += 1;
        if second == NOWHERE {
            list.oldest = position;
        }
        if let Some(second) = self.entries.get_mut(at(second)) {
            second.newer = position;
        }
        let entry = &mut self.entries[at(position)];
        (entry.newer, entry.older) = (NOWHERE, second);
    }

    fn list_of(&mut self, position: u32) -> &mut List {
        match self.entries[at(position)].is_settled {
            true => &mut self.settled,
            false => &mut self.trial,
        }
    }
}

impl List {
    const EMPTY: Self = Self {
        newest: NOWHERE,
        oldest: NOWHERE,
        count: 0,
    };
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
const SETTLED_PER_SHARD: usize = PLACES_PER_SHARD / 5 * 4;
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

    /// Clients that come every minute against a thousand times as many values that never come
    /// again.
    #[test]
    fn a_flood_of_new_values_drives_out_nobody_who_is_known() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let table = day();
        let clients: Vec<u64> = (0..500).map(|_| random.u64(..)).collect();
        for client in &clients {
            table.remember(*client, 1, NOW);
            assert_eq!(table.find(*client, NOW), Some(1));
        }
        for minute in 1..=10 {
            let now = NOW + minute * 60;
            for _ in 0..50_000 {
                table.remember(random.u64(..), 2, now);
            }
            for client in &clients {
                assert_eq!(table.find(*client, now), Some(1), "seed {seed}");
            }
        }
        assert!(table.len() <= SHARDS * PLACES_PER_SHARD);
        // One that came once has a fifth of the places to itself, at least.
        let newcomer = random.u64(..);
        table.remember(newcomer, 3, NOW + 601);
        for _ in 0..10_000 {
            table.remember(random.u64(..), 2, NOW + 601);
        }
        assert_eq!(table.find(newcomer, NOW + 601), Some(3), "seed {seed}");
    }

    #[test]
    fn the_settled_leave_room_for_newcomers() {
        let table = day();
        let all = 3 * PLACES_PER_SHARD as u64;
        for number in 0..all {
            table.remember(hash(number), number, NOW);
            assert_eq!(table.find(hash(number), NOW), Some(number));
        }
        let shard = table.shards[0].lock().unwrap();
        let counts = (shard.settled.count, shard.trial.count);
        assert_eq!(counts.0, SETTLED_PER_SHARD);
        assert_eq!(counts.0 + counts.1, PLACES_PER_SHARD);
        assert_eq!(shard.positions.len(), PLACES_PER_SHARD);
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
