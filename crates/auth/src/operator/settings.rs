//! What an operator does to the settings of all instances. They hold within seconds wherever an instance runs.

use std::collections::BTreeMap;

use super::{OperatorError, now};
use crate::config::Config;
use crate::domain::{Actor, AuditEntry, AuditEvent};
use crate::live::{self, Shown};
use crate::server::Stores;

/// Every setting that may change while instances run, as it stands with this environment.
pub async fn list(config: &Config) -> Result<Vec<Shown>, OperatorError> {
    let stores = Stores::open(config).await?;
    let shown = shown(config, &stores).await;
    stores.close().await;
    shown
}

/// Stores a value, or takes it back, and returns how it stands.
pub async fn change(
    config: &Config,
    name: &str,
    value: Option<&str>,
) -> Result<Vec<Shown>, OperatorError> {
    let variable = live::check(config, name, value)?;
    let stores = Stores::open(config).await?;
    let changed = async {
        let line = AuditEntry::by(Actor::Operator, now(), AuditEvent::SettingChanged);
        let line = line.about(&live::told(variable.name, value));
        stores
            .store
            .set_setting(variable.name, value, &line)
            .await?;
        let mut shown = shown(config, &stores).await?;
        shown.retain(|shown| shown.variable.name == variable.name);
        Ok(shown)
    }
    .await;
    stores.close().await;
    changed
}

async fn shown(config: &Config, stores: &Stores) -> Result<Vec<Shown>, OperatorError> {
    let rows = stores.store.settings().await?;
    let rows: BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| (row.name.clone(), row))
        .collect();
    Ok(live::shown(config, &rows))
}
