//! What an instance does beside answering requests. Every job may run on every
//! instance at once, and may be killed at any point.

mod audit;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::app::Cause;
use crate::domain::{PermissionVersion, UnixMillis};
use crate::keys::{KEEPER_INTERVAL, KeyRing, POLL_INTERVAL};
use crate::lifecycle::{Phase, PhaseWatch};
use crate::live::Live;
use crate::password::PasswordHasher;
use crate::registry::Registry;
use crate::shared::{SILENCE, Shared};
use crate::store::{PageLimit, RevocationPosition, Store, StoreResult};

/// A revocation whose instance died before sharing it reaches all after this time. Often enough that the lease of
/// [`crate::shared::LEASE`] does not end while the store answers.
const REPLAY_REVOCATIONS: Duration = Duration::from_millis(150);
/// Between attempts to make the shared state whole again: soon, since until then every check asks the store.
const FIRST_MEND_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_MEND_PAUSE: Duration = Duration::from_secs(1);
/// Some rows a second: soon enough without a notice of their own, which could be lost.
const SETTINGS: Duration = Duration::from_secs(1);
const PURGE: Duration = Duration::from_secs(60);
/// How often the costs of stored password hashes are looked at: they change as people log in.
const LEARN_COSTS: Duration = Duration::from_secs(10 * 60);
/// Clocks further apart than this are worth a word.
const CLOCKS_APART: Duration = Duration::from_secs(30);
/// Bites that one purge takes at most; what is left then waits for the next.
const PURGE_BITES: u32 = 200;

/// Starts every job. They end when the phase is `Stopping`.
pub(crate) fn start(
    store: &Arc<dyn Store>,
    shared: &Arc<dyn Shared>,
    keys: &Arc<KeyRing>,
    registry: &Arc<Registry>,
    passwords: &PasswordHasher,
    replay: Replay,
    phase: &PhaseWatch,
) -> JoinSet<()> {
    let mut jobs = JoinSet::new();
    let learning = store.clone();
    let (registry, interval) = (registry.clone(), registry.interval());
    jobs.spawn(every("heartbeat", interval, phase.clone(), move || {
        let registry = registry.clone();
        async move { registry.beat(now()).await }
    }));
    let (turning, clock) = (keys.clone(), store.clone());
    jobs.spawn(every(
        "key rotation",
        KEEPER_INTERVAL,
        phase.clone(),
        move || {
            let (keys, clock) = (turning.clone(), clock.clone());
            async move { Ok(keys.turn(not_ahead(clock.as_ref(), now()).await?).await?) }
        },
    ));
    let (keys, mut stopping) = (keys.clone(), phase.clone());
    jobs.spawn(async move {
        tokio::select! {
            () = keys.keep_fresh(POLL_INTERVAL) => {}
            () = stopping.reached(Phase::Stopping) => {}
        }
    });
    let replay = Arc::new(replay);
    jobs.spawn(mend(replay.clone(), phase.clone()));
    jobs.spawn(every(
        "revocation replay",
        REPLAY_REVOCATIONS,
        phase.clone(),
        move || {
            let replay = replay.clone();
            async move { replay.run(now()).await }
        },
    ));
    let (store, shared) = (store.clone(), shared.clone());
    jobs.spawn(every("purge", PURGE, phase.clone(), move || {
        let (store, shared) = (store.clone(), shared.clone());
        async move {
            let now = not_ahead(store.as_ref(), now()).await?;
            purge(store.as_ref(), shared.as_ref(), now).await
        }
    }));
    let (store, passwords) = (learning, passwords.clone());
    jobs.spawn(every(
        "password costs",
        LEARN_COSTS,
        phase.clone(),
        move || {
            let (store, passwords) = (store.clone(), passwords.clone());
            async move { learn_costs(store.as_ref(), &passwords).await }
        },
    ));
    jobs
}

/// Makes addresses without an account cost what accounts do.
pub(crate) async fn learn_costs(
    store: &dyn Store,
    passwords: &PasswordHasher,
) -> Result<(), Cause> {
    let sample = store.password_hash_sample(PageLimit::MAX).await?;
    passwords.learn_costs(&sample);
    Ok(())
}

/// Puts settings in force that were stored by whomever.
pub(crate) fn follow_settings(
    jobs: &mut JoinSet<()>,
    store: &Arc<dyn Store>,
    live: &Arc<Live>,
    phase: &PhaseWatch,
) {
    let (store, live) = (store.clone(), live.clone());
    jobs.spawn(every(
        "stored settings",
        SETTINGS,
        phase.clone(),
        move || {
            let (store, live) = (store.clone(), live.clone());
            async move { Ok(live.refresh(store.as_ref()).await?) }
        },
    ));
}

/// Links the audit log, and removes what is older than it is kept.
pub(crate) fn keep_audit(
    jobs: &mut JoinSet<()>,
    store: &Arc<dyn Store>,
    live: &Arc<Live>,
    instance: &str,
    phase: &PhaseWatch,
) {
    let linking = store.clone();
    jobs.spawn(every(
        "audit chain",
        audit::LINK,
        phase.clone(),
        move || {
            let store = linking.clone();
            async move { audit::link(store.as_ref(), now()).await }
        },
    ));
    let (store, live, holder) = (store.clone(), live.clone(), instance.to_owned());
    jobs.spawn(every(
        "audit retention",
        audit::RETAIN,
        phase.clone(),
        move || {
            let (store, holder) = (store.clone(), holder.clone());
            let kept = live.standing().dynamic.audit_kept;
            async move {
                let removing = audit::retain(store.as_ref(), kept, &holder, now());
                removing.await.map(drop)
            }
        },
    ));
}

/// Runs `job` every `period`, beginning one period from now. A failure is logged, once until it succeeds again, and the
/// next turn tries again.
async fn every<F>(
    name: &'static str,
    period: Duration,
    mut phase: PhaseWatch,
    job: impl Fn() -> F + Send,
) where
    F: Future<Output = Result<(), Cause>> + Send,
{
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut has_failed = false;
    loop {
        tokio::select! {
            () = phase.reached(Phase::Stopping) => return,
            _ = ticks.tick() => {}
        }
        let outcome = job().await;
        match &outcome {
            Err(error) if !has_failed => {
                let cause = error.source().map(ToString::to_string);
                tracing::warn!(%error, cause, job = name, "a job failed and will be tried again");
            }
            Ok(()) if has_failed => tracing::info!(job = name, "a job succeeds again"),
            Err(_) | Ok(()) => {}
        }
        has_failed = outcome.is_err();
    }
}

/// Copies revocations whenever the shared state may lack some, until it lacks none.
async fn mend(replay: Arc<Replay>, mut phase: PhaseWatch) {
    let shared = replay.shared.clone();
    loop {
        tokio::select! {
            () = phase.reached(Phase::Stopping) => return,
            () = shared.doubted() => {}
        }
        tracing::warn!("the shared state may lack revocations; the database is asked meanwhile");
        let mut pause = FIRST_MEND_PAUSE;
        loop {
            if let Err(error) = replay.run(now()).await {
                tracing::debug!(%error, "the revocations could not be copied yet");
            }
            if shared.is_whole() {
                break;
            }
            tokio::select! {
                () = phase.reached(Phase::Stopping) => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_MEND_PAUSE);
        }
        tracing::info!("the shared state holds every revocation again");
        if let Err(error) = shared.hand_over(now()).await {
            tracing::debug!(%error, "what was counted meanwhile is handed over later");
        }
    }
}

/// `now`, or what the database's server has for it if that is earlier. For what cannot be undone: one machine whose clock
/// jumps must not delete revocations that last, or retire keys, for all.
async fn not_ahead(store: &dyn Store, now: UnixMillis) -> StoreResult<UnixMillis> {
    let Some(server) = store.clock().await? else {
        return Ok(now);
    };
    let apart = now.since(server).max(server.since(now));
    if apart > CLOCKS_APART {
        let apart_seconds = apart.as_secs();
        tracing::warn!(
            apart_seconds,
            "this machine and the database disagree about the time"
        );
    }
    Ok(now.min(server))
}

/// Deletes what has ended, all of it: refresh tokens and counters may come in faster than one bite a minute. Each bite
/// is a transaction of its own, so that requests write in between.
async fn purge(store: &dyn Store, shared: &dyn Shared, now: UnixMillis) -> Result<(), Cause> {
    let limit = PageLimit::MAX;
    let mut is_store_done = false;
    let mut is_shared_done = false;
    for _ in 0..PURGE_BITES {
        // Fewer rows in all than one kind may have: no kind was cut short.
        if !is_store_done {
            is_store_done = store.purge(now, limit).await?.total() < u64::from(limit.rows());
        }
        if !is_shared_done {
            is_shared_done = shared.purge(now, limit.rows()).await? < u64::from(limit.rows());
        }
        if is_store_done && is_shared_done {
            break;
        }
    }
    Ok(())
}

/// Up to where revocations were copied, and on which branch of the store's history.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    timeline: i64,
    position: RevocationPosition,
}

/// Copies revocations from the store into the shared state: all of them at start,
/// so that a shared state that was lost is whole before it is trusted, and later
/// the few whose instance died between the two writes.
pub(crate) struct Replay {
    store: Arc<dyn Store>,
    shared: Arc<dyn Shared>,
    reached: Mutex<Reached>,
    /// What the shared state was told of the permissions.
    permissions: Mutex<PermissionVersion>,
}

impl Replay {
    pub(crate) fn new(store: Arc<dyn Store>, shared: Arc<dyn Shared>) -> Self {
        Self {
            store,
            shared,
            reached: Mutex::default(),
            permissions: Mutex::default(),
        }
    }

    /// Copies everything behind the position reached last, or everything there is when the shared state may lack some.
    pub(crate) async fn run(&self, now: UnixMillis) -> Result<(), Cause> {
        let mut reached = self.reached.lock().await;
        let timeline = self.store.timeline();
        if reached.timeline != timeline {
            // A replica took over: it may lack the last that was copied, and take their places for others.
            *reached = Reached {
                timeline,
                ..Reached::default()
            };
        }
        let position = &mut reached.position;
        let began = Instant::now();
        if self.shared.is_whole() {
            self.copy(position, now).await?;
            self.raise_permissions().await?;
            self.shared.looked_through(began);
            return Ok(());
        }
        let copying = self.shared.begin_copy().await?;
        if copying.is_of_everything() {
            *position = RevocationPosition::default();
        }
        self.copy(position, now).await?;
        *self.permissions.lock().await = PermissionVersion::default();
        self.raise_permissions().await?;
        // Where something was lost meanwhile, the state says again that it is not whole.
        self.shared.finish_copy(copying).await?;
        self.shared.looked_through(began);
        Ok(())
    }

    /// Tells the shared state the version of the permissions, if it is news: whoever changed them may have died before
    /// it did.
    async fn raise_permissions(&self) -> Result<(), Cause> {
        let version = self.ask(self.store.permission_version()).await?;
        let mut told = self.permissions.lock().await;
        if version > *told {
            self.shared.copy_permissions(version).await?;
            *told = version;
        }
        Ok(())
    }

    /// Where the store fails or is silent, nothing can be made durable either, so that the shared state is believed on:
    /// requests must not wait for a database that they do not need.
    async fn ask<T>(&self, question: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        let mut question = pin!(question);
        loop {
            match tokio::time::timeout(SILENCE, &mut question).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => {
                    self.shared.looked_through(Instant::now());
                    return Err(error);
                }
                Err(_) => self.shared.looked_through(Instant::now()),
            }
        }
    }

    /// Everything there is behind `position`, which moves on as far as the order is settled.
    async fn copy(&self, position: &mut RevocationPosition, now: UnixMillis) -> Result<(), Cause> {
        let settled = self.ask(self.store.settled_revocations()).await?;
        let mut reached = *position;
        loop {
            let page = self.store.revocations(reached, now, PageLimit::MAX);
            let page = self.ask(page).await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            reached = *last;
            let revocations: Vec<_> = page.into_iter().map(|(_, revocation)| revocation).collect();
            self.shared.copy_revocations(&revocations).await?;
            *position = reached.min(settled).max(*position);
        }
    }
}

fn now() -> UnixMillis {
    UnixMillis::from_system(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use portcullis_testkit::Postgres;

    use super::*;
    use crate::breaker::{BreakerMode, BreakerSettings, Guard};
    use crate::config::Config;
    use crate::database;
    use crate::domain::Revocation;
    use crate::server::tests::inside;
    use crate::shared::CounterKey;
    use crate::store::Trail;

    #[tokio::test]
    async fn sec_d05_a_clock_that_jumped_ahead_deletes_no_revocation_that_lasts() {
        let server = Postgres::start().await;
        let url = server.url();
        let config = Config::from_env(|name| (name == "DATABASE_URL").then(|| url.clone()));
        let config = config.unwrap().database;
        let settings = BreakerSettings {
            failures: std::num::NonZeroU32::MIN,
            open_for: Duration::from_secs(60),
            mode: BreakerMode::Off,
        };
        let guard = Arc::new(Guard::new("database", settings));
        let store = database::open(&config, Trail::default(), &guard, None)
            .await
            .unwrap();
        let (_directory, inside) = inside().await;
        let shared = &inside.stores.shared;
        let revocation = Revocation::Token {
            jti: "t".to_owned(),
            until: now().plus(Duration::from_secs(600)),
        };
        store.add_revocation(&revocation).await.unwrap();
        let ahead = now().plus(Duration::from_secs(86_400));
        let kept = not_ahead(store.as_ref(), ahead).await.unwrap();
        purge(store.as_ref(), shared.as_ref(), kept).await.unwrap();
        let start = RevocationPosition::default();
        let left = store.revocations(start, now(), PageLimit::MAX).await;
        assert_eq!(left.unwrap().len(), 1);
        let behind = now().minus(Duration::from_secs(86_400));
        assert_eq!(not_ahead(store.as_ref(), behind).await.unwrap(), behind);
    }

    #[tokio::test]
    async fn sec_j05_a_purge_leaves_nothing_that_has_ended() {
        let (_directory, inside) = inside().await;
        let (store, shared) = (&inside.stores.store, &inside.stores.shared);
        let many = 2 * usize::from(PageLimit::MAX.rows()) + 1;
        let keys = (0..many).map(|n| CounterKey::new("a test", &[&n.to_string()]));
        let keys = Vec::from_iter(keys);
        let second = Duration::from_secs(1);
        shared.count(&keys, second, UnixMillis(0)).await.unwrap();
        let end = UnixMillis(1000);
        purge(store.as_ref(), shared.as_ref(), end).await.unwrap();
        assert_eq!(shared.purge(end, PageLimit::MAX.rows()).await.unwrap(), 0);
    }
}
