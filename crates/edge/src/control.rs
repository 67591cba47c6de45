//! The one that replaces the configuration while the edge runs: whole, or not at all. Never touches a
//! request, and never ends what runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portcullis_ops::diagnostic::{Diagnostics, Source};
use portcullis_ops::file;
use serde_json::{Value, json};

use crate::access_log;
use crate::audit::{Outcome, Record, Who};
use crate::config::{self, Config, Parsed};
use crate::connection::ListenerContext;
use crate::server::{Doors, Prepared, StartError};
use crate::state::{BuildError, Edge, Snapshot};

mod aside;
mod follow;
mod history;
pub mod plan;

use aside::aside;
pub(crate) use follow::follow;
use history::History;
pub use history::{Entry, Origin};
use plan::{Plan, Read};

/// Replaces the configuration. Its calls block: they read files, ask for names and bind addresses.
pub struct Controller {
    edge: Arc<Edge>,
    doors: Arc<Doors>,
    file: Option<PathBuf>,
    /// Held by whoever replaces what is in force.
    in_force: Mutex<InForce>,
    /// What was in force, and what could not be.
    history: Mutex<History>,
}

/// So many changes are told in the audit by their places.
const TOLD_CHANGES_MAX: usize = 20;

/// What the edge runs.
struct InForce {
    config: Arc<Config>,
    /// `None` for an edge that was started from no file.
    text: Option<Arc<str>>,
    /// The text as the first plan has read it.
    read: Option<Read>,
}

impl InForce {
    /// What plans compare with.
    fn read(&mut self) -> &Read {
        let text = self.text.as_deref().unwrap_or_default();
        self.read.get_or_insert_with(|| Read::again(text))
    }
}

/// A configuration came into force.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// Counts the configurations of this process.
    pub number: u64,
    /// Of the snapshot.
    pub generation: u64,
    /// Of the state that operators see.
    pub revision: u64,
    /// What changed.
    pub plan: Plan,
    /// What somebody should look at all the same.
    pub warnings: Diagnostics,
    /// From the first byte read until everything was in force.
    pub took: Duration,
}

/// Everything is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The file has mistakes.
    #[error("the configuration has mistakes")]
    Mistakes(Diagnostics),
    /// An address cannot be bound, or the system refuses another thing that was asked for.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is no file.
    #[error("this edge was not started from a file that could be read again")]
    NoFile,
    /// The edge is about to end.
    #[error("the edge is leaving: nothing is changed any more")]
    Leaving,
    /// The next process may have read the configuration that is to be replaced.
    #[error(
        "an upgrade is running, and the new process reads the file itself: reload when it is done"
    )]
    Upgrading,
    /// Nothing that could be gone back to.
    #[error("there is no configuration {0} to go back to")]
    Unknown(String),
    /// A defect of ours.
    #[error("reloading failed: see the log")]
    Failed,
}

impl From<BuildError> for Refusal {
    fn from(error: BuildError) -> Self {
        Self::Start(error.into())
    }
}

impl From<access_log::OpenError> for Refusal {
    fn from(error: access_log::OpenError) -> Self {
        BuildError::from(error).into()
    }
}

/// What a configuration needs to come into force.
struct Ready {
    snapshot: Snapshot,
    doors: Prepared,
    access_log: access_log::Opened,
}

impl Controller {
    /// Of an edge that runs this configuration already.
    pub(crate) fn new(
        edge: Arc<Edge>,
        doors: Arc<Doors>,
        config: Config,
        file: Option<(PathBuf, Arc<str>)>,
    ) -> Self {
        let (file, text) = file.unzip();
        Self {
            edge,
            doors,
            file,
            history: Mutex::new(History::starting_with(text.clone())),
            in_force: Mutex::new(InForce {
                config: Arc::new(config),
                text,
                read: None,
            }),
        }
    }

    /// The edge whose configuration it is.
    pub(crate) fn edge(&self) -> &Arc<Edge> {
        &self.edge
    }

    /// The sockets that it is served at.
    pub(crate) fn doors(&self) -> &Arc<Doors> {
        &self.doors
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&lock(&self.in_force).config)
    }

    /// What clients come in by.
    pub(crate) fn listeners(&self) -> Vec<Arc<ListenerContext>> {
        self.doors.contexts()
    }

    /// Where it is read.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What the configuration in force says, without its secrets; `None` if it came from no file.
    pub fn shown(&self) -> Option<Value> {
        let text = lock(&self.in_force).text.clone();
        text.map(|text| plan::told(&text))
    }

    /// What was in force, oldest first, and the last refusal since.
    pub fn history(&self) -> (Vec<Entry>, Option<(Origin, String)>) {
        lock(&self.history).shown()
    }

    /// Reads the file again and puts it into force, for nobody in particular. `None`: a look at the file
    /// found what runs already.
    pub async fn reload(self: &Arc<Self>, origin: Origin) -> Result<Option<Reloaded>, Refusal> {
        if origin == Origin::File {
            // Nobody would look a second time, should the next process not get ready.
            self.edge.succession.rest().await;
        }
        let _one_at_a_time = self.edge.changing.lock().await;
        let who = Who::itself(origin.name());
        self.blocking(move |controller| controller.reload_now(origin, who))
            .await
    }

    /// The same for an operator. The caller holds [`Edge::changing`].
    pub(crate) async fn reload_for(self: &Arc<Self>, who: Who) -> Result<Reloaded, Refusal> {
        let reloaded = self.blocking(move |controller| controller.reload_now(Origin::Admin, who));
        // It is only for looks at the file that there may be nothing to do.
        reloaded.await?.ok_or(Refusal::Failed)
    }

    /// Puts a configuration of this process into force again: that with this number, or the one before
    /// the present one. The file stays as it is. The caller holds [`Edge::changing`].
    pub(crate) async fn roll_back_for(
        self: &Arc<Self>,
        who: Who,
        number: Option<u64>,
    ) -> Result<Reloaded, Refusal> {
        self.blocking(move |controller| controller.roll_back_now(number, who))
            .await
    }

    /// What [`Controller::reload`] would do, as far as can be said without doing it.
    pub async fn plan(self: &Arc<Self>) -> Result<(Plan, Diagnostics), Refusal> {
        self.blocking(|controller| controller.plan_now()).await
    }

    /// Builds the snapshot of the configuration in force anew: something beside it has changed.
    pub async fn renew(self: &Arc<Self>) -> Result<(), Refusal> {
        self.blocking(|controller| {
            let in_force = lock(&controller.in_force);
            let next = controller.edge.next_snapshot(&in_force.config)?;
            controller.edge.install(next);
            Ok(())
        })
        .await
    }

    /// On a thread that carries no requests, and frees there what nobody uses any more.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Arc<Self>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let controller = Arc::clone(self);
        let called = aside(move || {
            let result = call(&controller);
            controller.edge.sweep();
            result
        });
        called.await.unwrap_or_else(|_| {
            tracing::error!("a reload broke off");
            Err(Refusal::Failed)
        })
    }

    fn reload_now(self: &Arc<Self>, origin: Origin, who: Who) -> Result<Option<Reloaded>, Refusal> {
        let mut in_force = lock(&self.in_force);
        let reloaded = self.read().and_then(|source| {
            let is_same = in_force.text.as_deref() == Some(source.text());
            // After an upgrade the file is the next process's.
            let is_settled = is_same || self.edge.succession.is_over();
            if is_settled && origin == Origin::File {
                return Ok(None);
            }
            self.replace(&mut in_force, &source, origin).map(Some)
        });
        if reloaded.is_err() && origin == Origin::Sighup {
            // Who has moved the log away wants another, whatever the file says.
            self.reopen_access_log(&in_force.config);
        }
        if let Ok(None) = reloaded {
            return Ok(None);
        }
        let reloaded = reloaded.and_then(|done| done.ok_or(Refusal::Failed));
        self.told(origin, who, reloaded).map(Some)
    }

    fn roll_back_now(self: &Arc<Self>, number: Option<u64>, who: Who) -> Result<Reloaded, Refusal> {
        let mut in_force = lock(&self.in_force);
        let text = lock(&self.history).text(number);
        let text = text.ok_or_else(|| {
            let number = number.map(|number| number.to_string());
            Refusal::Unknown(number.unwrap_or_else(|| "before this one".to_owned()))
        });
        let rolled_back = text.and_then(|text| {
            let source = Source::new(self.file_name()?, text.to_string());
            self.replace(&mut in_force, &source, Origin::Rollback)
        });
        self.told(Origin::Rollback, who, rolled_back)
    }

    fn plan_now(&self) -> Result<(Plan, Diagnostics), Refusal> {
        let source = self.read()?;
        let parsed = parse(&source)?;
        let after = Read::new(source.text(), Some(parsed.tree));
        let mut in_force = lock(&self.in_force);
        let running = Arc::clone(&in_force.config);
        let plan = Plan::between(in_force.read(), &after, &running, &parsed.config);
        Ok((plan, parsed.warnings))
    }

    /// Everything that can fail comes first.
    fn replace(
        self: &Arc<Self>,
        in_force: &mut InForce,
        source: &Source,
        origin: Origin,
    ) -> Result<Reloaded, Refusal> {
        let started = Instant::now();
        if self.edge.is_draining() || self.edge.succession.is_over() {
            return Err(Refusal::Leaving);
        }
        if self.edge.succession.is_upgrading() {
            return Err(Refusal::Upgrading);
        }
        let Parsed {
            config,
            warnings,
            tree,
            ..
        } = parse(source)?;
        let read = Read::new(source.text(), Some(tree));
        let running = Arc::clone(&in_force.config);
        let plan = Plan::between(in_force.read(), &read, &running, &config);
        let snapshot = self.edge.next_snapshot(&config)?;
        let doors = self.doors.prepare(&config, &snapshot)?;
        let ready = Ready {
            doors,
            access_log: access_log::open(&config.access_log)?,
            snapshot,
        };
        self.edge.govern(&config).map_err(BuildError::from)?;
        let generation = self.put_in_force(ready);
        let text: Arc<str> = source.text().into();
        *in_force = InForce {
            config: Arc::new(config),
            text: Some(Arc::clone(&text)),
            read: Some(read),
        };
        let reloaded = Reloaded {
            number: lock(&self.history).came(origin, text),
            generation,
            revision: self.edge.revise(),
            plan,
            warnings,
            took: started.elapsed(),
        };
        reloaded.log(origin);
        Ok(reloaded)
    }

    /// Cannot fail. Requests find the new routes before anybody comes in by a new door.
    fn put_in_force(self: &Arc<Self>, ready: Ready) -> u64 {
        let generation = ready.snapshot.generation;
        self.edge.access_log.redirect(ready.access_log);
        self.edge.install(ready.snapshot);
        self.doors.commit(ready.doors, self);
        generation
    }

    /// Writes down how it went.
    fn told(
        &self,
        origin: Origin,
        who: Who,
        result: Result<Reloaded, Refusal>,
    ) -> Result<Reloaded, Refusal> {
        let reloads = &self.edge.metrics.reloads();
        reloads.count(origin.name(), result.is_ok());
        let (after, outcome) = match &result {
            Ok(reloaded) => {
                lock(&self.history).succeeded();
                (reloaded.summary(), Outcome::Done(reloaded.revision))
            }
            Err(refusal) => {
                refusal.log(origin);
                lock(&self.history).refused(origin, refusal.to_string());
                (Value::Null, Outcome::Refused(refusal.to_string()))
            }
        };
        let what = match origin {
            Origin::Rollback => "rollback",
            _ => "reload",
        };
        self.edge.audit.record(Record {
            who,
            what: what.to_owned(),
            before: Value::Null,
            after,
            outcome,
        });
        result
    }

    fn reopen_access_log(&self, config: &Config) {
        match access_log::open(&config.access_log) {
            Ok(opened) => self.edge.access_log.redirect(opened),
            Err(error) => tracing::error!(%error, "the access log goes on where it was"),
        }
    }

    fn read(&self) -> Result<Source, Refusal> {
        let file = self.file.as_deref().ok_or(Refusal::NoFile)?;
        file::read_source(file).map_err(Refusal::Mistakes)
    }

    fn file_name(&self) -> Result<String, Refusal> {
        let file = self.file.as_deref().ok_or(Refusal::NoFile)?;
        Ok(file.display().to_string())
    }
}

impl Reloaded {
    /// What changed, by places alone, as the audit has it.
    fn summary(&self) -> Value {
        let changes = self.plan.changes.iter().take(TOLD_CHANGES_MAX);
        let changes: Vec<String> = changes
            .map(|change| format!("{} {}", change.path, change.kind()))
            .collect();
        json!({
            "number": self.number,
            "generation": self.generation,
            "changes": changes,
            "changes_in_all": self.plan.changes.len(),
        })
    }

    fn log(&self, origin: Origin) {
        for warning in self.warnings.iter() {
            tracing::warn!("{warning}");
        }
        for warning in &self.plan.warnings {
            tracing::warn!("{warning}");
        }
        tracing::info!(
            origin = origin.name(),
            number = self.number,
            generation = self.generation,
            changes = self.plan.changes.len(),
            took_ms = self.took.as_secs_f64() * 1_000.0,
            "another configuration is in force"
        );
    }
}

impl Refusal {
    /// One line for each mistake, with its place.
    fn log(&self, origin: Origin) {
        let origin = origin.name();
        let Self::Mistakes(mistakes) = self else {
            tracing::error!(origin, error = %self, "not reloaded: the configuration in force stays");
            return;
        };
        tracing::error!(
            origin,
            mistakes = mistakes.len(),
            "not reloaded: the configuration in force stays"
        );
        for mistake in mistakes.iter() {
            let (file, line, column) = (&mistake.file, mistake.line, mistake.column);
            let hint = mistake.hint.as_deref().unwrap_or_default();
            tracing::error!(file, line, column, hint, "{}", mistake.message);
        }
    }
}

fn parse(source: &Source) -> Result<Parsed, Refusal> {
    config::parse(source.name(), source.text()).map_err(Refusal::Mistakes)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is replaced as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
