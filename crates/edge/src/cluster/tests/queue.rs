//! Waiting in line, on a paused clock.

use tokio::task::JoinHandle;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// One endpoint with one place, and room for two to wait for two seconds.
fn narrow() -> Arc<Cluster> {
    Arc::new(cluster(|config| {
        config.endpoints.truncate(1);
        config.endpoints[0].max_requests = 1.try_into().unwrap();
        config.queue = Some(config::Queue {
            length: 2.try_into().unwrap(),
            timeout: 2 * SECOND,
        });
    }))
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Asks on a task of its own and lets it get as far as it can.
async fn asking(cluster: &Arc<Cluster>) -> JoinHandle<Result<Slot, Refusal>> {
    let cluster = Arc::clone(cluster);
    let asking = tokio::spawn(async move { cluster.acquire(&ask(now())).await });
    tokio::task::yield_now().await;
    asking
}

fn queued(cluster: &Cluster) -> usize {
    cluster.status(now()).queued
}

#[tokio::test(start_paused = true)]
async fn places_go_to_those_who_waited_longest() {
    let cluster = narrow();
    let held = cluster.acquire(&ask(now())).await.unwrap();
    let (first, second) = (asking(&cluster).await, asking(&cluster).await);
    assert_eq!(queued(&cluster), 2);
    drop(held);
    // Who comes now must not overtake, though the place is free.
    let late = cluster.acquire(&ask(now())).await.unwrap_err();
    assert!(matches!(late, Refusal::QueueFull { .. }), "{late:?}");
    let slot = first.await.unwrap().unwrap();
    assert!(!second.is_finished());
    slot.finish(Ok(()), now());
    drop(second.await.unwrap().unwrap());
    assert_eq!((queued(&cluster), cluster.at_work(0)), (0, 0));
    assert_eq!(cluster.metrics().queue_served.get(), 2);
    assert_eq!(cluster.metrics().queue_refused.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_when_to_come_back() {
    let cluster = narrow();
    let _held = cluster.acquire(&ask(now())).await.unwrap();
    let began = tokio::time::Instant::now();
    let refusal = cluster.acquire(&ask(now())).await.unwrap_err();
    assert_eq!(began.elapsed(), 2 * SECOND);
    let expected = Refusal::QueueTimeout {
        retry_after_seconds: 1,
    };
    assert_eq!(refusal, expected);
    assert_eq!(queued(&cluster), 0);
    assert_eq!(cluster.metrics().queue_timeouts.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn full_queue_refuses_within_its_own_deadline() {
    let cluster = narrow();
    let _held = cluster.acquire(&ask(now())).await.unwrap();
    let (_first, _second) = (asking(&cluster).await, asking(&cluster).await);
    let Err(Refusal::QueueFull {
        retry_after_seconds,
    }) = cluster.acquire(&ask(now())).await
    else {
        panic!("it is not full")
    };
    assert!((1..=2).contains(&retry_after_seconds));
}

#[tokio::test(start_paused = true)]
async fn client_that_leaves_makes_room_and_its_call_goes_to_the_next() {
    let cluster = narrow();
    let held = cluster.acquire(&ask(now())).await.unwrap();
    let (first, second) = (asking(&cluster).await, asking(&cluster).await);
    // It is called and gone before it can look.
    drop(held);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    drop(second.await.unwrap().unwrap());
    assert_eq!((queued(&cluster), cluster.at_work(0)), (0, 0));
    assert_eq!(cluster.metrics().queue_left.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_comes_back_serves_all_who_wait() {
    let cluster = Arc::new(cluster(|config| {
        config.endpoints.truncate(2);
        config.endpoints[0].max_requests = 1.try_into().unwrap();
        config.slow_start = None;
    }));
    let other = Arc::clone(&cluster.endpoints()[1]);
    cluster.drain(&other, true, now());
    let held = cluster.acquire(&ask(now())).await.unwrap();
    let (first, second) = (asking(&cluster).await, asking(&cluster).await);
    cluster.drain(&other, false, now());
    for waiting in [first, second] {
        let slot = waiting.await.unwrap().unwrap();
        assert_eq!(slot.endpoint().address(), other.address());
    }
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_cluster_without_endpoints() {
    let cluster = narrow();
    let held = cluster.acquire(&ask(now())).await.unwrap();
    let waiting = asking(&cluster).await;
    cluster.drain(&cluster.endpoints()[0], true, now());
    drop(held);
    assert_eq!(waiting.await.unwrap().unwrap_err(), Refusal::NoEndpoint);
}

#[tokio::test(start_paused = true)]
async fn retry_that_waits_for_another_endpoint_holds_up_nobody() {
    let cluster = Arc::new(cluster(|config| {
        config.endpoints.truncate(2);
        config.endpoints[1].max_requests = 1.try_into().unwrap();
        config.queue = Some(config::Queue {
            length: 2.try_into().unwrap(),
            timeout: 2 * SECOND,
        });
    }));
    let [failed, other] = [0, 1].map(|at| Arc::clone(&cluster.endpoints()[at]));
    let tried = vec![failed.id()];
    let again = |tried: &Vec<_>| {
        let (cluster, tried) = (Arc::clone(&cluster), tried.clone());
        tokio::spawn(async move {
            let ask = Ask {
                tried: &tried,
                ..ask(now())
            };
            cluster.acquire(&ask).await
        })
    };
    let held = again(&tried).await.unwrap().unwrap();
    assert_eq!(held.endpoint().address(), other.address());
    let retry = again(&tried);
    tokio::task::yield_now().await;
    assert_eq!((queued(&cluster), retry.is_finished()), (1, false));
    let newcomer = cluster.acquire(&ask(now())).await.unwrap();
    assert_eq!(newcomer.endpoint().address(), failed.address());
    drop(newcomer);
    tokio::task::yield_now().await;
    assert!(!retry.is_finished(), "that place is not for it");
    drop(held);
    let slot = retry.await.unwrap().unwrap();
    assert_eq!(slot.endpoint().address(), other.address());
    assert_eq!(queued(&cluster), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_the_answer_comes_at_once() {
    let cluster = cluster(|config| {
        config.endpoints.truncate(1);
        config.endpoints[0].max_requests = 1.try_into().unwrap();
        config.queue = None;
    });
    let _held = cluster.acquire(&ask(now())).await.unwrap();
    let refusal = cluster.acquire(&ask(now())).await.unwrap_err();
    let expected = Refusal::QueueFull {
        retry_after_seconds: 1,
    };
    assert_eq!(refusal, expected);
}

#[tokio::test(start_paused = true)]
async fn retry_without_a_queue_goes_again_where_there_is_room() {
    let cluster = cluster(|config| {
        config.endpoints.truncate(2);
        for endpoint in &mut config.endpoints {
            endpoint.max_requests = 1.try_into().unwrap();
        }
        config.queue = None;
    });
    let [failed, other] = [0, 1].map(|at| Arc::clone(&cluster.endpoints()[at]));
    let tried = [failed.id()];
    let again = Ask {
        tried: &tried,
        ..ask(now())
    };
    assert!(cluster.has_untried(&tried));
    let held = cluster.acquire(&again).await.unwrap();
    assert_eq!(held.endpoint().address(), other.address());
    assert!(!cluster.has_untried(&tried), "it is full");
    let repeated = cluster.acquire(&again).await.unwrap();
    assert_eq!(repeated.endpoint().address(), failed.address());
    assert_eq!(cluster.metrics().queue_refused.get(), 0);
    let refused = cluster.acquire(&again).await.unwrap_err();
    assert!(matches!(refused, Refusal::QueueFull { .. }));
    assert_eq!(cluster.metrics().queue_refused.get(), 1);
    drop(held);
    let slot = cluster.acquire(&again).await.unwrap();
    assert_eq!(slot.endpoint().address(), other.address());
}

#[tokio::test(start_paused = true)]
async fn retry_that_finds_the_queue_full_overtakes_nobody() {
    let cluster = Arc::new(cluster(|config| {
        config.endpoints.truncate(2);
        for endpoint in &mut config.endpoints {
            endpoint.max_requests = 1.try_into().unwrap();
        }
        config.queue = Some(config::Queue {
            length: 1.try_into().unwrap(),
            timeout: 2 * SECOND,
        });
    }));
    let failed = Arc::clone(&cluster.endpoints()[0]);
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(cluster.acquire(&ask(now())).await.unwrap());
    }
    let waiting = asking(&cluster).await;
    held.retain(|slot| slot.endpoint().id() != failed.id());
    let tried = [failed.id()];
    let again = Ask {
        tried: &tried,
        ..ask(now())
    };
    let refused = cluster.acquire(&again).await.unwrap_err();
    assert!(matches!(refused, Refusal::QueueFull { .. }));
    let slot = waiting.await.unwrap().unwrap();
    assert_eq!(slot.endpoint().address(), failed.address());
}

#[tokio::test(start_paused = true)]
async fn client_bound_to_a_draining_endpoint_need_not_wait_for_others() {
    let cluster = Arc::new(cluster(|config| {
        config.endpoints.truncate(2);
        config.endpoints[0].max_requests = 1.try_into().unwrap();
    }));
    let bound = Arc::clone(&cluster.endpoints()[1]);
    cluster.drain(&bound, true, now());
    let _held = cluster.acquire(&ask(now())).await.unwrap();
    let _waiting = asking(&cluster).await;
    let ask = Ask {
        bound: Some(bound.id()),
        ..ask(now())
    };
    let slot = cluster.acquire(&ask).await.unwrap();
    assert_eq!(slot.endpoint().address(), bound.address());
}
