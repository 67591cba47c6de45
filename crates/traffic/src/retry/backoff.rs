//! How long to wait before a retry. Never waits itself.

use std::time::Duration;

/// Exponential back-off with full jitter: the n-th retry waits between nothing and
/// `base` x 2^(n-1), at most `max`. Spreading over the whole range keeps clients that failed
/// together from coming back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait before the first retry.
    pub base: Duration,
    /// The longest wait of all.
    pub max: Duration,
}

impl Backoff {
    /// The wait before retry `retry`, 1 for the first. `chance` is random: 0 gives no wait, all
    /// ones the longest.
    pub fn wait(&self, retry: u32, chance: u64) -> Duration {
        let doublings = retry.saturating_sub(1).min(31);
        let longest = self.base.saturating_mul(1 << doublings).min(self.max);
        let longest_nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        let nanos = (u128::from(chance) * (u128::from(longest_nanos) + 1)) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(longest_nanos))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(25),
            max: Duration::from_millis(250),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_doubles_up_to_the_limit() {
        let longest: Vec<u128> = (0..=7)
            .map(|retry| Backoff::default().wait(retry, u64::MAX).as_millis())
            .collect();
        assert_eq!(longest, [25, 25, 50, 100, 200, 250, 250, 250]);
    }

    #[test]
    fn waits_are_spread_over_the_whole_range() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(1, 0), Duration::ZERO);
        let half = backoff.wait(1, 1 << 63);
        assert_eq!(half, Duration::from_nanos(12_500_000));
    }

    #[test]
    fn extreme_settings_do_no_harm() {
        let endless = Backoff {
            base: Duration::MAX,
            max: Duration::MAX,
        };
        assert!(endless.wait(u32::MAX, u64::MAX) > Duration::from_secs(1 << 30));
        let none = Backoff {
            base: Duration::ZERO,
            max: Duration::ZERO,
        };
        assert_eq!(none.wait(u32::MAX, u64::MAX), Duration::ZERO);
    }
}
