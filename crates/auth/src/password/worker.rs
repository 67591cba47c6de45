//! A hashing thread. Never touches the async runtime; its only ways out are the answer channel and the counters.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::arena::Arena;
use super::phc::{HashCost, Phc, SALT_BYTES, TAG_BYTES};
use super::queue::{Next, Queue, Work};
use super::rules::Rules;
use super::stored::Stored;
use super::{HashError, Verification};
use crate::domain::PasswordHash;

/// An idle thread gives its arena back after this long.
const ARENA_IDLE: Duration = Duration::from_secs(10);
/// Weight 110 against 1024 of an ordinary thread: requests come first, yet logins go on when all cores are busy.
const NICENESS: i32 = 10;

/// Starts one thread; it ends when the queue is closed.
pub(super) fn spawn(index: usize, queue: Arc<Queue>, rules: Arc<Rules>) -> io::Result<()> {
    thread::Builder::new()
        .name(format!("hash-{index}"))
        .spawn(move || {
            lower_priority();
            let mut worker = Worker {
                arena: Arena::default(),
                queue,
                rules,
            };
            worker.run();
        })
        .map(drop)
}

struct Worker {
    arena: Arena,
    queue: Arc<Queue>,
    rules: Arc<Rules>,
}

impl Worker {
    fn run(&mut self) {
        loop {
            match self.next() {
                Next::Work(work) => self.survive(work),
                Next::Idle => self.arena.release(),
                Next::Closed => return,
            }
        }
    }

    /// The next password's run overwrites what the last one left; where there is none, it is wiped before waiting, and
    /// after the answer was given.
    fn next(&mut self) -> Next {
        match self.queue.pop(Some(Duration::ZERO)) {
            Next::Work(work) => return Next::Work(work),
            Next::Idle | Next::Closed => self.arena.wipe(),
        }
        let patience = self.arena.is_held().then_some(ARENA_IDLE);
        self.queue.pop(patience)
    }

    /// A panic costs one answer and the arena, not the thread.
    fn survive(&mut self, work: Work) {
        self.queue.busy.fetch_add(1, Ordering::Relaxed);
        if catch_unwind(AssertUnwindSafe(|| self.answer(work))).is_err() {
            self.arena.release();
        }
        self.queue.busy.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whoever asked may have gone meanwhile; then the answer is nobody's and is dropped.
    fn answer(&mut self, work: Work) {
        match work {
            Work::Hash {
                password,
                is_new,
                salt,
                reply,
            } => {
                let password = password.expose();
                let refused = match is_new {
                    true => self.refused(password),
                    false => None,
                };
                let _ = reply.send(match refused {
                    Some(refused) => Err(refused),
                    None => Ok(self.hash(password, salt)),
                });
            }
            Work::Verify {
                stored,
                number,
                password,
                reply,
            } => {
                let _ = reply.send(self.verify(stored.as_ref(), number, password.expose()));
            }
        }
    }

    fn hash(&mut self, password: &str, salt: [u8; SALT_BYTES]) -> PasswordHash {
        let rules = Arc::clone(&self.rules);
        let tag = self.tag(rules.cost, &salt, password);
        let pepper = rules.peppers.current();
        Phc {
            cost: rules.cost,
            pepper: pepper.map(|pepper| pepper.id()),
            salt: salt.to_vec(),
            tag: pepper.map_or(tag, |pepper| pepper.apply(&tag)),
        }
        .to_password_hash()
    }

    fn refused(&self, password: &str) -> Option<HashError> {
        if self.rules.is_forbidden(password) {
            return Some(HashError::Guessable);
        }
        match self.rules.breached.as_ref()?.holds(password) {
            Ok(false) => None,
            Ok(true) => {
                self.queue.breached.fetch_add(1, Ordering::Relaxed);
                Some(HashError::Breached)
            }
            // A disk that fails must not keep people from choosing a password; the operator sees a count.
            Err(_) => {
                self.queue.unfiltered.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn verify(
        &mut self,
        stored: Option<&PasswordHash>,
        number: u64,
        password: &str,
    ) -> Verification {
        let rules = Arc::clone(&self.rules);
        let mix = rules.mix.load();
        let known = stored.and_then(|stored| self.usable(stored));
        let checked = known.as_ref().unwrap_or_else(|| mix.pick(number));
        let is_right = self.is_of(checked, password) && known.is_some();
        Verification {
            is_right,
            is_outdated: is_right && !rules.is_current(checked),
        }
    }

    fn is_of(&mut self, stored: &Stored, password: &str) -> bool {
        match stored {
            Stored::Own(phc) => {
                let mut tag = self.tag(phc.cost, &phc.salt, password);
                let rules = &self.rules;
                if let Some(pepper) = phc.pepper.and_then(|id| rules.peppers.find(id)) {
                    tag = pepper.apply(&tag);
                }
                verify_slices_are_equal(&tag, &phc.tag).is_ok()
            }
            Stored::Foreign(foreign) => self.counted(|arena| foreign.is_of(password, arena)),
        }
    }

    /// A hash that cannot be checked counts as none at all: the login fails like any other, and the operator sees a count.
    fn usable(&self, stored: &PasswordHash) -> Option<Stored> {
        let stored = Stored::parse(stored.expose());
        let usable = stored.filter(|stored| self.rules.has_pepper_of(stored));
        if usable.is_none() {
            self.queue.unusable.fetch_add(1, Ordering::Relaxed);
        }
        usable
    }

    fn tag(&mut self, cost: HashCost, salt: &[u8], password: &str) -> [u8; TAG_BYTES] {
        self.counted(|arena| arena.tag(cost, salt, password))
    }

    fn counted<T>(&mut self, run: impl FnOnce(&mut Arena) -> T) -> T {
        let begun = Instant::now();
        let done = run(&mut self.arena);
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.queue.hashes.fetch_add(1, Ordering::Relaxed);
        self.queue
            .hashing_micros
            .fetch_add(micros, Ordering::Relaxed);
        done
    }
}

/// Raising one's own niceness needs no privilege; should it fail, hashing works all the same.
#[expect(unsafe_code, reason = "no crate at hand wraps setpriority")]
fn lower_priority() {
    // On Linux a `who` of 0 is the calling thread, not the process (setpriority(2), "C library/kernel differences").
    // SAFETY: the call takes three integers and touches no memory.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::super::pepper::Peppers;
    use super::super::queue::Job;
    use super::*;
    use crate::domain::PresentedPassword;

    fn ask(queue: &Queue) -> oneshot::Receiver<Verification> {
        let (reply, answer) = oneshot::channel();
        let password = PresentedPassword::parse("correct horse").unwrap();
        let work = Work::Verify {
            stored: None,
            number: 0,
            password,
            reply,
        };
        // Forgotten: dropping it would withdraw the work.
        std::mem::forget(queue.push(Job::new(work)).unwrap());
        answer
    }

    #[test]
    fn sec_b06_nothing_of_a_password_is_left_while_a_thread_waits() {
        let queue = Arc::new(Queue::new(8));
        let mut worker = Worker {
            arena: Arena::default(),
            queue: Arc::clone(&queue),
            rules: Arc::new(Rules::new(HashCost::CHEAP, Peppers::none())),
        };
        let answers = [ask(&queue), ask(&queue)];
        for _ in &answers {
            let Next::Work(work) = worker.next() else {
                panic!("there is work");
            };
            worker.survive(work);
            assert!(!worker.arena.is_blank(), "the next run overwrites it");
        }
        queue.close();
        assert!(matches!(worker.next(), Next::Closed));
        assert!(worker.arena.is_held() && worker.arena.is_blank());
        for answer in answers {
            assert!(!answer.blocking_recv().unwrap().is_right);
        }
    }
}
