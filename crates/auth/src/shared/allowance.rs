//! How many requests may come, and how the count refills: GCRA, the leaky bucket that remembers one instant. Never
//! stores anything: every shared state keeps the instants, and one of them decides inside Redis by the same arithmetic.

use std::num::NonZeroU32;
use std::time::Duration;

use super::CounterKey;
use crate::domain::UnixMillis;

/// So many requests at once, refilled evenly over a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Whose it is.
    pub key: CounterKey,
    /// Requests when it is full.
    pub limit: NonZeroU32,
    /// From empty to full.
    pub period: Duration,
}

/// What became of one request: about the allowance with the least left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whether it may go on. If not, nothing was taken.
    pub is_allowed: bool,
    /// Requests when the allowance is full.
    pub limit: u32,
    /// Requests left now.
    pub remaining: u32,
    /// Until it is full.
    pub reset_after: Duration,
    /// Until the next request may come; nothing when it may now.
    pub retry_after: Duration,
}

impl Allowance {
    /// Microseconds that one request costs. At least one, however high the limit.
    pub(super) fn cost(&self) -> i64 {
        (self.period_micros() / i64::from(self.limit.get())).max(1)
    }

    pub(super) fn period_micros(&self) -> i64 {
        i64::try_from(self.period.as_micros()).unwrap_or(i64::MAX / 4)
    }

    /// One request out of this allowance, which is full at `full_at`; beside the verdict, when it is full afterwards.
    pub(super) fn take(&self, full_at: Option<i64>, now: UnixMillis) -> (Taken, i64) {
        let now = micros(now);
        let (cost, period) = (self.cost(), self.period_micros());
        let before = full_at
            .unwrap_or(now)
            .clamp(now, now.saturating_add(period));
        let after = before.saturating_add(cost);
        let is_allowed = after - now <= period;
        let full_at = if is_allowed { after } else { before };
        let left = (period - (full_at - now)) / cost;
        let taken = Taken {
            is_allowed,
            limit: self.limit.get(),
            remaining: u32::try_from(left).unwrap_or(0).min(self.limit.get()),
            reset_after: span(full_at - now),
            retry_after: span(if is_allowed { 0 } else { after - now - period }),
        };
        (taken, full_at)
    }
}

impl Taken {
    /// What a requester is told of two allowances: the one that refuses for longer, else the one with less left.
    #[must_use]
    pub(super) fn tighter(self, other: Self) -> Self {
        let rank = |taken: &Self| (taken.retry_after, std::cmp::Reverse(taken.remaining));
        if rank(&other) > rank(&self) {
            other
        } else {
            self
        }
    }
}

pub(super) fn micros(at: UnixMillis) -> i64 {
    at.0.saturating_mul(1000)
}

pub(super) fn span(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_allowance_lets_a_burst_through_and_refills_evenly() {
        let allowance = Allowance {
            key: CounterKey::new("a test", &[]),
            limit: NonZeroU32::new(4).unwrap(),
            period: Duration::from_secs(8),
        };
        let (mut now, mut full_at) = (UnixMillis(1_000_000), None);
        for left in [3, 2, 1, 0] {
            let (taken, after) = allowance.take(full_at, now);
            assert_eq!((taken.is_allowed, taken.remaining), (true, left));
            full_at = Some(after);
        }
        let (refused, after) = allowance.take(full_at, now);
        assert_eq!((refused.is_allowed, refused.remaining), (false, 0));
        assert_eq!(refused.retry_after, Duration::from_secs(2));
        assert_eq!(refused.reset_after, Duration::from_secs(8));
        assert_eq!(Some(after), full_at, "a refusal costs nothing");
        now = now.plus(Duration::from_secs(2));
        let (taken, after) = allowance.take(full_at, now);
        assert_eq!((taken.is_allowed, taken.remaining), (true, 0));
        // A clock that was set back, or an entry of another limit, locks nobody out for longer than the period.
        let (refused, _) = allowance.take(Some(after * 2), now);
        assert!(refused.reset_after <= allowance.period);
    }
}
