//! Connections to one Redis that are made again whenever they break, or another Redis leads. Never makes a request wait
//! for a connection, and never sends a command twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, ServerErrorKind};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::facts::Facts;
use super::sentinel::{Place, Source, shown};

/// For a connection with its handshakes; longer, and the network is as good as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For one command or script. Redis answers in microseconds; a pause for a fork or a slow disk takes tens of
/// milliseconds.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
/// Commands under way on every open connection before another is opened: one connection is fastest as long as its
/// pipeline is not the wait.
const BUSY: usize = 64;

/// Why a command got no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("not connected at the moment")]
    NotConnected,
    #[error("nobody is known to lead")]
    NobodyLeads,
    #[error("it follows another Redis")]
    Follows,
    #[error("no answer within {} ms", COMMAND_TIMEOUT.as_millis())]
    Timeout,
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// One working connection.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: MultiplexedConnection,
    /// What the Redis at the other end said of itself when it was connected.
    pub(super) facts: Arc<Facts>,
    serial: u64,
}

/// All connections of one instance: one, and more under load.
pub(super) struct Lanes {
    lanes: Vec<Arc<Lane>>,
    opened: AtomicUsize,
    source: Arc<Source>,
    /// Dropped or set at the end, which ends the tasks.
    is_closed: watch::Sender<bool>,
}

struct Lane {
    live: ArcSwapOption<Live>,
    under_way: AtomicUsize,
    serials: AtomicU64,
    broken: Notify,
}

impl Lanes {
    pub(super) fn new(source: Arc<Source>, most: usize) -> Self {
        let lane = || {
            Arc::new(Lane {
                live: ArcSwapOption::empty(),
                under_way: AtomicUsize::new(0),
                serials: AtomicU64::new(0),
                broken: Notify::new(),
            })
        };
        let lanes = Self {
            lanes: std::iter::repeat_with(lane).take(most.max(1)).collect(),
            opened: AtomicUsize::new(0),
            source,
            is_closed: watch::Sender::new(false),
        };
        let (source, mut is_closed) = (lanes.source.clone(), lanes.is_closed.subscribe());
        // Owned by `is_closed`, as the connections are.
        tokio::spawn(async move {
            tokio::select! {
                () = source.keep_asking() => {}
                _ = is_closed.wait_for(|is_closed| *is_closed) => {}
            }
        });
        lanes.open_another(0);
        lanes
    }

    /// Waits until the first connection stands, or has failed for as long as connecting may take.
    pub(super) async fn settle(&self) -> bool {
        let stands = async {
            while !self.lanes.iter().any(|lane| lane.is_connected()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(CONNECT_TIMEOUT, stands).await.is_ok()
    }

    /// Runs `command` on the connection with the least to do, and tells what it was told by.
    pub(super) async fn run<T, F>(
        &self,
        command: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<(T, Arc<Facts>), NoAnswer>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let lane = self.least_busy().ok_or(NoAnswer::NotConnected)?;
        let live = lane.live.load_full().ok_or(NoAnswer::NotConnected)?;
        let _under_way = UnderWay::on(lane);
        let answer = timeout(COMMAND_TIMEOUT, command(live.connection.clone())).await;
        match answer {
            Ok(Ok(answer)) => Ok((answer, live.facts.clone())),
            Ok(Err(error)) => {
                if is_about_the_connection(&error) {
                    lane.broke(live.serial);
                }
                Err(error.into())
            }
            // Whoever is silent for this long may be gone without a word; the next requests need not find out too.
            Err(_) => {
                lane.broke(live.serial);
                Err(NoAnswer::Timeout)
            }
        }
    }

    /// Whether a command would be sent now.
    pub(super) fn is_connected(&self) -> bool {
        let opened = self.opened.load(Ordering::Relaxed);
        self.lanes
            .iter()
            .take(opened)
            .any(|lane| lane.is_connected())
    }

    /// Has connections made again that take the other end for the one of this name.
    pub(super) fn reconnect(&self, name: &str) {
        for lane in &self.lanes {
            let live = lane.live.load_full();
            if let Some(live) = live.filter(|live| live.facts.name == name) {
                lane.broke(live.serial);
            }
        }
    }

    /// No command after this is sent, and no connection made.
    pub(super) fn close(&self) {
        self.is_closed.send_replace(true);
        for lane in &self.lanes {
            lane.live.store(None);
        }
    }

    fn least_busy(&self) -> Option<&Arc<Lane>> {
        if *self.is_closed.borrow() {
            return None;
        }
        let opened = self.opened.load(Ordering::Relaxed);
        let open = self.lanes.iter().take(opened);
        let busy = |lane: &&Arc<Lane>| lane.under_way.load(Ordering::Relaxed);
        let found = open.filter(|lane| lane.is_connected()).min_by_key(busy);
        if found.is_some_and(|lane| busy(&lane) >= BUSY) {
            self.open_another(opened);
        }
        found
    }

    /// Opens one more, unless somebody just did or there are enough.
    fn open_another(&self, opened: usize) {
        let Some(lane) = self.lanes.get(opened) else {
            return;
        };
        let another =
            self.opened
                .compare_exchange(opened, opened + 1, Ordering::Relaxed, Ordering::Relaxed);
        if another.is_ok() {
            let (lane, source) = (lane.clone(), self.source.clone());
            // Owned by `is_closed`: it ends when that is set or dropped.
            tokio::spawn(lane.keep(source, self.is_closed.subscribe()));
        }
    }
}

impl Lane {
    fn is_connected(&self) -> bool {
        self.live.load().is_some()
    }

    /// Takes a connection out of use, if it still is the one in use.
    fn broke(&self, serial: u64) {
        let live = self.live.load_full();
        if live.is_some_and(|live| live.serial == serial) {
            self.live.store(None);
            self.broken.notify_one();
        }
    }

    /// Connects, waits until that breaks, and does so again until the end.
    async fn keep(self: Arc<Self>, source: Arc<Source>, mut is_closed: watch::Receiver<bool>) {
        tokio::select! {
            () = self.reconnect_for_ever(&source) => {}
            _ = is_closed.wait_for(|is_closed| *is_closed) => {}
        }
        self.live.store(None);
    }

    async fn reconnect_for_ever(&self, source: &Source) {
        let mut backoff = FIRST_BACKOFF;
        let mut is_reported = false;
        loop {
            // Whoever has just begun to ask for it is told soon.
            let _ = timeout(CONNECT_TIMEOUT, source.is_named()).await;
            let tried = source.place();
            match connect(source).await {
                Ok((connection, facts, place)) => {
                    let serial = self.serials.fetch_add(1, Ordering::Relaxed);
                    facts.warn_of_what_forgets();
                    tracing::debug!(redis = facts.version, "connected to Redis");
                    let facts = Arc::new(facts);
                    let live = Live {
                        connection,
                        facts,
                        serial,
                    };
                    self.live.store(Some(Arc::new(live)));
                    (backoff, is_reported) = (FIRST_BACKOFF, false);
                    tokio::select! {
                        () = self.broken.notified() => source.doubt(),
                        // What the one before answers may be over, whether it knows or not.
                        () = source.moved_from(&place) => self.live.store(None),
                    }
                }
                Err(error) => {
                    // Once each time it goes away: what follows is the same.
                    if !is_reported {
                        let redis = tried.as_ref().map(shown);
                        tracing::warn!(%error, redis, "Redis cannot be reached; trying on");
                    }
                    is_reported = true;
                    source.doubt();
                    tokio::select! {
                        () = tokio::time::sleep(jittered(backoff)) => {}
                        // It need not be tried where it was any more.
                        () = source.moved_from(&tried) => {}
                    }
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }
}

/// A connection, and what Redis says of itself over it.
async fn connect(
    source: &Source,
) -> Result<(MultiplexedConnection, Facts, Option<Place>), NoAnswer> {
    let (client, place) = source.client().ok_or(NoAnswer::NobodyLeads)?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        // Every command has its own time-out here.
        .set_response_timeout(None);
    let opening = async {
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let mut facts = Facts::ask(&mut connection).await?;
        if source.is_part() {
            facts.name_with_history();
        }
        if facts.is_replica && source.asks_for_a_primary() {
            return Err(NoAnswer::Follows);
        }
        Ok((connection, facts, place))
    };
    let opened = timeout(CONNECT_TIMEOUT, opening).await;
    opened.unwrap_or(Err(NoAnswer::Timeout))
}

/// An answer that refuses says nothing against the connection, unless it is one of a replica that was the primary, or of
/// a node that has the slot no more.
fn is_about_the_connection(error: &RedisError) -> bool {
    match error.kind() {
        redis::ErrorKind::Server(kind) => {
            matches!(
                kind,
                ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::Moved
            )
        }
        // Codes the driver has no name for, such as OOM, are answers too.
        redis::ErrorKind::UnexpectedReturnType | redis::ErrorKind::Extension => false,
        _ => true,
    }
}

/// Between half and all of it, so that instances do not come back as one.
fn jittered(backoff: Duration) -> Duration {
    let part = f64::from(crate::random::bytes::<1>()[0]) / 255.0;
    backoff.mul_f64(0.5 + part / 2.0)
}

/// Counts a command for as long as somebody waits for it.
struct UnderWay<'a>(&'a Lane);

impl<'a> UnderWay<'a> {
    fn on(lane: &'a Lane) -> Self {
        lane.under_way.fetch_add(1, Ordering::Relaxed);
        Self(lane)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
