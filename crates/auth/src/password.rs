//! Password hashing on threads of its own. Never runs on a request's thread, never longer than its queue allows.
//!
//! argon2id costs milliseconds and megabytes by design. A fixed number of low-priority threads bounds both: each owns
//! one arena, excess work waits in a bounded queue and is refused at a deadline, and health checks and token
//! verification keep their latency because the scheduler prefers their threads.
//!
//! Whatever the account, a login costs one run: [`PasswordHasher::verify_or_dummy`] hashes against a made-up hash of
//! the same parameters when there is none, so that time tells nobody which addresses have accounts. Callers check the
//! password first and the status of the account afterwards, for the same reason.

mod arena;
mod pepper;
mod phc;
mod queue;
mod worker;

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use portcullis_ops::Secret;
use tokio::sync::oneshot;

use crate::domain::{NewPassword, PasswordHash, PresentedPassword};
use crate::random;

pub use pepper::{Pepper, Peppers};
pub use phc::HashCost;
use phc::Phc;
use queue::{Job, Queue, Work};

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
}

/// A handle on the threads; clones share them. They end when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct PasswordHasher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: Arc<Queue>,
    deadline: Duration,
    workers: usize,
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
        let inner = Inner {
            queue: Arc::clone(&queue),
            deadline: config.deadline,
            workers: config.workers.get(),
        };
        let dummy = Phc::unmatchable(config.cost, config.peppers.current());
        let rules = Arc::new(worker::Rules {
            cost: config.cost,
            peppers: config.peppers,
            dummy,
        });
        for index in 0..config.workers.get() {
            worker::spawn(index, Arc::clone(&queue), Arc::clone(&rules))?;
        }
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Hashes a new password under a fresh salt.
    pub async fn hash(&self, password: NewPassword) -> Result<PasswordHash, HashError> {
        self.hash_secret(password.into_secret()).await
    }

    /// Hashes a password that was right under an older cost or pepper. A run of its own, for after the login was
    /// granted: one that is refused in spite of the right password must not take longer than any other.
    pub async fn rehash(&self, password: PresentedPassword) -> Result<PasswordHash, HashError> {
        self.hash_secret(password.into_secret()).await
    }

    async fn hash_secret(&self, password: Secret<String>) -> Result<PasswordHash, HashError> {
        let (reply, answer) = oneshot::channel();
        let salt = random::bytes();
        self.run(
            Work::Hash {
                password,
                salt,
                reply,
            },
            answer,
        )
        .await
    }

    /// Checks a password against a stored hash, or against one that nothing matches: the same work either way.
    pub async fn verify_or_dummy(
        &self,
        stored: Option<&PasswordHash>,
        password: PresentedPassword,
    ) -> Result<Verification, HashError> {
        let (reply, answer) = oneshot::channel();
        let work = Work::Verify {
            stored: stored.cloned(),
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
