//! Tokens that were read before. Never larger than its bound, never a place to find a token in: it
//! holds digests, and only of tokens that passed.
//!
//! A digest picks a set of a few places; a full set gives up one that was not looked at lately. So a
//! flood of new tokens costs others at most a second look, and nobody ever waits for more than one set.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

/// Places that share a lock.
const WAYS: usize = 8;
/// So many sets can be told apart by what is looked at of a digest.
const MOST_SETS: usize = 1 << 16;

/// SHA-256 of a token: two that share one cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of the whole token. Its length should be bounded before.
    pub fn of(token: &str) -> Self {
        let hash = digest(&SHA256, token.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        Self(bytes)
    }

    fn set_of(&self, sets: usize) -> usize {
        let [a, b, ..] = self.0;
        usize::from(u16::from_le_bytes([a, b])) % sets
    }
}

/// What was read of tokens. What it says holds for the keys it was read with alone, and says nothing
/// of time or revocation.
#[derive(Debug)]
pub struct Seen<T> {
    sets: Box<[Mutex<Set<T>>]>,
}

#[derive(Debug)]
struct Set<T> {
    entries: Vec<Entry<T>>,
    hand: usize,
}

#[derive(Debug)]
struct Entry<T> {
    digest: Digest,
    /// Of the keys that the token was read with.
    generation: u64,
    what: Arc<T>,
    is_recent: bool,
}

impl<T> Seen<T> {
    /// Remembers about `tokens` at once, rounded up to a multiple of eight and at most 524,288; none
    /// at all for 0. Memory grows with what is remembered.
    pub fn new(tokens: usize) -> Self {
        let sets = tokens.div_ceil(WAYS).min(MOST_SETS);
        let empty = || Set {
            entries: Vec::new(),
            hand: 0,
        };
        Self {
            sets: (0..sets).map(|_| Mutex::new(empty())).collect(),
        }
    }

    /// What was read of the token with this generation of keys.
    pub fn find(&self, digest: &Digest, generation: u64) -> Option<Arc<T>> {
        let mut set = self.set(digest)?;
        let position = set.entries.iter().position(|one| one.digest == *digest)?;
        if set.entries[position].generation != generation {
            set.entries.swap_remove(position);
            return None;
        }
        let entry = &mut set.entries[position];
        entry.is_recent = true;
        Some(Arc::clone(&entry.what))
    }

    /// Remembers a token that passed.
    pub fn insert(&self, digest: Digest, generation: u64, what: Arc<T>) {
        let Some(mut set) = self.set(&digest) else {
            return;
        };
        let entry = Entry {
            digest,
            generation,
            what,
            is_recent: false,
        };
        let known = set.entries.iter().position(|one| one.digest == digest);
        if let Some(place) = known {
            // Another request read it at the same time, perhaps with other keys or for another purpose.
            set.entries[place] = entry;
        } else if set.entries.len() < WAYS {
            set.entries.push(entry);
        } else {
            let place = set.give_up();
            set.entries[place] = entry;
        }
    }

    fn set(&self, digest: &Digest) -> Option<MutexGuard<'_, Set<T>>> {
        if self.sets.is_empty() {
            return None;
        }
        let set = &self.sets[digest.set_of(self.sets.len())];
        Some(set.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let len = |set: &Mutex<Set<T>>| set.lock().unwrap().entries.len();
        self.sets.iter().map(len).sum()
    }
}

impl<T> Set<T> {
    /// The next place that nobody looked at since the hand last passed. A second round finds one.
    fn give_up(&mut self) -> usize {
        loop {
            let place = self.hand % WAYS;
            self.hand = place + 1;
            let entry = &mut self.entries[place];
            if !std::mem::take(&mut entry.is_recent) {
                return place;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: usize = 4096;

    fn digest(number: usize) -> Digest {
        Digest::of(&number.to_string())
    }

    #[test]
    fn what_was_read_is_found_until_the_keys_change() {
        let seen = Seen::new(TOKENS);
        assert!(seen.find(&digest(1), 1).is_none());
        seen.insert(digest(1), 1, Arc::new("ann"));
        assert_eq!(*seen.find(&digest(1), 1).unwrap(), "ann");
        assert!(seen.find(&digest(2), 1).is_none());
        assert!(seen.find(&digest(1), 2).is_none(), "other keys");
        assert!(seen.find(&digest(1), 1).is_none(), "and gone");
    }

    #[test]
    fn what_was_read_last_counts() {
        let seen = Seen::new(TOKENS);
        seen.insert(digest(1), 1, Arc::new("old keys"));
        seen.insert(digest(1), 2, Arc::new("new keys"));
        assert_eq!(*seen.find(&digest(1), 2).unwrap(), "new keys");
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn no_places_hold_nothing() {
        let seen = Seen::new(0);
        seen.insert(digest(1), 1, Arc::new("ann"));
        assert!(seen.find(&digest(1), 1).is_none());
    }

    #[test]
    fn a_flood_of_tokens_stays_within_the_bound() {
        let seen = Seen::new(TOKENS);
        let what = Arc::new("ann");
        for number in 0..3 * TOKENS {
            seen.insert(digest(number), 1, Arc::clone(&what));
        }
        assert!(seen.len() <= TOKENS);
        assert!(seen.len() > TOKENS * 9 / 10);
    }

    #[test]
    fn a_token_in_use_survives_a_flood_of_others() {
        let seen = Seen::new(TOKENS);
        let what = Arc::new("ann");
        seen.insert(digest(0), 1, Arc::clone(&what));
        let mut lost = 0;
        for number in 1..4 * TOKENS {
            seen.insert(digest(number), 1, Arc::clone(&what));
            // Busy: looked at some times while its set fills once.
            if number % (TOKENS / WAYS) == 0 && seen.find(&digest(0), 1).is_none() {
                lost += 1;
                seen.insert(digest(0), 1, Arc::clone(&what));
            }
        }
        assert!(lost <= 1, "lost {lost} times");
    }
}
