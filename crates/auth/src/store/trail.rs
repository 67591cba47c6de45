//! How the audit log of one process is written. Never decides what goes into it.

use crate::domain::{AddressPolicy, AuditEntry};

/// Handed to the store once, when it is opened.
#[derive(Clone, Debug)]
pub struct Trail {
    /// Whether lines are written at all.
    pub is_written: bool,
    /// How much of the addresses of clients they keep.
    pub addresses: AddressPolicy,
}

impl Default for Trail {
    fn default() -> Self {
        Self {
            is_written: true,
            addresses: AddressPolicy::Full,
        }
    }
}

impl Trail {
    /// The line as it is kept; `None` where nobody wants a trail.
    pub(super) fn kept(&self, entry: &AuditEntry) -> Option<AuditEntry> {
        self.is_written.then(|| AuditEntry {
            client: entry.client.and_then(|addr| self.addresses.keep(addr)),
            ..entry.clone()
        })
    }
}
