//! What slows requests down that come too often. Never how counters are kept.

use super::values::Values;
use super::{Variable, var};

pub(super) const VARIABLES: &[Variable] = &[var(
    "AUTH_RATE_LIMIT_ENABLED",
    "true",
    "slow down password guessing per account and network: true or false",
)];

/// What is limited.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Whether password guessing is slowed down.
    pub slows_guessing: bool,
}

impl Limits {
    pub(super) fn read(v: &mut Values<'_>) -> Self {
        Self {
            slows_guessing: v.switch("AUTH_RATE_LIMIT_ENABLED", true),
        }
    }
}
