//! Which tier and zone takes a request. Never looks at single endpoints.
//!
//! The members are divided into levels: tiers by priority, and within each tier those in the
//! edge's own zone before all others. A level keeps its traffic while it is nearly whole; what it
//! is short of spills over to the next. The rule is Envoy's: the *health* of a level is the part of
//! its weight that is eligible times the overprovisioning, at most 100 %. Traffic fills the levels
//! in order, each up to its health; if all together fall short, they share by health. First the
//! tiers divide the traffic so, then the zones of a tier its part.

use std::ops::Range;

use super::Ask;
use super::settings::{Balance, Settings};
use crate::balance::chance;

/// All traffic, in the units of [`Part::load`].
const WHOLE: u64 = 1 << 16;

/// More overprovisioning than this makes no difference that anybody could want, and overflows
/// nothing.
const MAX_OVERPROVISIONING_PERCENT: u64 = 10_000;

/// Weight of a level or of one endpoint in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Of all.
    pub(super) total: u64,
    /// Of those that are eligible.
    pub(super) eligible: u64,
}

/// The levels of a cluster, the preferred one first.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    levels: Vec<Level>,
    tiers: Vec<Tier>,
    overprovisioning_percent: u64,
    is_by_key: bool,
}

#[derive(Clone, Debug)]
struct Level {
    /// Positions of its members.
    range: Range<usize>,
    part: Part,
    /// Places taken at those that are eligible.
    busy: u64,
}

#[derive(Clone, Debug)]
struct Tier {
    levels: Range<usize>,
    part: Part,
}

/// How much of the traffic goes to a level or tier.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    weight: Weight,
    load: u64,
}

impl Levels {
    /// From priority and zone (own first) of each member, sorted.
    pub(super) fn new(settings: &Settings, places: &[(u8, bool)]) -> Self {
        let mut levels: Vec<Level> = Vec::new();
        let mut tiers: Vec<Tier> = Vec::new();
        let mut last = None;
        for (position, place) in places.iter().enumerate() {
            if last.is_none_or(|(priority, _)| priority != place.0) {
                tiers.push(Tier {
                    levels: levels.len()..levels.len(),
                    part: Part::default(),
                });
            }
            if last != Some(*place) {
                levels.push(Level {
                    range: position..position,
                    part: Part::default(),
                    busy: 0,
                });
                last = Some(*place);
            }
            if let (Some(tier), Some(level)) = (tiers.last_mut(), levels.last_mut()) {
                level.range.end = position + 1;
                tier.levels.end = levels.len();
            }
        }
        let overprovisioning = u64::from(settings.overprovisioning_percent);
        Self {
            levels,
            tiers,
            overprovisioning_percent: overprovisioning.clamp(100, MAX_OVERPROVISIONING_PERCENT),
            is_by_key: matches!(settings.balance, Balance::Hash { .. }),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }

    /// Positions of the members of a level; none beyond the last.
    pub(super) fn range(&self, level: usize) -> Range<usize> {
        let level = self.levels.get(level);
        level.map_or(0..0, |level| level.range.clone())
    }

    /// The level of the member at a position.
    pub(super) fn of(&self, position: usize) -> usize {
        self.levels
            .partition_point(|level| level.range.end <= position)
    }

    /// A member of `level` counts `after` from now on instead of `before`.
    pub(super) fn change(&mut self, level: usize, before: Weight, after: Weight) {
        let weight = &mut self.levels[level].part.weight;
        weight.total = weight.total + after.total - before.total;
        weight.eligible = weight.eligible + after.eligible - before.eligible;
    }

    /// Places were taken at an eligible member of a level.
    pub(super) fn occupy(&mut self, level: usize, places: u32) {
        self.levels[level].busy += u64::from(places);
    }

    /// Places were given back there, or with its eligibility.
    pub(super) fn vacate(&mut self, level: usize, places: u32) {
        let busy = &mut self.levels[level].busy;
        *busy = busy.saturating_sub(places.into());
    }

    /// How much of the traffic goes to a level, in percent, rounded up: nothing is nothing.
    pub(super) fn percent(&self, level: usize) -> u8 {
        let load = self.levels[level].part.load;
        u8::try_from((load * 100).div_ceil(WHOLE)).unwrap_or(100)
    }

    /// Places taken at the eligible members of a level.
    pub(super) fn busy(&self, level: usize) -> u64 {
        self.levels[level].busy
    }

    /// What the eligible members of a level weigh together.
    pub(super) fn eligible_weight(&self, level: usize) -> u64 {
        self.levels[level].part.weight.eligible
    }

    /// Divides the traffic anew, after [`Levels::change`].
    pub(super) fn divide(&mut self) {
        let overprovisioning = self.overprovisioning_percent;
        for tier in &mut self.tiers {
            tier.part.weight = Weight::default();
            for level in &self.levels[tier.levels.clone()] {
                tier.part.weight.total += level.part.weight.total;
                tier.part.weight.eligible += level.part.weight.eligible;
            }
        }
        divide(&mut self.tiers, WHOLE, overprovisioning, |tier| {
            &mut tier.part
        });
        for tier in &self.tiers {
            let levels = &mut self.levels[tier.levels.clone()];
            divide(levels, tier.part.load, overprovisioning, |level| {
                &mut level.part
            });
        }
    }

    /// The level whose turn it is: by the key if the algorithm goes by keys, lest a key wander
    /// between tiers, else by chance.
    pub(super) fn choose(&self, ask: &Ask<'_>) -> usize {
        if self
            .levels
            .first()
            .is_none_or(|first| first.part.load == WHOLE)
        {
            return 0;
        }
        let bits = match ask.key.filter(|_| self.is_by_key) {
            Some(key) => chance::of_key(key),
            None => chance::mix(ask.chance),
        };
        let mut point = chance::below(bits, WHOLE);
        for (position, level) in self.levels.iter().enumerate() {
            match point.checked_sub(level.part.load) {
                Some(rest) => point = rest,
                None => return position,
            }
        }
        0
    }
}

/// Divides `load` among parts in order, each up to its health, or by health if all fall short.
fn divide<T>(
    parts: &mut [T],
    load: u64,
    overprovisioning_percent: u64,
    part: impl Fn(&mut T) -> &mut Part,
) {
    let health = |part: &Part| match part.weight.total * 100 {
        0 => 0,
        total => (part.weight.eligible * overprovisioning_percent * WHOLE)
            .div_ceil(total)
            .min(WHOLE),
    };
    let sum: u64 = parts.iter_mut().map(|one| health(part(one))).sum();
    let base = sum.clamp(1, WHOLE);
    let mut left = load;
    for one in parts {
        let part = part(one);
        part.load = (health(part) * load).div_ceil(base).min(left);
        left -= part.load;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads in percent of levels with (priority, own zone, total, eligible), in order.
    fn loads(overprovisioning_percent: u16, levels: &[(u8, bool, u64, u64)]) -> Vec<u64> {
        let settings = Settings {
            overprovisioning_percent,
            ..Settings::new(Balance::RoundRobin)
        };
        let places: Vec<_> = levels.iter().map(|level| (level.0, level.1)).collect();
        let mut divided = Levels::new(&settings, &places);
        for (position, (_, _, total, eligible)) in levels.iter().copied().enumerate() {
            let level = divided.of(position);
            divided.change(level, Weight::default(), Weight { total, eligible });
        }
        divided.divide();
        let loads = divided.levels.iter().map(|level| level.part.load);
        assert!([0, WHOLE].contains(&loads.clone().sum()), "nothing is lost");
        loads.map(|load| (load * 100 + WHOLE / 2) / WHOLE).collect()
    }

    #[test]
    fn tiers_share_as_envoy_documents() {
        // The tables of Envoy's documentation on priority levels, at 140 %.
        for (first, second, expected) in [
            (100, 100, [100, 0]),
            (72, 72, [100, 0]),
            (71, 71, [99, 1]),
            (50, 50, [70, 30]),
            (25, 100, [35, 65]),
            (25, 25, [50, 50]),
            (0, 100, [0, 100]),
        ] {
            let levels = [(0, false, 100, first), (1, false, 100, second)];
            assert_eq!(loads(140, &levels), expected, "{first} and {second}");
        }
        let three = |of: [u64; 3]| {
            [
                (0, false, 100, of[0]),
                (1, false, 100, of[1]),
                (7, false, 100, of[2]),
            ]
        };
        assert_eq!(loads(140, &three([100, 100, 100])), [100, 0, 0]);
        assert_eq!(loads(140, &three([71, 71, 100])), [99, 1, 0]);
        assert_eq!(loads(140, &three([50, 50, 100])), [70, 30, 0]);
        assert_eq!(loads(140, &three([25, 25, 100])), [35, 35, 30]);
        assert_eq!(loads(140, &three([25, 25, 20])), [36, 36, 29]);
    }

    #[test]
    fn the_own_zone_goes_first_within_its_tier() {
        let zones = |own, other| loads(140, &[(0, false, 100, own), (0, true, 100, other)]);
        assert_eq!(zones(100, 100), [100, 0]);
        assert_eq!(zones(50, 100), [70, 30]);
        assert_eq!(zones(0, 100), [0, 100]);
        assert_eq!(zones(10, 0), [100, 0], "nobody else is there");
    }

    #[test]
    fn a_tier_in_need_gives_away_before_its_zones_do() {
        let levels = [
            (0, false, 100, 0),
            (0, true, 100, 50),
            (1, false, 100, 100),
            (1, true, 100, 100),
        ];
        // Tier 0 has a quarter of its weight, so 35 %; all of it in the other zone.
        assert_eq!(loads(140, &levels), [0, 35, 65, 0]);
    }

    #[test]
    fn nothing_goes_where_nobody_is() {
        assert_eq!(loads(140, &[]), []);
        assert_eq!(loads(140, &[(0, false, 0, 0), (1, false, 0, 0)]), [0, 0]);
        assert_eq!(loads(140, &[(0, false, 100, 0)]), [0]);
        assert_eq!(loads(0, &[(0, false, 2, 1), (1, false, 2, 2)]), [50, 50]);
        assert_eq!(
            loads(u16::MAX, &[(0, false, 1_000, 1), (1, false, 2, 2)]),
            [10, 90]
        );
    }
}
