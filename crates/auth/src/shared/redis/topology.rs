//! Which node of a Redis Cluster has which part, as its nodes say. Never follows one node against the others, and never
//! gives up what works because none answers.
//!
//! A node that is asked for a slot it has no more names the one that has it. That is taken for a reason to ask all of
//! them, not for an answer: it may be the one that was overtaken.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult, Value};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::options::RedisOptions;
use super::parts::{self, PARTS};
use super::sentinel::{Place, named_by_most, shown};

/// How often nodes are asked.
const PERIOD: Duration = Duration::from_secs(1);
/// How often while something speaks against what they said.
const HASTE: Duration = Duration::from_millis(100);
/// For one node to connect and answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// More nodes than are needed to know what most of them say.
const NODES_MAX: usize = 64;

type Places = Vec<Option<Place>>;

/// What is known of a cluster.
pub(super) struct Topology {
    options: RedisOptions,
    seeds: Vec<Place>,
    places: watch::Sender<Places>,
    again: Notify,
}

/// What one node says.
#[derive(Debug, Default, PartialEq, Eq)]
struct View {
    /// Its id, so that one that is known by two names counts once.
    id: String,
    /// Who has each part.
    owners: Places,
    /// Whom it knows.
    nodes: BTreeSet<Place>,
}

impl Topology {
    pub(super) fn new(options: &RedisOptions, seeds: &[Place]) -> Self {
        Self {
            options: options.clone(),
            seeds: seeds.to_vec(),
            places: watch::Sender::new(vec![None; PARTS]),
            again: Notify::new(),
        }
    }

    /// How nodes are connected to.
    pub(super) fn options(&self) -> &RedisOptions {
        &self.options
    }

    /// Who has a part, if anybody is known to.
    pub(super) fn place(&self, part: usize) -> Option<Place> {
        self.places.borrow().get(part).cloned().flatten()
    }

    /// Has the nodes asked soon.
    pub(super) fn doubt(&self) {
        self.again.notify_one();
    }

    /// Resolves when `is_so` of who has a part.
    pub(super) async fn wait_for(&self, part: usize, is_so: impl Fn(&Option<Place>) -> bool) {
        let mut places = self.places.subscribe();
        let is_gone = places
            .wait_for(|now| now.get(part).is_some_and(&is_so))
            .await
            .is_err();
        if is_gone {
            std::future::pending().await
        }
    }

    /// Asks for as long as it is polled.
    pub(super) async fn keep_asking(&self) {
        let mut connections = HashMap::new();
        let mut known: BTreeSet<Place> = BTreeSet::new();
        let mut is_silent = false;
        loop {
            let views = self.ask(&known, &mut connections).await;
            let agreed = agreed(&views);
            if !views.is_empty() {
                known = views.into_iter().flat_map(|view| view.nodes).collect();
            }
            let is_all_known = agreed.iter().all(Option::is_some);
            if !is_all_known && !is_silent {
                tracing::warn!(
                    nodes = self.options.place(),
                    "the nodes of the cluster do not answer, or do not agree on who has which slots"
                );
            }
            is_silent = !is_all_known;
            self.learn(agreed);
            sleep(HASTE).await;
            if is_all_known {
                let _ = timeout(PERIOD, self.again.notified()).await;
            }
        }
    }

    /// Takes over what was agreed on; what was not stays.
    fn learn(&self, agreed: Places) {
        let is_news = self.places.send_if_modified(|places| {
            let mut is_news = false;
            for (place, agreed) in places.iter_mut().zip(agreed) {
                if agreed.is_some() && *place != agreed {
                    *place = agreed;
                    is_news = true;
                }
            }
            is_news
        });
        if is_news {
            let places = self.places.borrow().clone();
            let nodes: BTreeSet<String> = places.iter().flatten().map(shown).collect();
            let nodes = Vec::from_iter(nodes).join(",");
            tracing::warn!(
                redis = nodes,
                "these nodes of the cluster have the shared state"
            );
        }
    }

    /// What the nodes that answer say. Connections are kept.
    async fn ask(
        &self,
        known: &BTreeSet<Place>,
        connections: &mut HashMap<Place, MultiplexedConnection>,
    ) -> Vec<View> {
        let others = known.iter().filter(|place| !self.seeds.contains(place));
        let all: Vec<&Place> = self.seeds.iter().chain(others).take(NODES_MAX).collect();
        connections.retain(|place, _| all.contains(&place));
        let mut asking = JoinSet::new();
        for place in all {
            let Some(client) = self.client(place) else {
                continue;
            };
            let (kept, place) = (connections.remove(place), place.clone());
            asking.spawn(async move {
                let asked = timeout(PATIENCE, one(client, kept, &place)).await;
                let (connection, view) = asked.ok()?.ok()?;
                Some((place, connection, view))
            });
        }
        // Two names of one node are one voice.
        let mut views = BTreeMap::new();
        for (place, connection, view) in asking.join_all().await.into_iter().flatten() {
            connections.insert(place, connection);
            if let Some(view) = view {
                views.insert(view.id.clone(), view);
            }
        }
        views.into_values().collect()
    }

    fn client(&self, place: &Place) -> Option<Client> {
        Client::open(self.options.moved_to(place).connection().ok()?).ok()
    }
}

async fn one(
    client: Client,
    kept: Option<MultiplexedConnection>,
    place: &Place,
) -> RedisResult<(MultiplexedConnection, Option<View>)> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(PATIENCE))
                .set_response_timeout(Some(PATIENCE));
            client
                .get_multiplexed_async_connection_with_config(&config)
                .await?
        }
    };
    let mut questions = redis::pipe();
    questions.cmd("CLUSTER").arg("MYID");
    questions.cmd("CLUSTER").arg("SLOTS");
    let (id, slots): (String, Value) = questions.query_async(&mut connection).await?;
    let view = read(&slots, place).map(|view| View { id, ..view });
    Ok((connection, view))
}

/// For each part the one that more than half of those that name one name.
fn agreed(views: &[View]) -> Places {
    let of_part = |part: usize| {
        let named = views
            .iter()
            .filter_map(|view| view.owners.get(part)?.clone());
        named_by_most(named.collect())
    };
    (0..PARTS).map(of_part).collect()
}

/// Reads `CLUSTER SLOTS`: ranges with the node that has them, and its replicas. `None` for what is no such answer.
fn read(slots: &Value, asked: &Place) -> Option<View> {
    let mut view = View {
        owners: vec![None; PARTS],
        ..View::default()
    };
    for range in items(slots)? {
        let [first, last, nodes @ ..] = items(range)? else {
            return None;
        };
        let range = number(first)?..=number(last)?;
        let nodes = nodes.iter().map(|node| place(node, asked));
        let nodes: Vec<Option<Place>> = nodes.collect();
        let owner = nodes.first()?;
        for (part, known) in view.owners.iter_mut().enumerate() {
            if range.contains(&parts::slot(part)) {
                known.clone_from(owner);
            }
        }
        view.nodes.extend(nodes.into_iter().flatten());
    }
    Some(view)
}

/// Host and port of a node. One that does not know its own address is where it was asked.
fn place(node: &Value, asked: &Place) -> Option<Place> {
    let [host, port, ..] = items(node)? else {
        return None;
    };
    let host = match host {
        Value::Nil => String::new(),
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok()?,
        Value::SimpleString(text) => text.clone(),
        _ => return None,
    };
    let host = match host.as_str() {
        "" => asked.0.clone(),
        "?" => return None,
        _ => host,
    };
    Some((host, number(port).filter(|&port| port > 0)?))
}

fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: i64) -> Value {
        let id = Value::BulkString(b"0a".to_vec());
        Value::Array(vec![Value::BulkString(host.into()), Value::Int(port), id])
    }

    fn range(first: i64, last: i64, nodes: &[Value]) -> Value {
        let mut range = vec![Value::Int(first), Value::Int(last)];
        range.extend_from_slice(nodes);
        Value::Array(range)
    }

    fn at(host: &str, port: u16) -> Place {
        (host.to_owned(), port)
    }

    #[test]
    fn who_has_which_part_is_read_with_all_nodes() {
        let asked = at("asked", 7000);
        let slots = Value::Array(vec![
            range(0, 8191, &[node("a", 1), node("b", 2)]),
            range(8192, 9000, &[node("", 3)]),
            range(9001, 16000, &[node("?", 4)]),
        ]);
        let view = read(&slots, &asked).unwrap();
        let owners: Vec<Option<String>> =
            view.owners.iter().map(|o| o.as_ref().map(shown)).collect();
        let mut expected = vec![Some("a:1".to_owned()); 4];
        expected.resize(PARTS, None);
        assert_eq!(
            owners, expected,
            "9001 and behind are with nobody that can be reached"
        );
        let nodes: Vec<String> = view.nodes.iter().map(shown).collect();
        assert_eq!(nodes, ["a:1", "asked:3", "b:2"]);
    }

    #[test]
    fn what_is_no_list_of_slots_is_no_view() {
        let asked = at("asked", 7000);
        for odd in [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![range(0, 70_000, &[node("a", 1)])]),
            Value::Array(vec![range(0, 5, &[])]),
            Value::Array(vec![range(-1, 5, &[node("a", 1)])]),
        ] {
            assert_eq!(read(&odd, &asked), None, "{odd:?}");
        }
        let empty = read(&Value::Array(Vec::new()), &asked).unwrap();
        assert!(empty.owners.iter().all(Option::is_none) && empty.nodes.is_empty());
    }

    #[test]
    fn most_decide_for_each_part_and_a_node_without_an_opinion_is_not_counted() {
        let view = |id: &str, first: Option<&str>| {
            let mut owners = vec![None; PARTS];
            owners[0] = first.map(|host| at(host, 1));
            View {
                id: id.to_owned(),
                owners,
                ..View::default()
            }
        };
        let of = |views: &[View]| agreed(views)[0].as_ref().map(|(host, _)| host.clone());
        let [a, b, c] =
            ["1", "2", "3"].map(|id| view(id, Some(if id == "3" { "old" } else { "new" })));
        assert_eq!(of(&[a, b, c]).as_deref(), Some("new"));
        assert_eq!(of(&[view("1", Some("old")), view("2", Some("new"))]), None);
        assert_eq!(
            of(&[view("1", Some("new")), view("2", None)]).as_deref(),
            Some("new")
        );
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn what_nobody_speaks_of_stays_as_it_was() {
        let topology = Topology::new(&RedisOptions::at("", 0, 0), &[]);
        let mut agreed = vec![None; PARTS];
        agreed[0] = Some(at("a", 1));
        topology.learn(agreed);
        topology.learn(vec![None; PARTS]);
        assert_eq!(topology.place(0), Some(at("a", 1)));
        assert_eq!(topology.place(1), None);
    }
}
