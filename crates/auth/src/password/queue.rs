//! The bounded queue in front of the hashing threads. Never holds work that nobody waits for when room is needed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_ops::Secret;
use tokio::sync::oneshot;

use super::phc::SALT_BYTES;
use super::{HashError, HasherMetrics, Verification};
use crate::domain::{PasswordHash, PresentedPassword};

/// What to do and where to send the answer.
pub(super) enum Work {
    Hash {
        password: Secret<String>,
        /// Somebody chose it just now, so that it may be refused.
        is_new: bool,
        salt: [u8; SALT_BYTES],
        reply: oneshot::Sender<Result<PasswordHash, HashError>>,
    },
    Verify {
        stored: Option<PasswordHash>,
        /// Which hash stands in for a missing one.
        number: u64,
        password: PresentedPassword,
        reply: oneshot::Sender<Verification>,
    },
}

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// Work and whether it still waits; whoever moves it from waiting first decides.
pub(super) struct Job {
    work: Work,
    state: Arc<AtomicU8>,
}

impl Job {
    pub(super) fn new(work: Work) -> Self {
        Self {
            work,
            state: Arc::default(),
        }
    }

    /// The work, unless it has been withdrawn.
    fn begin(self) -> Option<Work> {
        leave_waiting(&self.state, BEGUN).then_some(self.work)
    }
}

/// The waiting side of a job. Dropped before the job begins (the client has gone), it withdraws it.
pub(super) struct Ticket(Arc<AtomicU8>);

impl Ticket {
    /// `false`: the job has begun.
    pub(super) fn withdraw(&self) -> bool {
        leave_waiting(&self.0, WITHDRAWN)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.withdraw();
    }
}

fn leave_waiting(state: &AtomicU8, to: u8) -> bool {
    state
        .compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

/// Shared by requests and threads. The lock is held for a push or a pop only.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    has_work: Condvar,
    limit: usize,
    pub(super) busy: AtomicUsize,
    pub(super) hashes: AtomicU64,
    pub(super) hashing_micros: AtomicU64,
    pub(super) unusable: AtomicU64,
    pub(super) breached: AtomicU64,
    pub(super) unfiltered: AtomicU64,
    overloaded: AtomicU64,
}

/// What a thread gets when it asks for work.
pub(super) enum Next {
    Work(Work),
    Idle,
    Closed,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            has_work: Condvar::new(),
            limit,
            busy: AtomicUsize::new(0),
            hashes: AtomicU64::new(0),
            hashing_micros: AtomicU64::new(0),
            unusable: AtomicU64::new(0),
            breached: AtomicU64::new(0),
            unfiltered: AtomicU64::new(0),
            overloaded: AtomicU64::new(0),
        }
    }

    pub(super) fn push(&self, job: Job) -> Result<Ticket, HashError> {
        let ticket = Ticket(Arc::clone(&job.state));
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(HashError::Stopped);
        }
        if waiting.jobs.len() >= self.limit {
            // Clients that hung up must not keep others out.
            waiting
                .jobs
                .retain(|job| job.state.load(Ordering::Acquire) == WAITING);
        }
        if waiting.jobs.len() >= self.limit {
            drop(waiting);
            self.count_overload();
            return Err(HashError::Overloaded);
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.has_work.notify_one();
        Ok(ticket)
    }

    /// Blocks a hashing thread until there is work, or for `patience` if it has something to tidy up.
    pub(super) fn pop(&self, patience: Option<Duration>) -> Next {
        let mut waiting = self.lock();
        loop {
            while let Some(job) = waiting.jobs.pop_front() {
                if let Some(work) = job.begin() {
                    return Next::Work(work);
                }
            }
            if waiting.is_closed {
                return Next::Closed;
            }
            waiting = match patience {
                None => self
                    .has_work
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Next::Idle,
                Some(patience) => {
                    let (guard, timeout) = self
                        .has_work
                        .wait_timeout(waiting, patience)
                        .unwrap_or_else(PoisonError::into_inner);
                    if timeout.timed_out() && guard.jobs.is_empty() && !guard.is_closed {
                        return Next::Idle;
                    }
                    guard
                }
            };
        }
    }

    /// Refuses new work, drops what waits and lets the threads end.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        waiting.jobs.clear();
        drop(waiting);
        self.has_work.notify_all();
    }

    pub(super) fn count_overload(&self) {
        self.overloaded.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn metrics(&self) -> HasherMetrics {
        let still_waits = |job: &&Job| job.state.load(Ordering::Acquire) == WAITING;
        HasherMetrics {
            workers: 0,
            busy: self.busy.load(Ordering::Relaxed),
            queued: self.lock().jobs.iter().filter(still_waits).count(),
            hashes_total: self.hashes.load(Ordering::Relaxed),
            hashing_micros_total: self.hashing_micros.load(Ordering::Relaxed),
            overloaded_total: self.overloaded.load(Ordering::Relaxed),
            unusable_total: self.unusable.load(Ordering::Relaxed),
            breached_total: self.breached.load(Ordering::Relaxed),
            unfiltered_total: self.unfiltered.load(Ordering::Relaxed),
        }
    }

    /// A panic elsewhere cannot leave the queue half changed: every change is one push, pop or flag.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.metrics().fmt(f)
    }
}
