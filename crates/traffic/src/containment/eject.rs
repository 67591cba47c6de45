//! Passive ejection: when failures of real traffic put an endpoint aside, and for how long. Never empties a cluster.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::share::ErrorShare;

/// When to eject and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failures without an answer in a row, all within `window`, that ask for ejection.
    pub failures: NonZeroU32,
    /// How far apart the first and the last of them may be.
    pub window: Duration,
    /// How long the first ejection lasts; the n-th lasts n times as long.
    pub duration: Duration,
    /// The longest ejection. Quiet for as long, an endpoint is taken as if it had never been out.
    pub max_duration: Duration,
    /// Failures in a row, answers of 502, 503 and 504 among them, that ask for ejection; `None`:
    /// never.
    pub gateway_errors: Option<NonZeroU32>,
    /// Share of failures that asks for ejection; `None`: never.
    pub error_share: Option<ErrorShare>,
    /// Largest share of a cluster that may be out at once, in percent.
    pub max_percent: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            failures: NonZeroU32::new(3).expect("three is not zero"),
            window: Duration::from_secs(30),
            duration: Duration::from_secs(30),
            max_duration: Duration::from_secs(300),
            gateway_errors: NonZeroU32::new(5),
            error_share: Some(ErrorShare::default()),
            max_percent: 50,
        }
    }
}
