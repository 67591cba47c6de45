//! How the audit log of one process is written. Never decides what goes into it.

use crate::domain::{AddressPolicy, AuditEntry, AuditRow, ChainKey, Personal};
use crate::random;

/// Handed to the store once, when it is opened.
#[derive(Clone, Debug)]
pub struct Trail {
    /// Whether lines are written at all.
    pub is_written: bool,
    /// How much of the addresses of clients they keep.
    pub addresses: AddressPolicy,
    /// Seals and links them; without it, lines are as those of earlier releases.
    pub key: Option<ChainKey>,
}

impl Default for Trail {
    fn default() -> Self {
        Self {
            is_written: true,
            addresses: AddressPolicy::Full,
            key: None,
        }
    }
}

impl Trail {
    /// The line as it is kept; `None` where nobody wants a trail.
    pub(super) fn kept(&self, entry: &AuditEntry) -> Option<AuditRow> {
        self.is_written.then(|| self.row(entry))
    }

    /// The line as it would be kept.
    pub(super) fn row(&self, entry: &AuditEntry) -> AuditRow {
        let (actor_kind, actor_id) = entry.actor.parts();
        let client = entry.client.and_then(|addr| self.addresses.keep(addr));
        let mut row = AuditRow {
            at: entry.at,
            event: entry.event.as_str().to_owned(),
            outcome: Some(entry.outcome.as_str().to_owned()),
            actor_kind: Some(actor_kind.to_owned()),
            object: entry.object.clone(),
            personal: Personal {
                actor_id,
                account_id: entry.account.map(|id| id.to_string()),
                session_id: entry.session.map(|id| id.to_string()),
                client: client.map(|addr| addr.to_string()),
                request_id: entry.request.map(|id| id.to_string()),
            },
            ..AuditRow::default()
        };
        if let Some(key) = &self.key {
            let blind: [u8; 16] = random::bytes();
            let personal = row.personal.digest(&blind);
            row.seal = Some(key.seal(&row, &personal).to_vec());
            row.blind = Some(blind.to_vec());
        }
        row
    }
}
