//! How many of the latest results were failures. Never judges them.

use std::num::NonZeroU32;
use std::time::Duration;

/// A share of failures in a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorShare {
    /// This share in percent, 1 to 100, is too much.
    pub percent: u8,
    /// Fewer results than this say nothing.
    pub requests: NonZeroU32,
    /// How far back it looks.
    pub window: Duration,
}

impl Default for ErrorShare {
    fn default() -> Self {
        Self {
            percent: 50,
            requests: NonZeroU32::new(10).expect("ten is not zero"),
            window: Duration::from_secs(10),
        }
    }
}
