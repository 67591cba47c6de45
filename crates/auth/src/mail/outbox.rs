//! Takes mail that waits in the store and sends it: every instance does, and each mail is sent by one. Never loses one:
//! what an instance that died was sending is taken by another when its lease ends, and may then arrive twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::{Mailer, SendError};
use crate::domain::{MailToken, UnixMillis};
use crate::lifecycle::{Phase, PhaseWatch};
use crate::metrics::{Metrics, Posted};
use crate::random;
use crate::store::{LeasedMail, MailLease, Store, StoreResult};

/// How soon mail that was just asked for is looked at.
const POLL: Duration = Duration::from_millis(500);
/// Between attempts while the server cannot be spoken to.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Longer than one mail may take, so that nobody takes one that is under way.
const LEASE: Duration = Duration::from_secs(120);
/// Mails that one instance sends at once.
const AT_ONCE: usize = 4;
/// How long a mail that is under way may still take when the instance leaves.
const LAST_WORD: Duration = Duration::from_secs(5);
/// How often the queue is counted.
const COUNT: Duration = Duration::from_secs(5);

/// What is known of the mail server and the queue, for people.
#[derive(Debug, Default)]
pub(crate) struct MailHealth {
    is_down: AtomicBool,
    waiting: AtomicU64,
}

impl MailHealth {
    /// Whether the server was spoken to last, or was never asked.
    pub(crate) fn is_up(&self) -> bool {
        !self.is_down.load(Ordering::Relaxed)
    }

    /// Mails that waited when they were counted last.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// What sends mail.
pub(crate) struct Outbox {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) mailer: Mailer,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<MailHealth>,
}

impl Outbox {
    /// Sends until the phase is `Stopping`.
    pub(crate) async fn run(self, mut phase: PhaseWatch) {
        let mut stopping = phase.clone();
        tokio::select! {
            () = self.keep_sending(phase.clone()) => {}
            () = async { stopping.reached(Phase::Stopping).await; tokio::time::sleep(LAST_WORD).await } => {}
        }
        // Whatever ended it, the phase is what the owner of this task waits for.
        phase.reached(Phase::Stopping).await;
    }

    async fn keep_sending(&self, mut phase: PhaseWatch) {
        let mut pause = POLL;
        let mut counted: Option<Instant> = None;
        let mut has_failed = false;
        loop {
            tokio::select! {
                () = phase.reached(Phase::Stopping) => return,
                () = tokio::time::sleep(pause) => {}
            }
            let lanes = [(); AT_ONCE].map(|()| self.drain(&phase));
            let [a, b, c, d] = lanes;
            let (a, b, c, d) = tokio::join!(a, b, c, d);
            let outcome = [a, b, c, d].into_iter().collect::<StoreResult<Vec<()>>>();
            if let Err(error) = &outcome
                && !has_failed
            {
                tracing::warn!(%error, "mail cannot be taken from the database and waits");
            }
            has_failed = outcome.is_err();
            pause = match self.health.is_up() {
                true => POLL,
                false => (pause * 2).min(LONGEST_PAUSE),
            };
            if counted.is_none_or(|at| at.elapsed() >= COUNT) {
                counted = Some(Instant::now());
                self.count().await;
            }
        }
    }

    /// Sends until nothing is due or the server cannot be spoken to.
    async fn drain(&self, phase: &PhaseWatch) -> StoreResult<()> {
        while phase.current() < Phase::Stopping {
            let token = MailToken::from_random(random::bytes());
            let now = now();
            let lease = self
                .store
                .lease_mail(&token.hash(), now, now.plus(LEASE))
                .await?;
            let mail = match lease {
                MailLease::Mail(mail) => mail,
                MailLease::Nobody => continue,
                MailLease::Nothing => break,
            };
            if !self.deliver(&mail, &token).await? {
                break;
            }
        }
        Ok(())
    }

    /// Whether the server could be spoken to.
    async fn deliver(&self, mail: &LeasedMail, token: &MailToken) -> StoreResult<bool> {
        let sent = self.mailer.send(mail, token).await;
        let now = now();
        let (id, kind) = (mail.id.as_str(), mail.kind.as_str());
        let (why, due_at, is_up) = match sent {
            Ok(()) => {
                self.server_is(true, "");
                self.metrics.posted(mail.kind, Posted::Sent);
                tracing::info!(id, kind, account = %mail.account, "mail sent");
                self.store.mail_sent(mail).await?;
                return Ok(true);
            }
            // Nothing is held against the mail: it is due again as soon as the server may be back.
            Err(SendError::Unreachable(why)) => {
                (why, mail.kind.retry(mail.created_at, 1, now), false)
            }
            Err(SendError::Deferred(why)) => (
                why,
                mail.kind.retry(mail.created_at, mail.attempts, now),
                true,
            ),
            Err(SendError::Refused(why)) => (why, None, true),
        };
        self.server_is(is_up, &why);
        match due_at {
            Some(_) => {
                self.metrics.posted(mail.kind, Posted::Deferred);
                tracing::debug!(
                    id,
                    kind,
                    why,
                    attempts = mail.attempts,
                    "mail will be tried again"
                );
            }
            None => {
                self.metrics.posted(mail.kind, Posted::GivenUp);
                tracing::warn!(id, kind, why, account = %mail.account, "mail is given up");
            }
        }
        self.store.mail_failed(mail, due_at).await?;
        Ok(is_up)
    }

    /// Says so once, when it changes.
    fn server_is(&self, is_up: bool, why: &str) {
        let was_down = self.health.is_down.swap(!is_up, Ordering::Relaxed);
        self.metrics.mail_server(is_up);
        match (was_down, is_up) {
            (false, false) => tracing::warn!(why, "the mail server cannot be used; mail waits"),
            (true, true) => tracing::info!("the mail server can be used again"),
            _ => {}
        }
    }

    async fn count(&self) {
        if let Ok(queue) = self.store.mail_queue().await {
            let age = queue
                .oldest
                .map_or(Duration::ZERO, |oldest| now().since(oldest));
            self.health.waiting.store(queue.waiting, Ordering::Relaxed);
            self.metrics.mail_waiting(queue.waiting, age);
        }
    }
}

fn now() -> UnixMillis {
    UnixMillis::from_system(SystemTime::now())
}
