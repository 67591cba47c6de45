//! How often a caller may ask, by its tier. Never asks another instance: each gives out its part of what all may, since a
//! check that went to the shared state twice would cost twice as much.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{App, Caller, Outcome, Refusal};
use crate::app::Origin;
use crate::domain::Tier;
use crate::shared::{Allowance, CounterKey, Taken};

/// What the rate is per.
const PERIOD: Duration = Duration::from_secs(60);

impl App {
    /// Takes one from what the caller may still ask for; `None` where that has no limit. A key counts by itself.
    pub(crate) fn take_by_tier(&self, caller: &Caller, origin: Origin) -> Outcome<Option<Taken>> {
        let rate = self.live.standing().dynamic.rates.checks;
        let Some(limit) = rate.and_then(|rate| of_tier(rate, caller.subject.tier)) else {
            return Ok(None);
        };
        let who = match caller.key() {
            Some(key) => key.id.to_string(),
            None => caller.subject.id.to_string(),
        };
        let allowance = Allowance {
            key: CounterKey::new("checks of a caller", &[&who]),
            limit,
            period: PERIOD,
        };
        match self.shared.take_part(&[allowance], origin.now) {
            Some(taken) if !taken.is_allowed => {
                self.metrics.rate_limited("check");
                Err(Refusal::RateLimited(taken))
            }
            taken => Ok(taken),
        }
    }
}

/// What a tier has of the rate that the free one has; at least one.
fn of_tier(rate: NonZeroU32, tier: Tier) -> Option<NonZeroU32> {
    let share = u64::from(rate.get()) * u64::from(tier.tenths()?) / 10;
    NonZeroU32::new(u32::try_from(share).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_j03_the_tier_sets_the_bucket() {
        let of =
            |rate, tier| of_tier(NonZeroU32::new(rate).unwrap(), tier).map_or(0, NonZeroU32::get);
        let all = |rate| Tier::ALL.map(|tier| of(rate, tier));
        assert_eq!(all(600), [60, 600, 6000, 60_000, 0], "0: no limit");
        assert_eq!(all(1), [1, 1, 10, 100, 0]);
        assert_eq!(of(u32::MAX, Tier::Enterprise), u32::MAX);
        assert_eq!(
            of(600, Tier::read("gold")),
            60,
            "an unknown tier is the lowest"
        );
    }
}
