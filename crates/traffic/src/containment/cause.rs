//! Whether trouble is an endpoint's own or shared by all: what is held against nobody. Never changes an endpoint.
//!
//! When a dependency that all endpoints need is down, all fail alike, and putting any of them aside
//! helps nobody. So before trouble has consequences, the others are asked. Those that cannot be
//! reached, time out or answer garbage have nothing to say about a cause; those that answered
//! have:
//!
//! - one that gets by since the trouble began shows that it is the endpoint's own;
//! - one that was last heard of before leaves it open, until its next probe;
//! - if nobody is left that does not fail for the same, the cause is shared. A bare status needs two
//!   that agree; a dependency that is named does not.

use std::time::{Duration, Instant};

use super::Trouble;
use super::check::Falling;
use crate::share::{Totals, Window};

/// Whose trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// All that can be asked share it.
    Shared,
    /// Not known yet.
    Open,
    /// The endpoint's own.
    Own,
}

/// What the last probes of one check say, over all endpoints that can be reached.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// The last time one of them passed.
    passed: Option<Instant>,
    named: Vec<Named>,
    /// There are more causes than are worth telling apart.
    is_mixed: bool,
}

#[derive(Clone, Debug)]
struct Named {
    cause: Trouble,
    by: u32,
    last: Instant,
}

impl Survey {
    /// Over the last results of each endpoint.
    pub(super) fn new<'a>(
        results: impl Iterator<Item = (Instant, Result<(), &'a Trouble>)>,
    ) -> Self {
        let mut survey = Self::default();
        for (at, result) in results {
            match result {
                Ok(()) => survey.passed = survey.passed.max(Some(at)),
                Err(trouble) if trouble.is_answer() => survey.name(trouble, at),
                Err(_) => {}
            }
        }
        survey
    }

    fn name(&mut self, cause: &Trouble, at: Instant) {
        if let Some(named) = self.named.iter_mut().find(|named| named.cause == *cause) {
            (named.by, named.last) = (named.by + 1, named.last.max(at));
        } else if self.named.len() < MAX_CAUSES {
            self.named.push(Named {
                cause: cause.clone(),
                by: 1,
                last: at,
            });
        } else {
            self.is_mixed = true;
        }
    }

    /// Whose trouble this is.
    pub(super) fn rule(&self, falling: &Falling<'_>) -> Ruling {
        if self.is_mixed || !falling.trouble.is_answer() {
            return Ruling::Own;
        }
        let others = self.named.iter().filter(|n| n.cause != *falling.trouble);
        let contrary = others.map(|named| named.last).max().max(self.passed);
        match contrary {
            Some(at) if at >= falling.since || falling.is_overdue => Ruling::Own,
            Some(_) => Ruling::Open,
            None if self.is_shared(falling.trouble) => Ruling::Shared,
            None => Ruling::Own,
        }
    }

    /// Whether all that have something to say name this cause, and enough of them do.
    fn is_shared(&self, cause: &Trouble) -> bool {
        let named = self.named.first();
        self.upholds(cause) && named.is_some_and(|named| named.by >= voices(cause))
    }

    /// Whether a cause that was shared still is: those that have something to say name it.
    pub(super) fn upholds(&self, cause: &Trouble) -> bool {
        match self.named.as_slice() {
            [named] => self.passed.is_none() && !self.is_mixed && named.cause == *cause,
            _ => false,
        }
    }
}

/// How many must agree. A dependency is named by one that knows; a status may mean anything.
fn voices(cause: &Trouble) -> u32 {
    match cause {
        Trouble::Dependency(_) => 1,
        _ => 2,
    }
}

/// More causes at once than this are no shared cause.
const MAX_CAUSES: usize = 8;

/// What traffic lately says about one endpoint, kept to compare it with the others.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    window: Window,
    last_success: Option<Instant>,
    /// Since when every attempt failed.
    failing_since: Option<Instant>,
    last_trouble: Option<(Instant, Trouble)>,
}

/// A complaint about one endpoint, to be compared with the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Complaint<'a> {
    pub(super) trouble: &'a Trouble,
    /// Successes of others after this contradict it.
    pub(super) since: Instant,
    pub(super) totals: Totals,
    /// Probes say already that a cause is shared, so any trouble may be its consequence.
    pub(super) is_explained: bool,
}

impl Traffic {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            window: Window::new(MEMORY, now),
            last_success: None,
            failing_since: None,
            last_trouble: None,
        }
    }

    pub(super) fn succeeded(&mut self, now: Instant) {
        self.failing_since = None;
        self.last_success = Some(now);
        self.window.succeeded(now);
    }

    pub(super) fn failed(&mut self, trouble: &Trouble, now: Instant) {
        self.failing_since.get_or_insert(now);
        self.last_trouble = Some((now, trouble.clone()));
        self.window.failed(now);
    }

    /// The last failures in a row began here.
    pub(super) fn failing_since(&self, now: Instant) -> Instant {
        self.failing_since.unwrap_or(now)
    }

    pub(super) fn last_trouble(&self) -> Option<&Trouble> {
        self.last_trouble.as_ref().map(|(_, trouble)| trouble)
    }

    pub(super) fn totals(&self, now: Instant) -> Totals {
        self.window.totals(now)
    }

    /// What this endpoint says about the complaint about another one; `None` without recent
    /// traffic.
    pub(super) fn about(&self, complaint: &Complaint<'_>, now: Instant) -> Option<Ruling> {
        let mine = self.totals(now);
        if mine.results == 0 {
            return None;
        }
        let has_same = self.last_trouble.as_ref().is_some_and(|(at, trouble)| {
            let is_recent = now.saturating_duration_since(*at) <= MEMORY;
            is_recent && (complaint.is_explained || trouble == complaint.trouble)
        });
        let theirs = complaint.totals;
        let fails_alike = mine.failures * 2 * theirs.results >= theirs.failures * mine.results;
        if has_same && (self.failing_since.is_some() || fails_alike) {
            return Some(Ruling::Shared);
        }
        let fails_otherwise = self.failing_since.is_some();
        match self.last_success {
            Some(at) if at >= complaint.since => Some(Ruling::Own),
            Some(_) if !fails_otherwise => Some(Ruling::Open),
            _ => None,
        }
    }
}

/// Sums up what the others say about a complaint.
pub(super) fn sum_up(
    complaint: &Complaint<'_>,
    others: impl Iterator<Item = Option<Ruling>>,
) -> Ruling {
    let (mut voices_for, mut is_open) = (1, false);
    for ruling in others.flatten() {
        match ruling {
            Ruling::Own => return Ruling::Own,
            Ruling::Open => is_open = true,
            Ruling::Shared => voices_for += 1,
        }
    }
    if is_open {
        Ruling::Open
    } else if complaint.is_explained || voices_for >= voices(complaint.trouble) {
        Ruling::Shared
    } else {
        Ruling::Own
    }
}

/// How far back traffic is compared.
pub(super) const MEMORY: Duration = Duration::from_secs(10);

/// The causes that are shared at present, and where they were seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    /// By the position of the check.
    pub(super) checks: Vec<Option<Trouble>>,
    /// By traffic, and until when unless it is seen again.
    pub(super) traffic: Option<(Trouble, Instant)>,
}

impl Shared {
    /// The cause, probes before traffic: they name it better.
    pub(super) fn cause(&self) -> Option<&Trouble> {
        let by_checks = self.checks.iter().flatten().next();
        by_checks.or(self.traffic.as_ref().map(|(cause, _)| cause))
    }
}

/// A cause seen in traffic is over if it was not seen for so long.
pub(super) const TRAFFIC_MEMORY: Duration = Duration::from_secs(30);
