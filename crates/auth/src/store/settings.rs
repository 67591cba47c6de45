//! Settings that all instances read while they run. Never judges a value.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::{AuditEntry, StoredSetting};

/// What is stored of settings.
#[async_trait]
pub trait SettingStore: Send + Sync + 'static {
    /// Everything that was ever stored, one entry for each name.
    async fn settings(&self) -> StoreResult<Vec<StoredSetting>>;

    /// Stores a value, or takes it back, with the line of the audit log about it. Returns the version.
    async fn set_setting(
        &self,
        name: &str,
        value: Option<&str>,
        audit: &AuditEntry,
    ) -> StoreResult<i64>;
}
