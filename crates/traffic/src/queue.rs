//! Who waits for a place when every endpoint is full. Never waits itself: it says whose turn it is.
//!
//! Requests wait in the order in which they came, each until its deadline, and no more than
//! [`Limits::length`] of them. The shell wakes whom [`Queue::call`] names; until that one has said
//! what became of it ([`Queue::take`], [`Queue::leave`] or [`Queue::miss`]) it keeps its position,
//! so a newcomer that asks [`Queue::must_wait`] first can overtake nobody.
//!
//! A retry may decline a place that others would take ([`Takes::Some`]). It is called in its turn
//! like everybody, but holds up nobody: what it misses is offered to the next behind it, and while
//! it is not called, newcomers need not wait for it.
//!
//! A place may become free while nobody is in line but those called already, and be left for one
//! who joins behind them. So whoever takes a place lets the next one look, too: the shell calls
//! once for every place given back, for every change that may have made room, and after every
//! [`Queue::take`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long the queue may be, in requests and in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most that wait at once. Zero: nobody waits.
    pub length: usize,
    /// How long each may wait.
    pub timeout: Duration,
}

/// Which free places somebody in line would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Whichever is free.
    Any,
    /// None at endpoints that it has tried.
    Some,
}

/// A position in the queue; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// For `Retry-After`: by then all that wait now have been served or have left.
    pub retry_after_seconds: u64,
}

/// Requests that wait for a place, first come first served.
///
/// ```
/// use portcullis_traffic::queue::{Limits, Queue, Takes};
/// use std::time::{Duration, Instant};
///
/// let (now, second) = (Instant::now(), Duration::from_secs(1));
/// let mut queue = Queue::new(Limits { length: 2, timeout: 5 * second });
/// let first = queue.join(Takes::Any, now).unwrap();
/// let second_in_line = queue.join(Takes::Any, now + second).unwrap();
/// assert_eq!(queue.join(Takes::Any, now + second).unwrap_err().retry_after_seconds, 5);
///
/// // A place was given back, and the first in line takes it.
/// assert_eq!(queue.call(now + second), Some(first));
/// queue.take(first);
/// // There may be more, so the next one looks, finds none and waits on.
/// assert_eq!(queue.call(now + second), Some(second_in_line));
/// queue.miss(second_in_line, now + second);
/// // Its client gives up.
/// assert_eq!(queue.leave(second_in_line, now + second), None);
/// assert!(!queue.must_wait());
/// ```
#[derive(Clone, Debug)]
pub struct Queue {
    limits: Limits,
    /// By ticket, so by arrival.
    waiting: VecDeque<Waiting>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    ticket: Ticket,
    deadline: Instant,
    takes: Takes,
    is_called: bool,
}

impl Queue {
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            next: 0,
        }
    }

    /// New limits. Those that wait already stay, with the deadlines they were given.
    pub fn reshape(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether anybody may wait at all.
    pub fn is_on(&self) -> bool {
        self.limits.length > 0
    }

    /// Whether a newcomer has to [join](Self::join) although there may be a place: others were here
    /// before it.
    pub fn must_wait(&self) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|one| one.takes == Takes::Any || one.is_called)
    }

    /// How many wait, those included that were called and have not answered yet.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a position at the end.
    pub fn join(&mut self, takes: Takes, now: Instant) -> Result<Ticket, Full> {
        if self.waiting.len() >= self.limits.length {
            return Err(Full {
                retry_after_seconds: self.retry_after_seconds(now),
            });
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.push_back(Waiting {
            ticket,
            // A timeout beyond what the clock can say is as good as a day.
            deadline: now
                .checked_add(self.limits.timeout)
                .unwrap_or(now + Duration::from_secs(86_400)),
            takes,
            is_called: false,
        });
        Ok(ticket)
    }

    /// Until when a request may wait; `None` if it does not.
    pub fn deadline(&self, ticket: Ticket) -> Option<Instant> {
        let position = self.position(ticket)?;
        Some(self.waiting.get(position)?.deadline)
    }

    /// A place was given back: whom to wake for it. Whoever is past its deadline is passed over,
    /// and so is who was called already.
    pub fn call(&mut self, now: Instant) -> Option<Ticket> {
        self.call_from(0, now)
    }

    fn call_from(&mut self, start: usize, now: Instant) -> Option<Ticket> {
        let mut waiting = self.waiting.iter_mut().skip(start);
        let next = waiting.find(|one| !one.is_called && now < one.deadline)?;
        next.is_called = true;
        Some(next.ticket)
    }

    /// It got its place and waits no longer. [Call](Self::call) once more then.
    pub fn take(&mut self, ticket: Ticket) {
        self.remove(ticket);
    }

    /// It was called and found no place: it waits again where it was. If it would not take every
    /// place, the next behind it is called in its stead.
    pub fn miss(&mut self, ticket: Ticket, now: Instant) -> Option<Ticket> {
        let position = self.position(ticket)?;
        let one = self.waiting.get_mut(position)?;
        one.is_called = false;
        match one.takes {
            Takes::Any => None,
            Takes::Some => self.call_from(position + 1, now),
        }
    }

    /// It leaves without a place: its client is gone or its deadline has come. If it had been
    /// called, the next one is called in its stead.
    pub fn leave(&mut self, ticket: Ticket, now: Instant) -> Option<Ticket> {
        let left = self.remove(ticket)?;
        if left.is_called { self.call(now) } else { None }
    }

    /// Removes one whose deadline has come and that was not called; call again until `None`.
    pub fn expire(&mut self, now: Instant) -> Option<Ticket> {
        let position = self
            .waiting
            .iter()
            .position(|one| !one.is_called && one.deadline <= now)?;
        self.waiting.remove(position).map(|one| one.ticket)
    }

    /// When [`Queue::expire`] has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|one| one.deadline).min()
    }

    /// Seconds until all that wait now have been served or have left: at least one, at most the
    /// timeout, rounded up.
    pub fn retry_after_seconds(&self, now: Instant) -> u64 {
        let last = self.waiting.iter().map(|one| one.deadline).max();
        let wait = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(now));
        let ceil = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
        ceil(wait).min(ceil(self.limits.timeout)).max(1)
    }

    fn position(&self, ticket: Ticket) -> Option<usize> {
        self.waiting
            .binary_search_by_key(&ticket, |one| one.ticket)
            .ok()
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Waiting> {
        self.waiting.remove(self.position(ticket)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn queue(length: usize) -> (Queue, Instant) {
        let limits = Limits {
            length,
            timeout: 5 * SECOND,
        };
        (Queue::new(limits), Instant::now())
    }

    #[test]
    fn places_go_to_those_who_came_first() {
        let (mut queue, now) = queue(3);
        let tickets: Vec<_> = (0..3)
            .map(|_| queue.join(Takes::Any, now).unwrap())
            .collect();
        assert_eq!(queue.len(), 3);
        for ticket in tickets {
            assert!(queue.must_wait());
            assert_eq!(queue.call(now), Some(ticket));
            queue.take(ticket);
        }
        assert!(!queue.must_wait());
        assert_eq!(queue.call(now), None);
    }

    #[test]
    fn two_places_call_two() {
        let (mut queue, now) = queue(3);
        let (first, second) = (
            queue.join(Takes::Any, now).unwrap(),
            queue.join(Takes::Any, now).unwrap(),
        );
        assert_eq!(
            [queue.call(now), queue.call(now)],
            [Some(first), Some(second)]
        );
        assert_eq!(queue.call(now), None);
        assert!(queue.must_wait(), "both have yet to take their places");
    }

    #[test]
    fn whoever_misses_its_place_waits_where_it_was() {
        let (mut queue, now) = queue(3);
        let (first, second) = (
            queue.join(Takes::Any, now).unwrap(),
            queue.join(Takes::Any, now).unwrap(),
        );
        queue.call(now);
        assert_eq!(queue.miss(first, now), None);
        assert_eq!(
            [queue.call(now), queue.call(now)],
            [Some(first), Some(second)]
        );
    }

    #[test]
    fn whoever_declines_a_place_holds_up_nobody() {
        let (mut queue, now) = queue(3);
        let choosy = queue.join(Takes::Some, now).unwrap();
        assert!(!queue.must_wait() && !queue.is_empty());
        assert_eq!(queue.call(now), Some(choosy));
        assert!(
            queue.must_wait(),
            "the place is its own until it has looked"
        );
        let other = queue.join(Takes::Some, now).unwrap();
        let plain = queue.join(Takes::Any, now).unwrap();
        assert_eq!(queue.miss(choosy, now), Some(other));
        assert_eq!(queue.miss(other, now), Some(plain));
        assert_eq!(queue.miss(plain, now), None, "there is none for anybody");
        assert_eq!(queue.call(now), Some(choosy), "where it was");
        assert_eq!(queue.miss(choosy, now + 5 * SECOND), None, "too late");
    }

    #[test]
    fn a_place_passes_on_when_the_one_called_has_left() {
        let (mut queue, now) = queue(3);
        let [first, second, third] = [(); 3].map(|()| queue.join(Takes::Any, now).unwrap());
        assert_eq!(queue.leave(second, now), None, "it had not been called");
        queue.call(now);
        assert_eq!(queue.leave(first, now), Some(third));
        assert_eq!(queue.leave(first, now), None, "once is enough");
        assert_eq!(queue.leave(third, now), None, "nobody is left");
    }

    #[test]
    fn a_full_queue_says_when_to_come_back() {
        let (mut queue, now) = queue(1);
        queue.join(Takes::Any, now).unwrap();
        let refused = |queue: &mut Queue, after| {
            queue
                .join(Takes::Any, now + after)
                .unwrap_err()
                .retry_after_seconds
        };
        assert_eq!(refused(&mut queue, Duration::ZERO), 5);
        assert_eq!(refused(&mut queue, Duration::from_millis(1_001)), 4);
        assert_eq!(
            refused(&mut queue, 9 * SECOND),
            1,
            "not zero: that would be at once"
        );
        queue.reshape(Limits {
            length: 1,
            timeout: 2 * SECOND,
        });
        assert_eq!(
            refused(&mut queue, Duration::ZERO),
            2,
            "never more than the timeout"
        );
    }

    #[test]
    fn nobody_waits_beyond_its_deadline() {
        let (mut queue, now) = queue(3);
        let first = queue.join(Takes::Any, now).unwrap();
        let second = queue.join(Takes::Any, now + SECOND).unwrap();
        assert_eq!(queue.deadline(first), Some(now + 5 * SECOND));
        assert_eq!(queue.next_deadline(), Some(now + 5 * SECOND));
        let end = now + 5 * SECOND;
        assert_eq!(queue.call(end), Some(second), "the first is too late");
        assert_eq!(queue.expire(end), Some(first));
        assert_eq!(
            queue.expire(now + 60 * SECOND),
            None,
            "the second was called in time"
        );
        assert_eq!(
            [queue.deadline(first), queue.deadline(second)],
            [None, Some(now + 6 * SECOND)]
        );
    }

    #[test]
    fn shorter_limits_throw_nobody_out() {
        let (mut queue, now) = queue(3);
        let tickets = [(); 3].map(|()| queue.join(Takes::Any, now).unwrap());
        queue.reshape(Limits {
            length: 1,
            timeout: SECOND,
        });
        assert_eq!(queue.deadline(tickets[2]), Some(now + 5 * SECOND));
        assert!(queue.join(Takes::Any, now).is_err());
        queue.take(tickets[0]);
        assert!(queue.join(Takes::Any, now).is_err());
        queue.take(tickets[1]);
        queue.take(tickets[2]);
        let late = queue.join(Takes::Any, now).unwrap();
        assert_eq!(queue.deadline(late), Some(now + SECOND));
    }

    #[test]
    fn nonsense_is_harmless() {
        let (mut queue, now) = queue(0);
        assert!(!queue.is_on());
        assert_eq!(
            queue.join(Takes::Any, now),
            Err(Full {
                retry_after_seconds: 1
            })
        );
        let stranger = Ticket(7);
        queue.take(stranger);
        assert_eq!(queue.miss(stranger, now), None);
        assert_eq!(queue.leave(stranger, now), None);
        assert_eq!((queue.call(now), queue.expire(now)), (None, None));
        assert_eq!(queue.next_deadline(), None);
        queue.reshape(Limits {
            length: 1,
            timeout: Duration::MAX,
        });
        assert!(
            queue
                .deadline(queue.clone().join(Takes::Any, now).unwrap())
                .is_none()
        );
        assert!(queue.join(Takes::Any, now).is_ok());
    }
}
