//! Further attempts after parsing. Never decides about one.

pub use portcullis_traffic::retry::{Backoff, BudgetPolicy};

/// Further attempts after the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How many for one request (default 1).
    pub count: u32,
    /// How long to wait before, if the failed attempt reached its endpoint (default 25 to 250 ms).
    pub backoff: Backoff,
    /// How many may run at once (default 20 % of the active requests, at least 3).
    pub budget: BudgetPolicy,
}
