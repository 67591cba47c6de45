//! The witness of the queue: first come, first called. Never asks the queue.

use std::time::Instant;

use portcullis_traffic::queue::{Full, Limits, Queue, Ticket};

pub(crate) struct Waiting {
    limits: Limits,
    /// In the order in which they came.
    line: Vec<One>,
}

#[derive(Clone, Copy, Debug)]
struct One {
    ticket: Ticket,
    since: Instant,
    is_called: bool,
}

impl Waiting {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            line: Vec::new(),
        }
    }

    pub(crate) fn check_nobody(&self) {
        assert!(self.line.is_empty(), "a newcomer overtakes {:?}", self.line);
    }

    pub(crate) fn check_join(&mut self, joined: &Result<Ticket, Full>, now: Instant) {
        match joined {
            Ok(ticket) => {
                let (ticket, since) = (*ticket, now);
                assert!(self.line.iter().all(|one| one.ticket < ticket));
                assert!(self.line.len() < self.limits.length, "too long");
                self.line.push(One {
                    ticket,
                    since,
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
        let is_in_time = |one: &One| now < one.since + self.limits.timeout;
        let next = self
            .line
            .iter_mut()
            .find(|one| !one.is_called && is_in_time(one));
        assert_eq!(
            called,
            next.as_ref().map(|one| one.ticket),
            "first come, first called"
        );
        if let Some(next) = next {
            next.is_called = true;
        }
    }

    pub(crate) fn missed(&mut self, ticket: Ticket) {
        self.one(ticket).is_called = false;
    }

    /// It waits no longer; whether it had been called.
    pub(crate) fn left(&mut self, ticket: Ticket) -> bool {
        let was_called = self.one(ticket).is_called;
        self.line.retain(|one| one.ticket != ticket);
        was_called
    }

    pub(crate) fn check_books(&self, queue: &Queue) {
        assert_eq!(queue.len(), self.line.len());
        assert_eq!(queue.must_wait(), !self.line.is_empty());
        for one in &self.line {
            assert_eq!(
                queue.deadline(one.ticket),
                Some(one.since + self.limits.timeout)
            );
        }
    }

    /// There is a free place: whoever waits must not be forgotten.
    pub(crate) fn check_somebody_comes(&self, now: Instant) {
        let in_time = |one: &One| now < one.since + self.limits.timeout;
        let is_forgotten =
            self.line.iter().any(in_time) && !self.line.iter().any(|one| one.is_called);
        assert!(!is_forgotten, "nobody was called: {:?}", self.line);
    }

    fn one(&mut self, ticket: Ticket) -> &mut One {
        let found = self.line.iter_mut().find(|one| one.ticket == ticket);
        found.expect("it waits")
    }
}
