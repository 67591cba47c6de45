//! Whether the dependencies answer. Asked at most once a second, however many
//! probes come, so that checking never becomes a load of its own.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::App;

/// A dependency that takes longer would be too slow to serve requests anyway.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer is repeated.
const FRESH: Duration = Duration::from_secs(1);

/// What the dependencies said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dependencies {
    pub(crate) is_database_up: bool,
    pub(crate) is_shared_state_up: bool,
    can_database_write: bool,
    can_shared_state_write: bool,
    is_shared_state_needed: bool,
}

impl Dependencies {
    pub(crate) fn are_up(self) -> bool {
        self.is_database_up && self.is_shared_state_up
    }

    /// Whether requests can be answered. Without the shared state the database knows what is revoked, unless it is not
    /// to be asked.
    pub(crate) fn suffice(self) -> bool {
        self.is_database_up && (self.is_shared_state_up || !self.is_shared_state_needed)
    }

    /// The same, where what answers but takes no writes counts as down: for people. Balancers must not act on a full
    /// disk, since verifying goes on without writes.
    pub(crate) fn for_writing(self) -> Self {
        Self {
            is_database_up: self.is_database_up && self.can_database_write,
            is_shared_state_up: self.is_shared_state_up && self.can_shared_state_write,
            ..self
        }
    }
}

/// Remembers the last answer.
#[derive(Debug, Default)]
pub(crate) struct Checker(Mutex<Option<(Instant, Dependencies)>>);

impl Checker {
    /// The state of the dependencies, at most a second old. Simultaneous callers
    /// share one check.
    pub(crate) async fn check(&self, app: &App) -> Dependencies {
        let mut last = self.0.lock().await;
        if let Some((at, dependencies)) = *last
            && at.elapsed() < FRESH
        {
            return dependencies;
        }
        let dependencies = asked(app).await;
        *last = Some((Instant::now(), dependencies));
        dependencies
    }

    /// Asks now, however fresh the last answer is. Those who come meanwhile wait for this one.
    pub(crate) async fn ask(&self, app: &App) -> Dependencies {
        let mut last = self.0.lock().await;
        let dependencies = asked(app).await;
        *last = Some((Instant::now(), dependencies));
        dependencies
    }
}

async fn asked(app: &App) -> Dependencies {
    let (database, shared, database_writes, shared_writes) = tokio::join!(
        timeout(PING_TIMEOUT, app.store.ping()),
        timeout(PING_TIMEOUT, app.shared.ping()),
        timeout(PING_TIMEOUT, app.store.can_write()),
        timeout(PING_TIMEOUT, app.shared.can_write()),
    );
    Dependencies {
        is_database_up: is_up("database", database),
        is_shared_state_up: is_up("shared state", shared),
        can_database_write: is_up("database's storage", database_writes),
        can_shared_state_write: is_up("shared state's storage", shared_writes),
        is_shared_state_needed: !app.policy.revocation_fallback.knows(),
    }
}

fn is_up<E: std::error::Error>(
    what: &str,
    answer: Result<Result<(), E>, tokio::time::error::Elapsed>,
) -> bool {
    match answer {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => {
            let cause = error.source().map(ToString::to_string);
            tracing::warn!(%error, cause, "the {what} is down");
        }
        Err(_) => tracing::warn!("the {what} does not answer"),
    }
    false
}
