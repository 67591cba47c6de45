//! Which Redis leads, as Sentinels say. Never follows one Sentinel against the others, and never gives up what works
//! because none answers.

use std::sync::Arc;
use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::options::RedisOptions;
use super::topology::Topology;

/// How often Sentinels are asked.
const PERIOD: Duration = Duration::from_secs(1);
/// How often while they name nobody, or something speaks against whom they named.
const HASTE: Duration = Duration::from_millis(100);
/// For one Sentinel to connect and answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Host and port of a Redis.
pub(super) type Place = (String, u16);

/// Where connections go.
pub(super) enum Source {
    /// To the one that is configured.
    Fixed(Client),
    /// To whichever leads.
    Named(Named),
    /// To the node of a cluster that has a part.
    Part(Arc<Topology>, usize),
}

/// A Redis that Sentinels know by a name.
pub(super) struct Named {
    options: RedisOptions,
    name: String,
    sentinels: Vec<Client>,
    leads: watch::Sender<Option<Place>>,
    again: Notify,
}

impl Source {
    /// Of `options`; `fixed` where no Sentinels are named.
    pub(super) fn new(
        options: &RedisOptions,
        fixed: impl FnOnce() -> RedisResult<Client>,
    ) -> RedisResult<Arc<Self>> {
        let Some(known) = &options.sentinels else {
            return Ok(Arc::new(Self::Fixed(fixed()?)));
        };
        let sentinels = known.hosts.iter().map(|(host, port)| {
            let mut one = RedisOptions::at(host, *port, 0);
            one.password = known.password.clone();
            Client::open(one.connection()?)
        });
        Ok(Arc::new(Self::Named(Named {
            options: options.clone(),
            name: known.name.clone(),
            sentinels: sentinels.collect::<RedisResult<_>>()?,
            leads: watch::Sender::new(None),
            again: Notify::new(),
        })))
    }

    /// Whom to connect to now, and what to call it; `None`: nobody is known to lead.
    pub(super) fn client(&self) -> Option<(Client, Option<Place>)> {
        let (options, place) = match self {
            Self::Fixed(client) => return Some((client.clone(), None)),
            Self::Named(named) => (&named.options, named.leads.borrow().clone()?),
            Self::Part(topology, part) => (topology.options(), topology.place(*part)?),
        };
        let client = Client::open(options.moved_to(&place).connection().ok()?).ok()?;
        Some((client, Some(place)))
    }

    /// Whether a Redis that follows another must not be used.
    pub(super) fn asks_for_a_primary(&self) -> bool {
        !matches!(self, Self::Fixed(_))
    }

    /// Whether it is a part of a cluster.
    pub(super) fn is_part(&self) -> bool {
        matches!(self, Self::Part(..))
    }

    /// Where connections go now; nothing where there is only one place, or nobody is known to lead.
    pub(super) fn place(&self) -> Option<Place> {
        match self {
            Self::Fixed(_) => None,
            Self::Named(named) => named.leads.borrow().clone(),
            Self::Part(topology, part) => topology.place(*part),
        }
    }

    /// Has the Sentinels asked soon, or the nodes.
    pub(super) fn doubt(&self) {
        match self {
            Self::Fixed(_) => {}
            Self::Named(named) => named.again.notify_one(),
            Self::Part(topology, _) => topology.doubt(),
        }
    }

    /// Resolves when somebody is known to lead.
    pub(super) async fn is_named(&self) {
        match self {
            Self::Fixed(_) => {}
            Self::Named(named) => {
                let mut leads = named.leads.subscribe();
                let _ = leads.wait_for(Option::is_some).await;
            }
            Self::Part(topology, part) => topology.wait_for(*part, Option::is_some).await,
        }
    }

    /// Resolves when another than `place` leads.
    pub(super) async fn moved_from(&self, place: &Option<Place>) {
        match self {
            Self::Fixed(_) => std::future::pending().await,
            Self::Named(named) => {
                let mut leads = named.leads.subscribe();
                let is_gone = leads.wait_for(|now| now != place).await.is_err();
                if is_gone {
                    std::future::pending().await
                }
            }
            Self::Part(topology, part) => topology.wait_for(*part, |now| now != place).await,
        }
    }

    /// Asks for as long as it is polled.
    pub(super) async fn keep_asking(&self) {
        let Self::Named(named) = self else {
            return std::future::pending().await;
        };
        let mut is_silent = false;
        loop {
            let leads = named.ask().await;
            let is_known = leads.is_some();
            match leads {
                Some(place) if named.leads.borrow().as_ref() != Some(&place) => {
                    tracing::warn!(redis = shown(&place), "this Redis leads");
                    named.leads.send_replace(Some(place));
                }
                None if !is_silent => {
                    tracing::warn!(
                        name = named.name,
                        "the Sentinels do not agree on who leads, or do not answer"
                    );
                }
                Some(_) | None => {}
            }
            is_silent = !is_known;
            sleep(HASTE).await;
            if is_known {
                let _ = timeout(PERIOD, named.again.notified()).await;
            }
        }
    }
}

impl Named {
    async fn ask(&self) -> Option<Place> {
        let mut asking = JoinSet::new();
        for sentinel in &self.sentinels {
            asking.spawn(timeout(PATIENCE, one(sentinel.clone(), self.name.clone())));
        }
        let answers = asking.join_all().await.into_iter();
        named_by_most(answers.filter_map(Result::ok).flatten().collect())
    }
}

async fn one(sentinel: Client, name: String) -> Option<Place> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let connection = sentinel.get_multiplexed_async_connection_with_config(&config);
    let mut connection = connection.await.ok()?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(name);
    question
        .query_async::<Option<Place>>(&mut connection)
        .await
        .ok()?
}

/// `host:port`.
pub(super) fn shown((host, port): &Place) -> String {
    format!("{host}:{port}")
}

/// The one that more than half of those that answered name: some that were cut off still name the last.
pub(super) fn named_by_most(answers: Vec<Place>) -> Option<Place> {
    let all = answers.len();
    let votes = |place: &Place| answers.iter().filter(|other| *other == place).count();
    answers.iter().find(|place| 2 * votes(place) > all).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Option<String> {
        let answers = names.iter().map(|name| ((*name).to_owned(), 6379));
        named_by_most(answers.collect()).map(|(name, _)| name)
    }

    #[test]
    fn more_than_half_of_the_answers_decide() {
        assert_eq!(named(&["a", "b", "a"]).as_deref(), Some("a"));
        assert_eq!(named(&["a"]).as_deref(), Some("a"));
        assert_eq!(named(&["a", "b"]), None);
        assert_eq!(named(&["a", "b", "c"]), None);
        assert_eq!(named(&[]), None);
    }
}
