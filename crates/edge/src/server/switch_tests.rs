//! Blue-green: the targets of a route change while requests arrive. Never restarts anything.

use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_testkit::{Connection, Endpoint};

use super::*;
use crate::config;
use crate::state::{Share, SwitchError};

/// A plain route and a split one over the clusters blue and green.
fn two(blue: &Endpoint, green: &Endpoint, split: &str) -> Config {
    let text = format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]\nadmin: off\naccess_log: off\n\
         shutdown: {{ delay: 0s, drain: 5s }}\n\
         clusters:\n  blue: {{ endpoints: ['{}'] }}\n  green: {{ endpoints: ['{}'] }}\n\
         routes:\n  - {{ name: plain, path: /plain, cluster: blue }}\n  - {{ name: fixed, path: /fixed, respond: {{}} }}\n\
         \x20 - {{ name: split, split: {split}, split_by: 'header:X-User' }}\n",
        blue.address(),
        green.address()
    );
    config::parse("edge.yaml", &text).unwrap().config
}

const ALL_BLUE: &str = "[{ cluster: blue, weight: 100 }, { cluster: green, weight: 0 }]";

fn share(cluster: &str, weight: u16) -> Share {
    Share {
        cluster: cluster.to_owned(),
        weight,
    }
}

async fn served_by(running: &Running, path: &str) -> String {
    let mut client = Connection::open(running.addresses[0].1).await.unwrap();
    client.get(path).await.unwrap().endpoint()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_after_a_switch_goes_to_the_new_cluster_and_none_fails() {
    let (blue, green) = (
        Endpoint::start("blue").await,
        Endpoint::start("green").await,
    );
    let running = start(two(&blue, &green, ALL_BLUE)).await.unwrap();
    let (address, is_over) = (running.addresses[0].1, Arc::new(AtomicBool::new(false)));
    let load = |_| {
        let is_over = Arc::clone(&is_over);
        tokio::spawn(async move {
            let mut client = Connection::open(address).await.unwrap();
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(client.get("/plain").await.unwrap().status, 200);
                count += 1;
            }
            count
        })
    };
    let load: Vec<_> = (0..4).map(load).collect();
    for _ in 0..20 {
        running.edge.switch("plain", "green").unwrap();
        assert_eq!(served_by(&running, "/plain").await, "green");
        running.edge.switch_back("plain").unwrap();
        assert_eq!(served_by(&running, "/plain").await, "blue");
    }
    is_over.store(true, Ordering::Relaxed);
    for one in load {
        assert!(one.await.unwrap() > 0);
    }
    assert_eq!(running.shutdown().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_finishes_where_it_is() {
    let slow = portcullis_testkit::Behavior::Slow(Duration::from_millis(300));
    let blue = Endpoint::with("blue", slow).await;
    let green = Endpoint::start("green").await;
    let running = start(two(&blue, &green, ALL_BLUE)).await.unwrap();
    let mut client = Connection::open(running.addresses[0].1).await.unwrap();
    let waiting = tokio::spawn(async move { client.get("/plain").await.unwrap().endpoint() });
    portcullis_testkit::wait_until("blue has it", async || {
        (blue.in_flight() == 1).then_some(())
    })
    .await;
    running.edge.switch("plain", "green").unwrap();
    assert_eq!(served_by(&running, "/plain").await, "green");
    assert_eq!(waiting.await.unwrap(), "blue");
    assert_eq!(running.shutdown().await, 0);
}

#[tokio::test]
async fn switches_and_weights_are_remembered_and_undone() {
    let (blue, green) = (
        Endpoint::start("blue").await,
        Endpoint::start("green").await,
    );
    let edge = Edge::build(&two(&blue, &green, ALL_BLUE)).unwrap();
    let first = edge
        .set_split("split", &[share("green", 25), share("blue", 75)])
        .unwrap();
    assert_eq!((first.change, &first.before[1]), (1, &share("green", 0)));
    let second = edge.switch("split", "green").unwrap();
    assert_eq!(second.before, [share("blue", 75), share("green", 25)]);
    assert_eq!(second.now, [share("blue", 0), share("green", 1)]);
    let back = edge.switch_back("split").unwrap();
    assert_eq!((back.change, &back.now), (3, &second.before));
    assert_eq!(edge.switch_back("split").unwrap().now, second.now);
    // Asking again, as after a lost answer, does not lose the way back.
    let again = edge.switch("split", "green").unwrap();
    assert_eq!((&again.before, &again.now), (&second.now, &second.now));
    assert_eq!(edge.switch_back("split").unwrap().now, second.before);
}

#[tokio::test]
async fn weights_of_a_split_of_one_are_set_after_a_switch_beside_it() {
    let (blue, green) = (
        Endpoint::start("blue").await,
        Endpoint::start("green").await,
    );
    let edge = Edge::build(&two(&blue, &green, "[{ cluster: blue, weight: 5 }]")).unwrap();
    edge.switch("split", "green").unwrap();
    let set = edge.set_split("split", &[share("blue", 7)]).unwrap();
    assert_eq!(set.now, [share("blue", 7)]);
}

#[tokio::test]
async fn what_cannot_be_changed_stays_as_it_is() {
    let (blue, green) = (
        Endpoint::start("blue").await,
        Endpoint::start("green").await,
    );
    let edge = Edge::build(&two(&blue, &green, ALL_BLUE)).unwrap();
    let text = |text: &str| text.to_owned();
    for (found, expected) in [
        (
            edge.switch("other", "green"),
            SwitchError::UnknownRoute(text("other")),
        ),
        (
            edge.switch("plain", "red"),
            SwitchError::UnknownCluster(text("red")),
        ),
        (
            edge.switch("fixed", "green"),
            SwitchError::NoTargets(text("fixed")),
        ),
        (
            edge.switch_back("plain"),
            SwitchError::NothingBefore(text("plain")),
        ),
        (
            edge.set_split("plain", &[share("green", 1)]),
            SwitchError::NotASplit(text("plain")),
        ),
        (
            edge.set_split("split", &[share("blue", 0)]),
            SwitchError::Weights,
        ),
        (
            edge.set_split("split", &[share("blue", 1001)]),
            SwitchError::Weights,
        ),
    ] {
        assert_eq!(found, Err(expected));
    }
    assert!(matches!(
        edge.set_split("split", &[share("red", 1)]),
        Err(SwitchError::NotAMember { .. })
    ));
    let snapshot = edge.snapshot.load();
    for route in ["plain", "split"] {
        let targets = snapshot
            .route_named(route)
            .unwrap()
            .targets
            .as_ref()
            .unwrap();
        assert_eq!(targets.shares().1, None, "{route}");
    }
}

#[tokio::test]
async fn a_switch_holds_over_generations_until_the_file_says_something_else() {
    let (blue, green) = (
        Endpoint::start("blue").await,
        Endpoint::start("green").await,
    );
    let config = two(&blue, &green, ALL_BLUE);
    let edge = Edge::build(&config).unwrap();
    let shares = |route: &str| {
        let snapshot = edge.snapshot.load();
        let targets = snapshot.route_named(route).unwrap().targets.as_ref();
        targets.unwrap().shares().0
    };
    let next = edge.next_snapshot(&config).unwrap();
    // Made after the next generation was built and before it is in force.
    edge.switch("plain", "green").unwrap();
    edge.set_split("split", &[share("green", 5)]).unwrap();
    edge.install(next);
    assert_eq!(shares("plain"), [share("green", 1)]);
    assert_eq!(shares("split"), [share("blue", 100), share("green", 5)]);
    assert_eq!(edge.switch_back("plain").unwrap().now, [share("blue", 1)]);
    let other = "[{ cluster: blue, weight: 1 }, { cluster: green, weight: 1 }]";
    let next = edge.next_snapshot(&two(&blue, &green, other)).unwrap();
    edge.install(next);
    assert_eq!(shares("split"), [share("blue", 1), share("green", 1)]);
}
