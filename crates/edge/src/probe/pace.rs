//! When the next probe of an endpoint follows. Never reads a clock or draws randomness: the present
//! finding goes in, a delay comes out.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::CheckPace;

/// The rhythm of one check of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// What `rise` and `fall` make of the findings so far; `None` until there is a verdict.
    verdict: Option<bool>,
    /// Findings in a row against the verdict.
    contrary: u32,
    has_passed: bool,
    probes: u32,
    is_regular: bool,
}

/// What a delay follows from, beside the findings before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    pub(super) is_pass: bool,
    pub(super) rise: NonZeroU32,
    pub(super) fall: NonZeroU32,
    /// Whether the cluster can serve. While it cannot, nothing is more urgent than to find out who
    /// is back.
    pub(super) has_eligible: bool,
    /// The endpoint's place among those of its cluster, and how many there are.
    pub(super) place: (u32, u32),
    /// Random bits.
    pub(super) chance: u64,
}

impl Pace {
    /// The time from the beginning of the probe that made this finding to the beginning of the
    /// next.
    pub(super) fn next(&mut self, beat: &Beat, settings: &CheckPace) -> Duration {
        self.weigh(beat);
        self.has_passed |= beat.is_pass;
        self.probes = self.probes.saturating_add(1);
        let is_turning = self.verdict != Some(beat.is_pass);
        let is_starting = !self.has_passed && self.probes <= FIRST_PROBES_MAX;
        let is_hurried = is_starting || is_turning || !beat.has_eligible;
        let was_regular = std::mem::replace(&mut self.is_regular, !is_hurried);
        if is_hurried {
            let delay = match is_starting {
                true => settings.fast_interval.min(FIRST_INTERVAL),
                false => settings.fast_interval,
            };
            return early(delay, settings.jitter_percent, beat.chance);
        }
        let delay = around(settings.interval, settings.jitter_percent, beat.chance);
        match was_regular {
            true => delay,
            false => spread(delay, settings.fast_interval, beat.place),
        }
    }

    /// Counts as the cluster does: one pass proves a new endpoint, else `rise` or `fall` findings
    /// in a row turn the verdict.
    fn weigh(&mut self, beat: &Beat) {
        let threshold = match (self.verdict, beat.is_pass) {
            (None, true) => NonZeroU32::MIN,
            (_, true) => beat.rise,
            (_, false) => beat.fall,
        };
        if self.verdict == Some(beat.is_pass) {
            self.contrary = 0;
            return;
        }
        self.contrary = self.contrary.saturating_add(1);
        if self.contrary >= threshold.get() {
            (self.verdict, self.contrary) = (Some(beat.is_pass), 0);
        }
    }
}

/// Endpoints that became regular together do not stay together: the first wait of each is as much
/// of the interval as its place among them.
fn spread(delay: Duration, shortest: Duration, (place, count): (u32, u32)) -> Duration {
    let count = count.max(1);
    let part = place.saturating_add(1).min(count);
    (delay / count)
        .saturating_mul(part)
        .max(shortest)
        .min(delay)
}

/// So many percent more or less.
fn around(delay: Duration, percent: u8, chance: u64) -> Duration {
    let span = u64::from(percent) * 2 * PER_PERCENT;
    let thousandths = 1_000 - u64::from(percent) * PER_PERCENT + chance % (span + 1);
    scaled(delay, thousandths)
}

/// So many percent less, never more: a fast interval is a promise.
fn early(delay: Duration, percent: u8, chance: u64) -> Duration {
    let span = u64::from(percent) * PER_PERCENT;
    scaled(delay, 1_000 - chance % (span + 1))
}

fn scaled(delay: Duration, thousandths: u64) -> Duration {
    let thousandths = u32::try_from(thousandths).unwrap_or(u32::MAX);
    delay.saturating_mul(thousandths) / 1_000
}

/// Jitter is drawn in thousandths.
const PER_PERCENT: u64 = 10;
/// An endpoint that starts beside us should be in use as soon as it is up.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);
/// Twenty seconds of quick probes; what takes longer can wait for the interval.
const FIRST_PROBES_MAX: u32 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: CheckPace = CheckPace {
        interval: Duration::from_secs(10),
        fast_interval: Duration::from_secs(2),
        jitter_percent: 0,
    };
    const REGULAR: Duration = SETTINGS.interval;
    const FAST: Duration = SETTINGS.fast_interval;

    fn beat(is_pass: bool) -> Beat {
        Beat {
            is_pass,
            rise: NonZeroU32::new(2).unwrap(),
            fall: NonZeroU32::new(3).unwrap(),
            has_eligible: true,
            place: (0, 1),
            chance: 0,
        }
    }

    fn delays(pace: &mut Pace, findings: &[bool]) -> Vec<Duration> {
        let next = |is_pass: &bool| pace.next(&beat(*is_pass), &SETTINGS);
        findings.iter().map(next).collect()
    }

    #[test]
    fn new_endpoint_is_probed_quickly_but_not_for_ever() {
        let mut pace = Pace::default();
        let first = delays(&mut pace, &[false; FIRST_PROBES_MAX as usize]);
        assert!(first.iter().all(|delay| *delay == FIRST_INTERVAL));
        assert_eq!(delays(&mut pace, &[false]), [REGULAR]);
        let back = delays(&mut pace, &[true, true]);
        assert_eq!(back, [FAST, REGULAR], "it has been found unhealthy");
        let mut quick = Pace::default();
        let proven = delays(&mut quick, &[false, false, true]);
        assert_eq!(proven, [FIRST_INTERVAL, FIRST_INTERVAL, REGULAR]);
    }

    #[test]
    fn verdict_that_is_about_to_change_hurries() {
        let mut pace = Pace::default();
        assert_eq!(delays(&mut pace, &[true, true]), [REGULAR; 2]);
        let falling = delays(&mut pace, &[false; 4]);
        assert_eq!(falling, [FAST, FAST, REGULAR, REGULAR]);
        let rising = delays(&mut pace, &[true; 3]);
        assert_eq!(rising, [FAST, REGULAR, REGULAR]);
        let flapping = delays(&mut pace, &[false, true, false]);
        assert_eq!(flapping, [FAST, REGULAR, FAST], "one failure is no verdict");
    }

    #[test]
    fn nobody_eligible_hurries_all() {
        let mut pace = Pace::default();
        delays(&mut pace, &[true, false, false, false]);
        let mut beat = beat(false);
        beat.has_eligible = false;
        assert_eq!(pace.next(&beat, &SETTINGS), FAST);
        beat.has_eligible = true;
        assert_eq!(pace.next(&beat, &SETTINGS), REGULAR);
    }

    #[test]
    fn pace_is_never_slower_than_the_interval() {
        let interval = Duration::from_millis(100);
        let settings = CheckPace {
            interval,
            fast_interval: interval,
            jitter_percent: 0,
        };
        let mut pace = Pace::default();
        for is_pass in [false, true, false, true, true] {
            assert_eq!(pace.next(&beat(is_pass), &settings), interval);
        }
    }

    #[test]
    fn endpoints_are_spread_over_the_interval() {
        let firsts = (0..5).map(|place| {
            let mut beat = beat(true);
            beat.place = (place, 5);
            let mut pace = Pace::default();
            let first = pace.next(&beat, &SETTINGS);
            assert_eq!(pace.next(&beat, &SETTINGS), REGULAR, "once");
            first.as_secs()
        });
        assert_eq!(firsts.collect::<Vec<_>>(), [2, 4, 6, 8, 10]);
        let many = spread(REGULAR, FAST, (0, 1_000));
        assert_eq!(many, FAST, "never sooner than the fast interval");
        assert_eq!(spread(REGULAR, FAST, (7, 0)), REGULAR, "whatever the place");
    }

    #[test]
    fn jitter_stays_within_its_percent() {
        let all = |jitter: fn(Duration, u8, u64) -> Duration, percent| {
            let delays = (0..2_000).map(|chance| jitter(REGULAR, percent, chance));
            let delays: Vec<_> = delays.collect();
            (*delays.iter().min().unwrap(), *delays.iter().max().unwrap())
        };
        let millis = Duration::from_millis;
        assert_eq!(all(around, 15), (millis(8_500), millis(11_500)));
        assert_eq!(all(around, 0), (REGULAR, REGULAR));
        assert_eq!(all(early, 15), (millis(8_500), REGULAR));
        assert_eq!(all(early, 0), (REGULAR, REGULAR));
    }
}
