//! Another binary takes over: it is started beside this process, gets the sockets and what was learnt,
//! and serves as soon as it is ready. Never lets go of anything before somebody else has it.
//!
//! | step | this process | the other one |
//! |---|---|---|
//! | 1 | starts it, gives it copies of all listening sockets and the keys of session tickets | receives them |
//! | 2 | serves on as if nothing had happened | reads its configuration, binds what is new, asks endpoints and issuers |
//! | 3 | | says that it is ready |
//! | 4 | tells what operators did and checks found, then: go | takes new connections |
//! | 5 | takes none any more; those it has end politely, then it ends | |
//!
//! Until step 4 whatever goes wrong ends the other process, and nothing has changed. The queue of
//! connections that the kernel has accepted belongs to both, so that nobody is refused in between.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use portcullis_ops::manager;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::watch;

use crate::affinity::Affinity;
use crate::audit::{Outcome, Record, Who};
use crate::control::Controller;
use crate::server::Doors;
use crate::state::Edge;

mod estate;
mod launch;
mod predecessor;
mod successor;
mod wire;

pub use launch::Launch;
pub(crate) use predecessor::Inherited;
pub use predecessor::{Predecessor, TakeOverError};
use successor::{Line, Successor};

/// Tells the process that shall take over whose child it is.
const HANDOVER: &str = "PORTCULLIS_HANDOVER";
/// How often it is looked whether the edge leaves meanwhile.
const LEAVE_POLL: Duration = Duration::from_millis(50);
/// How often it is looked whether everything could be served.
const SETTLE_POLL: Duration = Duration::from_millis(20);
/// Endpoints that did not answer their first check by then are taken for down.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Process 1 of a container.
const FIRST: u32 = 1;

/// Who comes after this process, and who was there before.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    launch: OnceLock<Launch>,
    stage: watch::Sender<Stage>,
    /// Still drains.
    predecessor: watch::Sender<Option<u32>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Alone,
    /// Another one gets ready.
    Upgrading,
    /// It serves.
    Over,
}

impl Succession {
    /// Others may be started like this.
    pub(crate) fn launched(&self, launch: Launch) {
        let _ = self.launch.set(launch);
    }

    /// Whether another process gets ready: it has read the configuration already.
    pub(crate) fn is_upgrading(&self) -> bool {
        *self.stage.borrow() == Stage::Upgrading
    }

    /// Whether another process serves.
    pub(crate) fn is_over(&self) -> bool {
        *self.stage.borrow() == Stage::Over
    }

    /// Resolves when another process serves.
    pub(crate) async fn over(&self) {
        let mut stage = self.stage.subscribe();
        // We hold the sender.
        let _ = stage.wait_for(|stage| *stage == Stage::Over).await;
    }

    /// Resolves when nobody gets ready: whoever did has taken over or is ended.
    pub(crate) async fn rest(&self) {
        let mut stage = self.stage.subscribe();
        let _ = stage.wait_for(|stage| *stage != Stage::Upgrading).await;
    }

    /// The process before, as long as it drains.
    pub(crate) fn predecessor(&self) -> Option<u32> {
        *self.predecessor.borrow()
    }

    /// Watches the process before until it is gone, and then for ever.
    pub(crate) async fn follow(edge: Arc<Edge>, predecessor: Predecessor) {
        let pid = predecessor.pid();
        // A thread of its own: for as long as that process lives it would keep a runtime from ending.
        let (gone, is_gone) = tokio::sync::oneshot::channel();
        let watching = std::thread::Builder::new().name("edge-predecessor".to_owned());
        let watching = watching.spawn(move || {
            predecessor.end();
            let _ = gone.send(());
        });
        if let Err(error) = watching {
            tracing::warn!(%error, "nobody sees when the process before is gone");
        }
        let _ = is_gone.await;
        edge.succession.predecessor.send_replace(None);
        tracing::info!(pid, "the process before is gone");
        std::future::pending().await
    }

    /// The only upgrade at a time.
    fn begin(&self) -> Result<Turn<'_>, Failure> {
        let begun = self.stage.send_if_modified(|stage| {
            let is_alone = *stage == Stage::Alone;
            if is_alone {
                *stage = Stage::Upgrading;
            }
            is_alone
        });
        match (begun, self.is_over()) {
            (true, _) => Ok(Turn(self)),
            (false, true) => Err(Failure::Leaving),
            (false, false) => Err(Failure::Running),
        }
    }
}

/// While an upgrade runs.
struct Turn<'s>(&'s Succession);

impl Turn<'_> {
    fn over(self) {
        self.0.stage.send_replace(Stage::Over);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.stage.send_if_modified(|stage| {
            let failed = *stage == Stage::Upgrading;
            if failed {
                *stage = Stage::Alone;
            }
            failed
        });
    }
}

/// Another process serves.
#[derive(Clone, Debug)]
pub struct Upgraded {
    /// Which.
    pub pid: u32,
    /// What it says that it is.
    pub version: String,
    /// Of the state that operators see.
    pub revision: u64,
    /// From its start until it served.
    pub took: Duration,
}

/// Nobody took over; this process serves on.
#[derive(Debug, Error)]
pub enum Failure {
    /// A container ends with its process 1.
    #[error(
        "process 1 of a container cannot be replaced, for the container ends with it: start another \
         container with the new binary, then stop this one"
    )]
    FirstProcess,
    /// It is not known which program to start.
    #[error(
        "it is not known which program to start: only `portcullis edge` can be replaced while it runs, \
         and only where /proc tells what it runs"
    )]
    NoLaunch,
    /// One at a time.
    #[error("an upgrade is running already")]
    Running,
    /// The edge is about to end.
    #[error("the edge is leaving: nobody takes over from it any more")]
    Leaving,
    /// The file is no program, say.
    #[error("{program} cannot be started: {source}", program = .program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It came to nothing.
    #[error("the new process ended before it was ready ({status}); this one serves on")]
    Ended {
        /// How it ended.
        status: String,
        /// The end of what it wrote.
        words: String,
    },
    /// It came to nothing either.
    #[error("the new process was not ready within {within:?} and was ended; this one serves on")]
    Late {
        /// `shutdown.upgrade_timeout`.
        within: Duration,
        /// The end of what it wrote.
        words: String,
    },
    /// A defect of ours.
    #[error("the upgrade broke off: see the log; this process serves on")]
    Broken,
}

impl Failure {
    /// What the other process wrote last, if there was one.
    pub fn last_words(&self) -> &str {
        match self {
            Self::Ended { words, .. } | Self::Late { words, .. } => words,
            _ => "",
        }
    }
}

/// Resolves when another process serves: [`Running::retire`](crate::Running::retire) then.
pub async fn succeeded(controller: &Controller) {
    controller.edge().succession.over().await;
}

/// Has another process take over, and tells in the audit what came of it. Runs to its end, whether or not
/// anybody waits for that.
pub async fn upgrade(controller: &Arc<Controller>, who: Who) -> Result<Upgraded, Failure> {
    let controller = Arc::clone(controller);
    let upgrading = tokio::spawn(async move {
        let upgraded = attempt(&controller, &who).await;
        tell(controller.edge(), &who, &upgraded);
        upgraded
    });
    upgrading.await.unwrap_or_else(|error| {
        tracing::error!(%error, "an upgrade broke off");
        Err(Failure::Broken)
    })
}

async fn attempt(controller: &Arc<Controller>, who: &Who) -> Result<Upgraded, Failure> {
    let edge = controller.edge();
    if std::process::id() == FIRST {
        return Err(Failure::FirstProcess);
    }
    let launch = edge.succession.launch.get().ok_or(Failure::NoLaunch)?;
    if edge.is_draining() {
        return Err(Failure::Leaving);
    }
    let turn = edge.succession.begin()?;
    let started = Instant::now();
    let successor = start(launch.clone()).await?;
    let pid = successor.pid();
    tracing::info!(pid, program = %launch.program.display(), "another process gets ready to take over");
    let (successor, ready) = ready(controller, successor).await?;
    // From here on nothing is changed that the other process does not hear of.
    let _nothing_changes = edge.changing.lock().await;
    if edge.is_draining() {
        return Err(given_up(successor, None).await);
    }
    let upgraded = Upgraded {
        pid,
        version: ready["version"].as_str().unwrap_or_default().to_owned(),
        revision: edge.revise(),
        took: started.elapsed(),
    };
    let last = estate::of(edge, &upgraded.record(who), Instant::now());
    let line = successor.line();
    // The manager hears of it first: it would not listen to anybody else.
    manager::succeeded_by(pid);
    let told = blocking(move || {
        line.tell(&json!({ "estate": last }))?;
        line.tell(&json!({ "go": true }))
    });
    if !matches!(told.await, Some(Ok(()))) {
        manager::succeeded_by(std::process::id());
        return Err(given_up(successor, None).await);
    }
    turn.over();
    controller.doors().leave();
    successor.release();
    Ok(upgraded)
}

/// Takes sockets and keys from the process before, for a configuration that nobody has bound yet.
pub(crate) fn inherit(edge: &Edge, doors: &Doors, predecessor: &mut Predecessor) {
    doors.inherit(predecessor.sockets());
    let snapshot = edge.snapshot.load();
    for (listener, past) in predecessor.tickets() {
        if let Some(terminator) = snapshot.terminator(&listener) {
            terminator.resume_tickets(past);
        }
    }
}

/// Waits until everything could be served, and then until it shall be: the doors may be opened.
pub(crate) async fn take_over(edge: &Edge, mut predecessor: Predecessor) -> Predecessor {
    let pid = predecessor.pid();
    settle(edge).await;
    tracing::info!(pid, "ready to take over");
    let taken = blocking(move || {
        let estate = predecessor.take_over();
        (predecessor, estate)
    });
    let (predecessor, estate) = taken.await.expect("nothing in it panics");
    estate::resume(edge, &estate, Instant::now());
    edge.succession.predecessor.send_replace(Some(pid));
    tracing::info!(pid, "taken over");
    predecessor
}

/// Waits until nothing is asked for that requests would need, and every cluster has somebody who takes
/// them, if that can be had. All of it has an end of its own.
async fn settle(edge: &Edge) {
    let began = Instant::now();
    loop {
        let (snapshot, now) = (edge.snapshot.load_full(), Instant::now());
        let is_asked = began.elapsed() >= SETTLE_TIMEOUT
            || !snapshot.clusters.iter().any(|one| one.is_unproven(now));
        if is_asked && snapshot.awaits(now).is_empty() {
            return;
        }
        tokio::time::sleep(SETTLE_POLL).await;
    }
}

async fn start(launch: Launch) -> Result<Successor, Failure> {
    let program = launch.program.clone();
    let started = blocking(move || Successor::start(&launch)).await;
    started
        .ok_or(Failure::Broken)?
        .map_err(|source| Failure::Start { program, source })
}

/// Gives it everything, and waits until it is ready.
async fn ready(
    controller: &Arc<Controller>,
    successor: Successor,
) -> Result<(Successor, Value), Failure> {
    let edge = controller.edge();
    let within = edge.snapshot.load().shutdown.upgrade_timeout;
    let (line, giver) = (successor.line(), Arc::clone(controller));
    let talk = blocking(move || give(&giver, &line));
    tokio::pin!(talk);
    let late = tokio::select! {
        talked = &mut talk => match talked {
            Some(Ok(Some(words))) if words["ready"] == true => return Ok((successor, words)),
            _ => None,
        },
        () = tokio::time::sleep(within) => Some(within),
        () = leaves(edge) => None,
    };
    Err(given_up(successor, late).await)
}

fn give(controller: &Controller, line: &Line) -> io::Result<Option<Value>> {
    controller.doors().give(|listener, wanted, socket| {
        let words = json!({ "socket": wanted.to_string(), "listener": listener });
        line.give(&words, socket)
    })?;
    let snapshot = controller.edge().snapshot.load_full();
    for cluster in &snapshot.clusters {
        if let Some(drawn) = cluster.affinity().and_then(Affinity::drawn) {
            line.tell(&predecessor::affinity_words(cluster.name(), &drawn))?;
        }
    }
    for terminator in &snapshot.terminators {
        if let Some(past) = terminator.ticket_past() {
            line.tell(&predecessor::ticket_words(terminator.listener(), &past))?;
        }
    }
    line.give_stderr()?;
    line.tell(&json!({ "end": true }))?;
    line.hear()
}

async fn leaves(edge: &Edge) {
    while !edge.is_draining() {
        tokio::time::sleep(LEAVE_POLL).await;
    }
}

/// Ends a process that shall not take over.
async fn given_up(successor: Successor, late: Option<Duration>) -> Failure {
    let ended = match blocking(move || successor.end()).await {
        Some(Ok(ended)) => ended,
        Some(Err(error)) => {
            tracing::error!(%error, "the new process cannot be ended");
            return Failure::Broken;
        }
        None => return Failure::Broken,
    };
    match late {
        Some(within) => Failure::Late {
            within,
            words: ended.words,
        },
        None => Failure::Ended {
            status: ended.status.to_string(),
            words: ended.words,
        },
    }
}

/// On a thread that carries no requests.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(call).await {
        Ok(done) => Some(done),
        Err(error) => {
            tracing::error!(%error, "a part of an upgrade broke off");
            None
        }
    }
}

fn tell(edge: &Edge, who: &Who, upgraded: &Result<Upgraded, Failure>) {
    edge.audit.record(match upgraded {
        Ok(upgraded) => {
            tracing::info!(
                pid = upgraded.pid,
                version = upgraded.version,
                took_ms = upgraded.took.as_secs_f64() * 1_000.0,
                "another process has taken over"
            );
            upgraded.record(who)
        }
        Err(failure) => {
            tracing::error!(error = %failure, "nobody has taken over: this process serves on");
            edge.metrics.control().upgrades_failed.inc();
            record(who, Value::Null, Outcome::Refused(failure.to_string()))
        }
    });
}

impl Upgraded {
    fn record(&self, who: &Who) -> Record {
        let after = json!({ "pid": self.pid, "version": self.version });
        record(who, after, Outcome::Done(self.revision))
    }
}

fn record(who: &Who, after: Value, outcome: Outcome) -> Record {
    Record {
        who: who.clone(),
        what: "upgrade".to_owned(),
        before: json!({ "pid": std::process::id(), "version": env!("CARGO_PKG_VERSION") }),
        after,
        outcome,
    }
}
