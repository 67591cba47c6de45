//! Retries as written. Never compares two values.

use std::time::Duration;

use portcullis_ops::decode::{Fields, Located};

use super::super::retries::BudgetPolicy;

#[derive(Debug)]
pub(in crate::config) struct FileRetries {
    pub(in crate::config) count: u32,
    pub(in crate::config) backoff: Located<Duration>,
    pub(in crate::config) max_backoff: Located<Duration>,
    pub(in crate::config) budget: BudgetPolicy,
}

pub(super) fn retries(fields: &Fields<'_>) -> FileRetries {
    FileRetries {
        count: fields.number("count").value,
        backoff: fields.duration("backoff"),
        max_backoff: fields.duration("max_backoff"),
        budget: BudgetPolicy {
            percent: fields.number("budget_percent").value,
            min: fields.number("budget_min").value,
        },
    }
}
