//! One issuer's set beside what is needed to keep it whole. Never asks anybody: `follow` does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::RevocationSet;
use crate::config::{self, Follow};
use crate::metrics::{FeedMetrics, Metrics};

/// How long the edge waits for the first snapshot before it calls itself ready all the same: an
/// issuer that is down must not keep all other traffic away.
const AWAITED: Duration = Duration::from_secs(30);

/// The revocations of one issuer while the edge runs.
#[derive(Debug)]
pub struct Follower {
    pub(super) name: String,
    pub(super) follow: Follow,
    /// What is revoked, as far as it is known.
    pub set: Arc<RevocationSet>,
    awaited_until: Option<Instant>,
    pub(super) metrics: FeedMetrics,
}

impl Follower {
    /// What a previous generation has learnt of this issuer stays known.
    pub(crate) fn build(
        issuer: &str,
        follow: &Follow,
        metrics: &Metrics,
        previous: Option<&Arc<Self>>,
        is_first: bool,
    ) -> Arc<Self> {
        if let Some(same) = previous.filter(|previous| is_same(&previous.follow, follow)) {
            return Arc::clone(same);
        }
        let now = Instant::now();
        let set = previous.map_or_else(
            || Arc::new(RevocationSet::new(now)),
            |previous| Arc::clone(&previous.set),
        );
        Arc::new(Self {
            name: issuer.to_owned(),
            follow: follow.clone(),
            set,
            awaited_until: is_first.then(|| now + AWAITED),
            metrics: metrics.feed(issuer),
        })
    }

    /// Whether the edge should wait for the first snapshot before it calls itself ready.
    pub(crate) fn is_awaited(&self, now: Instant) -> bool {
        !self.set.has_been_whole() && self.awaited_until.is_some_and(|until| now < until)
    }
}

/// Trust is read anew with each configuration, so TLS is never taken for the same.
fn is_same(one: &Follow, other: &Follow) -> bool {
    let is_same_place = |(one, other): (&config::JwksSource, &config::JwksSource)| {
        (&one.host, one.port) == (&other.host, other.port)
            && one.tls.is_none()
            && other.tls.is_none()
    };
    let token = |follow: &Follow| follow.token.as_ref().map(|token| token.expose().clone());
    one.feeds.len() == other.feeds.len()
        && one.feeds.iter().zip(&other.feeds).all(is_same_place)
        && token(one) == token(other)
}
