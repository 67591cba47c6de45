//! Health checks after parsing. Never holds a string that somebody must parse again.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Active HTTP health check.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// Path of the GET (default `/health/ready`).
    pub path: String,
    /// `Host` header sent (default: the endpoint's address).
    pub host: Option<String>,
    /// Time between probes of one endpoint (default 10 s).
    pub interval: Duration,
    /// Deadline of a whole probe (default 5 s).
    pub timeout: Duration,
    /// Successes in a row that bring an unhealthy endpoint back (default 2).
    pub rise: NonZeroU32,
    /// Failures in a row that take a healthy endpoint out (default 3).
    pub fall: NonZeroU32,
    /// Status codes that count as success (default 200-299).
    pub expect: RangeInclusive<u16>,
}
