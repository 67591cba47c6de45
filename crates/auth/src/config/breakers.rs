//! When to stop asking a dependency that only fails. Never which dependencies there are.

use std::num::NonZeroU32;

use super::values::Values;
use super::{Flags, Variable, var};
use crate::breaker::{BreakerMode, BreakerSettings};

pub(super) const VARIABLES: &[Variable] = &[
    var(
        "CIRCUIT_BREAKER_MODE",
        "enforce",
        "enforce, or monitor to count what would be rejected without rejecting it",
    ),
    var(
        "CIRCUIT_BREAKER_FAILURE_THRESHOLD",
        "5",
        "failures in a row that open a circuit breaker",
    ),
    var(
        "CIRCUIT_BREAKER_TIMEOUT",
        "60000",
        "milliseconds an open circuit breaker rejects before one call may try",
    ),
];

/// Longer, and a dependency that came back would stay unused for no reason.
const LONGEST_OPEN_MS: u64 = 3_600_000;

pub(super) fn read(v: &mut Values<'_>, flags: Flags) -> BreakerSettings {
    let failures = v.number("CIRCUIT_BREAKER_FAILURE_THRESHOLD", 5, 1..=1000) as u32;
    let open_for = v.milliseconds("CIRCUIT_BREAKER_TIMEOUT", 60_000, LONGEST_OPEN_MS);
    let mode = match v.get("CIRCUIT_BREAKER_MODE").as_deref() {
        None | Some("enforce") => BreakerMode::Enforce,
        Some("monitor") => BreakerMode::Monitor,
        Some(_) => {
            v.error(
                "CIRCUIT_BREAKER_MODE",
                "is neither enforce nor monitor",
                "use enforce, or monitor to watch only",
            );
            BreakerMode::Enforce
        }
    };
    BreakerSettings {
        failures: NonZeroU32::new(failures).unwrap_or(NonZeroU32::MIN),
        open_for,
        mode: if flags.circuit_breaker {
            mode
        } else {
            BreakerMode::Off
        },
    }
}
