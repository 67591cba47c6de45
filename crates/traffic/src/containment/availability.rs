//! How much of the time an endpoint could be used: since it was added, and in the last hour. Never decides anything.

use std::time::{Duration, Instant};

use super::Availability;

/// Time in and out of use, kept to the minute for an hour.
#[derive(Clone, Debug)]
pub(super) struct Uptime {
    added: Instant,
    /// Up to here it is accounted for.
    until: Instant,
    is_available: bool,
    available: Duration,
    minutes: [Minute; MINUTES],
}

#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    /// Which minute of the endpoint's life.
    number: u64,
    available: Duration,
}

impl Uptime {
    pub(super) fn new(is_available: bool, now: Instant) -> Self {
        Self {
            added: now,
            until: now,
            is_available,
            available: Duration::ZERO,
            minutes: [Minute::default(); MINUTES],
        }
    }

    /// From now on it is available, or is not.
    pub(super) fn turn(&mut self, is_available: bool, now: Instant) {
        self.account(now);
        self.is_available = is_available;
    }

    pub(super) fn report(&self, now: Instant) -> Availability {
        let mut present = self.clone();
        present.account(now);
        let known_for = present.until.saturating_duration_since(self.added);
        let last = present.minute_of(known_for);
        let first = last.saturating_sub(MINUTES as u64 - 1);
        let recent = present.minutes.iter().filter(|m| m.number >= first);
        let recent: Duration = recent.map(|minute| minute.available).sum();
        let recently = known_for
            .saturating_sub(MINUTE.saturating_mul(u32::try_from(first).unwrap_or(u32::MAX)));
        Availability {
            overall_percent: self.percent(present.available, known_for),
            last_hour_percent: self.percent(recent, recently),
            known_for,
        }
    }

    /// Spreads the time since it was last accounted over the minutes it lies in; what is older
    /// than the hour only counts for the whole.
    fn account(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.until);
        let mut age = self.until.saturating_duration_since(self.added);
        let end = age + passed;
        self.until += passed;
        if !self.is_available {
            return;
        }
        self.available += passed;
        age = age.max(end.saturating_sub(MINUTE * MINUTES_U32));
        while age < end {
            let number = self.minute_of(age);
            let rest = MINUTE.saturating_sub(age.saturating_sub(of_minutes(number)));
            let part = rest.min(end - age);
            let position = usize::try_from(number % MINUTES as u64).unwrap_or(0);
            if let Some(minute) = self.minutes.get_mut(position) {
                if minute.number != number {
                    *minute = Minute {
                        number,
                        available: Duration::ZERO,
                    };
                }
                minute.available += part;
            }
            age += part;
        }
    }

    fn minute_of(&self, age: Duration) -> u64 {
        age.as_secs() / MINUTE.as_secs()
    }

    fn percent(&self, available: Duration, of: Duration) -> f64 {
        if of.is_zero() {
            return if self.is_available { 100.0 } else { 0.0 };
        }
        (100.0 * available.as_secs_f64() / of.as_secs_f64()).min(100.0)
    }
}

fn of_minutes(number: u64) -> Duration {
    Duration::from_secs(number.saturating_mul(MINUTE.as_secs()))
}

const MINUTES: usize = 60;
const MINUTES_U32: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(n: u64) -> Duration {
        of_minutes(n)
    }

    #[test]
    fn percent_is_weighted_by_time() {
        let start = Instant::now();
        let mut uptime = Uptime::new(true, start);
        uptime.turn(false, start + minutes(3));
        uptime.turn(true, start + minutes(4));
        let report = uptime.report(start + minutes(8));
        assert_eq!(report.overall_percent, 87.5);
        assert_eq!(report.last_hour_percent, 87.5);
        assert_eq!(report.known_for, minutes(8));
    }

    #[test]
    fn the_last_hour_forgets_what_is_older() {
        let start = Instant::now();
        let mut uptime = Uptime::new(false, start);
        uptime.turn(true, start + minutes(100));
        uptime.turn(false, start + minutes(170));
        uptime.turn(true, start + minutes(185));
        let report = uptime.report(start + minutes(200));
        assert_eq!(report.overall_percent, 42.5);
        // The hour begins with minute 141: 29 + 15 of its 59 minutes so far, the 60th just begins.
        assert!((report.last_hour_percent - 100.0 * 44.0 / 59.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_known_at_first_but_the_present() {
        let now = Instant::now();
        assert_eq!(Uptime::new(true, now).report(now).overall_percent, 100.0);
        assert_eq!(Uptime::new(false, now).report(now).last_hour_percent, 0.0);
    }

    #[test]
    fn years_pass_in_one_step() {
        let start = Instant::now();
        let mut uptime = Uptime::new(true, start);
        let later = start + minutes(60 * 24 * 365 * 3);
        uptime.turn(false, later);
        assert_eq!(uptime.report(later).overall_percent, 100.0);
        assert_eq!(uptime.report(start).overall_percent, 100.0);
    }
}
