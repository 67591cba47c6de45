//! One member: what it was told to be, and what it is doing. Never compares itself but by load.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::time::Instant;

use super::algorithm::in_order;
use super::keyed::WHOLE_PART;
use super::levels::Weight;
use super::settings::{MAX_WEIGHT, Member, SlowStart};
use crate::endpoint::{EndpointId, Standing};

/// What an endpoint that begins slowly has of its weight at first.
const FLOOR_PERCENT: u8 = 10;

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) id: EndpointId,
    pub(super) address: SocketAddr,
    pub(super) weight: u16,
    /// What the configuration says it is; an operator may have said otherwise since.
    written_weight: u16,
    pub(super) in_flight: u32,
    /// Whether it ever took a request, or came in by order: then its next return is one.
    pub(super) has_served: bool,
    /// Tier, and whether it is outside of the edge's zone.
    pub(super) place: (u8, bool),
    pub(super) level: usize,
    max_in_flight: u32,
    standing: Standing,
    /// What slow start leaves of its weight.
    percent: u8,
    begun: Option<Instant>,
}

impl Slot {
    pub(super) fn present_at_start(member: &Member) -> Self {
        Self {
            id: member.id,
            address: member.address,
            weight: member.weight.min(MAX_WEIGHT),
            written_weight: member.weight.min(MAX_WEIGHT),
            in_flight: 0,
            has_served: false,
            place: (0, false),
            level: 0,
            max_in_flight: member.max_in_flight,
            standing: Standing::FULL,
            percent: 100,
            begun: None,
        }
    }

    /// One that came later; `begins` is now if there is a slow start.
    pub(super) fn added(member: &Member, begins: Option<Instant>) -> Self {
        let mut slot = Self {
            has_served: true,
            ..Self::present_at_start(member)
        };
        slot.begin(begins);
        slot
    }

    /// The same endpoint under another configuration, whose weight counts if it is another than before.
    /// Places are counted anew by the caller.
    pub(super) fn with(&self, member: &Member) -> Self {
        let next = Self::present_at_start(member);
        Self {
            weight: match next.written_weight == self.written_weight {
                true => self.weight,
                false => next.weight,
            },
            has_served: self.has_served,
            standing: self.standing,
            percent: self.percent,
            begun: self.begun,
            ..next
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    /// Whether being told this changes nothing.
    pub(super) fn is_known_as(&self, standing: Standing) -> bool {
        let is_told = self.has_served || !matches!(standing, Standing::In { .. });
        self.standing == standing && is_told
    }

    pub(super) fn set_weight(&mut self, weight: u16) {
        self.weight = weight.min(MAX_WEIGHT);
    }

    pub(super) fn set_standing(&mut self, standing: Standing, begins: Option<Instant>) {
        let was_out = matches!(self.standing, Standing::Out { .. });
        self.standing = standing;
        match standing {
            Standing::In { .. } => {
                if was_out && self.has_served {
                    self.begin(begins);
                }
                self.has_served = true;
            }
            Standing::Draining => {}
            Standing::Out { .. } => self.begin(None),
        }
    }

    fn begin(&mut self, begins: Option<Instant>) {
        self.begun = begins;
        self.percent = if begins.is_some() { FLOOR_PERCENT } else { 100 };
    }

    pub(super) fn is_beginning(&self) -> bool {
        self.begun.is_some()
    }

    /// Brings its share in line with the clock.
    pub(super) fn step(&mut self, slow_start: &SlowStart, now: Instant) {
        self.percent = self.percent_at(slow_start, now);
        if self.percent == 100 {
            self.begun = None;
        }
    }

    /// What slow start leaves of its weight at an instant.
    pub(super) fn percent_at(&self, slow_start: &SlowStart, now: Instant) -> u8 {
        let Some(begun) = self.begun else { return 100 };
        let elapsed = now.saturating_duration_since(begun).as_nanos();
        let window = slow_start.window.as_nanos().max(1);
        let rest = u128::from(100 - FLOOR_PERCENT);
        let gained = u8::try_from(elapsed.saturating_mul(rest) / window).unwrap_or(u8::MAX);
        FLOOR_PERCENT.saturating_add(gained).min(100)
    }

    /// Whether new clients may be sent to it, if it is not full.
    pub(super) fn is_eligible(&self) -> bool {
        self.weight > 0 && self.standing.is_eligible()
    }

    pub(super) fn max_in_flight(&self) -> u32 {
        self.max_in_flight
    }

    pub(super) fn is_full(&self) -> bool {
        self.in_flight >= self.max_in_flight
    }

    pub(super) fn is_last_resort(&self) -> bool {
        let is_last_resort = Standing::Out {
            is_last_resort: true,
        };
        self.weight > 0 && self.standing == is_last_resort
    }

    pub(super) fn serves_bound(&self) -> bool {
        !self.is_full() && !matches!(self.standing, Standing::Out { .. })
    }

    /// What it counts in its level. One that begins counts whole: it is there, it only warms up.
    pub(super) fn counts(&self) -> Weight {
        let weight = u64::from(self.weight);
        Weight {
            total: weight * 100,
            eligible: weight * u64::from(self.standing.share_percent()),
        }
    }

    /// The weight it may be picked with now; zero if it may not.
    pub(super) fn open_weight(&self, unit: i32) -> i32 {
        if !self.is_eligible() || self.is_full() {
            return 0;
        }
        let whole = i32::from(self.weight) * unit;
        let part = self.part();
        if part == WHOLE_PART {
            return whole;
        }
        let weight = i64::from(whole) * i64::from(part) / i64::from(WHOLE_PART);
        i32::try_from(weight).unwrap_or(whole).max(1)
    }

    /// How much of its weight it has while degraded or beginning, of [`WHOLE_PART`].
    pub(super) fn part(&self) -> u32 {
        u32::from(self.standing.share_percent()) * u32::from(self.percent)
    }

    /// Its load once it has one more: requests per weight, in an order that whole numbers keep.
    ///
    /// Of two with one request each, the one of weight 3 is preferred to the one of weight 2.
    pub(super) fn load(&self, weight: i32) -> i32 {
        in_order((f64::from(self.in_flight) + 1.0) / f64::from(weight))
    }

    /// The same with all of its weight. Idle endpoints go before all others, as HAProxy has it: by
    /// the formula alone, light traffic would only ever see the heaviest.
    pub(super) fn load_if_whole(&self, unit: i32) -> i32 {
        match self.in_flight {
            0 => 0,
            _ => self.load(i32::from(self.weight) * unit),
        }
    }

    pub(super) fn compare_load(&self, other: &Self) -> Ordering {
        let load = |a: &Self, b: &Self| u64::from(a.in_flight) * u64::from(b.weight);
        load(self, other).cmp(&load(other, self))
    }
}
