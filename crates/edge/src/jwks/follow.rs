//! Keeps the keys of every issuer fresh: one task each, which follows the snapshot. Never forgets good
//! keys because new ones cannot be had.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Issuer;
use super::fetch::{self, Fetched};
use crate::state::Edge;

/// Asks for keys until `stop` turns true or its sender is gone.
pub(crate) async fn run(edge: Arc<Edge>, mut stop: watch::Receiver<bool>) {
    let mut changes = edge.snapshot_changes();
    let mut rounds = Rounds::default();
    rounds.follow(&edge);
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            Ok(()) = changes.changed() => rounds.follow(&edge),
            Some(ended) = rounds.tasks.join_next() => {
                // One whose issuer is gone ends by itself.
                if let Err(error) = ended {
                    tracing::error!(%error, "asking for an issuer's keys ended; it is started again");
                    tokio::time::sleep(RESTART_PAUSE).await;
                    rounds.follow(&edge);
                }
            }
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could say so is gone.
    let _ = stop.wait_for(|is_stopping| *is_stopping).await;
}

/// All tasks, by the name of their issuer.
#[derive(Default)]
struct Rounds {
    issuers: HashMap<String, watch::Sender<Arc<Issuer>>>,
    tasks: JoinSet<()>,
}

impl Rounds {
    /// Tells tasks what is new, begins those that are missing and lets go of the others.
    fn follow(&mut self, edge: &Arc<Edge>) {
        let snapshot = edge.snapshot.load_full();
        let mut issuers = HashMap::new();
        for issuer in &snapshot.issuers {
            let name = issuer.name().to_owned();
            let running = self.issuers.remove(&name);
            let sender = match running.filter(|sender| !sender.is_closed()) {
                Some(sender) => {
                    sender.send_replace(Arc::clone(issuer));
                    sender
                }
                None => {
                    let (sender, receiver) = watch::channel(Arc::clone(issuer));
                    self.tasks.spawn(repeat(receiver, Arc::clone(edge)));
                    sender
                }
            };
            issuers.insert(name, sender);
        }
        // Tasks whose sender is dropped here end.
        self.issuers = issuers;
    }
}

/// Asks again and again, until the issuer is gone.
async fn repeat(mut issuer: watch::Receiver<Arc<Issuer>>, edge: Arc<Edge>) {
    let mut failures = 0_u32;
    loop {
        let current = Arc::clone(&issuer.borrow_and_update());
        current.wishes.begin();
        let is_fresh = ask(&current, failures).await;
        current.wishes.end();
        failures = if is_fresh {
            0
        } else {
            failures.saturating_add(1)
        };
        let pause = pause(&current, failures, edge.ids.draw_span());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = current.wishes.made() => {}
            changed = issuer.changed() => if changed.is_err() { return },
        }
    }
}

/// Asks once and keeps what is good. Whether it was.
async fn ask(issuer: &Issuer, failures: u32) -> bool {
    let etag = issuer
        .keys
        .load()
        .as_ref()
        .and_then(|keys| keys.etag.clone());
    let learned = match fetch::fetch(&issuer.source, etag.as_deref()).await {
        Ok(Fetched::Document { body, etag }) => {
            issuer.learn(&body, etag).map_err(|error| error.to_string())
        }
        Ok(Fetched::Unchanged) if etag.is_some() => {
            issuer.confirm(Instant::now().into_std());
            Ok(())
        }
        Ok(Fetched::Unchanged) => Err("it says that nothing changed, unasked".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    match learned {
        Ok(()) => {
            issuer.metrics.fetches_ok.inc();
            if failures > 0 {
                tracing::info!(issuer = issuer.name, "keys of an issuer can be had again");
            }
            true
        }
        Err(reason) => {
            issuer.metrics.fetches_failed.inc();
            // Once: the metric tells how long it lasts.
            if failures == 0 {
                let has_keys = issuer.keys.load().is_some();
                tracing::warn!(
                    issuer = issuer.name,
                    reason,
                    has_keys,
                    "keys of an issuer cannot be had; the last ones stay in use"
                );
            }
            false
        }
    }
}

/// Until the next time: the interval, or a growing pause after failures; up to a tenth sooner, so
/// that edges do not ask in step.
fn pause(issuer: &Issuer, failures: u32, chance: u64) -> Duration {
    let regular = match failures {
        0 => issuer.refresh,
        _ => issuer.refresh.min(backoff(failures)),
    };
    let percent = u32::try_from(chance % 11).unwrap_or(0);
    regular - regular * percent / 100
}

fn backoff(failures: u32) -> Duration {
    let doubled = PAUSE_MIN * 2_u32.pow((failures - 1).min(8));
    doubled.min(PAUSE_MAX)
}

/// A task that panics is a bug of ours; it must not keep a processor busy.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// After the first failure.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_after_failures_grow_to_a_bound() {
        assert_eq!(backoff(1), PAUSE_MIN);
        assert_eq!(backoff(3), PAUSE_MIN * 4);
        assert_eq!(backoff(u32::MAX), PAUSE_MAX);
    }
}
