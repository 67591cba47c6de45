//! Subjects with their permission sets, remembered: here for half a minute, in the shared state for five. Never an answer
//! from a set that is older than the version it is asked to have.
//!
//! The version comes with every request, in the same round trip as the look for revocations. So a change counts on the
//! very next request of every instance, and time alone bounds only what no version speaks of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_token::{Digest, Seen};
use tokio::sync::OnceCell;

use super::wire;
use crate::domain::{PermissionVersion, Subject, SubjectId, UnixMillis};
use crate::metrics::{AuthorizationMetrics, Layer};
use crate::random;
use crate::shared::{Shared, SharedError};
use crate::store::{Store, StoreError};

/// How long this instance believes a set without having read it again.
const IN_PROCESS: Duration = Duration::from_secs(30);
/// How long the shared state keeps one; up to a tenth less, so that sets that were read together do not end together.
const IN_SHARED: Duration = Duration::from_secs(300);
/// A set that another instance read before a change may be joined; then it is read once more, and that one counts.
const READS: usize = 2;

/// See the module. One for all requests of an instance.
#[derive(Debug)]
pub(crate) struct Subjects {
    seen: Seen<Remembered>,
    memory: Memory,
    /// Who is being read right now: others wait for the same answer.
    reading: Mutex<HashMap<SubjectId, Arc<Reading>>>,
}

/// Whether sets are remembered at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    Everywhere,
    None,
}

/// A subject, and from when on it has to be read again.
#[derive(Debug)]
struct Remembered {
    subject: Arc<Subject>,
    until: UnixMillis,
}

type Reading = OnceCell<Result<Option<Arc<Subject>>, Arc<StoreError>>>;

/// What reading needs.
pub(crate) struct Sources<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) shared: &'a dyn Shared,
    pub(crate) metrics: &'a AuthorizationMetrics,
}

impl Subjects {
    /// Remembers so many, a few KB each; with none, nothing is asked of the shared state either.
    pub(crate) fn new(subjects: usize) -> Self {
        let memory = match subjects {
            0 => Memory::None,
            _ => Memory::Everywhere,
        };
        Self {
            seen: Seen::new(subjects),
            memory,
            reading: Mutex::default(),
        }
    }

    /// Whether nobody is being read.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.reading.lock().unwrap().is_empty()
    }

    /// The subject, at least as new as `version`; `None`: there is none.
    pub(crate) async fn find(
        &self,
        id: &SubjectId,
        version: PermissionVersion,
        now: UnixMillis,
        sources: &Sources<'_>,
    ) -> Result<Option<Arc<Subject>>, Arc<StoreError>> {
        let name = id.to_string();
        let digest = Digest::of(&name);
        let known = self.seen.find(&digest, 0);
        if let Some(known) = known.filter(|known| known.is_fresh(version, now)) {
            sources.metrics.hit(Layer::Process);
            return Ok(Some(known.subject.clone()));
        }
        sources.metrics.miss(Layer::Process);
        let mut found = None;
        for _ in 0..READS {
            found = self.read_once(id, &name, version, now, sources).await?;
            // Nobody, too, may be what an older read found.
            if found.as_ref().is_some_and(|found| found.version >= version) {
                break;
            }
        }
        // The store is the truth, also where it says less than the shared state was told once: it may have been restored.
        if let Some(subject) = &found {
            let remembered = Remembered {
                subject: subject.clone(),
                until: now.plus(IN_PROCESS),
            };
            self.seen.insert(digest, 0, Arc::new(remembered));
        }
        Ok(found)
    }

    /// Of many that ask for one subject at once, one reads.
    async fn read_once(
        &self,
        id: &SubjectId,
        name: &str,
        version: PermissionVersion,
        now: UnixMillis,
        sources: &Sources<'_>,
    ) -> Result<Option<Arc<Subject>>, Arc<StoreError>> {
        let reading = {
            let mut all = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(id.clone()).or_default().clone()
        };
        let read = || async {
            let read = self.read(id, name, version, now, sources);
            read.await.map_err(Arc::new)
        };
        let found = reading.get_or_init(read).await.clone();
        let mut all = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever comes from now on reads anew: this answer may be older than what it asks for.
        if all
            .get(id)
            .is_some_and(|current| Arc::ptr_eq(current, &reading))
        {
            all.remove(id);
        }
        found
    }

    async fn read(
        &self,
        id: &SubjectId,
        name: &str,
        version: PermissionVersion,
        now: UnixMillis,
        sources: &Sources<'_>,
    ) -> Result<Option<Arc<Subject>>, StoreError> {
        let key = format!("perm:{name}");
        if self.memory == Memory::Everywhere {
            let remembered = sources.shared.remembered(&key, now).await;
            // What cannot be asked or read is missing, nothing worse.
            let remembered = heard(remembered).flatten();
            let subject = remembered.and_then(|text| wire::read(id, &text));
            if let Some(subject) = subject.filter(|subject| subject.version >= version) {
                sources.metrics.hit(Layer::Shared);
                return Ok(Some(Arc::new(subject)));
            }
            sources.metrics.miss(Layer::Shared);
        }
        sources.metrics.read();
        let Some(subject) = sources.store.subject_of(id, version).await? else {
            return Ok(None);
        };
        if self.memory == Memory::Everywhere {
            let ttl = IN_SHARED.mul_f64(1.0 - 0.1 * random::fraction());
            let text = wire::write(&subject);
            heard(sources.shared.remember(&key, &text, ttl, now).await);
        }
        Ok(Some(Arc::new(subject)))
    }
}

impl Remembered {
    fn is_fresh(&self, version: PermissionVersion, now: UnixMillis) -> bool {
        // In either direction: a clock set back must not keep it for hours.
        let left = self.until.since(now);
        self.subject.version >= version && !left.is_zero() && left <= IN_PROCESS
    }
}

fn heard<T>(answer: Result<T, SharedError>) -> Option<T> {
    answer
        .inspect_err(
            |error| tracing::debug!(%error, "the shared state remembers no permission sets now"),
        )
        .ok()
}
