//! How many retries may run at once in a cluster. Never decides whether one is worth making.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many retries may run beside how many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetPolicy {
    /// Percent of the active requests that may be retries.
    pub percent: u32,
    /// So many may run however few requests are active.
    pub min: u32,
}

impl BudgetPolicy {
    /// How many retries may run while so many requests are active.
    pub fn allowed(&self, active: u32) -> u32 {
        let share = u64::from(active) * u64::from(self.percent) / 100;
        u32::try_from(share).unwrap_or(u32::MAX).max(self.min)
    }
}

impl Default for BudgetPolicy {
    fn default() -> Self {
        Self {
            percent: 20,
            min: 3,
        }
    }
}

/// The retries that run in one cluster. When all endpoints are in trouble, retries would double
/// the load just then; the budget bounds them however many requests fail at once.
///
/// ```
/// use std::sync::Arc;
/// use portcullis_traffic::retry::{Budget, BudgetPolicy};
///
/// let (budget, policy) = (Arc::new(Budget::default()), BudgetPolicy { percent: 20, min: 1 });
/// let permit = budget.take(&policy, 5);
/// assert!(permit.is_some() && budget.take(&policy, 5).is_none());
/// drop(permit);
/// assert!(budget.take(&policy, 5).is_some());
/// ```
#[derive(Debug, Default)]
pub struct Budget {
    running: AtomicU32,
}

impl Budget {
    /// Leave for one more retry while `active` requests are under way, the one to be retried
    /// among them; `None` if the budget is spent. Keep the permit until the retry has ended.
    ///
    /// Exact: of callers that come at once, no more get one than the policy allows.
    pub fn take(self: &Arc<Self>, policy: &BudgetPolicy, active: u32) -> Option<Permit> {
        let allowed = policy.allowed(active);
        let one_more = |running: u32| (running < allowed).then(|| running.saturating_add(1));
        self.running
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(Permit {
            budget: Arc::clone(self),
        })
    }

    /// Retries that run now.
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }
}

/// Leave for one retry. Given back on drop, so exactly once.
#[derive(Debug)]
#[must_use = "the retry is over when its permit is dropped"]
pub struct Permit {
    budget: Arc<Budget>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_a_share_of_active_requests_but_never_less_than_the_minimum() {
        let policy = BudgetPolicy::default();
        let allowed: Vec<u32> = [0, 1, 15, 19, 20, 1_000]
            .into_iter()
            .map(|active| policy.allowed(active))
            .collect();
        assert_eq!(allowed, [3, 3, 3, 3, 4, 200]);
        let all = BudgetPolicy {
            percent: u32::MAX,
            min: 0,
        };
        assert_eq!(all.allowed(u32::MAX), u32::MAX);
    }

    #[test]
    fn running_retries_use_the_budget_up_and_ended_ones_give_back() {
        let (budget, policy) = (Arc::new(Budget::default()), BudgetPolicy::default());
        let permits: Vec<Permit> = (0..10).map_while(|_| budget.take(&policy, 10)).collect();
        assert_eq!((permits.len(), budget.running()), (3, 3));
        drop(permits);
        assert_eq!(budget.running(), 0);
        assert!(budget.take(&policy, 10).is_some());
    }

    #[test]
    fn threads_that_ask_at_once_get_no_more_than_there_is() {
        let budget = Arc::new(Budget::default());
        let policy = BudgetPolicy { percent: 0, min: 7 };
        let ask = || {
            let mine: Vec<Permit> = (0..100)
                .filter_map(|_| budget.take(&policy, 1_000))
                .collect();
            mine
        };
        let permits: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            let held: Vec<Vec<Permit>> = threads.into_iter().map(|t| t.join().unwrap()).collect();
            held.iter().map(Vec::len).sum()
        });
        assert_eq!(permits, 7);
        assert_eq!(budget.running(), 0);
    }
}
