//! How long to wait before an instance is started again. Never looks at a clock.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);
/// An instance that lived this long had a good start: its end is a new story.
const GOOD_LIFE: Duration = Duration::from_secs(10);

/// Doubles from [`FIRST`] to [`LAST`] while lives stay short.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The wait after a life of `uptime`.
    pub(super) fn after(&mut self, uptime: Duration) -> Duration {
        if uptime >= GOOD_LIFE {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LAST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lives_double_the_wait_up_to_the_bound() {
        let mut backoff = Backoff::new();
        let waits: Vec<u128> = (0..8)
            .map(|_| backoff.after(Duration::ZERO).as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn good_life_starts_over() {
        let mut backoff = Backoff::new();
        backoff.after(Duration::ZERO);
        backoff.after(Duration::ZERO);
        assert_eq!(backoff.after(GOOD_LIFE), FIRST);
        assert_eq!(backoff.after(Duration::from_secs(9)), FIRST * 2);
    }
}
