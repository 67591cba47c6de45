//! Tokens that were read before. Never larger than its bound, never a place to find a token in: it
//! holds digests, and only of tokens that passed.
//!
//! A digest picks a set of a few places; a full set gives up one that was not looked at lately. So a
//! flood of new tokens costs others at most a second look, and nobody ever waits for more than one set.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use super::Passport;

/// Tokens at once: [`SETS`] by [`WAYS`], some 1.5 KB each.
const SETS: usize = 2048;
const WAYS: usize = 8;

/// SHA-256 of a token: two that share one cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(token: &str) -> Self {
        let hash = digest(&SHA256, token.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        Self(bytes)
    }

    fn set(&self) -> usize {
        let [a, b, ..] = self.0;
        usize::from(u16::from_le_bytes([a, b])) % SETS
    }
}

#[derive(Debug)]
pub(super) struct Cache {
    sets: Box<[Mutex<Set>]>,
}

#[derive(Debug, Default)]
struct Set {
    entries: Vec<Entry>,
    hand: usize,
}

#[derive(Debug)]
struct Entry {
    digest: Digest,
    /// Of the keys that the token was read with.
    generation: u64,
    passport: Arc<Passport>,
    is_recent: bool,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Cache {
    /// What was read of the token with this generation of keys.
    pub(super) fn find(&self, digest: &Digest, generation: u64) -> Option<Arc<Passport>> {
        let mut set = self.set(digest);
        let position = set.entries.iter().position(|one| one.digest == *digest)?;
        if set.entries[position].generation != generation {
            set.entries.swap_remove(position);
            return None;
        }
        let entry = &mut set.entries[position];
        entry.is_recent = true;
        Some(Arc::clone(&entry.passport))
    }

    pub(super) fn insert(&self, digest: Digest, generation: u64, passport: Arc<Passport>) {
        let entry = Entry {
            digest,
            generation,
            passport,
            is_recent: false,
        };
        let mut set = self.set(&digest);
        if set.entries.iter().any(|one| one.digest == digest) {
            // Another request read it at the same time.
        } else if set.entries.len() < WAYS {
            set.entries.push(entry);
        } else {
            let place = set.give_up();
            set.entries[place] = entry;
        }
    }

    fn set(&self, digest: &Digest) -> std::sync::MutexGuard<'_, Set> {
        let set = &self.sets[digest.set()];
        set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let len = |set: &Mutex<Set>| set.lock().unwrap().entries.len();
        self.sets.iter().map(len).sum()
    }
}

impl Set {
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
    use super::super::passport::tests::passport;
    use super::*;

    fn digest(number: usize) -> Digest {
        Digest::of(&number.to_string())
    }

    #[test]
    fn what_was_read_is_found_until_the_keys_change() {
        let cache = Cache::default();
        assert!(cache.find(&digest(1), 1).is_none());
        cache.insert(digest(1), 1, passport("ann"));
        let found = cache.find(&digest(1), 1).unwrap();
        assert_eq!(found.claims.subject(), "ann");
        assert!(cache.find(&digest(2), 1).is_none());
        assert!(cache.find(&digest(1), 2).is_none(), "other keys");
        assert!(cache.find(&digest(1), 1).is_none(), "and gone");
    }

    #[test]
    fn a_flood_of_tokens_stays_within_the_bound() {
        let cache = Cache::default();
        let passport = passport("ann");
        for number in 0..3 * SETS * WAYS {
            cache.insert(digest(number), 1, Arc::clone(&passport));
        }
        assert!(cache.len() <= SETS * WAYS);
        assert!(cache.len() > SETS * WAYS * 9 / 10);
    }

    #[test]
    fn a_token_in_use_survives_a_flood_of_others() {
        let cache = Cache::default();
        let passport = passport("ann");
        cache.insert(digest(0), 1, Arc::clone(&passport));
        let mut lost = 0;
        for number in 1..4 * SETS * WAYS {
            cache.insert(digest(number), 1, Arc::clone(&passport));
            // Busy: looked at some times while its set fills once.
            if number % SETS == 0 && cache.find(&digest(0), 1).is_none() {
                lost += 1;
                cache.insert(digest(0), 1, Arc::clone(&passport));
            }
        }
        assert!(lost <= 1, "lost {lost} times");
    }
}
