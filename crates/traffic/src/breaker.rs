//! A circuit breaker: closed admits, open rejects, half-open tries. Never counts for more than one endpoint.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::share::ErrorShare;

/// When a breaker opens and how it closes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failures in a row that open it.
    pub failures: NonZeroU32,
    /// Share of failures that opens it; `None`: never.
    pub error_share: Option<ErrorShare>,
    /// How long it stays open.
    pub duration: Duration,
    /// Successes, half-open, that close it; also how many trial requests it admits at once.
    pub successes: NonZeroU32,
    /// Whether it acts.
    pub mode: Mode,
}

/// Whether a breaker acts or only watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Open, it rejects.
    Enforce,
    /// It says when it would have opened, and rejects nothing.
    Monitor,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Admits.
    Closed,
    /// Rejects.
    Open,
    /// Admits a few trial requests.
    HalfOpen,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            failures: NonZeroU32::new(5).expect("five is not zero"),
            error_share: Some(ErrorShare::default()),
            duration: Duration::from_secs(60),
            successes: NonZeroU32::new(5).expect("five is not zero"),
            mode: Mode::Enforce,
        }
    }
}
