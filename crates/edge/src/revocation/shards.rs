//! Names under keyed 128-bit hashes, in many small maps with a lock each. Never keeps a name itself,
//! and never holds a lock for longer than one small map takes.

use std::collections::HashMap;
use std::collections::hash_map::{Entry as Slot, RandomState};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A map of a million entries then has a thousand: it is swept, or grows, in tens of microseconds.
const SHARDS: usize = 1024;

/// What is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Token,
    Session,
    Subject,
}

const KINDS: [Kind; 3] = [Kind::Token, Kind::Session, Kind::Subject];

/// Tokens issued before `cut` are revoked; the entry may go at `until`. Unix seconds, which fit until
/// the year 2106; what lies beyond is kept at the end, on the safe side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    cut: u32,
    until: u32,
    kind: Kind,
}

impl Entry {
    /// Covers a token whenever it was issued. The kind is set at insertion.
    pub(super) fn always(until: i64) -> Self {
        Self {
            cut: u32::MAX,
            until: seconds(until),
            kind: Kind::Token,
        }
    }

    /// Covers tokens issued before `not_before`.
    pub(super) fn cut(not_before: i64, until: i64) -> Self {
        Self {
            cut: seconds(not_before),
            until: seconds(until),
            kind: Kind::Subject,
        }
    }

    fn covers(self, iat: i64) -> bool {
        self.cut == u32::MAX || iat < i64::from(self.cut)
    }
}

fn seconds(unix: i64) -> u32 {
    u32::try_from(unix.max(0)).unwrap_or(u32::MAX)
}

/// What became of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Insertion {
    Added,
    Merged,
    NoRoom,
}

/// 128 bits in words of 32, so that an entry with its key needs no padding.
type Key = [u32; 4];
type Map = HashMap<Key, Entry, BuildHasherDefault<AsItIs>>;

/// A lock on a cache line of its own: readers of two maps do not slow each other down.
#[repr(align(64))]
struct Shard(RwLock<Map>);

pub(super) struct Shards {
    hashers: [RandomState; 2],
    shards: Box<[Shard]>,
}

impl Shards {
    pub(super) fn new() -> Self {
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            shards: (0..SHARDS).map(|_| Shard(RwLock::default())).collect(),
        }
    }

    pub(super) fn covers(&self, kind: Kind, name: &str, iat: i64) -> bool {
        let (shard, key) = self.place(kind, name);
        shard
            .read()
            .get(&key)
            .is_some_and(|entry| entry.covers(iat))
    }

    pub(super) fn insert(&self, kind: Kind, name: &str, entry: Entry, has_room: bool) -> Insertion {
        let (shard, key) = self.place(kind, name);
        match shard.write().entry(key) {
            Slot::Occupied(mut known) => {
                let known = known.get_mut();
                known.cut = known.cut.max(entry.cut);
                known.until = known.until.max(entry.until);
                Insertion::Merged
            }
            Slot::Vacant(_) if !has_room => Insertion::NoRoom,
            Slot::Vacant(free) => {
                free.insert(Entry { kind, ..entry });
                Insertion::Added
            }
        }
    }

    /// Sweeps one map after another; each step says how many entries of each kind went.
    pub(super) fn purge(&self, now: i64) -> impl Iterator<Item = [usize; KINDS.len()]> + '_ {
        let now = seconds(now);
        self.shards.iter().map(move |shard| {
            let mut removed = [0; KINDS.len()];
            if shard.read().is_empty() {
                return removed;
            }
            let mut map = shard.write();
            map.retain(|_, entry| {
                let is_live = entry.until > now;
                removed[entry.kind as usize] += usize::from(!is_live);
                is_live
            });
            // Not by its capacity, which counts no slot that an entry has left.
            if removed.iter().sum::<usize>() > map.len() {
                map.shrink_to_fit();
            }
            removed
        })
    }

    /// Of all maps: slots with their keys, and the byte of each slot that the map keeps.
    pub(super) fn bytes(&self) -> usize {
        let capacity = |shard: &Shard| match shard.read().capacity() {
            0 => 0,
            // A map fills seven eighths of its slots.
            capacity => (capacity * 8 / 7).next_power_of_two(),
        };
        let slots: usize = self.shards.iter().map(capacity).sum();
        slots * (size_of::<(Key, Entry)>() + 1) + SHARDS * size_of::<Shard>()
    }

    fn place(&self, kind: Kind, name: &str) -> (&Shard, Key) {
        let [high, low] = self
            .hashers
            .each_ref()
            .map(|hasher| hasher.hash_one((kind as u8, name)));
        let words = |hash: u64| [(hash >> 32) as u32, hash as u32];
        let ([a, b], [c, d]) = (words(high), words(low));
        (&self.shards[a as usize % SHARDS], [a, b, c, d])
    }
}

impl Shard {
    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Map> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys are hashes: the last two words serve as they are.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let last = bytes.last_chunk::<8>().copied().unwrap_or_default();
        self.0 = u64::from_ne_bytes(last);
    }

    // The length that comes before an array's elements says nothing.
    fn write_usize(&mut self, _: usize) {}
}
