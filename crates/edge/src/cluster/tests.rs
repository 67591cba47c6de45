//! How clusters choose, contain, wait and survive a reload. No sockets, and time is an argument.

use std::collections::HashMap;
use std::time::Duration;

use portcullis_traffic::containment::{Reason, What};

use super::*;
use crate::pipeline::fake::{self, at_once};

mod queue;

const ADDRESSES: [&str; 3] = ["10.0.1.1:80", "10.0.1.2:80", "10.0.1.3:80"];

impl Cluster {
    /// Fails an endpoint with refused connections.
    pub(crate) fn blame(&self, endpoint: &Endpoint, times: usize, now: Instant) {
        for _ in 0..times {
            self.core.change(now, |state| {
                let id = endpoint.id();
                let mut changes = state.containment.attempted(id, now);
                let refused = Err(Trouble::Refused);
                changes.extend(state.containment.ended(id, refused, now));
                changes
            });
        }
    }

    fn at_work(&self, position: usize) -> u32 {
        self.status(Instant::now()).endpoints[position].in_flight
    }

    fn state(&self, position: usize) -> &'static str {
        self.status(Instant::now()).endpoints[position].state()
    }
}

fn keeper() -> Keeper {
    Keeper::new(OpaqueIds::new(b"key"))
}

fn build(config: &config::Cluster, keeper: &Keeper, previous: Option<&Cluster>) -> Cluster {
    Cluster::build(config, None, &Metrics::new(), keeper, previous).unwrap()
}

fn config(change: impl FnOnce(&mut config::Cluster)) -> config::Cluster {
    let mut config = fake::cluster(&ADDRESSES);
    change(&mut config);
    config
}

fn cluster(change: impl FnOnce(&mut config::Cluster)) -> Cluster {
    build(&config(change), &keeper(), None)
}

fn address(position: usize) -> SocketAddr {
    ADDRESSES[position].parse().unwrap()
}

fn ask(now: Instant) -> Ask<'static> {
    Ask {
        bound: None,
        key: None,
        tried: &[],
        now,
        chance: 7,
    }
}

fn acquire(cluster: &Cluster, ask: &Ask<'_>) -> Result<Slot, Refusal> {
    at_once(cluster.acquire(ask))
}

fn picks(cluster: &Cluster, times: usize, now: Instant) -> HashMap<SocketAddr, usize> {
    let mut counts = HashMap::new();
    for _ in 0..times {
        let slot = acquire(cluster, &ask(now)).unwrap();
        *counts.entry(slot.endpoint().address()).or_default() += 1;
        slot.abandon(now);
    }
    counts
}

#[test]
fn ten_thousand_picks_by_eight_threads_differ_by_at_most_one() {
    let cluster = cluster(|_| ());
    let counts = std::thread::scope(|scope| {
        let picker = || picks(&cluster, 1_250, Instant::now());
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(picker)).collect();
        let mut sum: HashMap<SocketAddr, usize> = HashMap::new();
        for thread in threads {
            for (address, count) in thread.join().unwrap() {
                *sum.entry(address).or_default() += count;
            }
        }
        sum
    });
    assert_eq!(counts.values().sum::<usize>(), 10_000);
    let (least, most) = (counts.values().min(), counts.values().max());
    assert!(most.unwrap() - least.unwrap() <= 1, "{counts:?}");
}

#[test]
fn slots_are_given_back_once_however_they_end() {
    let cluster = cluster(|_| ());
    let now = Instant::now();
    let mut slots: Vec<Slot> = (0..12)
        .map(|_| acquire(&cluster, &ask(now)).unwrap())
        .collect();
    assert_eq!([0, 1, 2].map(|at| cluster.at_work(at)), [4, 4, 4]);
    for mut slot in slots.drain(..) {
        match slot.endpoint().address() {
            one if one == address(0) => slot.finish(Ok(()), now),
            two if two == address(1) => {
                slot.judge(Err(Trouble::Status(500)), now);
                slot.finish(Ok(()), now);
            }
            _ => drop(slot),
        }
    }
    assert_eq!([0, 1, 2].map(|at| cluster.at_work(at)), [0, 0, 0]);
    let failures = cluster.endpoints()[1].metrics().failures.get();
    assert_eq!(failures, 4, "the first verdict counts");
}

#[test]
fn weights_share_the_traffic() {
    let cluster = cluster(|config| {
        config.endpoints[0].weight = 2;
        config.endpoints[2].weight = 0;
    });
    let now = Instant::now();
    let counts = picks(&cluster, 300, now);
    assert_eq!((counts[&address(0)], counts[&address(1)]), (200, 100));
    assert_eq!(counts.get(&address(2)), None);
    cluster.set_weight(&cluster.endpoints()[2], 3, now);
    cluster.set_weight(&cluster.endpoints()[0], 0, now);
    let counts = picks(&cluster, 400, now);
    assert_eq!((counts[&address(1)], counts[&address(2)]), (100, 300));
}

#[test]
fn tried_endpoints_come_last() {
    let cluster = cluster(|_| ());
    let now = Instant::now();
    let ids: Vec<EndpointId> = cluster.endpoints().iter().map(|one| one.id()).collect();
    let with = |tried| acquire(&cluster, &Ask { tried, ..ask(now) });
    for _ in 0..10 {
        assert_eq!(with(&ids[..2]).unwrap().endpoint().address(), address(2));
    }
    assert!(with(&ids).is_ok(), "rather one that failed than none");
    assert!(cluster.has_untried(&ids[..2]) && !cluster.has_untried(&ids));
}

#[test]
fn three_failures_in_a_row_eject_until_the_time_is_over() {
    let (keeper, now) = (keeper(), Instant::now());
    let cluster = build(&config(|_| ()), &keeper, None);
    cluster.blame(&cluster.endpoints()[0], 2, now);
    assert_eq!(picks(&cluster, 30, now).len(), 3, "two are not enough");
    cluster.blame(&cluster.endpoints()[0], 1, now);
    assert!(cluster.endpoints()[0].is_out());
    assert!(!picks(&cluster, 30, now).contains_key(&address(0)));
    let over = now + Duration::from_secs(30);
    assert_eq!(cluster.tick(now), Some(over));
    assert_eq!(cluster.tick(over), None);
    assert!(!cluster.endpoints()[0].is_out());
    let told: Vec<What> = keeper
        .events()
        .latest()
        .iter()
        .map(|one| one.what)
        .collect();
    let ejected = What::Ejected {
        duration: Duration::from_secs(30),
        times: 1,
    };
    assert_eq!(told, [ejected, What::EjectionOver]);
    assert_eq!(cluster.endpoints()[0].metrics().changes.get(), 2);
}

#[test]
fn a_request_notices_that_an_ejection_is_over() {
    let cluster = cluster(|config| config.slow_start = None);
    let now = Instant::now();
    cluster.blame(&cluster.endpoints()[0], 3, now);
    let later = now + Duration::from_secs(30);
    assert_eq!(picks(&cluster, 30, later)[&address(0)], 10);
}

#[test]
fn half_of_a_cluster_at_most_is_ejected() {
    let cluster = cluster(|_| ());
    let now = Instant::now();
    cluster.blame(&cluster.endpoints()[0], 3, now);
    cluster.blame(&cluster.endpoints()[1], 9, now);
    assert!(cluster.endpoints()[0].is_out());
    assert!(
        !cluster.endpoints()[1].is_out(),
        "two of three are more than half"
    );
}

#[test]
fn last_endpoint_is_never_ejected() {
    let cluster = cluster(|config| {
        config.endpoints.truncate(2);
        config.ejection.as_mut().unwrap().max_percent = 100;
    });
    let now = Instant::now();
    cluster.blame(&cluster.endpoints()[0], 3, now);
    cluster.blame(&cluster.endpoints()[1], 30, now);
    assert_eq!(picks(&cluster, 5, now).len(), 1);
}

#[test]
fn probed_endpoints_start_out_and_events_say_why_they_change() {
    let (keeper, now) = (keeper(), Instant::now());
    let health = |config: &mut config::Cluster| config.health = vec![fake::health_check()];
    let cluster = build(&config(health), &keeper, None);
    assert!(!cluster.has_eligible());
    let refusal = acquire(&cluster, &ask(now)).unwrap_err();
    assert_eq!(refusal, Refusal::NoEndpoint);
    let endpoint = &cluster.endpoints()[0];
    cluster.probed(endpoint, 0, Ok(()), now);
    assert!(cluster.has_eligible());
    for _ in 0..3 {
        cluster.probed(endpoint, 0, Err(Trouble::Refused), now);
    }
    assert!(!cluster.has_eligible());
    let latest = keeper.events().latest();
    let [.., last] = latest.as_slice() else {
        panic!("no events")
    };
    assert_eq!(last.what, What::Unhealthy);
    assert_eq!(last.reason, Reason::Trouble(Trouble::Refused));
    assert_eq!(last.endpoint.as_deref(), Some(ADDRESSES[0]));
    assert_eq!(last.number, latest.len() as u64);
}

#[test]
fn drained_endpoint_takes_nobody_new_and_keeps_whom_it_has() {
    let cluster = cluster(|_| ());
    let now = Instant::now();
    let endpoint = &cluster.endpoints()[1];
    let held = acquire(
        &cluster,
        &Ask {
            bound: Some(endpoint.id()),
            ..ask(now)
        },
    )
    .unwrap();
    assert_eq!(held.endpoint().address(), address(1));
    cluster.drain(endpoint, true, now);
    assert!(!picks(&cluster, 30, now).contains_key(&address(1)));
    let bound = acquire(
        &cluster,
        &Ask {
            bound: Some(endpoint.id()),
            ..ask(now)
        },
    )
    .unwrap();
    assert_eq!(bound.endpoint().address(), address(1));
    assert!(!endpoint.is_out(), "nobody has to stop waiting for it");
    assert_eq!((cluster.state(1), cluster.at_work(1)), ("draining", 2));
    cluster.drain(endpoint, false, now);
    assert_eq!(cluster.state(1), "in");
}

#[test]
fn generations_share_endpoints_by_address_from_the_moment_they_are_in_force() {
    let (keeper, now) = (keeper(), Instant::now());
    let before = build(&config(|_| ()), &keeper, None);
    before.blame(&before.endpoints()[1], 3, now);
    let ids: Vec<EndpointId> = before.endpoints().iter().map(|one| one.id()).collect();
    let slot = acquire(
        &before,
        &Ask {
            tried: &ids[1..],
            ..ask(now)
        },
    )
    .unwrap();
    let going = acquire(
        &before,
        &Ask {
            tried: &ids[..2],
            ..ask(now)
        },
    )
    .unwrap();

    let after = fake::cluster(&["10.0.1.9:80", ADDRESSES[1], ADDRESSES[0]]);
    let after = build(&after, &keeper, Some(&before));
    assert_eq!(before.at_work(2), 1, "nothing has changed yet");
    after.put_in_force(now);

    let [new, ejected, busy] = after.endpoints() else {
        panic!("three endpoints")
    };
    assert!(!ids.contains(&new.id()), "ids are never used again");
    assert_eq!((ejected.id(), busy.id()), (ids[1], ids[0]));
    assert!(ejected.is_out());
    assert_eq!(after.at_work(2), 1);
    slot.finish(Ok(()), now);
    assert_eq!(after.at_work(2), 0, "the place of a request of before");
    going.finish(Ok(()), now);
    let counts = picks(&before, 30, now);
    assert!(!counts.contains_key(&address(2)), "{counts:?}");
    assert_eq!(after.key, before.key, "pooled connections stay");
}

#[test]
fn bound_endpoint_goes_first_while_it_may_be_had() {
    let cluster = cluster(|_| ());
    let now = Instant::now();
    let endpoint = &cluster.endpoints()[2];
    let bound = cluster.bound_to(endpoint.affinity_id());
    assert_eq!(bound, Some(endpoint.id()));
    assert_eq!(cluster.bound_to(1), None, "of another configuration");
    let pick = |tried: &[EndpointId]| {
        let slot = acquire(
            &cluster,
            &Ask {
                bound,
                tried,
                ..ask(now)
            },
        );
        slot.unwrap().endpoint().address()
    };
    assert!((0..5).all(|_| pick(&[]) == address(2)));
    assert_ne!(pick(&[endpoint.id()]), address(2), "it failed this request");
    cluster.blame(endpoint, 3, now);
    assert_ne!(pick(&[]), address(2), "it is ejected");
}

#[test]
fn the_ring_of_events_is_bounded() {
    let (keeper, now) = (keeper(), Instant::now());
    let cluster = build(&config(|_| ()), &keeper, None);
    for round in 0..200 {
        cluster.drain(&cluster.endpoints()[0], round % 2 == 0, now);
        cluster.drain(&cluster.endpoints()[1], round % 2 == 0, now);
    }
    let latest = keeper.events().latest();
    assert_eq!(latest.len(), 256);
    let numbers: Vec<u64> = latest.iter().map(|one| one.number).collect();
    assert_eq!(numbers, (145..=400).collect::<Vec<u64>>());
}

#[test]
fn served_by_tells_endpoints_apart_without_naming_them() {
    let cluster = cluster(|_| ());
    let [one, two, _] = cluster.endpoints() else {
        panic!("three endpoints")
    };
    assert_ne!(one.served_by_opaque(), two.served_by_opaque());
    assert_eq!(one.served_by_opaque().len(), 16);
    assert_eq!(one.served_by_plain(), ADDRESSES[0]);
    let other = Keeper::new(OpaqueIds::new(b"another key"));
    let other = build(&config(|_| ()), &other, None);
    let other = &other.endpoints()[0];
    assert_ne!(
        one.served_by_opaque(),
        other.served_by_opaque(),
        "nobody can compute it"
    );
}
