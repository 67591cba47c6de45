//! Retries as written, and whether any can run. Never decides about one.

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
    let count = fields.number("count").value;
    let budget = BudgetPolicy {
        percent: fields.number("budget_percent").value,
        min: fields.number("budget_min").value,
    };
    if count > 0 && budget.percent == 0 && budget.min == 0 {
        let message = "the budget lets no retry run";
        let hint = "write `retries: 0`, or let `budget_percent` or `budget_min` be above 0";
        let span = fields.span_of("budget_min");
        fields.report().error_with_hint(span, message, hint);
    }
    FileRetries {
        count,
        backoff: fields.duration("backoff"),
        max_backoff: fields.duration("max_backoff"),
        budget,
    }
}
