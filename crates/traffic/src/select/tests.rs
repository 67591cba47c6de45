//! Selection as a cluster meets it. Never draws chance.

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
fn those_tried_are_picked_again_only_when_nobody_else_may_be() {
    let mut cluster = Played::of(Balance::RoundRobin, &[1, 1, 1]);
    assert_eq!(cluster.ask(&[0, 1], None), picked(2, Why::Balanced));
    cluster.set(2, OUT);
    assert_eq!(cluster.ask(&[0, 2], None), picked(1, Why::Balanced));
    assert!(matches!(cluster.ask(&[0, 1, 2, 77], None), Picked::Endpoint { id, .. } if id.0 < 2));
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
    assert_eq!(
        cluster.ask(&[0], None),
        picked(0, Why::Balanced),
        "the other is full"
    );
    assert_eq!(cluster.pick(), Picked::Full);
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
