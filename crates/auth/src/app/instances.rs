//! The registry of living instances, and who may look behind the scenes: administrators alone.

use super::{App, Outcome, Refusal};
use crate::domain::{InstanceRecord, Role, UnixMillis};
use crate::registry;

impl App {
    /// Refuses everybody but the holder of an administrator's token.
    pub(crate) async fn administrator(&self, token: &str, now: UnixMillis) -> Outcome<()> {
        let verified = self.try_verify(token, now).await?;
        match verified.claims.roles.iter().any(|role| role == Role::ADMIN) {
            true => Ok(()),
            false => Err(Refusal::Forbidden),
        }
    }

    /// The registry.
    pub(crate) async fn instances(&self, now: UnixMillis) -> Outcome<Vec<InstanceRecord>> {
        let living = registry::living(self.store.as_ref(), self.shared.as_ref(), now).await;
        living.map_err(Refusal::SharedUnavailable)
    }
}
