//! How clusters choose, eject, and survive a reload. No sockets, and time is an argument.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_traffic::health::{Health, Observation};

use super::*;
use crate::pipeline::fake;

const ADDRESSES: [&str; 3] = ["10.0.1.1:80", "10.0.1.2:80", "10.0.1.3:80"];

fn build(config: &config::Cluster, previous: Option<&Cluster>) -> Cluster {
    Cluster::build(config, &Metrics::new(), &OpaqueIds::new(b"key"), previous).unwrap()
}

fn cluster(change: impl FnOnce(&mut config::Cluster)) -> Cluster {
    let mut config = fake::cluster(&ADDRESSES);
    change(&mut config);
    build(&config, None)
}

fn address(position: usize) -> SocketAddr {
    ADDRESSES[position].parse().unwrap()
}

fn fail(cluster: &Cluster, position: usize, times: usize, now: Instant) {
    for _ in 0..times {
        cluster.record_failure(&cluster.endpoints()[position], "test", now);
    }
}

fn picks(cluster: &Cluster, times: usize, now: Instant) -> HashMap<SocketAddr, usize> {
    let mut counts = HashMap::new();
    for _ in 0..times {
        let slot = cluster.pick(&[], now).unwrap();
        *counts.entry(slot.endpoint().address()).or_default() += 1;
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
    assert_eq!(counts.len(), 3);
    assert_eq!(counts.values().sum::<usize>(), 10_000);
    let (least, most) = (
        counts.values().min().unwrap(),
        counts.values().max().unwrap(),
    );
    assert!(most - least <= 1, "{counts:?}");
}

#[test]
fn weights_share_the_traffic() {
    let cluster = cluster(|config| config.endpoints[0].weight = NonZeroU16::new(2).unwrap());
    let counts = picks(&cluster, 400, Instant::now());
    assert_eq!(counts[&address(0)], 200);
    assert_eq!(counts[&address(1)], 100);
}

#[test]
fn least_conn_fills_the_idle_first_and_slots_are_given_back() {
    let cluster = cluster(|config| config.balance = Balance::LeastConn);
    let now = Instant::now();
    let slots: Vec<Slot> = (0..30).map(|_| cluster.pick(&[], now).unwrap()).collect();
    assert!(
        cluster
            .endpoints()
            .iter()
            .all(|endpoint| endpoint.in_flight() == 10)
    );
    let kept: Vec<Slot> = slots
        .into_iter()
        .filter(|slot| slot.endpoint().address() != address(2))
        .collect();
    assert_eq!(cluster.endpoints()[2].in_flight(), 0);
    let next = cluster.pick(&[], now).unwrap();
    assert_eq!(next.endpoint().address(), address(2));
    drop((kept, next));
    assert!(
        cluster
            .endpoints()
            .iter()
            .all(|endpoint| endpoint.in_flight() == 0)
    );
}

#[test]
fn tried_endpoints_come_last() {
    let cluster = cluster(|_| ());
    let now = Instant::now();
    for _ in 0..10 {
        let slot = cluster.pick(&[address(0), address(1)], now).unwrap();
        assert_eq!(slot.endpoint().address(), address(2));
    }
    let all: Vec<SocketAddr> = (0..3).map(address).collect();
    assert!(
        cluster.pick(&all, now).is_some(),
        "rather one that failed than none"
    );
}

#[test]
fn three_failures_in_a_row_eject_until_the_time_is_over() {
    let cluster = cluster(|_| ());
    let now = Instant::now();
    fail(&cluster, 0, 2, now);
    assert_eq!(picks(&cluster, 30, now).len(), 3, "two are not enough");
    fail(&cluster, 0, 1, now);
    assert!(!picks(&cluster, 30, now).contains_key(&address(0)));
    assert!(cluster.endpoints()[0].is_ejected(now));
    let later = now + Duration::from_secs(30);
    assert_eq!(picks(&cluster, 30, later).len(), 3);
    assert!(!cluster.endpoints()[0].is_ejected(later));
    assert_eq!(
        cluster.endpoints()[0].metrics().changes.get(),
        2,
        "out and back"
    );
}

#[test]
fn success_or_time_between_failures_forgives() {
    let cluster = cluster(|_| ());
    let now = Instant::now();
    fail(&cluster, 0, 2, now);
    cluster.record_success(&cluster.endpoints()[0]);
    fail(&cluster, 0, 2, now);
    assert!(cluster.endpoints()[0].is_eligible(now));
    fail(&cluster, 0, 1, now + Duration::from_secs(31));
    assert!(cluster.endpoints()[0].is_eligible(now + Duration::from_secs(31)));
}

#[test]
fn half_of_a_cluster_at_most_is_ejected() {
    let cluster = cluster(|_| ());
    let now = Instant::now();
    fail(&cluster, 0, 3, now);
    fail(&cluster, 1, 9, now);
    assert!(!cluster.endpoints()[0].is_eligible(now));
    assert!(
        cluster.endpoints()[1].is_eligible(now),
        "two of three are more than half"
    );
}

#[test]
fn last_endpoint_is_never_ejected() {
    let everything = |config: &mut config::Cluster| {
        config.endpoints.truncate(2);
        config.ejection.as_mut().unwrap().max_percent = 100;
    };
    let cluster = cluster(everything);
    let now = Instant::now();
    fail(&cluster, 0, 3, now);
    fail(&cluster, 1, 30, now);
    assert_eq!(picks(&cluster, 5, now).len(), 1);
}

#[test]
fn unhealthy_endpoints_count_against_the_cap() {
    let cluster = cluster(|config| config.health = vec![fake::health_check()]);
    let now = Instant::now();
    for endpoint in &cluster.endpoints()[..2] {
        cluster.observe(endpoint, Observation::Pass, "test");
    }
    fail(&cluster, 0, 9, now);
    assert!(
        cluster.endpoints()[0].is_eligible(now),
        "one is unproven, one more would be two"
    );
}

#[test]
fn without_ejection_failures_are_only_counted() {
    let cluster = cluster(|config| config.ejection = None);
    let now = Instant::now();
    fail(&cluster, 0, 100, now);
    assert!(cluster.endpoints()[0].is_eligible(now));
    assert_eq!(cluster.endpoints()[0].metrics().failures.get(), 100);
}

#[test]
fn probed_endpoints_start_unproven_and_rise_and_fall() {
    let cluster = cluster(|config| config.health = vec![fake::health_check()]);
    let now = Instant::now();
    assert!(!cluster.has_eligible(now));
    assert!(cluster.pick(&[], now).is_none());
    let endpoint = &cluster.endpoints()[0];
    let observe = |observation, times| {
        for _ in 0..times {
            cluster.observe(endpoint, observation, "test");
        }
        endpoint.health()
    };
    assert_eq!(observe(Observation::Pass, 1), Health::Healthy);
    assert_eq!(picks(&cluster, 3, now)[&address(0)], 3);
    assert_eq!(observe(Observation::Fail, 2), Health::Healthy);
    assert_eq!(observe(Observation::Fail, 1), Health::Unhealthy);
    assert!(cluster.pick(&[], now).is_none());
    assert_eq!(observe(Observation::Pass, 1), Health::Unhealthy);
    assert_eq!(observe(Observation::Pass, 1), Health::Healthy);
    assert_eq!(endpoint.metrics().changes.get(), 3);
}

#[test]
fn draining_takes_an_endpoint_out_at_once_and_rise_brings_it_back() {
    let cluster = cluster(|config| config.health = vec![fake::health_check()]);
    let endpoint = &cluster.endpoints()[0];
    let now = Instant::now();
    cluster.observe(endpoint, Observation::Pass, "test");
    cluster.observe(endpoint, Observation::Draining, "test");
    assert!(!endpoint.is_eligible(now));
    cluster.observe(endpoint, Observation::Pass, "test");
    assert!(!endpoint.is_eligible(now));
    cluster.observe(endpoint, Observation::Pass, "test");
    assert!(endpoint.is_eligible(now));
}

#[test]
fn draining_is_ignored_where_no_probe_could_bring_the_endpoint_back() {
    let cluster = cluster(|_| ());
    cluster.observe(&cluster.endpoints()[0], Observation::Draining, "test");
    assert!(cluster.endpoints()[0].is_eligible(Instant::now()));
}

#[test]
fn reload_keeps_state_by_address() {
    let health = |config: &mut config::Cluster| config.health = vec![fake::health_check()];
    let before = cluster(health);
    let now = Instant::now();
    for endpoint in before.endpoints() {
        before.observe(endpoint, Observation::Pass, "test");
    }
    fail(&before, 1, 3, now);
    let slot = before.pick(&[address(1), address(2)], now).unwrap();

    let mut config = fake::cluster(&["10.0.1.9:80", ADDRESSES[1], ADDRESSES[0]]);
    health(&mut config);
    config.endpoints[2].weight = NonZeroU16::new(7).unwrap();
    let after = build(&config, Some(&before));

    let [new, ejected, busy] = after.endpoints() else {
        panic!("three endpoints")
    };
    assert_eq!(new.health(), Health::Unproven);
    assert!(ejected.is_ejected(now));
    assert_eq!((busy.health(), busy.in_flight()), (Health::Healthy, 1));
    drop(slot);
    assert_eq!(
        busy.in_flight(),
        0,
        "a request of the old generation gives its place back"
    );
    assert_eq!(after.key(), before.key(), "pooled connections stay");
}

#[test]
fn endpoint_whose_probes_end_with_a_reload_is_taken_for_healthy() {
    let before = cluster(|config| config.health = vec![fake::health_check()]);
    let after = build(&fake::cluster(&ADDRESSES), Some(&before));
    assert!(after.has_eligible(Instant::now()));
}

#[test]
fn preferred_endpoint_goes_first_while_it_may_be_picked() {
    let cluster = cluster(|_| ());
    let now = Instant::now();
    let id = Some(cluster.endpoints()[2].affinity_id());
    let pick = |tried: &[SocketAddr]| {
        cluster
            .pick_preferring(id, tried, now)
            .unwrap()
            .endpoint()
            .address()
    };
    assert!((0..5).all(|_| pick(&[]) == address(2)));
    assert_ne!(
        pick(&[address(2)]),
        address(2),
        "it has failed this request"
    );
    fail(&cluster, 2, 3, now);
    assert_ne!(pick(&[]), address(2), "it is ejected");
    let unknown = cluster.pick_preferring(Some(1), &[], now);
    assert!(
        unknown.is_some(),
        "an endpoint that is gone from the configuration"
    );
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
    let other = Cluster::build(
        &fake::cluster(&ADDRESSES),
        &Metrics::new(),
        &OpaqueIds::new(b"another key"),
        None,
    );
    let other = Arc::clone(&other.unwrap().endpoints()[0]);
    assert_ne!(
        one.served_by_opaque(),
        other.served_by_opaque(),
        "nobody can compute it"
    );
}
