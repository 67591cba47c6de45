//! Revocations for whoever follows them: the store's log, page by page, and how fresh it is. Never
//! says that a log has ended before it was read anew.
//!
//! The store and not the shared state is followed: a logout is answered only once it is there, so
//! nothing that happens to Redis or to a shared file hides one. One task of each instance asks it for
//! news every [`POLL`], whichever instance wrote them, and wakes all that wait; that, and nothing
//! else, is how long a revocation made elsewhere takes to get here.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_token::feed::{Answer, LogId, Page, Position, RECORDS_MAX};
use portcullis_token::revocation::Record;
use tokio::sync::watch;

use crate::domain::{Revocation, UnixMillis};
use crate::store::{PageLimit, RevocationPosition, Store, StoreResult};

/// How often the store is asked for revocations that other instances made.
const POLL: Duration = Duration::from_millis(50);
/// How often while it does not answer.
const POLL_WHEN_LOST: Duration = Duration::from_millis(250);
/// A log that was not read for so long is not told as if it were.
const STALE: Duration = Duration::from_secs(1);

/// The log as one instance knows it.
pub(crate) struct Feed {
    store: Arc<dyn Store>,
    /// What its name follows from.
    origin: String,
    known: watch::Sender<Known>,
}

/// How far the log was seen to reach.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Followers that were told everything up to here go on behind it.
    settled: RevocationPosition,
    /// Told as well, but again when it is settled: others may still come before it.
    seen: RevocationPosition,
    /// When the last look that succeeded began.
    read_at: Option<Instant>,
    /// The branch of history that it is about.
    timeline: i64,
}

/// Why a follower gets no answer.
#[derive(Debug, thiserror::Error)]
#[error("the revocations could not be read of late")]
pub(crate) struct Lost;

impl Feed {
    /// The log of what `store` holds. Its name follows from the issuer, the oldest signing key and the
    /// branch of history: a store that was made anew has another, and so has one whose replica took
    /// over, which may lack the last that followers were told. When that key is forgotten one day, followers that
    /// change to an instance started since read the log from its beginning once.
    pub(crate) async fn open(store: Arc<dyn Store>, issuer: &str) -> StoreResult<Self> {
        let keys = store.signing_keys().await?;
        let oldest = keys.first().map_or("", |key| key.kid.as_str());
        Ok(Self {
            origin: format!("{issuer}\n{oldest}"),
            store,
            known: watch::Sender::default(),
        })
    }

    fn log(&self, timeline: i64) -> LogId {
        let origin = match timeline {
            // Nobody asks which it is.
            0 => self.origin.clone(),
            timeline => format!("{}\n{timeline}", self.origin),
        };
        let name = URL_SAFE_NO_PAD.encode(digest(&SHA256, origin.as_bytes()).as_ref());
        let log = name.get(..22).and_then(LogId::parse);
        log.expect("base64url is what a log's name is made of")
    }

    /// Looks for news until it is dropped.
    pub(crate) async fn keep_reading(&self) {
        let mut is_lost = false;
        loop {
            match self.look().await {
                Ok(()) if is_lost => tracing::info!("revocations can be read again"),
                Err(error) if !is_lost => {
                    tracing::warn!(%error, "revocations cannot be read: edges that follow them will notice");
                }
                Ok(()) | Err(_) => {}
            }
            is_lost = self.age() > STALE;
            let pause = if is_lost { POLL_WHEN_LOST } else { POLL };
            tokio::time::sleep(pause).await;
        }
    }

    /// What comes behind `after`: at once if there is something, else at the end of `wait`.
    pub(crate) async fn answer(
        &self,
        after: Option<Position>,
        wait: Duration,
    ) -> Result<Answer, Lost> {
        let asked = Instant::now();
        let timeline = self.store.timeline();
        let log = self.log(timeline);
        let sequence = match &after {
            None => None,
            Some(after) if after.log == log => Some(after.sequence),
            Some(_) => return Ok(Answer::Gap),
        };
        let mut watched = self.known.subscribe();
        // Time for one look, for whoever comes from an instance that has seen further.
        let is_ahead = sequence.is_some_and(|sequence| sequence > watched.borrow().seen.0);
        let wait = if is_ahead { wait.max(4 * POLL) } else { wait };
        // Another instance may have seen further: only a look that began since tells.
        let news = watched.wait_for(|known| {
            let is_fresh = known.read_at.is_some_and(|read_at| read_at >= asked);
            match sequence {
                _ if known.timeline != timeline => false,
                None => known.read_at.is_some(),
                Some(sequence) if is_fresh => known.seen.0 != sequence,
                Some(sequence) => known.settled.0 > sequence,
            }
        });
        // Neither a timeout nor the end of the task ends the answer: what is known decides.
        let _ = tokio::time::timeout(wait, news).await;
        let known = *self.known.borrow();
        if self.age() > STALE || known.timeline != timeline {
            return Err(Lost);
        }
        match sequence {
            Some(sequence) if known.seen.0 < sequence => Ok(Answer::Gap),
            Some(sequence) if known.seen.0 == sequence => Ok(Answer::Page(self.page(
                asked,
                known,
                sequence,
                true,
                Vec::new(),
            ))),
            _ => self.read(asked, sequence.unwrap_or_default(), known).await,
        }
    }

    async fn read(&self, asked: Instant, after: i64, known: Known) -> Result<Answer, Lost> {
        let began = Instant::now();
        let lost = |error| {
            tracing::warn!(%error, "a follower of revocations cannot be answered");
            Lost
        };
        let settled = self.store.settled_revocations().await.map_err(lost)?;
        let (mut position, mut records, mut is_last) =
            (RevocationPosition(after), Vec::new(), false);
        let rows = usize::from(PageLimit::MAX.rows());
        while !is_last && records.len() + rows <= RECORDS_MAX {
            let page = self
                .store
                .revocations(position, now(), PageLimit::MAX)
                .await;
            let page = page.map_err(lost)?;
            is_last = page.len() < rows;
            position = page.last().map_or(position, |(last, _)| *last);
            records.extend(page.iter().map(|(_, revocation)| record(revocation)));
        }
        position = position.min(settled);
        if is_last {
            // What was there and has ended counts as read.
            position = position.max(known.settled);
        }
        position.0 = position.0.max(after);
        // What was read may be of either branch.
        if self.store.timeline() != known.timeline {
            return Err(Lost);
        }
        let known = Known {
            read_at: Some(began),
            ..known
        };
        Ok(Answer::Page(
            self.page(asked, known, position.0, is_last, records),
        ))
    }

    fn page(
        &self,
        asked: Instant,
        known: Known,
        sequence: i64,
        is_last: bool,
        records: Vec<Record>,
    ) -> Page {
        let read_at = known.read_at.unwrap_or(asked);
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let read_ms = match read_at.checked_duration_since(asked) {
            Some(after) => millis(after),
            // Rounded away from the present.
            None => -1 - millis(asked.saturating_duration_since(read_at)),
        };
        Page {
            position: Position {
                log: self.log(known.timeline),
                sequence,
            },
            is_last,
            read_ms,
            records,
        }
    }

    /// One look at the end of the log.
    async fn look(&self) -> StoreResult<()> {
        let timeline = self.store.timeline();
        let known = *self.known.borrow();
        let (settled, mut seen) = match known.timeline == timeline {
            true => (known.settled, known.seen),
            // What was seen on another branch need not be here, and something else may be in its place.
            false => Default::default(),
        };
        let newly_settled = self.store.settled_revocations().await?;
        loop {
            let began = Instant::now();
            let page = self.store.revocations(seen, now(), PageLimit::MAX).await?;
            seen = page.last().map_or(seen, |(last, _)| *last);
            if page.len() < usize::from(PageLimit::MAX.rows()) {
                self.known.send_replace(Known {
                    settled: newly_settled.min(seen).max(settled),
                    seen,
                    read_at: Some(began),
                    timeline,
                });
                return Ok(());
            }
        }
    }

    fn age(&self) -> Duration {
        let read_at = self.known.borrow().read_at;
        read_at.map_or(Duration::MAX, |read_at| read_at.elapsed())
    }
}

/// Whole seconds, rounded so that nothing revoked slips through.
fn record(revocation: &Revocation) -> Record {
    let up = |at: UnixMillis| at.0.div_euclid(1000) + i64::from(at.0.rem_euclid(1000) > 0);
    let until = up(revocation.until());
    match revocation {
        Revocation::Token { jti, .. } => Record::Token {
            jti: jti.clone(),
            until,
        },
        Revocation::Session { sid, .. } => Record::Session {
            sid: sid.to_string(),
            until,
        },
        Revocation::Account {
            sub, not_before, ..
        } => Record::Subject {
            sub: sub.to_string(),
            not_before: up(*not_before),
            until,
        },
        Revocation::SigningKey { kid, .. } => Record::Key {
            kid: kid.clone(),
            until,
        },
    }
}

fn now() -> UnixMillis {
    UnixMillis::from_system(SystemTime::now())
}

#[cfg(test)]
mod tests;
