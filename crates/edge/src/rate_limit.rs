//! What limits of how often and how many at once remember: one table of hashed keys for each, shared by all generations
//! of the configuration. Never holds a key itself, and never a lock for longer than two looks into memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portcullis_traffic::rate::{Ask, Rate, Table, Verdict};

use crate::config;
use crate::metrics::{LimitMetrics, Metrics};

mod told;

use self::told::Announced;
pub(crate) use self::told::whole_seconds;

/// One limit while the edge runs.
#[derive(Debug)]
pub struct Limiter {
    /// What it says.
    pub(crate) policy: config::RateLimit,
    /// Counters.
    pub(crate) metrics: LimitMetrics,
    /// How clients are told of it.
    pub(crate) announced: Announced,
    memory: Arc<Memory>,
}

/// What outlives a reload.
#[derive(Debug)]
struct Memory {
    max_keys: usize,
    /// Keyed by chance at every start: nobody can look for keys that share a place, nor tell a key by its hash.
    hashes: RandomState,
    began: Instant,
    tables: Vec<Mutex<Table>>,
    /// As many keys as have requests under way.
    running: Vec<Mutex<HashMap<u64, u32>>>,
}

/// What one request asks of one limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) key: u64,
    pub(crate) rate: Option<Rate>,
    pub(crate) cost: u32,
    /// Percent.
    pub(crate) reserve: u8,
    pub(crate) now: Instant,
}

/// What it was given.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) verdict: Option<Verdict>,
    pub(crate) place: Option<Place>,
}

/// Why it was refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refused {
    /// It comes too often.
    Rate(Verdict),
    /// Too many of its key run.
    Concurrency,
}

/// A running request; its end gives the place back, whichever way it comes.
#[derive(Debug)]
pub(crate) struct Place {
    memory: Arc<Memory>,
    key: u64,
}

/// Fewer requests wait for one lock than run on as many threads.
const SHARDS: usize = 16;

impl Limiter {
    /// `known` is the same limit of the generation before.
    pub(crate) fn build(
        policy: &config::RateLimit,
        metrics: &Metrics,
        known: Option<&Self>,
    ) -> Self {
        let known = known.filter(|known| known.memory.max_keys == policy.max_keys);
        Self {
            policy: policy.clone(),
            metrics: metrics.rate_limit(&policy.name),
            announced: Announced::new(policy),
            memory: match known {
                Some(known) => Arc::clone(&known.memory),
                None => Arc::new(Memory::new(policy.max_keys)),
            },
        }
    }

    /// The name in the file.
    pub(crate) fn name(&self) -> &str {
        &self.policy.name
    }

    /// A hasher for the parts of a key.
    pub(crate) fn hasher(&self) -> impl Hasher {
        self.memory.hashes.build_hasher()
    }

    /// Takes what the request costs, and a place, if there is both.
    pub(crate) fn take(&self, question: &Question) -> Result<Given, Refused> {
        let place = match self.open(question) {
            Some(open) => {
                let place = Memory::enter(&self.memory, question.key, open);
                Some(place.ok_or(Refused::Concurrency)?)
            }
            None => None,
        };
        let verdict = question.rate.map(|rate| {
            let ask = self.memory.ask(question);
            self.memory.table(question.key).take(&rate, &ask)
        });
        match verdict {
            Some(verdict) if !verdict.is_admitted => Err(Refused::Rate(verdict)),
            _ => {
                if verdict.is_some_and(|verdict| verdict.has_evicted) {
                    self.metrics.evicted.inc();
                }
                Ok(Given { verdict, place })
            }
        }
    }

    /// What [`Limiter::take`] would answer; takes nothing, so nothing is to be given back.
    pub(crate) fn peek(&self, question: &Question) -> Result<Given, Refused> {
        let running = u64::from(self.running(question));
        if self.open(question).is_some_and(|open| running >= open) {
            return Err(Refused::Concurrency);
        }
        let verdict = question.rate.map(|rate| {
            let ask = self.memory.ask(question);
            self.memory.table(question.key).peek(&rate, &ask)
        });
        match verdict {
            Some(verdict) if !verdict.is_admitted => Err(Refused::Rate(verdict)),
            verdict => Ok(Given {
                verdict,
                place: None,
            }),
        }
    }

    /// How many of its key run.
    pub(crate) fn running(&self, question: &Question) -> u32 {
        let running = lock(&self.memory.running[shard(question.key)]);
        running.get(&question.key).copied().unwrap_or(0)
    }

    /// How many of its key may run; `None`: as many as they like.
    pub(crate) fn open(&self, question: &Question) -> Option<u64> {
        let most = u64::from(self.policy.concurrent?.get());
        let kept = most * u64::from(question.reserve) / 100;
        Some(most.saturating_sub(kept).max(1))
    }

    /// The request was refused by another limit, so it counts for nothing here.
    pub(crate) fn give_back(&self, question: &Question) {
        if let Some(rate) = question.rate {
            let ask = self.memory.ask(question);
            self.memory.table(question.key).give_back(&rate, &ask);
        }
    }

    /// The part of an address that makes one client.
    pub(crate) fn client(&self, address: IpAddr) -> [u8; 16] {
        match address {
            IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
            IpAddr::V6(six) => {
                let host_bits = 128 - u32::from(self.policy.ipv6_prefix.min(128));
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or_default();
                (six.to_bits() & mask).to_be_bytes()
            }
        }
    }
}

impl Memory {
    fn new(max_keys: usize) -> Self {
        let table = || Mutex::new(Table::new(max_keys.div_ceil(SHARDS)));
        Self {
            max_keys,
            hashes: RandomState::new(),
            began: Instant::now(),
            tables: (0..SHARDS).map(|_| table()).collect(),
            running: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Counts from a second, since nothing at all means never to a table.
    fn ask(&self, question: &Question) -> Ask {
        let since = question.now.saturating_duration_since(self.began);
        Ask {
            key: question.key,
            cost: question.cost,
            reserve: question.reserve,
            now: since + Duration::from_secs(1),
        }
    }

    fn enter(memory: &Arc<Self>, key: u64, most: u64) -> Option<Place> {
        let mut running = lock(&memory.running[shard(key)]);
        match running.entry(key) {
            Entry::Occupied(mut known) => {
                if u64::from(*known.get()) >= most {
                    return None;
                }
                *known.get_mut() += 1;
            }
            Entry::Vacant(new) => {
                new.insert(1);
            }
        }
        Some(Place {
            memory: Arc::clone(memory),
            key,
        })
    }

    fn table(&self, key: u64) -> MutexGuard<'_, Table> {
        lock(&self.tables[shard(key)])
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut running = lock(&self.memory.running[shard(self.key)]);
        if let Entry::Occupied(mut known) = running.entry(self.key) {
            *known.get_mut() -= 1;
            if *known.get() == 0 {
                known.remove();
            }
        }
    }
}

/// By the bits that a table does not choose its bucket by.
fn shard(key: u64) -> usize {
    (key % SHARDS as u64) as usize
}

/// Nothing is left half done where a lock is poisoned.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
