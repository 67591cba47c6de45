//! A setting that is stored beside the environment. Never knows which there are, or what their values mean.

use super::UnixMillis;

/// What was said last of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSetting {
    /// The name of its variable.
    pub name: String,
    /// `None`: nothing is stored any more.
    pub value: Option<String>,
    /// Grows with every change of any setting.
    pub version: i64,
    /// When.
    pub changed_at: UnixMillis,
    /// By whom, as in the audit log.
    pub changed_by: String,
}
