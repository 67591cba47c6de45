//! The witness of the queue: first come, first called. Never asks the queue.

use std::time::Instant;

use portcullis_traffic::endpoint::EndpointId;
use portcullis_traffic::queue::{Full, Limits, Queue, Ticket};
use portcullis_traffic::select::Ask;

pub(crate) struct Waiting {
    limits: Limits,
    /// In the order in which they came.
    line: Vec<One>,
}

#[derive(Clone, Debug)]
struct One {
    ticket: Ticket,
    since: Instant,
    tried: Vec<EndpointId>,
    is_called: bool,
}

impl One {
    /// Others go first rather than wait for it.
    fn lets_pass(&self) -> bool {
        !self.tried.is_empty() && !self.is_called
    }
}

impl Waiting {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            line: Vec::new(),
        }
    }

    pub(crate) fn check_nobody(&self) {
        let mut line = self.line.iter();
        assert!(line.all(One::lets_pass), "a newcomer overtakes {line:?}");
    }

    pub(crate) fn check_join(&mut self, joined: &Result<Ticket, Full>, ask: &Ask<'_>) {
        match joined {
            Ok(ticket) => {
                let (ticket, since) = (*ticket, ask.now);
                assert!(self.line.iter().all(|one| one.ticket < ticket));
                assert!(self.line.len() < self.limits.length, "too long");
                self.line.push(One {
                    ticket,
                    since,
                    tried: ask.tried.to_vec(),
                    is_called: false,
                });
            }
            Err(full) => {
                assert!(self.line.len() >= self.limits.length, "refused too early");
                let seconds = self.limits.timeout.as_secs_f64().ceil();
                let asked = full.retry_after_seconds as f64;
                assert!((1.0..=seconds.max(1.0)).contains(&asked), "{full:?}");
            }
        }
    }

    pub(crate) fn check_called(&mut self, called: Option<Ticket>, now: Instant) {
        self.check_called_from(0, called, now);
    }

    fn check_called_from(&mut self, start: usize, called: Option<Ticket>, now: Instant) {
        let is_in_time = |one: &One| now < one.since + self.limits.timeout;
        let mut behind = self.line.iter_mut().skip(start);
        let next = behind.find(|one| !one.is_called && is_in_time(one));
        assert_eq!(
            called,
            next.as_ref().map(|one| one.ticket),
            "first come, first called"
        );
        if let Some(next) = next {
            next.is_called = true;
        }
    }

    /// It found no place; what it declined is for those behind it.
    pub(crate) fn check_missed(&mut self, ticket: Ticket, next: Option<Ticket>, now: Instant) {
        let one = self.one(ticket);
        one.is_called = false;
        if one.tried.is_empty() {
            return assert_eq!(next, None, "there is no place for the next either");
        }
        let position = self.line.iter().position(|one| one.ticket == ticket);
        self.check_called_from(position.expect("it waits") + 1, next, now);
    }

    /// It waits no longer; whether it had been called.
    pub(crate) fn left(&mut self, ticket: Ticket) -> bool {
        let was_called = self.one(ticket).is_called;
        self.line.retain(|one| one.ticket != ticket);
        was_called
    }

    pub(crate) fn check_books(&self, queue: &Queue) {
        assert_eq!(queue.len(), self.line.len());
        assert_eq!(queue.must_wait(), !self.line.iter().all(One::lets_pass));
        for one in &self.line {
            assert_eq!(
                queue.deadline(one.ticket),
                Some(one.since + self.limits.timeout)
            );
        }
    }

    /// Whoever waits while there is a place for it must not be forgotten.
    pub(crate) fn check_somebody_comes(
        &self,
        now: Instant,
        has_place: impl Fn(&[EndpointId]) -> bool,
    ) {
        let in_time = |one: &One| now < one.since + self.limits.timeout;
        let could_go = |one: &One| in_time(one) && has_place(&one.tried);
        let is_forgotten =
            self.line.iter().any(could_go) && !self.line.iter().any(|one| one.is_called);
        assert!(!is_forgotten, "nobody was called: {:?}", self.line);
    }

    fn one(&mut self, ticket: Ticket) -> &mut One {
        let found = self.line.iter_mut().find(|one| one.ticket == ticket);
        found.expect("it waits")
    }
}
