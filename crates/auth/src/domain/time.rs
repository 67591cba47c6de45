//! Instants as stored and compared everywhere in auth. Never reads the clock by itself.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch: one integer column on every database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The instant of a system clock reading; times before the epoch become the epoch.
    pub fn from_system(time: SystemTime) -> Self {
        Self(
            time.duration_since(UNIX_EPOCH)
                .map_or(0, |since| clamp(since.as_millis())),
        )
    }

    /// The instant of a NumericDate claim.
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Whole seconds, rounded down: what `iat` and `exp` carry.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Whole seconds, rounded up: for limits that must not end early.
    pub fn seconds_up(self) -> i64 {
        self.seconds()
            .saturating_add(i64::from(self.0.rem_euclid(1000) != 0))
    }

    /// This instant moved forward; stays at the end of time instead of overflowing.
    pub fn plus(self, length: Duration) -> Self {
        Self(self.0.saturating_add(clamp(length.as_millis())))
    }

    /// This instant moved backward.
    pub fn minus(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(clamp(length.as_millis())))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn clamp(millis: u128) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let end = UnixMillis(i64::MAX);
        assert_eq!(end.plus(Duration::MAX), end);
        assert_eq!(UnixMillis(i64::MIN).minus(Duration::MAX).0, i64::MIN);
        assert_eq!(UnixMillis::from_seconds(i64::MAX), end);
        assert_eq!(UnixMillis(i64::MIN).since(end), Duration::ZERO);
    }

    #[test]
    fn seconds_round_down_and_up_on_both_sides_of_the_epoch() {
        assert_eq!(
            (UnixMillis(1999).seconds(), UnixMillis(1999).seconds_up()),
            (1, 2)
        );
        assert_eq!(
            (UnixMillis(2000).seconds(), UnixMillis(2000).seconds_up()),
            (2, 2)
        );
        assert_eq!(
            (UnixMillis(-1).seconds(), UnixMillis(-1).seconds_up()),
            (-1, 0)
        );
    }
}
