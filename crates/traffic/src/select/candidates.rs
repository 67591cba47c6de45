//! What speaks for and against each endpoint at one pick, for people. Never picks itself: it has a copy
//! pick, and looks where the pick looks.

use super::keyed::{Bound, MAX_STEPS};
use super::{Ask, Picked, Selector};
use crate::endpoint::{EndpointId, Standing};

/// A pick that takes no place.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// What [`Selector::pick`] would answer.
    pub picked: Picked,
    /// All members: preferred tier and zone first, within them as configured.
    pub candidates: Vec<Candidate>,
}

/// A member at one pick.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Which.
    pub id: EndpointId,
    /// Its tier.
    pub priority: u8,
    /// Whether it is outside of the edge's zone.
    pub is_elsewhere: bool,
    /// Percent of the traffic that its tier and zone take now.
    pub traffic_percent: u8,
    /// Most places at once.
    pub max_in_flight: u32,
    /// What the least of goes first: requests per weight, seconds, or how many others a key would have
    /// before. `None` where the algorithm knows nothing of the kind, and of those that may not be picked.
    pub score: Option<f64>,
    /// Among equals, what the most of goes first.
    pub turn: Option<f64>,
    /// Why it is not the one; `None` of the one that is.
    pub skipped: Option<Skipped>,
}

/// Why an endpoint is not picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skipped {
    /// It is put aside: the operator or it itself said so.
    Draining,
    /// It is out.
    Out,
    /// It has no weight.
    NoWeight,
    /// All its places are taken.
    Full,
    /// An earlier attempt went there.
    Tried,
    /// It has more than its share in flight.
    AboveShare,
    /// Its tier or zone is not the one that takes the request.
    OtherLevel,
    /// Chance drew two others.
    NotDrawn,
    /// The client is bound to another.
    NotBound,
    /// Another goes first.
    Behind,
}

impl Skipped {
    /// All of them, in declaration order.
    pub const ALL: [Self; 10] = [
        Self::Draining,
        Self::Out,
        Self::NoWeight,
        Self::Full,
        Self::Tried,
        Self::AboveShare,
        Self::OtherLevel,
        Self::NotDrawn,
        Self::NotBound,
        Self::Behind,
    ];

    /// As a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Out => "out",
            Self::NoWeight => "no_weight",
            Self::Full => "full",
            Self::Tried => "tried",
            Self::AboveShare => "above_share",
            Self::OtherLevel => "other_level",
            Self::NotDrawn => "not_drawn",
            Self::NotBound => "not_bound",
            Self::Behind => "behind",
        }
    }
}

impl Selector {
    /// What [`Selector::pick`] would answer, and how every member stands. Takes no place and moves no
    /// turn: a copy does.
    pub fn rehearse(&self, ask: &Ask<'_>) -> Rehearsal {
        let mut copy = self.clone();
        copy.members.advance(ask.now);
        let bound = copy.bound(ask);
        let before = copy.clone();
        let picked = copy.pick(ask);
        let (one, level) = match picked {
            Picked::Endpoint { id, .. } => {
                let slot = before.members.slot(id);
                (Some(id), slot.map(|slot| slot.level))
            }
            Picked::Full | Picked::Nobody => (None, None),
        };
        let ranks = before.ranks(ask);
        let drawn = level.and_then(|level| {
            let range = before.members.levels.range(level);
            before.members.board.drawn(range, ask)
        });
        let candidate = |(position, rank): (usize, &Option<usize>)| {
            let members = &before.members;
            let slot = &members.slots[position];
            let is_open = members.board.turns.weight(position) > 0;
            let (score, turn) = match (is_open, rank) {
                (false, _) => (None, None),
                (true, Some(rank)) => (Some(*rank as f64), None),
                (true, None) => members.stands(position),
            };
            let skipped = || {
                before.obstacle(position, ask).unwrap_or_else(|| {
                    let is_drawn = drawn.is_none_or(|(first, second)| {
                        position == first || Some(position) == second
                    });
                    match () {
                        () if bound.is_some() => Skipped::NotBound,
                        () if level.is_some_and(|level| level != slot.level) => Skipped::OtherLevel,
                        () if !is_drawn => Skipped::NotDrawn,
                        () => Skipped::Behind,
                    }
                })
            };
            Candidate {
                id: slot.id,
                priority: slot.place.0,
                is_elsewhere: slot.place.1,
                traffic_percent: members.levels.percent(slot.level),
                max_in_flight: slot.max_in_flight(),
                score,
                turn,
                skipped: (one != Some(slot.id)).then(skipped),
            }
        };
        Rehearsal {
            picked,
            candidates: ranks.iter().enumerate().map(candidate).collect(),
        }
    }

    /// What alone keeps a member from being picked.
    fn obstacle(&self, position: usize, ask: &Ask<'_>) -> Option<Skipped> {
        let slot = &self.members.slots[position];
        match slot.standing() {
            Standing::Draining => return Some(Skipped::Draining),
            Standing::Out { .. } => return Some(Skipped::Out),
            Standing::In { share_percent: 0 } => return Some(Skipped::NoWeight),
            Standing::In { .. } => {}
        }
        let has_ring = self.members.board.ring(slot.level, ask).is_some();
        let bound: Bound = self.members.bound_of(slot.level);
        match () {
            () if slot.weight == 0 => Some(Skipped::NoWeight),
            () if slot.is_full() => Some(Skipped::Full),
            () if ask.tried.contains(&slot.id) && self.has_untried(ask.tried) => {
                Some(Skipped::Tried)
            }
            () if has_ring && !bound.admits(&self.members, position) => Some(Skipped::AboveShare),
            () => None,
        }
    }

    /// By position: how many others of its level a key would have before it, where keys decide.
    fn ranks(&self, ask: &Ask<'_>) -> Vec<Option<usize>> {
        let members = &self.members;
        let mut ranks = vec![None; members.slots.len()];
        for level in 0..members.levels.len() {
            let Some((ring, key)) = members.board.ring(level, ask) else {
                continue;
            };
            let range = members.levels.range(level);
            let mut next = 0;
            for node in ring.walk(key).take(MAX_STEPS) {
                let rank = ranks.get_mut(range.start + node);
                if let Some(rank @ None) = rank {
                    *rank = Some(next);
                    next += 1;
                }
            }
        }
        ranks
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::{Balance, Member, Settings, Why};
    use super::*;

    const OUT: Standing = Standing::Out {
        is_last_resort: false,
    };

    fn ask(chance: u64, now: Instant) -> Ask<'static> {
        Ask {
            bound: None,
            key: None,
            tried: &[],
            now,
            chance,
        }
    }

    fn member(id: u16, priority: u8) -> Member {
        Member {
            priority,
            max_in_flight: 3,
            ..Member::new(EndpointId(id.into()), ([127, 0, 0, 1], 4000 + id).into())
        }
    }

    fn skipped(rehearsal: &Rehearsal) -> Vec<Option<Skipped>> {
        let all = rehearsal.candidates.iter();
        all.map(|candidate| candidate.skipped).collect()
    }

    #[test]
    fn a_rehearsal_says_what_the_pick_does_and_changes_nothing() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let now = Instant::now();
        let decay = Duration::from_secs(10);
        let bounded_load_percent = Some(125);
        for balance in [
            Balance::RoundRobin,
            Balance::LeastConn,
            Balance::P2c,
            Balance::PeakEwma { decay },
            Balance::Hash {
                bounded_load_percent,
            },
        ] {
            let members: Vec<_> = (0..9).map(|id| member(id, (id / 5) as u8)).collect();
            let mut selector = Selector::new(Settings::new(balance), &members);
            let mut taken = Vec::new();
            for step in 0..2_000_u32 {
                let id = EndpointId(rng.u32(0..9));
                match rng.u8(0..12) {
                    0 => selector.set_standing(id, OUT, now),
                    1 => selector.set_standing(id, Standing::Draining, now),
                    2 | 3 => selector.set_standing(id, Standing::FULL, now),
                    4 => selector.set_weight(id, rng.u16(0..4)),
                    _ => {}
                }
                if rng.bool() && !taken.is_empty() {
                    let id = taken.swap_remove(rng.usize(..taken.len()));
                    selector.release(id, Some(Duration::from_millis(rng.u64(1..90))), now);
                }
                let key = rng.u64(0..50).to_be_bytes();
                let tried: Vec<_> = (0..rng.u32(0..3))
                    .map(|_| EndpointId(rng.u32(0..9)))
                    .collect();
                let ask = Ask {
                    bound: (rng.u8(0..8) == 0).then(|| EndpointId(rng.u32(0..9))),
                    key: (rng.u8(0..4) > 0).then_some(&key[..]),
                    tried: &tried,
                    ..ask(rng.u64(..), now)
                };
                let before = format!("{selector:?}");
                let rehearsal = selector.rehearse(&ask);
                assert_eq!(format!("{selector:?}"), before, "seed {seed}, step {step}");
                let picked = selector.pick(&ask);
                assert_eq!(
                    rehearsal.picked, picked,
                    "seed {seed}, step {step}, {balance:?}"
                );
                let chosen = rehearsal.candidates.iter();
                let mut chosen = chosen.filter(|candidate| candidate.skipped.is_none());
                match picked {
                    Picked::Endpoint { id, .. } => {
                        assert_eq!(chosen.next().map(|one| one.id), Some(id), "seed {seed}");
                        taken.push(id);
                    }
                    Picked::Full | Picked::Nobody => {}
                }
                assert_eq!(chosen.next(), None, "seed {seed}, step {step}");
            }
        }
    }

    #[test]
    fn everyone_who_is_not_picked_has_a_reason() {
        let now = Instant::now();
        let members: Vec<_> = (0..6).map(|id| member(id, u8::from(id == 5))).collect();
        let settings = Settings::new(Balance::LeastConn);
        let mut selector = Selector::new(settings, &members);
        selector.set_standing(EndpointId(0), OUT, now);
        selector.set_weight(EndpointId(1), 0);
        for _ in 0..3 {
            // Nobody else may be picked, so that it is full then.
            let bound = Some(EndpointId(2));
            selector.pick(&Ask {
                bound,
                ..ask(1, now)
            });
        }
        let tried = &[EndpointId(3)];
        let rehearsal = selector.rehearse(&Ask {
            tried,
            ..ask(7, now)
        });
        let first = Picked::Endpoint {
            id: EndpointId(4),
            why: Why::Balanced,
        };
        assert_eq!(rehearsal.picked, first);
        let expected = [
            Some(Skipped::Out),
            Some(Skipped::NoWeight),
            Some(Skipped::Full),
            Some(Skipped::Tried),
            None,
            Some(Skipped::OtherLevel),
        ];
        assert_eq!(skipped(&rehearsal), expected);
        assert_eq!(rehearsal.candidates[4].score, Some(0.0), "idle");
        assert_eq!(rehearsal.candidates[2].score, None, "it may not be picked");
    }

    #[test]
    fn the_winner_has_the_least_score_and_among_equals_the_most_of_a_turn() {
        let now = Instant::now();
        let members: Vec<_> = (0..4).map(|id| member(id, 0)).collect();
        for balance in [Balance::RoundRobin, Balance::LeastConn] {
            let mut selector = Selector::new(Settings::new(balance), &members);
            for number in 0..9 {
                let rehearsal = selector.rehearse(&ask(number, now));
                let rank = |one: &Candidate| (one.score.unwrap_or(0.0), -one.turn.unwrap());
                let all = rehearsal.candidates.iter();
                let best = all.min_by(|a, b| rank(a).partial_cmp(&rank(b)).unwrap());
                assert_eq!(best.unwrap().skipped, None, "{rehearsal:?}");
                selector.pick(&ask(number, now));
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Skipped::ALL.map(Skipped::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Skipped::ALL.len());
    }
}
