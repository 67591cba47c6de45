//! Probes against endpoints that misbehave, and their pace without any.

use std::net::SocketAddr;

use portcullis_testkit::{Endpoint as Target, Health as Answer, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::pipeline::fake;

const FALL: u32 = 3;

/// An edge that probes one address every few milliseconds.
fn edge(address: SocketAddr, change: impl FnOnce(&mut HealthCheck)) -> Arc<Edge> {
    let mut check = fake::health_check();
    check.interval = Duration::from_millis(5);
    check.timeout = Duration::from_secs(2);
    change(&mut check);
    let mut cluster = fake::cluster(&[&address.to_string()]);
    cluster.health = Some(check);
    Arc::new(Edge::build(&fake::config(cluster)).unwrap())
}

/// Probes until the end of the test.
struct Probing {
    edge: Arc<Edge>,
    _stop: watch::Sender<bool>,
}

fn probing(edge: Arc<Edge>) -> Probing {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(run(Arc::clone(&edge), stopped));
    Probing { edge, _stop: stop }
}

impl Probing {
    fn endpoint(&self) -> Arc<Endpoint> {
        Arc::clone(&self.edge.snapshot.load().clusters[0].endpoints()[0])
    }

    async fn becomes(&self, health: Health) {
        let endpoint = self.endpoint();
        wait_until(&format!("{health:?}"), async || {
            (endpoint.health() == health).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn endpoint_is_proven_falls_and_rises() {
    let target = Target::start("a").await;
    let probing = probing(edge(target.address(), |_| ()));
    assert_eq!(probing.endpoint().health(), Health::Unproven);
    probing.becomes(Health::Healthy).await;
    target.set_health(Answer::Failing);
    probing.becomes(Health::Unhealthy).await;
    assert!(probing.endpoint().metrics().probes_failed.get() >= u64::from(FALL));
    target.set_health(Answer::Ok);
    probing.becomes(Health::Healthy).await;
}

#[tokio::test]
async fn draining_acts_at_the_first_probe() {
    let target = Target::start("a").await;
    let probing = probing(edge(target.address(), |check| {
        check.fall = 1_000.try_into().unwrap()
    }));
    probing.becomes(Health::Healthy).await;
    target.set_health(Answer::Draining);
    probing.becomes(Health::Unhealthy).await;
}

#[tokio::test]
async fn endpoint_that_never_answers_fails_by_the_deadline() {
    let target = Target::start("a").await;
    target.set_health(Answer::Hang);
    let probing = probing(edge(target.address(), |check| {
        check.timeout = Duration::from_millis(20)
    }));
    probing.becomes(Health::Unhealthy).await;
}

#[tokio::test]
async fn body_without_end_fails_by_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                let _ = stream.write_all(head).await;
                let mut ticks = tokio::time::interval(Duration::from_millis(1));
                while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
                    ticks.tick().await;
                }
            });
        }
    });
    let probing = probing(edge(address, |check| {
        check.timeout = Duration::from_millis(30)
    }));
    probing.becomes(Health::Unhealthy).await;
}

#[tokio::test]
async fn closed_port_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    probing(edge(address, |_| ()))
        .becomes(Health::Unhealthy)
        .await;
}

#[tokio::test]
async fn expected_statuses_are_the_configured_ones() {
    let target = Target::start("a").await;
    target.set_health(Answer::Status(404));
    let probing = probing(edge(target.address(), |check| check.expect = 404..=404));
    probing.becomes(Health::Healthy).await;
    target.set_health(Answer::Ok);
    probing.becomes(Health::Unhealthy).await;
}

#[tokio::test]
async fn probe_asks_for_path_and_host_as_configured() {
    let target = Target::start("a").await;
    let probing = probing(edge(target.address(), |check| {
        check.path = "/health/custom?deep=1".to_owned();
        check.host = Some("auth.example.com".to_owned());
    }));
    probing.becomes(Health::Healthy).await;
    let asked = &target.received_health_checks()[0];
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str()),
        ("GET", "/health/custom?deep=1")
    );
    assert_eq!(asked.values("host"), ["auth.example.com"]);
    assert_eq!(asked.values("user-agent"), ["portcullis-health-check"]);
}

#[tokio::test]
async fn host_is_the_address_unless_configured() {
    let target = Target::start("a").await;
    probing(edge(target.address(), |_| ()))
        .becomes(Health::Healthy)
        .await;
    let asked = &target.received_health_checks()[0];
    assert_eq!(asked.values("host"), [target.address().to_string()]);
}

#[tokio::test]
async fn probing_ends_when_told_to() {
    let target = Target::start("a").await;
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(run(edge(target.address(), |_| ()), stopped));
    stop.send(true).unwrap();
    task.await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(run(edge(target.address(), |_| ()), stopped));
    drop(stop);
    task.await.unwrap();
}

#[test]
fn pace_is_quick_until_proven_and_while_turning() {
    let interval = Duration::from_secs(10);
    let mut pace = Pace::new();
    for _ in 0..FIRST_PROBES_MAX {
        assert_eq!(
            pace.next(Observation::Fail, Health::Unhealthy, interval),
            FIRST_INTERVAL
        );
    }
    assert_eq!(
        pace.next(Observation::Fail, Health::Unhealthy, interval),
        interval,
        "bounded"
    );
    assert_eq!(
        pace.next(Observation::Pass, Health::Unhealthy, interval),
        TURNING_INTERVAL
    );
    assert_eq!(
        pace.next(Observation::Pass, Health::Healthy, interval),
        interval
    );
    assert_eq!(
        pace.next(Observation::Fail, Health::Healthy, interval),
        TURNING_INTERVAL
    );
    let mut proven = Pace::new();
    proven.next(Observation::Pass, Health::Healthy, interval);
    assert_eq!(
        proven.next(Observation::Fail, Health::Unhealthy, interval),
        interval
    );
}

#[test]
fn pace_is_never_slower_than_the_interval() {
    let interval = Duration::from_millis(100);
    let mut pace = Pace::new();
    assert_eq!(
        pace.next(Observation::Fail, Health::Unproven, interval),
        interval
    );
    pace.next(Observation::Pass, Health::Healthy, interval);
    assert_eq!(
        pace.next(Observation::Fail, Health::Healthy, interval),
        interval
    );
}

#[test]
fn jitter_stays_within_fifteen_percent() {
    let delay = Duration::from_secs(10);
    let all: Vec<Duration> = (0..1_000).map(|chance| jittered(delay, chance)).collect();
    assert_eq!(*all.iter().min().unwrap(), Duration::from_millis(8_500));
    assert_eq!(*all.iter().max().unwrap(), Duration::from_millis(11_500));
}

#[test]
fn reasons_say_status_and_cause() {
    let mut response = ResponseHeader::build(503, None).unwrap();
    assert_eq!(status_reason(&response), "it answered 503");
    response
        .insert_header("x-health-cause", "database")
        .unwrap();
    assert_eq!(status_reason(&response), "it answered 503, cause: database");
}
