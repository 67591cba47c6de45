//! Rounds of probes over a running edge: verdicts, pace, and who is probed at all.

use portcullis_testkit::{Endpoint as Target, Health as Answer, wait_until};

use super::*;
use crate::config::Config;
use crate::pipeline::fake;

/// As quick as the machine.
const QUICK: &str = "interval: 5ms, fast_interval: 5ms, timeout: 5ms";
const HOURLY: &str = "interval: 1h, fast_interval: 1h";

fn config(targets: &[&Target], keys: &str) -> Config {
    let addresses: Vec<String> = targets.iter().map(|t| t.address().to_string()).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut check = fake::health_check_with(keys);
    // Loopback answers at once, but a loaded machine may not.
    check.timeout = Duration::from_secs(5);
    let mut cluster = fake::cluster(&addresses);
    cluster.health = vec![check];
    fake::config(cluster)
}

/// Probes until the end of the test.
struct Probing {
    edge: Arc<Edge>,
    _stop: watch::Sender<bool>,
}

fn probing(targets: &[&Target], keys: &str) -> Probing {
    let edge = Arc::new(Edge::build(&config(targets, keys)).unwrap());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(run(Arc::clone(&edge), stopped));
    Probing { edge, _stop: stop }
}

impl Probing {
    fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(&self.edge.snapshot.load().clusters[0])
    }

    fn endpoint(&self) -> Arc<Endpoint> {
        Arc::clone(&self.cluster().endpoints()[0])
    }

    fn install(&self, config: &Config) {
        self.edge.install(self.edge.next_snapshot(config).unwrap());
    }

    fn state(&self) -> &'static str {
        let status = self.cluster().status(std::time::Instant::now());
        status.endpoints[0].state()
    }

    async fn becomes(&self, state: &str) {
        wait_until(state, async || (self.state() == state).then_some(())).await;
    }
}

async fn checks(target: &Target, count: usize) {
    let name = format!("{count} checks of {}", target.name());
    wait_until(&name, async || {
        (target.health_checks() >= count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn endpoint_is_proven_falls_and_rises() {
    let target = Target::start("a").await;
    let probing = probing(&[&target], QUICK);
    assert_eq!(probing.state(), "out");
    probing.becomes("in").await;
    target.set_health(Answer::Failing);
    probing.becomes("last_resort").await;
    assert!(probing.endpoint().metrics().probes_failed.get() >= 3);
    target.set_health(Answer::Ok);
    probing.becomes("in").await;
}

#[tokio::test]
async fn draining_acts_at_the_first_probe() {
    let target = Target::start("a").await;
    let probing = probing(&[&target], &format!("{QUICK}, fall: 100"));
    probing.becomes("in").await;
    target.set_health(Answer::Draining);
    probing.becomes("draining").await;
    assert!(
        target.health_checks() < 100,
        "the word acted, not the count"
    );
}

#[tokio::test]
async fn silent_endpoint_delays_no_other() {
    let (silent, good) = (Target::start("a").await, Target::start("b").await);
    silent.set_health(Answer::Hang);
    let _probing = probing(&[&silent, &good], QUICK);
    checks(&good, 20).await;
    assert_eq!(
        silent.health_checks(),
        1,
        "still waiting for its first answer"
    );
}

#[tokio::test]
async fn ring_brings_the_next_probe_forward() {
    let (a, b) = (Target::start("a").await, Target::start("b").await);
    let probing = probing(&[&a, &b], HOURLY);
    probing.becomes("in").await;
    checks(&b, 1).await;
    let before = (a.health_checks(), b.health_checks());
    // A ring during a probe is not remembered.
    wait_until("both to be checked again", async || {
        probing.cluster().bell().ring();
        (a.health_checks() > before.0 && b.health_checks() > before.1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn loss_of_the_last_endpoint_hurries_the_others() {
    let (a, b) = (Target::start("a").await, Target::start("b").await);
    let probing = probing(
        &[&a, &b],
        "interval: 1h, fast_interval: 20ms, fall: 1, rise: 1",
    );
    probing.becomes("in").await;
    let cluster = probing.cluster();
    let eligible = async |expected: bool| {
        wait_until(&format!("eligible: {expected}"), async || {
            let has_eligible = cluster.has_eligible();
            (has_eligible == expected).then_some(())
        })
        .await;
    };
    // Different causes: for one that all share nobody would go out.
    a.set_health(Answer::Failing);
    b.set_health(Answer::Status(404));
    // Early probes of each find out; then nobody waits for the hour to pass.
    wait_until("nobody to be eligible", async || {
        cluster.bell().ring();
        (!cluster.has_eligible()).then_some(())
    })
    .await;
    let before = (a.health_checks(), b.health_checks());
    checks(&a, before.0 + 3).await;
    checks(&b, before.1 + 3).await;
    b.set_health(Answer::Ok);
    eligible(true).await;
}

#[tokio::test]
async fn rounds_follow_the_snapshot() {
    let (a, b) = (Target::start("a").await, Target::start("b").await);
    let probing = probing(&[&a], QUICK);
    checks(&a, 1).await;
    probing.install(&config(&[&a, &b], QUICK));
    checks(&b, 3).await;
    probing.install(&config(&[&b], QUICK));
    let mut seen = a.health_checks();
    wait_until("a to be left alone", async || {
        let before = std::mem::replace(&mut seen, a.health_checks());
        let now = b.health_checks();
        checks(&b, now + 5).await;
        (before == a.health_checks()).then_some(())
    })
    .await;
    let mut config = config(&[&b], QUICK);
    config.clusters[0].health.clear();
    probing.install(&config);
    assert_eq!(probing.state(), "in");
}

#[tokio::test]
async fn those_that_stay_are_not_disturbed_and_a_shorter_interval_acts_at_once() {
    let (a, b) = (Target::start("a").await, Target::start("b").await);
    let probing = probing(&[&a], HOURLY);
    checks(&a, 1).await;
    probing.becomes("in").await;
    probing.install(&config(&[&a, &b], HOURLY));
    checks(&b, 1).await;
    assert_eq!(a.health_checks(), 1, "the hour goes on");
    probing.install(&config(&[&a, &b], QUICK));
    checks(&a, 5).await;
}

#[tokio::test]
async fn probing_ends_when_told_to() {
    let target = Target::start("a").await;
    let edge = Arc::new(Edge::build(&config(&[&target], QUICK)).unwrap());
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(run(Arc::clone(&edge), stopped));
    stop.send(true).unwrap();
    task.await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(run(edge, stopped));
    drop(stop);
    task.await.unwrap();
}
