//! Active health checks: asks every endpoint, again and again, and tells its cluster. Never decides
//! who is healthy: that is the cluster's business, and `traffic`'s.
//!
//! [`run`] holds one long-lived task for each check of each endpoint, so that a silent one delays
//! nobody else. It follows the snapshot: tasks begin and end as endpoints come and go, and those that
//! stay never notice. [`ask`] is one probe, [`answer`] its verdict, [`pace`] when the next one is due.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cluster::{Cluster, Endpoint};
use crate::config::HealthCheck;
use crate::state::Edge;

mod answer;
mod ask;
mod bell;
mod finding;
mod grpc;
mod pace;

use ask::Target;
pub use bell::Bell;
use finding::Finding;
use pace::{Beat, Pace};

/// Probes every endpoint of every cluster that has health checks, until `stop` turns true or its
/// sender is gone. What replaces the snapshot is followed.
pub async fn run(edge: Arc<Edge>, mut stop: watch::Receiver<bool>) {
    let mut changes = edge.snapshot_changes();
    let mut rounds = Rounds::new(Arc::clone(&edge));
    rounds.follow();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            Ok(()) = changes.changed() => rounds.follow(),
            Some(ended) = rounds.tasks.join_next() => {
                // One whose endpoint is gone ends by itself; one that panicked has left an endpoint
                // unwatched.
                if let Err(error) = ended {
                    tracing::error!(%error, "a health check ended; it is started again");
                    tokio::time::sleep(RESTART_PAUSE).await;
                    rounds.follow();
                }
            }
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could say so is gone.
    let _ = stop.wait_for(|is_stopping| *is_stopping).await;
}

/// All tasks, by what they probe.
struct Rounds {
    edge: Arc<Edge>,
    permits: Arc<Semaphore>,
    subjects: HashMap<Key, watch::Sender<Subject>>,
    tasks: JoinSet<()>,
}

/// Names one check of one endpoint across generations of the configuration: cluster, address,
/// position of the check.
type Key = (String, SocketAddr, usize);

/// What a task probes, as the latest snapshot has it.
#[derive(Clone)]
struct Subject {
    cluster: Arc<Cluster>,
    endpoint: Arc<Endpoint>,
    check: usize,
    /// The endpoint's place among those of its cluster, and how many there are.
    place: (u32, u32),
}

impl Rounds {
    fn new(edge: Arc<Edge>) -> Self {
        Self {
            edge,
            permits: Arc::new(Semaphore::new(PROBES_AT_ONCE_MAX)),
            subjects: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Tells tasks what is new, begins those that are missing and lets go of the others.
    fn follow(&mut self) {
        let snapshot = self.edge.snapshot.load_full();
        let mut subjects = HashMap::new();
        for cluster in &snapshot.clusters {
            let endpoints = cluster.endpoints();
            let count = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
            for (position, endpoint) in endpoints.iter().enumerate() {
                for check in 0..cluster.health_checks().len() {
                    let key = (cluster.name().to_owned(), endpoint.address(), check);
                    let place = u32::try_from(position).unwrap_or(u32::MAX);
                    let subject = Subject {
                        cluster: Arc::clone(cluster),
                        endpoint: Arc::clone(endpoint),
                        check,
                        place: (place, count),
                    };
                    let sender = self.tell(&key, subject);
                    subjects.insert(key, sender);
                }
            }
        }
        // Tasks whose sender is dropped here end.
        self.subjects = subjects;
    }

    fn tell(&mut self, key: &Key, subject: Subject) -> watch::Sender<Subject> {
        let running = self.subjects.remove(key);
        if let Some(sender) = running.filter(|sender| !sender.is_closed()) {
            sender.send_replace(subject);
            return sender;
        }
        let (sender, receiver) = watch::channel(subject);
        let round = Round {
            edge: Arc::clone(&self.edge),
            permits: Arc::clone(&self.permits),
            subject: receiver,
        };
        self.tasks.spawn(round.repeat());
        sender
    }
}

/// One task: a check of an endpoint.
struct Round {
    edge: Arc<Edge>,
    permits: Arc<Semaphore>,
    subject: watch::Receiver<Subject>,
}

impl Round {
    /// Probes until the endpoint or its check is gone.
    async fn repeat(mut self) {
        let mut pace = Pace::default();
        let mut last = Finding::Passed;
        loop {
            let subject = self.subject.borrow_and_update().clone();
            let Some(check) = subject.check() else { return };
            let (started, finding) = {
                // Never closed; were it, probing without a permit would do no harm.
                let _permit = self.permits.acquire().await;
                let started = Instant::now();
                (started, ask::probe(check, &subject.target()).await)
            };
            if finding != last {
                subject.tell(&finding);
            }
            // From here on a ring is heard: this very finding may cost the cluster its last one.
            let mut rung = pin!(subject.cluster.bell().rung());
            rung.as_mut().enable();
            subject.record(&finding);
            let beat = subject.beat(check, &finding, self.edge.ids.draw_span());
            last = finding;
            let due = started + pace.next(&beat, &check.pace);
            tokio::select! {
                due = self.until(due) => if due.is_err() { return },
                () = rung => sleep_until(started + RING_GAP).await,
            }
        }
    }

    /// Waits for the next probe; not longer than a new configuration says.
    async fn until(&mut self, mut due: Instant) -> Result<(), watch::error::RecvError> {
        loop {
            tokio::select! {
                () = sleep_until(due) => return Ok(()),
                changed = self.subject.changed() => {
                    changed?;
                    if let Some(check) = self.subject.borrow_and_update().check() {
                        due = due.min(Instant::now() + check.pace.interval);
                    }
                }
            }
        }
    }
}

impl Subject {
    fn check(&self) -> Option<&HealthCheck> {
        self.cluster.health_checks().get(self.check)
    }

    fn target(&self) -> Target {
        Target {
            address: self.endpoint.address(),
            name: self.cluster.own_name(&self.endpoint),
            preamble: self.cluster.own_preamble(),
        }
    }

    /// Tells the cluster.
    fn record(&self, finding: &Finding) {
        let now = std::time::Instant::now();
        let metrics = self.endpoint.metrics();
        match finding {
            Finding::Passed => metrics.probes_passed.inc(),
            Finding::Failed(_) | Finding::Draining => metrics.probes_failed.inc(),
        }
        let result = match finding {
            Finding::Passed => Some(Ok(())),
            Finding::Failed(failure) => Some(Err(failure.trouble.clone())),
            Finding::Draining => None,
        };
        match result {
            Some(result) => self.cluster.probed(&self.endpoint, self.check, result, now),
            None => self.cluster.announced_draining(&self.endpoint, now),
        }
    }

    /// The first finding of a kind goes into the log, long before it is a verdict.
    fn tell(&self, finding: &Finding) {
        let (cluster, endpoint) = (self.cluster.name(), self.endpoint.label());
        let check = self.check;
        match finding {
            Finding::Passed => tracing::info!(cluster, endpoint, check, "health check passes"),
            Finding::Draining => {
                tracing::info!(
                    cluster,
                    endpoint,
                    check,
                    "endpoint says that it is draining"
                );
            }
            Finding::Failed(failure) => {
                tracing::info!(cluster, endpoint, check, reason = %failure, "health check fails");
            }
        }
    }

    fn beat(&self, check: &HealthCheck, finding: &Finding, chance: u64) -> Beat {
        Beat {
            is_pass: *finding == Finding::Passed,
            rise: check.rise,
            fall: check.fall,
            has_eligible: self.cluster.has_eligible(),
            place: self.place,
            chance,
        }
    }
}

/// Connections that health checks may hold at once: far below any limit on open files, and with
/// answers in milliseconds enough for tens of thousands of endpoints. Beyond it checks queue.
const PROBES_AT_ONCE_MAX: usize = 512;
/// However often the bell rings, an endpoint is not asked more often than this.
const RING_GAP: Duration = Duration::from_millis(100);
/// A check that panics is a bug of ours; it must not keep a processor busy.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
