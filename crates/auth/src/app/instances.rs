//! Lists the living instances. Never for anybody but administrators.

use super::{App, Outcome, Refusal};
use crate::domain::{Role, UnixMillis};
use crate::shared::InstanceRecord;

impl App {
    /// The registry, for the holder of an administrator's token.
    pub(crate) async fn instances(
        &self,
        token: &str,
        now: UnixMillis,
    ) -> Outcome<Vec<InstanceRecord>> {
        let claims = self.try_verify(token, now).await?;
        if !claims.roles.iter().any(|role| role == Role::ADMIN) {
            return Err(Refusal::Forbidden);
        }
        Ok(self.shared.instances(now).await?)
    }
}
