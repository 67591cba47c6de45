//! What is revoked, in memory, for a look beside every request. Never waits for the network, and
//! never takes "not heard of" for "not revoked": it says how long ago the feed was last whole.
//!
//! One [`RevocationSet`] belongs to one issuer. One follower writes it; any number of requests read.
//! Names are kept as 128 bits under keys drawn at start, so that an entry takes about 40 bytes and
//! nobody outside can aim at a collision. Records only ever add up: a snapshot is merged into what is
//! known, so that a source which lost its memory takes nothing back.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use portcullis_token::Skew;
use portcullis_token::revocation::Record;

mod ask;
mod follow;
mod follower;
mod shards;

pub(crate) use follow::run;
pub use follower::Follower;
use shards::{Entry, Kind, Shards};

/// A feed that was not whole within this time is lost. Its follower hears from a living source
/// several times as often, so that one answer may be late.
pub const LOST_AFTER: Duration = Duration::from_secs(2);
/// Most entries of one set, about 160 MB. Whoever reaches it knows less than all there is.
pub const ENTRIES_MAX: usize = 4_000_000;
/// Most revoked keys: they are copied with each change, and an issuer has a handful.
const KEYS_MAX: usize = 1_000;
/// An issuer forgets a record by its own tolerance for clocks; ours may be larger.
const HELD_SECONDS: i64 = Skew::MAX_SECONDS as i64;

/// What a verified token says about itself, as far as revocations look at it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The key that signed it.
    pub kid: &'a str,
    /// `jti`, if it has one.
    pub jti: Option<&'a str>,
    /// `sid`, if it has one.
    pub sid: Option<&'a str>,
    /// `sub`, if it has one.
    pub sub: Option<&'a str>,
    /// `iat` in Unix seconds. Without one it counts as older than any cut.
    pub iat: Option<i64>,
}

/// What is known of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not revoked, as of at most [`LOST_AFTER`] ago.
    Clear,
    /// Revoked. That never changes, however old the news.
    Revoked,
    /// Not known to be revoked, but the feed is lost.
    Unknown {
        /// How long ago it was last whole; [`Duration::MAX`] before the first snapshot.
        age: Duration,
    },
}

/// The set cannot take another record, so it must not be believed to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more live revocations than an edge holds ({ENTRIES_MAX}, of keys {KEYS_MAX})")]
pub struct Full;

/// The live revocations of one issuer.
pub struct RevocationSet {
    origin: Instant,
    /// Nanoseconds after `origin`, plus one; zero is never.
    whole_at: AtomicU64,
    shards: Shards,
    keys: ArcSwap<Vec<(Box<str>, i64)>>,
    is_full: AtomicBool,
    /// Entries by kind, so that what nobody revokes by costs no look.
    counts: [AtomicUsize; 3],
}

impl RevocationSet {
    /// An empty set that has never been whole.
    pub fn new(now: Instant) -> Self {
        Self {
            origin: now,
            whole_at: AtomicU64::new(0),
            shards: Shards::new(),
            keys: ArcSwap::from_pointee(Vec::new()),
            is_full: AtomicBool::new(false),
            counts: Default::default(),
        }
    }

    /// Whether a token is revoked, as far as it can be told. Takes well under a microsecond.
    pub fn is_revoked(&self, now: Instant, token: &Facts<'_>) -> Verdict {
        // Before the look: what is added between the two may only make the answer stricter.
        let age = self.age(now);
        if self.covers(token) {
            Verdict::Revoked
        } else if age <= LOST_AFTER {
            Verdict::Clear
        } else {
            Verdict::Unknown { age }
        }
    }

    /// How long ago the set was last known to be whole; [`Duration::MAX`] if it never was.
    pub fn age(&self, now: Instant) -> Duration {
        match self.whole_at.load(Ordering::Acquire) {
            0 => Duration::MAX,
            nanos => now.saturating_duration_since(self.origin + Duration::from_nanos(nanos - 1)),
        }
    }

    /// The same for a metric, which has no endless numbers: counted from the start before the first
    /// snapshot.
    pub(crate) fn lag(&self, now: Instant) -> Duration {
        self.age(now)
            .min(now.saturating_duration_since(self.origin))
    }

    /// Whether it has been whole since the start: its first snapshot is in.
    pub fn has_been_whole(&self) -> bool {
        self.whole_at.load(Ordering::Acquire) != 0
    }

    /// Says that every revocation made before `at` is in. An earlier instant than known changes
    /// nothing; neither does anything while the set is full.
    pub fn confirm(&self, at: Instant) {
        if self.is_full.load(Ordering::Relaxed) {
            return;
        }
        let nanos = at.saturating_duration_since(self.origin).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX - 1);
        self.whole_at.fetch_max(nanos + 1, Ordering::Release);
    }

    /// Takes a record in. Repeats and older records never weaken what is known.
    ///
    /// # Errors
    /// When there is no room. From then on nothing is confirmed until [`RevocationSet::begin_anew`].
    pub fn insert(&self, record: &Record) -> Result<(), Full> {
        let until = record.until().saturating_add(HELD_SECONDS);
        let (kind, name, entry) = match record {
            Record::Token { jti, .. } => (Kind::Token, jti, Entry::always(until)),
            Record::Session { sid, .. } => (Kind::Session, sid, Entry::always(until)),
            Record::Subject {
                sub, not_before, ..
            } => (Kind::Subject, sub, Entry::cut(*not_before, until)),
            Record::Key { kid, .. } => return self.insert_key(kid, until),
        };
        // Only the follower inserts, so the limit is not passed between the look and the insertion.
        let has_room = self.len() < ENTRIES_MAX;
        match self.shards.insert(kind, name, entry, has_room) {
            shards::Insertion::Added => {
                self.counts[kind as usize].fetch_add(1, Ordering::Release);
                Ok(())
            }
            shards::Insertion::Merged => Ok(()),
            shards::Insertion::NoRoom => self.full(),
        }
    }

    /// The follower reads the log from its beginning: a set that was full may try again.
    pub fn begin_anew(&self) {
        self.is_full.store(false, Ordering::Relaxed);
    }

    /// Forgets what has ended, one small piece after another: a reader waits for one piece at most.
    /// The pieces are steps of an iterator, so that the caller may let others run in between.
    pub fn purge(&self, now_seconds: i64) -> impl Iterator<Item = ()> + '_ {
        let live = |keys: &Arc<Vec<(Box<str>, i64)>>| -> Vec<_> {
            keys.iter()
                .filter(|(_, until)| *until > now_seconds)
                .cloned()
                .collect()
        };
        if live(&self.keys.load()).len() < self.keys.load().len() {
            self.keys.rcu(live);
        }
        self.shards.purge(now_seconds).map(|removed| {
            for (count, removed) in self.counts.iter().zip(removed) {
                count.fetch_sub(removed, Ordering::Relaxed);
            }
        })
    }

    /// How many entries are held.
    pub fn len(&self) -> usize {
        let counted = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        counted.sum::<usize>() + self.keys.load().len()
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the entries take, room to grow included.
    pub fn bytes(&self) -> usize {
        self.shards.bytes()
    }

    fn covers(&self, token: &Facts<'_>) -> bool {
        let keys = self.keys.load();
        if !keys.is_empty() && keys.iter().any(|(kid, _)| **kid == *token.kid) {
            return true;
        }
        let named = [
            (Kind::Token, token.jti),
            (Kind::Session, token.sid),
            (Kind::Subject, token.sub),
        ];
        let iat = token.iat.unwrap_or(i64::MIN);
        named.into_iter().any(|(kind, name)| {
            self.counts[kind as usize].load(Ordering::Acquire) > 0
                && name.is_some_and(|name| self.shards.covers(kind, name, iat))
        })
    }

    fn insert_key(&self, kid: &str, until: i64) -> Result<(), Full> {
        let mut keys = Vec::clone(&self.keys.load());
        let has_room = keys.len() < KEYS_MAX;
        match keys.iter_mut().find(|(known, _)| **known == *kid) {
            Some((_, known)) => *known = until.max(*known),
            None if has_room => keys.push((kid.into(), until)),
            None => return self.full(),
        }
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    fn full(&self) -> Result<(), Full> {
        self.is_full.store(true, Ordering::Relaxed);
        Err(Full)
    }
}

impl fmt::Debug for RevocationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationSet")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
