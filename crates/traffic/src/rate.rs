//! How often one key may come: the generic cell rate algorithm, a leaky bucket that remembers one instant, in a table of
//! fixed size. Never knows what a key stands for, and never grows.
//!
//! A key that has not come for a while is as good as unknown, so its place is free again by itself. Where every place is
//! taken, the key with the most left gives way: it loses the least, and it is never one that has used up what it had.
//! Whoever invents keys pushes out other invented ones.
//!
//! Auth counts by the same algorithm on its own: its instants are of the calendar and shared with Redis, and it sees
//! nothing of this crate.

use std::num::NonZeroU32;
use std::time::Duration;

/// So many requests in a period, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds until one more may come.
    interval: u64,
    burst: u32,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Hash of the key, evenly spread and not to be guessed from outside.
    pub key: u64,
    /// How many requests it counts as.
    pub cost: u32,
    /// Percent of the burst that it must leave.
    pub reserve: u8,
    /// Since an instant of the caller's choice, the same for every question to a table.
    pub now: Duration,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may go on. If not, nothing was taken.
    pub is_admitted: bool,
    /// Requests that may come at once when nothing was taken.
    pub limit: u32,
    /// Requests that may still come now.
    pub remaining: u32,
    /// Until as many as `limit` may come.
    pub reset_after: Duration,
    /// Until this one may come; nothing if it may now.
    pub retry_after: Duration,
    /// Whether a key that was not free had to give way.
    pub has_evicted: bool,
}

impl Rate {
    /// `count` requests in each `period`, and up to `burst` at once. The interval is rounded up, so that never more
    /// come than that.
    pub fn new(count: NonZeroU32, period: Duration, burst: NonZeroU32) -> Self {
        let interval = nanos(period).div_ceil(u64::from(count.get()));
        Self {
            interval: interval.max(1),
            burst: burst.get(),
        }
    }

    /// Requests at once.
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// From nothing left to as many as `burst`.
    pub fn window(&self) -> Duration {
        Duration::from_nanos(self.room())
    }

    fn room(&self) -> u64 {
        self.interval.saturating_mul(u64::from(self.burst))
    }

    /// One request of a key that is full again at `full_at`; beside the verdict, when it is full afterwards.
    fn take(&self, full_at: u64, ask: &Ask) -> (Verdict, u64) {
        let (now, room) = (nanos(ask.now), self.room());
        // An entry of a slower rate, which a reload replaced, must not lock anybody out for longer than this one.
        let before = full_at.clamp(now, now.saturating_add(room));
        // What costs more than there can ever be takes all there is.
        let cost = self.interval.saturating_mul(u64::from(ask.cost)).min(room);
        // At least its own cost is open to everybody, or the most modest would never be served.
        let kept = room / 100 * u64::from(ask.reserve.min(100));
        let open = room.saturating_sub(kept).max(cost);
        let after = before.saturating_add(cost);
        let is_admitted = after - now <= open;
        let full_at = if is_admitted { after } else { before };
        let left = (room - (full_at - now)) / self.interval;
        let missing = if is_admitted { 0 } else { after - now - open };
        let verdict = Verdict {
            is_admitted,
            limit: self.burst,
            remaining: u32::try_from(left).unwrap_or(self.burst),
            reset_after: Duration::from_nanos(full_at - now),
            retry_after: Duration::from_nanos(missing),
            has_evicted: false,
        };
        (verdict, full_at)
    }
}

/// Keys and when each is full again. It has the size that it was made with, sixteen bytes a place.
#[derive(Debug)]
pub struct Table {
    buckets: Vec<[Entry; PLACES]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    key: u64,
    /// Nothing, or long ago: the place is free.
    full_at: u64,
}

impl Table {
    /// With room for so many keys at once. There are twice as many places, so that two buckets to choose from are hardly
    /// ever full before all are.
    pub fn new(keys: usize) -> Self {
        let buckets = keys.saturating_mul(2).div_ceil(PLACES).max(2);
        Self {
            buckets: vec![[Entry::default(); PLACES]; buckets],
        }
    }

    /// Takes one request's cost out of what its key has, if that is enough. Looks at two buckets, whatever the size.
    pub fn take(&mut self, rate: &Rate, ask: &Ask) -> Verdict {
        let (bucket, place, is_known) = self.place(ask.key);
        let entry = &mut self.buckets[bucket][place];
        let known = if is_known { entry.full_at } else { 0 };
        let (mut verdict, full_at) = rate.take(known, ask);
        if verdict.is_admitted {
            verdict.has_evicted = !is_known && entry.full_at > nanos(ask.now);
            *entry = Entry {
                key: ask.key,
                full_at,
            };
        }
        verdict
    }

    /// What [`Table::take`] would answer.
    pub fn peek(&self, rate: &Rate, ask: &Ask) -> Verdict {
        let (bucket, place, is_known) = self.place(ask.key);
        let entry = &self.buckets[bucket][place];
        let known = if is_known { entry.full_at } else { 0 };
        let (mut verdict, _) = rate.take(known, ask);
        verdict.has_evicted = verdict.is_admitted && !is_known && entry.full_at > nanos(ask.now);
        verdict
    }

    /// Undoes what [`Table::take`] took: the request was refused for another reason.
    pub fn give_back(&mut self, rate: &Rate, ask: &Ask) {
        let (bucket, place, is_known) = self.place(ask.key);
        if is_known {
            let cost = rate.interval.saturating_mul(u64::from(ask.cost));
            let entry = &mut self.buckets[bucket][place];
            entry.full_at = entry.full_at.saturating_sub(cost.min(rate.room()));
        }
    }

    /// Where a key is, or else where it would go: the place that is free, or will be soonest.
    fn place(&self, key: u64) -> (usize, usize, bool) {
        let buckets = [self.bucket(key), self.bucket(scatter(key))];
        let mut soonest = (buckets[0], 0);
        let mut at = u64::MAX;
        for bucket in buckets {
            for (place, entry) in self.buckets[bucket].iter().enumerate() {
                if entry.key == key && entry.full_at > 0 {
                    return (bucket, place, true);
                }
                if entry.full_at < at {
                    (soonest, at) = ((bucket, place), entry.full_at);
                }
            }
        }
        (soonest.0, soonest.1, false)
    }

    fn bucket(&self, key: u64) -> usize {
        let position = u128::from(key) * self.buckets.len() as u128;
        usize::try_from(position >> 64).unwrap_or_default()
    }
}

/// Another hash of what is a hash already (the finish of SplitMix64).
fn scatter(key: u64) -> u64 {
    let key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// Two cache lines.
const PLACES: usize = 8;

#[cfg(test)]
mod tests;
