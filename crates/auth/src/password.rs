//! Password hashing on threads of its own. Never runs on a request's thread, never longer than its queue allows.
//!
//! argon2id costs milliseconds and megabytes by design. A fixed number of low-priority threads bounds both: each owns
//! one arena, excess work waits in a bounded queue and is refused at a deadline, and health checks and token
//! verification keep their latency because the scheduler prefers their threads.
//!
//! Whatever the account, a login costs one run: [`PasswordHasher::verify_or_dummy_of`] hashes against a made-up hash,
//! of parameters that accounts have, when there is none, so that time tells nobody which addresses have accounts. Callers check the
//! password first and the status of the account afterwards, for the same reason.

mod arena;
pub mod breached;
mod foreign;
mod pepper;
mod phc;
mod queue;
mod rules;
mod stored;
mod worker;

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use portcullis_ops::Secret;
use tokio::sync::oneshot;

use crate::domain::{NewPassword, PasswordHash, PresentedPassword};
use crate::random;

use breached::Breached;
pub use pepper::{Pepper, Peppers};
pub use phc::HashCost;
use phc::Phc;
use queue::{Job, Queue, Work};
use rules::Rules;
use stored::Stored;

/// How long a password may wait for a thread. A person waits two seconds; a queue that is longer only adds to it.
const DEADLINE: Duration = Duration::from_secs(2);
/// Jobs a worker gets done within [`DEADLINE`] at 15 ms each, rounded down.
const QUEUED_PER_WORKER: usize = 128;

/// How to hash.
#[derive(Clone, Debug)]
pub struct HasherConfig {
    /// Threads, and with them arenas of [`HashCost`] memory.
    pub workers: NonZeroUsize,
    /// Jobs that may wait.
    pub queue_limit: usize,
    /// How long each may wait.
    pub deadline: Duration,
    /// Cost of new hashes; older ones are upgraded at login.
    pub cost: HashCost,
    /// Keys without which a stolen table of hashes is worthless.
    pub peppers: Peppers,
    /// Passwords that were stolen elsewhere, which nobody may choose.
    pub breached: Option<Arc<Breached>>,
    /// Names that nobody may choose, with digits and signs around them or without.
    pub forbidden: Vec<String>,
}

impl HasherConfig {
    /// The recommended cost and a queue that fits the number of threads.
    pub fn new(workers: NonZeroUsize, peppers: Peppers) -> Self {
        Self {
            workers,
            queue_limit: workers.get().saturating_mul(QUEUED_PER_WORKER),
            deadline: DEADLINE,
            cost: HashCost::RECOMMENDED,
            peppers,
            breached: None,
            forbidden: Vec::new(),
        }
    }
}

/// Why a password was not hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The queue is full or the deadline passed: shed the request, ask to retry in a second.
    #[error("password hashing is overloaded")]
    Overloaded,
    /// The hasher has been shut down.
    #[error("password hashing has stopped")]
    Stopped,
    /// The password was stolen somewhere: only said of one that somebody chooses.
    #[error("the password is on a list of stolen ones")]
    Breached,
    /// The password is a name that everybody here knows: only said of one that somebody chooses.
    #[error("the password is a name that everybody here knows")]
    Guessable,
}

/// The answer about a password.
#[derive(Clone, Copy, Debug)]
pub struct Verification {
    /// Whether it is the right one. Never true without a stored hash.
    pub is_right: bool,
    /// The password is right, but its hash is older than the present cost or pepper: see [`PasswordHasher::rehash`].
    pub is_outdated: bool,
}

/// Counts for metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HasherMetrics {
    /// Threads.
    pub workers: usize,
    /// Threads that hash right now.
    pub busy: usize,
    /// Jobs that wait.
    pub queued: usize,
    /// argon2 runs since the start.
    pub hashes_total: u64,
    /// Time spent in them.
    pub hashing_micros_total: u64,
    /// Jobs refused because the queue was full or the deadline passed.
    pub overloaded_total: u64,
    /// Stored hashes that could not be read, or whose pepper is not configured.
    pub unusable_total: u64,
    /// New passwords refused because they were stolen elsewhere.
    pub breached_total: u64,
    /// New passwords that could not be looked up, and were taken.
    pub unfiltered_total: u64,
}

/// Whether a stored hash is of a known scheme and within its bounds.
pub(crate) fn is_readable(stored: &str) -> bool {
    Stored::parse(stored).is_some()
}

/// A hash that no password leads to, of the cost of new ones: for an account whose owner has yet to choose a password.
pub(crate) fn unmatchable(peppers: &Peppers) -> PasswordHash {
    Phc::unmatchable(HashCost::RECOMMENDED, peppers.current()).to_password_hash()
}

/// A handle on the threads; clones share them. They end when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct PasswordHasher {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Arc<Queue>,
    rules: Arc<Rules>,
    deadline: Duration,
    workers: usize,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.queue.fmt(f)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl PasswordHasher {
    /// Starts the threads.
    pub fn start(config: HasherConfig) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(config.queue_limit));
        let rules = Rules::new(config.cost, config.peppers);
        let rules = Arc::new(rules.refusing(config.breached, &config.forbidden));
        let inner = Inner {
            queue: Arc::clone(&queue),
            rules: Arc::clone(&rules),
            deadline: config.deadline,
            workers: config.workers.get(),
        };
        for index in 0..config.workers.get() {
            worker::spawn(index, Arc::clone(&queue), Arc::clone(&rules))?;
        }
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Hashes a new password under a fresh salt, unless it is one that nobody may choose: nobody can forget to ask.
    pub async fn hash(&self, password: NewPassword) -> Result<PasswordHash, HashError> {
        self.hash_secret(password.into_secret(), true).await
    }

    /// Makes addresses without an account cost what accounts cost, by a sample of their hashes: those that came from
    /// another system, or were made by an earlier release, take another time than those of today.
    pub fn learn_costs(&self, sample: &[PasswordHash]) {
        self.inner.rules.learn(sample);
    }

    /// Hashes a password that was right under an older cost or pepper. A run of its own, for after the login was
    /// granted: one that is refused in spite of the right password must not take longer than any other.
    pub async fn rehash(&self, password: PresentedPassword) -> Result<PasswordHash, HashError> {
        self.hash_secret(password.into_secret(), false).await
    }

    async fn hash_secret(
        &self,
        password: Secret<String>,
        is_new: bool,
    ) -> Result<PasswordHash, HashError> {
        let (reply, answer) = oneshot::channel();
        let salt = random::bytes();
        self.run(
            Work::Hash {
                password,
                is_new,
                salt,
                reply,
            },
            answer,
        )
        .await?
    }

    /// Checks a password against a stored hash, or against one that nothing matches: the same work either way.
    pub async fn verify_or_dummy(
        &self,
        stored: Option<&PasswordHash>,
        password: PresentedPassword,
    ) -> Result<Verification, HashError> {
        self.verify_or_dummy_of(stored, 0, password).await
    }

    /// As [`PasswordHasher::verify_or_dummy`], where the address may have no account: `number` is always the same for
    /// an address, and known to nobody else.
    pub async fn verify_or_dummy_of(
        &self,
        stored: Option<&PasswordHash>,
        number: u64,
        password: PresentedPassword,
    ) -> Result<Verification, HashError> {
        let (reply, answer) = oneshot::channel();
        let work = Work::Verify {
            stored: stored.cloned(),
            number,
            password,
            reply,
        };
        self.run(work, answer).await
    }

    /// What the threads have done and are doing.
    pub fn metrics(&self) -> HasherMetrics {
        HasherMetrics {
            workers: self.inner.workers,
            ..self.inner.queue.metrics()
        }
    }

    /// Waits in the queue until the deadline; a job that has begun is waited for to its end.
    async fn run<T>(&self, work: Work, mut answer: oneshot::Receiver<T>) -> Result<T, HashError> {
        let ticket = self.inner.queue.push(Job::new(work))?;
        match tokio::time::timeout(self.inner.deadline, &mut answer).await {
            Ok(result) => result.map_err(|_| HashError::Stopped),
            Err(_) if ticket.withdraw() => {
                self.inner.queue.count_overload();
                Err(HashError::Overloaded)
            }
            Err(_) => answer.await.map_err(|_| HashError::Stopped),
        }
    }
}

#[cfg(test)]
mod tests;
