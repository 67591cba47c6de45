//! Counters of one instance, for while the shared state is away. Never a substitute for it: what is counted here is
//! multiplied by the number of living instances, as if every one of them saw the same.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::allowance::{Allowance, Taken};
use super::{Counter, CounterKey};
use crate::domain::UnixMillis;

/// About 8 MB in all.
const MAX_ENTRIES: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Local {
    counters: Mutex<HashMap<CounterKey, Counter>>,
    /// Whether there may be counters that nobody was told of.
    has_news: AtomicBool,
    /// When each is full again, in microseconds.
    allowances: Mutex<HashMap<CounterKey, i64>>,
}

impl Local {
    pub(super) fn count(
        &self,
        keys: &[CounterKey],
        window: Duration,
        now: UnixMillis,
        instances: u32,
    ) -> Vec<Counter> {
        let mut counters = lock(&self.counters);
        self.has_news.store(true, Ordering::Release);
        make_room(
            &mut counters,
            |counter| counter.resets_at > now,
            |counter| counter.count > 1,
        );
        let hit = |key: &CounterKey| {
            let none = Counter {
                count: 0,
                resets_at: now.plus(window),
            };
            let counter = counters.entry(*key).or_insert(none);
            if counter.resets_at <= now {
                *counter = none;
            }
            counter.count = counter.count.saturating_add(1);
            multiplied(*counter, instances)
        };
        keys.iter().map(hit).collect()
    }

    pub(super) fn counters(
        &self,
        keys: &[CounterKey],
        now: UnixMillis,
        instances: u32,
    ) -> Vec<Counter> {
        let counters = lock(&self.counters);
        let read = |key: &CounterKey| match counters.get(key) {
            Some(counter) if counter.resets_at > now => multiplied(*counter, instances),
            _ => Counter {
                count: 0,
                resets_at: now,
            },
        };
        keys.iter().map(read).collect()
    }

    pub(super) fn reset(&self, key: &CounterKey) {
        lock(&self.counters).remove(key);
    }

    pub(super) fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Acquire)
    }

    /// What is counted here and lasts, to be told to the shared state. What is not told comes back.
    pub(super) fn news(&self, now: UnixMillis) -> News<'_> {
        let counted = std::mem::take(&mut *lock(&self.counters));
        let lasting = counted.into_iter().filter(|(_, of)| of.resets_at > now);
        News {
            local: self,
            untold: lasting.collect(),
        }
    }

    /// Each instance gives out its part, and at least one.
    pub(super) fn take(
        &self,
        allowances: &[Allowance],
        now: UnixMillis,
        instances: u32,
    ) -> Option<Taken> {
        let mut full_at = lock(&self.allowances);
        let is_used = |at: &i64| *at > now.0.saturating_mul(1000);
        make_room(&mut full_at, is_used, |_| false);
        let part = |allowance: &Allowance| {
            let limit = (allowance.limit.get() / instances.max(1)).max(1);
            Allowance {
                limit: limit.try_into().unwrap_or(allowance.limit),
                ..*allowance
            }
        };
        let parts: Vec<_> = allowances.iter().map(part).collect();
        let takings = parts
            .iter()
            .map(|part| part.take(full_at.get(&part.key).copied(), now));
        let takings: Vec<_> = takings.collect();
        if takings.iter().all(|(taken, _)| taken.is_allowed) {
            let after = parts.iter().zip(&takings);
            full_at.extend(after.map(|(part, (_, at))| (part.key, *at)));
        }
        takings
            .into_iter()
            .map(|(taken, _)| taken)
            .reduce(Taken::tighter)
    }
}

/// Counters on their way to the shared state. Dropped, those that it was not told of are counted here again.
pub(super) struct News<'a> {
    local: &'a Local,
    untold: Vec<(CounterKey, Counter)>,
}

impl News<'_> {
    /// The next few; empty when all are told.
    pub(super) fn next(&self, most: usize) -> &[(CounterKey, Counter)] {
        &self.untold[self.untold.len().saturating_sub(most)..]
    }

    /// Those that [`News::next`] gave are told.
    pub(super) fn told(&mut self, most: usize) {
        self.untold.truncate(self.untold.len().saturating_sub(most));
    }
}

impl Drop for News<'_> {
    fn drop(&mut self) {
        let mut counters = lock(&self.local.counters);
        for (key, untold) in self.untold.drain(..) {
            let counter = counters
                .entry(key)
                .or_insert(Counter { count: 0, ..untold });
            counter.count = counter.count.saturating_add(untold.count);
            counter.resets_at = counter.resets_at.max(untold.resets_at);
        }
        self.local
            .has_news
            .store(!counters.is_empty(), Ordering::Release);
    }
}

fn multiplied(counter: Counter, instances: u32) -> Counter {
    Counter {
        count: counter.count.saturating_mul(instances.max(1)),
        ..counter
    }
}

/// Forgets first what has ended, then what matters least, then everything: whoever can fill this with names that come
/// once must not make the rest be refused.
fn make_room<T>(
    entries: &mut HashMap<CounterKey, T>,
    lasts: impl Fn(&T) -> bool,
    matters: impl Fn(&T) -> bool,
) {
    if entries.len() < MAX_ENTRIES {
        return;
    }
    entries.retain(|_, entry| lasts(entry));
    if entries.len() >= MAX_ENTRIES {
        entries.retain(|_, entry| matters(entry));
    }
    if entries.len() >= MAX_ENTRIES {
        entries.clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);
    const WINDOW: Duration = Duration::from_secs(60);

    fn key(name: &str) -> CounterKey {
        CounterKey::new("a test", &[name])
    }

    #[test]
    fn one_hit_counts_as_one_at_every_instance() {
        let local = Local::default();
        let counts = |counters: Vec<Counter>| Vec::from_iter(counters.iter().map(|c| c.count));
        assert_eq!(counts(local.count(&[key("a")], WINDOW, NOW, 3)), [3]);
        assert_eq!(
            counts(local.counters(&[key("b"), key("a")], NOW, 3)),
            [0, 3]
        );
        assert_eq!(
            counts(local.counters(&[key("a")], NOW.plus(WINDOW), 3)),
            [0]
        );
        local.reset(&key("a"));
        assert_eq!(counts(local.counters(&[key("a")], NOW, 3)), [0]);
    }

    #[test]
    fn sec_j04_an_instance_gives_out_its_part_and_never_nothing() {
        let local = Local::default();
        let allowance = |limit: u32, name: &str| Allowance {
            key: key(name),
            limit: limit.try_into().unwrap(),
            period: WINDOW,
        };
        for (limit, instances, expected) in [(9, 3, 3), (2, 3, 1), (5, 1, 5), (5, 0, 5)] {
            let name = format!("{limit} {instances}");
            let asked = [allowance(limit, &name)];
            let take = || local.take(&asked, NOW, instances).unwrap().is_allowed;
            let given = (0..20).filter(|_| take()).count();
            assert_eq!(given, expected, "{limit} over {instances}");
        }
        let both = [allowance(1, "tight"), allowance(9, "wide")];
        assert!(local.take(&both, NOW, 1).unwrap().is_allowed);
        assert!(!local.take(&both, NOW, 1).unwrap().is_allowed);
        let wide = local.take(&both[1..], NOW, 1).unwrap();
        assert_eq!(wide.remaining, 7, "a refusal takes from neither");
    }

    #[test]
    fn sec_j05_names_that_come_once_push_out_no_counter_that_grows() {
        let local = Local::default();
        local.count(&[key("victim"), key("victim")], WINDOW, NOW, 1);
        for n in 0..2 * MAX_ENTRIES {
            local.count(&[key(&n.to_string())], WINDOW, NOW, 1);
        }
        assert!(lock(&local.counters).len() <= MAX_ENTRIES);
        assert_eq!(local.counters(&[key("victim")], NOW, 1)[0].count, 2);
    }
}
