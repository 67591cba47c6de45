//! How many of the latest results were failures, and when that is too many. Never acts on it.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// A share of failures in a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorShare {
    /// This share in percent, 1 to 100, is too much.
    pub percent: u8,
    /// Fewer results than this say nothing.
    pub requests: NonZeroU32,
    /// How far back it looks.
    pub window: Duration,
}

impl ErrorShare {
    /// Whether these results are too bad.
    pub fn is_exceeded_by(&self, totals: Totals) -> bool {
        totals.results >= u64::from(self.requests.get())
            && totals.failures * 100 >= totals.results * u64::from(self.percent.max(1))
    }
}

impl Default for ErrorShare {
    fn default() -> Self {
        Self {
            percent: 50,
            requests: NonZeroU32::new(10).expect("ten is not zero"),
            window: Duration::from_secs(10),
        }
    }
}

/// What a failure asks for: that its endpoint be put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Nothing.
    Nothing,
    /// For the failures in a row up to now.
    ForRow,
    /// For the share of failures.
    ForShare,
}

/// Results and failures of the last while, counted in ten buckets of equal width: the oldest tenth
/// leaves the window at once.
#[derive(Clone, Debug)]
pub struct Window {
    start: Instant,
    bucket_ms: u64,
    buckets: [Bucket; BUCKETS],
}

/// What a [`Window`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Results, failures among them.
    pub results: u64,
    /// Failures.
    pub failures: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Which stretch of time it counts, from the start of the window's clock.
    stretch: u64,
    results: u32,
    failures: u32,
}

impl Window {
    /// An empty window of this length.
    pub fn new(length: Duration, now: Instant) -> Self {
        let buckets = u64::try_from(BUCKETS).unwrap_or(1);
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self {
            start: now,
            bucket_ms: (length_ms / buckets).max(1),
            buckets: [Bucket::default(); BUCKETS],
        }
    }

    /// Counts a success.
    pub fn succeeded(&mut self, now: Instant) {
        if let Some(bucket) = self.bucket(now) {
            bucket.results = bucket.results.saturating_add(1);
        }
    }

    /// Counts a failure.
    pub fn failed(&mut self, now: Instant) {
        if let Some(bucket) = self.bucket(now) {
            bucket.results = bucket.results.saturating_add(1);
            bucket.failures = bucket.failures.saturating_add(1);
        }
    }

    /// What it holds now.
    pub fn totals(&self, now: Instant) -> Totals {
        let present = self.stretch(now);
        let is_recent = |b: &&Bucket| b.stretch.saturating_add(BUCKETS as u64) > present;
        let recent = self.buckets.iter().filter(is_recent);
        recent.fold(Totals::default(), |sum, bucket| Totals {
            results: sum.results + u64::from(bucket.results),
            failures: sum.failures + u64::from(bucket.failures),
        })
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buckets = [Bucket::default(); BUCKETS];
    }

    /// The bucket of this instant; `None` if the clock stepped back by more than the window.
    fn bucket(&mut self, now: Instant) -> Option<&mut Bucket> {
        let stretch = self.stretch(now);
        let position = usize::try_from(stretch % BUCKETS as u64).unwrap_or(0);
        let bucket = self.buckets.get_mut(position)?;
        if bucket.stretch < stretch {
            *bucket = Bucket {
                stretch,
                ..Bucket::default()
            };
        }
        (bucket.stretch == stretch).then_some(bucket)
    }

    fn stretch(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start);
        let ms = since.as_secs().saturating_mul(1_000) + u64::from(since.subsec_millis());
        ms / self.bucket_ms
    }
}

const BUCKETS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn results_leave_the_window_when_they_are_old() {
        let start = Instant::now();
        let mut window = Window::new(seconds(10), start);
        window.failed(start);
        window.succeeded(start + seconds(5));
        let counts = |at| {
            let totals = window.totals(start + seconds(at));
            (totals.results, totals.failures)
        };
        assert_eq!(counts(5), (2, 1));
        assert_eq!(counts(9), (2, 1));
        assert_eq!(counts(10), (1, 0));
        assert_eq!(counts(15), (0, 0));
        assert_eq!(counts(1 << 40), (0, 0));
    }

    #[test]
    fn a_bucket_is_used_again_for_a_later_stretch() {
        let start = Instant::now();
        let mut window = Window::new(seconds(10), start);
        window.failed(start);
        window.succeeded(start + seconds(20));
        let totals = window.totals(start + seconds(20));
        assert_eq!((totals.results, totals.failures), (1, 0));
    }

    #[test]
    fn a_clock_that_steps_back_loses_at_most_a_result() {
        let start = Instant::now();
        let mut window = Window::new(seconds(10), start);
        window.succeeded(start + seconds(30));
        window.failed(start + seconds(29));
        window.failed(start + seconds(10));
        assert_eq!(window.totals(start + seconds(30)).failures, 1);
    }

    #[test]
    fn a_share_needs_enough_results_to_be_exceeded() {
        let share = ErrorShare::default();
        let of = |results, failures| share.is_exceeded_by(Totals { results, failures });
        assert!(!of(9, 9) && of(10, 5) && !of(11, 5));
    }

    #[test]
    fn a_window_of_no_length_does_no_harm() {
        let now = Instant::now();
        let mut window = Window::new(Duration::ZERO, now);
        window.failed(now);
        assert_eq!(window.totals(now).failures, 1);
        window.clear();
        assert_eq!(window.totals(now), Totals::default());
    }
}
