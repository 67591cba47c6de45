//! Selection as a cluster meets it. Never draws chance.

mod parts;

use std::time::{Duration, Instant};

use super::*;

const OUT: Standing = Standing::Out {
    is_last_resort: false,
};
const LAST_RESORT: Standing = Standing::Out {
    is_last_resort: true,
};

fn member(id: u32, weight: u16) -> Member {
    let port = u16::try_from(4_000 + id).unwrap();
    Member {
        weight,
        ..Member::new(EndpointId(id), ([127, 0, 0, 1], port).into())
    }
}

/// Members 0, 1, 2 … of these weights.
fn members(weights: &[u16]) -> Vec<Member> {
    (0..)
        .zip(weights)
        .map(|(id, weight)| member(id, *weight))
        .collect()
}

/// A selector on a clock.
struct Played {
    selector: Selector,
    now: Instant,
    chance: u64,
}

impl Played {
    fn new(settings: Settings, members: &[Member]) -> Self {
        Self {
            selector: Selector::new(settings, members),
            now: Instant::now(),
            chance: 0,
        }
    }

    fn of(balance: Balance, weights: &[u16]) -> Self {
        Self::new(Settings::new(balance), &members(weights))
    }

    fn ask(&mut self, tried: &[u32], bound: Option<u32>) -> Picked {
        self.chance += 1;
        let tried: Vec<_> = tried.iter().copied().map(EndpointId).collect();
        self.selector.pick(&Ask {
            bound: bound.map(EndpointId),
            key: None,
            tried: &tried,
            now: self.now,
            chance: self.chance.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        })
    }

    fn pick(&mut self) -> Picked {
        self.ask(&[], None)
    }

    /// Picks and at once releases; only the ids.
    fn serve(&mut self, count: usize) -> Vec<u32> {
        let mut serve = || match self.pick() {
            Picked::Endpoint { id, .. } => {
                self.selector.release(id, None, self.now);
                id.0
            }
            none => panic!("{none:?}"),
        };
        (0..count).map(|_| serve()).collect()
    }

    /// Picks and keeps.
    fn hold(&mut self, count: usize) -> Vec<u32> {
        let mut hold = || match self.pick() {
            Picked::Endpoint { id, .. } => id.0,
            none => panic!("{none:?}"),
        };
        (0..count).map(|_| hold()).collect()
    }

    fn set(&mut self, id: u32, standing: Standing) {
        self.selector
            .set_standing(EndpointId(id), standing, self.now);
    }

    fn reshape(&mut self, settings: Settings, members: &[Member]) {
        self.selector.reshape(settings, members, self.now);
    }

    fn in_flight(&self, id: u32) -> u32 {
        self.selector.in_flight(EndpointId(id))
    }
}

fn picked(id: u32, why: Why) -> Picked {
    Picked::Endpoint {
        id: EndpointId(id),
        why,
    }
}

#[test]
fn a_selector_without_members_has_nobody() {
    let mut empty = Played::of(Balance::LeastConn, &[]);
    assert_eq!(empty.pick(), Picked::Nobody);
    assert_eq!(empty.ask(&[1, 2], Some(3)), Picked::Nobody);
    empty.set(1, LAST_RESORT);
    empty.selector.release(EndpointId(1), None, empty.now);
    assert_eq!(empty.selector.total_in_flight(), 0);
}

#[test]
fn least_conn_prefers_the_least_busy_for_its_weight() {
    let mut cluster = Played::of(Balance::LeastConn, &[1, 4]);
    // 0 and 1 are idle; then 2/1 against 2/4, 3/4, 4/4, 5/4, 6/4, 7/4, and 2/1 ties with 8/4.
    assert_eq!(cluster.hold(8), [1, 0, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn an_idle_endpoint_goes_before_a_busy_one_of_any_weight() {
    let mut cluster = Played::of(Balance::LeastConn, &[100, 1]);
    assert_eq!(cluster.hold(2), [0, 1]);
}

#[test]
fn a_weight_of_zero_takes_no_new_clients() {
    let mut cluster = Played::of(Balance::RoundRobin, &[0, 1]);
    assert_eq!(cluster.serve(3), [1, 1, 1]);
    assert_eq!(cluster.ask(&[], Some(0)), picked(0, Why::Bound));
    cluster.selector.set_weight(EndpointId(1), 0);
    assert_eq!(cluster.pick(), Picked::Nobody);
    cluster.selector.set_weight(EndpointId(0), u16::MAX);
    assert_eq!(cluster.selector.weight(EndpointId(0)), Some(MAX_WEIGHT));
    assert_eq!(cluster.serve(1), [0]);
}

#[test]
fn a_weight_that_was_set_holds_until_the_configuration_has_another() {
    let mut cluster = Played::of(Balance::RoundRobin, &[1, 1]);
    cluster.selector.set_weight(EndpointId(0), 7);
    let weight_after = |cluster: &mut Played, weights: &[u16]| {
        let settings = Settings::new(Balance::RoundRobin);
        cluster
            .selector
            .reshape(settings, &members(weights), cluster.now);
        cluster.selector.weight(EndpointId(0))
    };
    // Another endpoint came: nothing was said of this one.
    assert_eq!(weight_after(&mut cluster, &[1, 1, 1]), Some(7));
    assert_eq!(weight_after(&mut cluster, &[2, 1, 1]), Some(2));
    assert_eq!(weight_after(&mut cluster, &[1, 1, 1]), Some(1));
}

#[test]
fn those_tried_are_picked_again_only_when_nobody_else_may_be() {
    let mut cluster = Played::of(Balance::RoundRobin, &[1, 1, 1]);
    assert_eq!(cluster.ask(&[0, 1], None), picked(2, Why::Balanced));
    cluster.set(2, OUT);
    assert_eq!(cluster.ask(&[0, 2], None), picked(1, Why::Balanced));
    assert!(matches!(cluster.ask(&[0, 1, 2, 77], None), Picked::Endpoint { id, .. } if id.0 < 2));
}

#[test]
fn whether_somebody_is_untried_counts_the_eligible_only() {
    let mut cluster = Played::of(Balance::RoundRobin, &[1, 1, 1]);
    cluster.set(2, OUT);
    let has_untried = |tried: &[u32]| {
        let tried: Vec<_> = tried.iter().copied().map(EndpointId).collect();
        cluster.selector.has_untried(&tried)
    };
    assert!(has_untried(&[]) && has_untried(&[0, 0, 2, 9]));
    assert!(!has_untried(&[0, 1]));
}

#[test]
fn nobody_is_given_more_than_its_places() {
    let mut limited = members(&[1, 1]);
    limited[0].max_in_flight = 1;
    limited[1].max_in_flight = 2;
    let mut cluster = Played::new(Settings::new(Balance::LeastConn), &limited);
    assert_eq!(cluster.hold(3), [0, 1, 1]);
    assert_eq!(cluster.pick(), Picked::Full);
    assert_eq!(cluster.ask(&[], Some(0)), Picked::Full, "bound or not");
    cluster.selector.release(EndpointId(0), None, cluster.now);
    assert_eq!(cluster.pick(), picked(0, Why::Balanced));
    assert_eq!(cluster.pick(), Picked::Full);
}

#[test]
fn a_retry_waits_for_the_untried_rather_than_repeat_itself() {
    let mut limited = members(&[1, 1, 1]);
    limited[1].max_in_flight = 1;
    let mut cluster = Played::new(Settings::new(Balance::RoundRobin), &limited);
    cluster.set(2, OUT);
    assert_eq!(cluster.ask(&[0], None), picked(1, Why::Balanced));
    assert_eq!(cluster.ask(&[0], None), Picked::Full, "0 has room");
    assert_eq!(cluster.ask(&[0, 1], None), picked(0, Why::Balanced));
    cluster.selector.release(EndpointId(1), None, cluster.now);
    assert_eq!(cluster.ask(&[0], None), picked(1, Why::Balanced));
    cluster.set(1, OUT);
    assert_eq!(
        cluster.ask(&[0], None),
        picked(0, Why::Balanced),
        "nobody else is eligible any more"
    );
}

#[test]
fn a_retry_that_cannot_wait_goes_again_to_whoever_has_room() {
    let mut limited = members(&[1, 1, 1]);
    limited[0].max_in_flight = 1;
    limited[1].max_in_flight = 1;
    let mut cluster = Played::new(Settings::new(Balance::RoundRobin), &limited);
    cluster.set(2, LAST_RESORT);
    let tried = [EndpointId(0)];
    let has_room = |cluster: &Played| cluster.selector.has_room_untried(&tried);
    assert!(has_room(&cluster));
    assert_eq!(cluster.ask(&[0], None), picked(1, Why::Balanced));
    assert!(!has_room(&cluster) && cluster.selector.has_untried(&tried));
    let ask = Ask {
        bound: None,
        key: None,
        tried: &tried,
        now: cluster.now,
        chance: 7,
    };
    assert_eq!(cluster.selector.pick(&ask), Picked::Full);
    let again = ask.whoever_has_room();
    assert_eq!(cluster.selector.pick(&again), picked(0, Why::Balanced));
    assert_eq!(
        cluster.selector.pick(&again),
        Picked::Full,
        "nobody has room, and 2 is out"
    );
}

#[test]
fn a_draining_endpoint_serves_only_clients_bound_to_it() {
    let mut cluster = Played::of(Balance::RoundRobin, &[1, 1]);
    cluster.set(0, Standing::Draining);
    assert_eq!(cluster.serve(3), [1, 1, 1]);
    assert_eq!(cluster.ask(&[], Some(0)), picked(0, Why::Bound));
    assert_eq!(cluster.ask(&[0], Some(0)), picked(1, Why::Balanced));
    cluster.set(0, OUT);
    assert_eq!(cluster.ask(&[], Some(0)), picked(1, Why::Balanced));
    cluster.set(1, Standing::Draining);
    assert_eq!(cluster.pick(), Picked::Nobody);
}

#[test]
fn panic_spares_those_that_refuse() {
    let mut cluster = Played::of(Balance::RoundRobin, &[1, 1, 1]);
    cluster.set(0, OUT);
    cluster.set(1, LAST_RESORT);
    assert_eq!(
        cluster.pick(),
        picked(2, Why::Balanced),
        "no panic while one is eligible"
    );
    cluster.set(2, LAST_RESORT);
    assert_eq!(cluster.ask(&[2], None), picked(1, Why::Panic));
    let again = cluster.ask(&[1, 2], None);
    assert!(matches!(
        again,
        Picked::Endpoint {
            why: Why::Panic,
            ..
        }
    ));
    cluster.set(1, OUT);
    cluster.set(2, OUT);
    assert_eq!(cluster.pick(), Picked::Nobody);
}

#[test]
fn a_returning_endpoint_begins_with_a_tenth_of_its_weight() {
    let settings = Settings {
        slow_start: Some(SlowStart {
            window: Duration::from_secs(90),
        }),
        ..Settings::new(Balance::RoundRobin)
    };
    let mut cluster = Played::new(settings, &members(&[1, 1]));
    let share = |cluster: &mut Played| cluster.serve(1_100).iter().filter(|id| **id == 0).count();
    // The first standing of those present at start is no return.
    cluster.set(0, LAST_RESORT);
    cluster.set(0, Standing::FULL);
    assert_eq!(share(&mut cluster), 550);
    cluster.set(0, LAST_RESORT);
    cluster.set(0, Standing::FULL);
    assert_eq!(share(&mut cluster), 100);
    cluster.now += Duration::from_secs(40);
    assert_eq!(share(&mut cluster), 367, "half of the other's");
    cluster.now += Duration::from_secs(50);
    assert_eq!(share(&mut cluster), 550);
    assert_eq!(
        cluster
            .selector
            .slow_start_percent(EndpointId(0), cluster.now),
        Some(100)
    );
}

#[test]
fn places_outlive_membership() {
    let mut cluster = Played::of(Balance::LeastConn, &[1, 1]);
    cluster.hold(4);
    assert_eq!([cluster.in_flight(0), cluster.in_flight(1)], [2, 2]);
    let settings = Settings::new(Balance::LeastConn);
    cluster.reshape(settings.clone(), &[member(1, 1)]);
    assert_eq!([cluster.in_flight(0), cluster.in_flight(1)], [2, 2]);
    assert_eq!(cluster.selector.total_in_flight(), 4);
    cluster.selector.release(EndpointId(0), None, cluster.now);
    // It comes back with the place that is still taken.
    cluster.reshape(settings.clone(), &members(&[1, 1]));
    assert_eq!([cluster.in_flight(0), cluster.in_flight(1)], [1, 2]);
    cluster.reshape(settings, &[member(1, 1)]);
    for _ in 0..3 {
        cluster.selector.release(EndpointId(0), None, cluster.now);
    }
    assert_eq!(cluster.in_flight(0), 0);
    assert_eq!(cluster.selector.total_in_flight(), 2);
}

const BOUNDED: Balance = Balance::Hash {
    bounded_load_percent: Some(150),
};
const UNBOUNDED: Balance = Balance::Hash {
    bounded_load_percent: None,
};

impl Played {
    fn ask_for(&mut self, key: &str) -> Picked {
        self.selector.pick(&Ask {
            bound: None,
            key: Some(key.as_bytes()),
            tried: &[],
            now: self.now,
            chance: 0,
        })
    }

    /// Where so many keys go when nothing else is under way.
    fn owners(&mut self, keys: u32) -> Vec<u32> {
        let mut owner = |key: u32| match self.ask_for(&format!("key-{key}")) {
            Picked::Endpoint { id, .. } => {
                self.selector.release(id, None, self.now);
                id.0
            }
            none => panic!("{none:?}"),
        };
        (0..keys).map(&mut owner).collect()
    }

    fn finish(&mut self, id: u32, millis: u64) {
        let latency = Some(Duration::from_millis(millis));
        self.selector.release(EndpointId(id), latency, self.now);
    }
}

fn moved(before: &[u32], after: &[u32]) -> usize {
    before.iter().zip(after).filter(|(a, b)| a != b).count()
}

#[test]
fn two_choices_prefer_the_less_busy_and_reach_everybody() {
    let mut cluster = Played::of(Balance::P2c, &[1, 1, 2]);
    for _ in 0..400 {
        cluster.pick();
    }
    let busy = [0, 1, 2].map(|id| cluster.in_flight(id));
    assert!(
        busy[0].abs_diff(100) < 10 && busy[1].abs_diff(100) < 10,
        "{busy:?}"
    );
    assert!(busy[2].abs_diff(200) < 15, "{busy:?}");
    cluster.set(0, OUT);
    cluster.set(1, OUT);
    assert_eq!(cluster.pick(), picked(2, Why::Balanced));
    assert_ne!(cluster.ask(&[2], None), Picked::Nobody);
}

#[test]
fn peak_ewma_avoids_the_slow_until_its_latency_has_faded() {
    let decay = Duration::from_secs(10);
    let mut cluster = Played::of(Balance::PeakEwma { decay }, &[1, 1]);
    assert_eq!(cluster.hold(2), [0, 1]);
    cluster.finish(0, 10);
    cluster.finish(1, 500);
    assert_eq!(cluster.hold(10), [0; 10], "even with ten in flight");
    (0..10).for_each(|_| cluster.finish(0, 10));
    // A latency of 500 ms fades to 10 ms in 3.9 times the decay.
    let tried_again = (0..60).find(|_| {
        let id = cluster.hold(1)[0];
        cluster.now += Duration::from_secs(1);
        cluster.finish(id, 10);
        id == 1
    });
    assert!(matches!(tried_again, Some(38..42)), "{tried_again:?}");
    let seconds = |id| {
        cluster
            .selector
            .latency_seconds(EndpointId(id), cluster.now)
            .unwrap()
    };
    // What faded to 10 ms, and 10 ms more.
    assert!(seconds(1) < 0.021, "{}", seconds(1));
}

#[test]
fn peak_ewma_lets_equals_take_turns() {
    let decay = Duration::from_secs(10);
    let mut cluster = Played::of(Balance::PeakEwma { decay }, &[1, 1, 1]);
    assert_eq!(cluster.serve(6), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_key_keeps_its_endpoint_while_others_come_and_go() {
    let mut cluster = Played::of(BOUNDED, &[1; 10]);
    let before = cluster.owners(5_000);
    cluster.set(3, LAST_RESORT);
    let without = cluster.owners(5_000);
    let of_three = before.iter().filter(|id| **id == 3).count();
    assert_eq!(
        moved(&before, &without),
        of_three,
        "only the keys of the one that left"
    );
    cluster.set(3, Standing::FULL);
    assert_eq!(cluster.owners(5_000), before);
    cluster.reshape(Settings::new(BOUNDED), &members(&[1; 11]));
    let with_one_more = cluster.owners(5_000);
    let share = moved(&before, &with_one_more);
    assert!((300..600).contains(&share), "about an eleventh: {share}");
    let to_others = before
        .iter()
        .zip(&with_one_more)
        .filter(|(a, b)| a != b && **b != 10);
    assert_eq!(to_others.count(), 0, "keys go to the new one only");
}

#[test]
fn a_key_that_everybody_asks_for_is_spread_by_the_bound() {
    let mut cluster = Played::of(BOUNDED, &[1, 1, 1, 1]);
    let mut most = 0;
    for taken in 1..=400_u32 {
        cluster.ask_for("hot");
        most = (0..4).map(|id| cluster.in_flight(id)).max().unwrap();
        let average = f64::from(taken) / 4.0;
        assert!(
            f64::from(most) <= (1.5 * average).ceil(),
            "{most} of {taken}"
        );
    }
    assert_eq!(most, 150, "and it uses what it may have");
    let mut unbounded = Played::of(UNBOUNDED, &[1, 1, 1, 1]);
    let in_a_row: Vec<_> = (0..400).map(|_| unbounded.ask_for("hot")).collect();
    assert!(in_a_row.iter().all(|picked| *picked == in_a_row[0]));
    assert_eq!((0..4).map(|id| unbounded.in_flight(id)).max(), Some(400));
}

#[test]
fn a_degraded_endpoint_keeps_a_part_of_its_keys() {
    let mut cluster = Played::of(BOUNDED, &[1, 1, 1]);
    let before = cluster.owners(3_000);
    let of_one = |owners: &[u32]| owners.iter().filter(|id| **id == 1).count();
    cluster.set(1, Standing::In { share_percent: 25 });
    let degraded = cluster.owners(3_000);
    let percent = 100 * of_one(&degraded) / of_one(&before);
    assert!((20..30).contains(&percent), "{percent} %");
    assert_eq!(
        moved(&before, &degraded),
        of_one(&before) - of_one(&degraded)
    );
    cluster.set(1, Standing::In { share_percent: 50 });
    let half = cluster.owners(3_000);
    let back = degraded
        .iter()
        .zip(&half)
        .filter(|(a, b)| a != b && **b != 1);
    assert_eq!(back.count(), 0, "its part only grows");
}

#[test]
fn without_a_key_or_far_around_the_ring_somebody_is_found() {
    let mut cluster = Played::of(BOUNDED, &[1, 1, 1]);
    assert_eq!(cluster.serve(3), [0, 1, 2]);
    let mut large = Played::of(BOUNDED, &[1; 500]);
    (2..500).for_each(|id| large.set(id, OUT));
    let owners = large.owners(200);
    let of_first = owners.iter().filter(|id| **id == 0).count();
    assert!((60..140).contains(&of_first), "{of_first}");
    assert_eq!(large.owners(200), owners);
    large.set(0, OUT);
    large.set(1, OUT);
    assert_eq!(large.ask_for("key"), Picked::Nobody);
}

#[test]
fn a_tier_that_is_short_spills_over_and_a_full_one_too() {
    let mut tiers = members(&[1, 1, 1, 1]);
    tiers[2].priority = 1;
    tiers[3].priority = 1;
    tiers[0].max_in_flight = 1;
    let mut cluster = Played::new(Settings::new(Balance::RoundRobin), &tiers);
    assert_eq!(cluster.serve(4), [0, 1, 0, 1]);
    cluster.set(1, OUT);
    let served = cluster.serve(1_000);
    let first = served.iter().filter(|id| **id == 0).count();
    assert!((660..740).contains(&first), "70 % of the traffic: {first}");
    cluster.set(2, OUT);
    cluster.set(3, OUT);
    assert_eq!(cluster.hold(1), [0]);
    cluster.set(3, Standing::FULL);
    assert_eq!(cluster.pick(), picked(3, Why::Spilled), "0 is full");
    cluster.set(3, OUT);
    assert_eq!(cluster.pick(), Picked::Full);
}

#[test]
fn a_key_does_not_wander_between_tiers() {
    let mut tiers = members(&[1; 8]);
    tiers[4..].iter_mut().for_each(|member| member.priority = 9);
    let mut cluster = Played::new(Settings::new(BOUNDED), &tiers);
    cluster.set(0, OUT);
    cluster.set(1, OUT);
    let owners = cluster.owners(1_000);
    let in_first = owners.iter().filter(|id| **id < 4).count();
    assert!((660..740).contains(&in_first), "{in_first}");
    assert_eq!(cluster.owners(1_000), owners);
}

#[test]
fn the_own_zone_is_preferred() {
    let mut zoned = members(&[1, 1, 1]);
    zoned[0].zone = Some(Zone::new("b"));
    zoned[2].zone = Some(Zone::new("a"));
    let settings = Settings {
        zone: Some(Zone::new("a")),
        ..Settings::new(Balance::LeastConn)
    };
    let mut cluster = Played::new(settings, &zoned);
    assert_eq!(cluster.serve(3), [2, 2, 2]);
    cluster.set(2, OUT);
    assert_eq!(cluster.pick(), picked(0, Why::Spilled));
    let here = Settings::new(Balance::LeastConn);
    cluster.reshape(here, &zoned);
    assert_eq!(
        cluster.pick(),
        picked(1, Why::Balanced),
        "without a zone all are alike"
    );
}

#[test]
fn what_is_known_survives_a_change_of_members() {
    let decay = Duration::from_secs(10);
    let settings = Settings::new(Balance::PeakEwma { decay });
    let mut cluster = Played::new(settings.clone(), &members(&[1, 1, 1]));
    cluster.hold(3);
    for (id, millis) in [(0, 500), (1, 500), (2, 10)] {
        cluster.finish(id, millis);
    }
    cluster.set(1, LAST_RESORT);
    cluster.reshape(settings, &[member(2, 1), member(0, 1), member(1, 1)]);
    assert_eq!(cluster.selector.standing(EndpointId(1)), Some(LAST_RESORT));
    assert_eq!(cluster.serve(3), [2, 2, 2]);
}

#[test]
fn a_latecomer_begins_slowly() {
    let settings = Settings {
        slow_start: Some(SlowStart {
            window: Duration::from_secs(30),
        }),
        ..Settings::new(Balance::LeastConn)
    };
    let mut cluster = Played::new(settings.clone(), &members(&[1]));
    cluster.reshape(settings, &members(&[1, 1]));
    let held = cluster.hold(11);
    assert_eq!(held.iter().filter(|id| **id == 1).count(), 1, "{held:?}");
    let percent = |cluster: &Played, after| {
        let then = cluster.now + Duration::from_secs(after);
        cluster.selector.slow_start_percent(EndpointId(1), then)
    };
    assert_eq!(
        [0, 15, 30].map(|after| percent(&cluster, after)),
        [10, 55, 100].map(Some)
    );
    let stepped_back = cluster.now.checked_sub(Duration::from_secs(9)).unwrap();
    cluster.now = stepped_back;
    assert_eq!(percent(&cluster, 0), Some(10));
    cluster.pick();
}

#[test]
fn nonsense_is_harmless() {
    for balance in [
        Balance::RoundRobin,
        Balance::LeastConn,
        Balance::P2c,
        BOUNDED,
    ] {
        let twice = [member(0, u16::MAX), member(0, 5), member(1, u16::MAX)];
        let mut cluster = Played::new(Settings::new(balance), &twice);
        cluster.selector.release(EndpointId(0), None, cluster.now);
        cluster
            .selector
            .release(EndpointId(9), Some(Duration::MAX), cluster.now);
        cluster.selector.set_weight(EndpointId(9), 3);
        cluster.set(9, LAST_RESORT);
        assert_eq!(cluster.selector.total_in_flight(), 0);
        assert_eq!(cluster.selector.weight(EndpointId(9)), None);
        let taken =
            (0..10).filter(|_| matches!(cluster.ask(&[9, 9], Some(9)), Picked::Endpoint { .. }));
        assert_eq!(taken.count(), 10);
        let busy = [0, 1].map(|id| cluster.in_flight(id));
        assert_eq!(busy.iter().sum::<u32>(), 10);
        assert!(
            busy[0].abs_diff(busy[1]) <= 2,
            "one id is one member: {busy:?}"
        );
        let settings = Settings {
            overprovisioning_percent: 0,
            slow_start: Some(SlowStart {
                window: Duration::ZERO,
            }),
            ..Settings::new(balance)
        };
        cluster.reshape(settings, &[]);
        assert_eq!(cluster.pick(), Picked::Nobody);
        assert_eq!(cluster.selector.total_in_flight(), 10);
    }
}
