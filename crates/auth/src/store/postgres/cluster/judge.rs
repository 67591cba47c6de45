//! Which server leads and which may answer reads, from what each of them said last. Pure: never asks, never reads the
//! clock.
//!
//! Promotion begins a timeline, so that of two servers that both take writes the one on the later timeline leads, and
//! the other is an old primary that came back: nothing is asked of it, not even when the new one falls silent. Two on one
//! timeline cannot be told apart, and neither gets a write. A primary that is silent goes on being the one that is
//! tried until another leads: whoever is not asked cannot be found to be back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::super::topology::Role;
use crate::store::topology::WalPosition;

/// Positions of the primary that are remembered: more than two minutes of them.
const TRAIL_MAX: usize = 150;

/// What a server said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Of all copies of one database, given when it was made.
    pub(super) family: i64,
    /// When it was started, in microseconds: one server under two names says the same.
    pub(super) started: i64,
    /// The branch of history that it writes or follows.
    pub(super) timeline: i64,
    /// Up to where it has written, or applied what another has.
    pub(super) position: i64,
    pub(super) is_primary: bool,
}

/// What follows from everything that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Who takes writes; `None`: nobody may.
    pub(super) primary: Option<usize>,
    /// Of the last that did; 0 before the first.
    pub(super) timeline: i64,
    /// In the order of the configuration.
    pub(super) each: Vec<Placed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) role: Role,
    pub(super) lag: Option<Duration>,
    /// What is known of it, if it answers.
    pub(super) at: Option<WalPosition>,
}

/// Something that people should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Another server leads, the first one included.
    Leads(usize),
    /// Several servers take writes on one timeline, or one of them lacks what was written: nobody leads.
    Split,
    /// A server takes writes on a timeline that is over.
    Fenced(usize),
    /// A server belongs to another database.
    Stranger(usize),
}

/// Everything that was seen.
#[derive(Debug)]
pub(super) struct Judge {
    may_lead: Vec<bool>,
    /// Who has answered or failed to: before all have, an old primary could be taken for the only one.
    is_heard: Vec<bool>,
    seen: Vec<Option<Seen>>,
    told: Vec<Option<Change>>,
    is_split: bool,
    primary: Option<usize>,
    /// Of the primary, when it last answered.
    last: Option<Seen>,
    trail: VecDeque<(Instant, i64)>,
    lag_max: Duration,
}

impl Judge {
    /// For servers of which some may lead.
    pub(super) fn new(may_lead: Vec<bool>, lag_max: Duration) -> Self {
        Self {
            is_heard: vec![false; may_lead.len()],
            seen: vec![None; may_lead.len()],
            told: vec![None; may_lead.len()],
            may_lead,
            is_split: false,
            primary: None,
            last: None,
            trail: VecDeque::new(),
            lag_max,
        }
    }

    /// Takes in what a server said, or that it said nothing; what is new about that.
    pub(super) fn observe(
        &mut self,
        index: usize,
        seen: Option<Seen>,
        now: Instant,
    ) -> Vec<Change> {
        self.seen[index] = seen;
        self.is_heard[index] = true;
        let mut changes = Vec::new();
        if !self.is_heard.iter().all(|is_heard| *is_heard) {
            return changes;
        }
        let before = self.primary;
        self.choose(&mut changes);
        if self.primary != before
            && let Some(primary) = self.primary
        {
            self.trail.clear();
            changes.push(Change::Leads(primary));
        }
        if let Some(leading) = self.primary.and_then(|primary| self.seen[primary])
            && (self.primary == Some(index) || self.trail.is_empty())
        {
            self.last = Some(leading);
            self.follow(leading.position, now);
        }
        self.tell_of_others(&mut changes);
        changes
    }

    pub(super) fn standing(&self) -> Standing {
        let each = (0..self.seen.len()).map(|index| self.place(index));
        Standing {
            primary: self.primary,
            timeline: self.last.map_or(0, |last| last.timeline),
            each: each.collect(),
        }
    }

    /// The timeline that nobody may fall behind.
    fn newest(&self) -> i64 {
        let leading = self.seen.iter().flatten();
        let leading = leading.filter(|seen| seen.is_primary && self.is_family(seen));
        let timelines = leading.chain(&self.last).map(|seen| seen.timeline);
        timelines.max().unwrap_or(0)
    }

    fn is_family(&self, seen: &Seen) -> bool {
        self.last.is_none_or(|last| last.family == seen.family)
    }

    fn choose(&mut self, changes: &mut Vec<Change>) {
        let newest = self.newest();
        let claims =
            |seen: &Seen| seen.is_primary && self.is_family(seen) && seen.timeline == newest;
        let claiming: Vec<(usize, Seen)> = self
            .seen
            .iter()
            .enumerate()
            .filter_map(|(index, seen)| Some((index, (*seen)?)))
            .filter(|(_, seen)| claims(seen))
            .collect();
        // One server under two names is one.
        let one = |(_, seen): &(usize, Seen)| (seen.family, seen.started);
        let is_alone = claiming.iter().all(|claim| one(claim) == one(&claiming[0]));
        let heir = claiming.iter().find(|(index, _)| self.may_lead[*index]);
        let is_held = |index: usize| claiming.iter().any(|(claiming, _)| *claiming == index);
        let (primary, is_split) = match (self.primary, heir) {
            _ if !is_alone => (None, true),
            (Some(primary), _) if is_held(primary) => (Some(primary), false),
            (_, Some((_, seen))) if !self.holds_all(seen) => (None, true),
            (_, Some((index, _))) => (Some(*index), false),
            // Silent, and nobody else leads.
            (Some(primary), None) if self.seen[primary].is_none() && claiming.is_empty() => {
                let is_newest = self.last.is_none_or(|last| last.timeline == newest);
                (is_newest.then_some(primary), false)
            }
            (_, None) => (None, false),
        };
        if is_split && !self.is_split {
            changes.push(Change::Split);
        }
        (self.primary, self.is_split) = (primary, is_split);
    }

    /// Whether a server that begins to lead lacks nothing that its predecessor is known to have written, as far as that
    /// can be told. A promotion says so by its timeline.
    fn holds_all(&self, heir: &Seen) -> bool {
        let Some(last) = self.last else {
            return true;
        };
        heir.timeline > last.timeline || heir.position >= last.position
    }

    fn follow(&mut self, position: i64, now: Instant) {
        if self.trail.len() == TRAIL_MAX {
            self.trail.pop_front();
        }
        self.trail.push_back((now, position));
    }

    /// How old the state is that ends at `position`: since the last time that the primary was known to be no further.
    /// Not by the time of the last transaction: that grows where nobody writes.
    fn lag(&self, position: i64) -> Option<Duration> {
        let &(latest, _) = self.trail.back()?;
        let missing = self
            .trail
            .iter()
            .position(|&(_, written)| written > position);
        let Some(missing) = missing else {
            return Some(Duration::ZERO);
        };
        let (complete, _) = self.trail[missing.saturating_sub(1)];
        match missing {
            // It lacks more than is remembered.
            0 => None,
            _ => Some(latest.saturating_duration_since(complete)),
        }
    }

    fn place(&self, index: usize) -> Placed {
        let Some(seen) = self.seen[index] else {
            return Placed {
                role: Role::Away,
                lag: None,
                at: None,
            };
        };
        let at = WalPosition {
            timeline: seen.timeline,
            position: seen.position,
        };
        let leads = self.primary.and_then(|primary| self.seen[primary]);
        let is_leading = leads.is_some_and(|leading| leading.started == seen.started);
        let lag = self.lag(seen.position).filter(|_| !seen.is_primary);
        let role = match seen.is_primary {
            _ if !self.is_family(&seen) => Role::Stranger,
            true if self.primary == Some(index) || is_leading => Role::Primary,
            true => Role::Fenced,
            false if seen.timeline < self.newest() => Role::Lagging,
            false if lag.is_some_and(|lag| lag <= self.lag_max) => Role::Replica,
            false => Role::Lagging,
        };
        Placed {
            role,
            lag,
            at: Some(at),
        }
    }

    /// Once for as long as it lasts.
    fn tell_of_others(&mut self, changes: &mut Vec<Change>) {
        for index in 0..self.seen.len() {
            let change = match self.place(index).role {
                Role::Fenced if !self.is_split => Some(Change::Fenced(index)),
                Role::Stranger => Some(Change::Stranger(index)),
                // Silence does not end it.
                Role::Away => continue,
                _ => None,
            };
            if self.told[index] != change {
                changes.extend(change);
                self.told[index] = change;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG_MAX: Duration = Duration::from_secs(10);

    fn primary(started: i64, timeline: i64, position: i64) -> Option<Seen> {
        Some(Seen {
            family: 1,
            started,
            timeline,
            position,
            is_primary: true,
        })
    }

    fn standby(started: i64, timeline: i64, position: i64) -> Option<Seen> {
        primary(started, timeline, position).map(|seen| Seen {
            is_primary: false,
            ..seen
        })
    }

    fn roles(judge: &Judge) -> Vec<Role> {
        judge
            .standing()
            .each
            .iter()
            .map(|placed| placed.role)
            .collect()
    }

    fn two() -> (Judge, Instant) {
        let mut judge = Judge::new(vec![true, true], LAG_MAX);
        let now = Instant::now();
        assert_eq!(judge.observe(0, primary(10, 1, 100), now), []);
        assert_eq!(
            judge.observe(1, standby(11, 1, 100), now),
            [Change::Leads(0)]
        );
        (judge, now)
    }

    #[test]
    fn the_one_that_takes_writes_leads_and_the_other_is_read() {
        let (judge, _) = two();
        assert_eq!(judge.standing().primary, Some(0));
        assert_eq!(roles(&judge), [Role::Primary, Role::Replica]);
    }

    #[test]
    fn a_silent_primary_is_tried_until_another_leads() {
        let (mut judge, now) = two();
        assert_eq!(judge.observe(0, None, now), []);
        assert_eq!(judge.standing().primary, Some(0));
        assert_eq!(roles(&judge), [Role::Away, Role::Replica], "reads go on");
        assert_eq!(
            judge.observe(1, primary(11, 2, 120), now),
            [Change::Leads(1)]
        );
        assert_eq!(judge.standing().primary, Some(1));
    }

    #[test]
    fn an_old_primary_that_comes_back_is_fenced_even_when_the_new_one_falls_silent() {
        let (mut judge, now) = two();
        judge.observe(0, None, now);
        judge.observe(1, primary(11, 2, 120), now);
        assert_eq!(
            judge.observe(0, primary(12, 1, 900), now),
            [Change::Fenced(0)]
        );
        assert_eq!(judge.observe(0, primary(12, 1, 901), now), [], "told once");
        assert_eq!(roles(&judge), [Role::Fenced, Role::Primary]);
        assert_eq!(judge.observe(1, None, now), []);
        assert_eq!(judge.standing().primary, Some(1));
        assert_eq!(roles(&judge), [Role::Fenced, Role::Away]);
    }

    #[test]
    fn an_old_primary_that_answers_first_does_not_lead() {
        let mut judge = Judge::new(vec![true, true], LAG_MAX);
        let now = Instant::now();
        judge.observe(0, primary(10, 1, 900), now);
        assert_eq!(judge.standing().primary, None);
        judge.observe(1, primary(11, 2, 120), now);
        assert_eq!(judge.standing().primary, Some(1));
    }

    #[test]
    fn of_two_databases_neither_leads_before_one_is_known() {
        let mut judge = Judge::new(vec![true, true], LAG_MAX);
        let now = Instant::now();
        judge.observe(0, primary(10, 1, 900), now);
        let strange = primary(11, 1, 1).map(|seen| Seen { family: 2, ..seen });
        assert_eq!(judge.observe(1, strange, now), [Change::Split]);
        assert_eq!(judge.standing().primary, None);
    }

    #[test]
    fn a_promotion_that_is_seen_while_the_old_primary_answers_takes_over() {
        let (mut judge, now) = two();
        let changes = judge.observe(1, primary(11, 2, 50), now);
        assert_eq!(changes, [Change::Leads(1), Change::Fenced(0)]);
    }

    #[test]
    fn two_on_one_timeline_get_no_writes_until_one_is_gone() {
        let (mut judge, now) = two();
        judge.observe(0, None, now);
        judge.observe(1, primary(11, 2, 120), now);
        assert_eq!(judge.observe(0, primary(12, 2, 90), now), [Change::Split]);
        assert_eq!(judge.standing().primary, None);
        assert_eq!(roles(&judge), [Role::Fenced, Role::Fenced]);
        judge.observe(0, None, now);
        assert_eq!(judge.standing().primary, Some(1));
        judge.observe(1, None, now);
        assert_eq!(
            judge.observe(0, primary(12, 2, 90), now),
            [Change::Split],
            "it lacks what was written"
        );
        assert_eq!(judge.standing().primary, None);
        judge.observe(1, primary(11, 2, 130), now);
        judge.observe(0, None, now);
        assert_eq!(judge.standing().primary, Some(1));
    }

    #[test]
    fn the_same_disk_under_another_address_takes_over_with_all_that_was_written() {
        let mut judge = Judge::new(vec![true, true], LAG_MAX);
        let now = Instant::now();
        judge.observe(1, None, now);
        judge.observe(0, primary(10, 1, 100), now);
        judge.observe(0, None, now);
        assert_eq!(
            judge.observe(1, primary(15, 1, 101), now),
            [Change::Leads(1)]
        );
    }

    #[test]
    fn one_server_under_two_names_is_no_split() {
        let mut judge = Judge::new(vec![true, true, false], LAG_MAX);
        let now = Instant::now();
        judge.observe(0, primary(10, 1, 100), now);
        assert_eq!(judge.observe(1, primary(10, 1, 101), now), []);
        assert_eq!(
            judge.observe(2, primary(10, 1, 102), now),
            [Change::Leads(0)]
        );
        assert_eq!(judge.standing().primary, Some(0));
        judge.observe(0, None, now);
        assert_eq!(judge.standing().primary, Some(1));
    }

    #[test]
    fn a_promoted_reader_never_leads_and_stops_the_writes_to_the_past() {
        let mut judge = Judge::new(vec![true, false], LAG_MAX);
        let now = Instant::now();
        judge.observe(0, primary(10, 1, 100), now);
        judge.observe(1, primary(11, 2, 100), now);
        assert_eq!(judge.standing().primary, None);
        assert_eq!(roles(&judge), [Role::Fenced, Role::Fenced]);
    }

    #[test]
    fn another_database_is_never_asked() {
        let (mut judge, now) = two();
        let strange = primary(11, 9, 999).map(|seen| Seen { family: 2, ..seen });
        assert_eq!(judge.observe(1, strange, now), [Change::Stranger(1)]);
        assert_eq!(roles(&judge), [Role::Primary, Role::Stranger]);
        let strange = strange.map(|seen| Seen {
            is_primary: false,
            ..seen
        });
        judge.observe(0, None, now);
        assert_eq!(judge.observe(1, strange, now), []);
        assert_eq!(judge.standing().primary, Some(0));
    }

    #[test]
    fn lag_is_the_age_of_what_a_replica_has_and_ends_its_reads() {
        let (mut judge, now) = two();
        let at = |seconds| now + Duration::from_secs(seconds);
        judge.observe(0, primary(10, 1, 100), at(100));
        judge.observe(1, standby(11, 1, 100), at(100));
        let lag = |judge: &Judge| judge.standing().each[1].lag;
        assert_eq!(lag(&judge), Some(Duration::ZERO), "nobody wrote");
        judge.observe(0, primary(10, 1, 200), at(101));
        assert_eq!(lag(&judge), Some(Duration::from_secs(1)));
        assert_eq!(roles(&judge)[1], Role::Replica);
        judge.observe(0, primary(10, 1, 200), at(111));
        assert_eq!(roles(&judge)[1], Role::Lagging);
        judge.observe(1, standby(11, 1, 150), at(111));
        assert_eq!(roles(&judge)[1], Role::Lagging, "it still lacks the same");
        judge.observe(1, standby(11, 1, 200), at(112));
        assert_eq!(roles(&judge)[1], Role::Replica);
        judge.observe(1, standby(11, 1, 90), at(112));
        assert_eq!(lag(&judge), None, "older than is remembered");
        assert_eq!(roles(&judge)[1], Role::Lagging);
    }

    #[test]
    fn a_replica_of_the_past_is_not_read_until_it_is_on_the_new_timeline() {
        let mut judge = Judge::new(vec![true, true, true], LAG_MAX);
        let now = Instant::now();
        judge.observe(0, primary(10, 1, 100), now);
        judge.observe(1, standby(11, 1, 100), now);
        judge.observe(2, standby(12, 1, 300), now);
        judge.observe(0, None, now);
        judge.observe(1, primary(11, 2, 120), now);
        assert_eq!(roles(&judge)[2], Role::Lagging);
        judge.observe(2, standby(12, 2, 120), now);
        assert_eq!(roles(&judge)[2], Role::Replica);
    }

    /// Whatever comes in whatever order: nobody leads on a timeline that is over, and no stranger ever does.
    #[test]
    fn random_histories_never_lead_backwards() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut judge = Judge::new(vec![true, true, false], LAG_MAX);
            let now = Instant::now();
            for step in 0..300 {
                let index = random.usize(0..3);
                let timeline = random.i64(1..4);
                let seen = primary(random.i64(0..4), timeline, random.i64(0..50));
                let seen = seen.map(|seen| Seen {
                    is_primary: random.bool(),
                    ..seen
                });
                let seen = seen.filter(|_| random.bool());
                judge.observe(index, seen, now);
                let Some(primary) = judge.standing().primary else {
                    continue;
                };
                assert!(judge.may_lead[primary], "seed {seed} step {step}");
                if let Some(leading) = judge.seen[primary] {
                    assert!(leading.is_primary, "seed {seed} step {step}");
                    assert!(
                        leading.timeline >= judge.newest(),
                        "seed {seed} step {step}"
                    );
                }
            }
        }
    }
}
