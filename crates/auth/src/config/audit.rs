//! What the audit log keeps. Never decides what goes into it.

use std::time::Duration;

use super::values::Values;
use super::{Flags, Variable, var};
use crate::domain::AddressPolicy;

pub(super) const VARIABLES: &[Variable] = &[
    var(
        "AUDIT_CLIENT_ADDRESS",
        "truncated",
        "how much of a client's address the audit log keeps: full, truncated (/24, or /48 of IPv6) or none",
    ),
    var(
        "AUDIT_RETENTION_DAYS",
        "365",
        "days after which lines of the audit log are removed; 0: never",
    ),
];

/// Ten years.
const RETENTION_DAYS_MAX: u64 = 3650;
const DAY: Duration = Duration::from_secs(86_400);

/// The audit log's settings.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Whether it is written.
    pub is_written: bool,
    /// How much of the addresses of clients it keeps.
    pub addresses: AddressPolicy,
    /// For how long it is kept; `None`: for ever.
    pub kept: Option<Duration>,
}

impl Audit {
    pub(super) fn read(v: &mut Values<'_>, flags: Flags) -> Self {
        Self {
            is_written: flags.audit_trail,
            addresses: v.audit_addresses(),
            kept: v.audit_retention(),
        }
    }
}

impl Values<'_> {
    fn audit_retention(&mut self) -> Option<Duration> {
        let days = self.number("AUDIT_RETENTION_DAYS", 365, 0..=RETENTION_DAYS_MAX) as u32;
        (days > 0).then(|| DAY * days)
    }

    fn audit_addresses(&mut self) -> AddressPolicy {
        const NAME: &str = "AUDIT_CLIENT_ADDRESS";
        match self.get(NAME).as_deref().map(str::trim) {
            None | Some("truncated") => AddressPolicy::Truncated,
            Some("full") => AddressPolicy::Full,
            Some("none") => AddressPolicy::None,
            Some(other) => {
                self.error(
                    NAME,
                    format!("{other:?} is none of full, truncated and none"),
                    "leave it out for the default, truncated",
                );
                AddressPolicy::Truncated
            }
        }
    }
}
