//! The registry of living instances. Never asks who wants to know.

use super::{App, Outcome, Refusal};
use crate::domain::{InstanceRecord, UnixMillis};
use crate::registry;

impl App {
    /// The registry.
    pub(crate) async fn instances(&self, now: UnixMillis) -> Outcome<Vec<InstanceRecord>> {
        let living = registry::living(self.store.as_ref(), self.shared.as_ref(), now).await;
        living.map_err(Refusal::SharedUnavailable)
    }
}
