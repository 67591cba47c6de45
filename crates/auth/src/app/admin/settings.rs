//! Settings that hold for all instances. Never stored unless the parser of their variable takes them.

use super::super::{App, Origin, Outcome, Refusal};
use super::Administrator;
use crate::domain::AuditEvent;
use crate::live::Shown;

impl App {
    /// Every setting that may change while instances run.
    pub(crate) async fn settings(&self) -> Outcome<Vec<Shown>> {
        self.live.refresh(self.store.as_ref()).await?;
        Ok(self.live.shown())
    }

    /// Stores a value, or takes it back; it holds here when this returns, and everywhere within seconds.
    pub(crate) async fn change_setting(
        &self,
        administrator: Administrator,
        name: &str,
        value: Option<&str>,
        origin: Origin,
    ) -> Outcome<Vec<Shown>> {
        let changed = async {
            let variable = self.live.check(name, value).map_err(Refusal::Setting)?;
            let line = administrator.line(AuditEvent::SettingChanged, origin);
            let line = line.about(&crate::live::told(variable.name, value));
            self.store.set_setting(variable.name, value, &line).await?;
            self.settings().await
        };
        self.counted("change_setting", changed.await)
    }
}
