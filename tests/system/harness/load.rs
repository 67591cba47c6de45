//! Requests at a constant rate, whatever becomes of those before them. Never repeats one: what the
//! edge failed to hide counts.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_testkit::{Connection, Response, wait_until};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What became of one request.
#[derive(Clone, Debug)]
pub(crate) struct Shot {
    /// When it was due, since the load began.
    pub(crate) due: Duration,
    /// From then to the end of its answer.
    pub(crate) latency: Duration,
    /// The status and the name of the endpoint, or what went wrong.
    pub(crate) answer: Result<(u16, String), String>,
}

impl Shot {
    /// Whether the client got what it asked for.
    pub(crate) fn is_served(&self) -> bool {
        matches!(self.answer, Ok((200..=299, _)))
    }
}

/// One request of a load.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: &'static [u8],
}

impl Ask {
    /// A GET without anything.
    pub(crate) fn get(path: &'static str) -> Ask {
        Ask {
            method: "GET",
            path,
            fields: Vec::new(),
            body: b"",
        }
    }
}

/// A running load.
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    begun: Instant,
    shots: Arc<Mutex<Vec<Shot>>>,
    run: JoinHandle<()>,
}

/// Connections between requests.
type Idle = Arc<Mutex<Vec<Connection>>>;

impl Load {
    /// Begins: one of `asks` in turn `every` so often.
    pub(crate) fn start(address: SocketAddr, every: Duration, asks: Vec<Ask>) -> Load {
        let (stop, mut stopped) = watch::channel(false);
        let shots = Arc::new(Mutex::new(Vec::new()));
        let begun = Instant::now();
        let found = Arc::clone(&shots);
        let run = tokio::spawn(async move {
            let idle: Idle = Arc::default();
            let mut running = JoinSet::new();
            let mut turn = tokio::time::interval(every);
            let mut asks = asks.into_iter().cycle();
            loop {
                tokio::select! {
                    _ = stopped.wait_for(|stop| *stop) => break,
                    _ = turn.tick() => {}
                }
                let (idle, found) = (Arc::clone(&idle), Arc::clone(&found));
                let ask = asks.next().unwrap();
                running.spawn(async move {
                    let due = begun.elapsed();
                    let answer = shoot(address, &idle, &ask).await;
                    let latency = begun.elapsed() - due;
                    found.lock().unwrap().push(Shot {
                        due,
                        latency,
                        answer,
                    });
                });
            }
            while running.join_next().await.is_some() {}
        });
        Load {
            stop,
            begun,
            shots,
            run,
        }
    }

    /// How long it has lasted.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits until `count` more requests have ended.
    pub(crate) async fn wait_for(&self, count: usize) {
        let goal = self.shots.lock().unwrap().len() + count;
        wait_until(&format!("{count} answers"), async || {
            (self.shots.lock().unwrap().len() >= goal).then_some(())
        })
        .await;
    }

    /// Waits until `count` different endpoints have served a request that was due after this call.
    /// Those that return begin with a small part of their share, and on a busy machine the edge
    /// takes a while to see them: the deadline holds for each that is still missing.
    pub(crate) async fn wait_for_endpoints(&self, count: usize) {
        let begun = self.elapsed();
        for so_many in 1..=count {
            wait_until(
                &format!("{so_many} of {count} endpoints to serve"),
                async || (self.served_by_since(begun) >= so_many).then_some(()),
            )
            .await;
        }
    }

    fn served_by_since(&self, begun: Duration) -> usize {
        let shots = self.shots.lock().unwrap();
        let endpoints: BTreeSet<&String> = shots
            .iter()
            .filter(|shot| shot.due > begun && shot.is_served())
            .filter_map(|shot| shot.answer.as_ref().ok())
            .map(|(_, endpoint)| endpoint)
            .collect();
        endpoints.len()
    }

    /// Ends it and returns all requests in the order of their ends.
    pub(crate) async fn finish(self) -> Vec<Shot> {
        self.stop.send(true).unwrap();
        self.run.await.unwrap();
        std::mem::take(&mut *self.shots.lock().unwrap())
    }
}

/// Those of the requests that failed.
pub(crate) fn failures(shots: &[Shot]) -> Vec<&Shot> {
    shots.iter().filter(|shot| !shot.is_served()).collect()
}

async fn shoot(address: SocketAddr, idle: &Idle, ask: &Ask) -> Result<(u16, String), String> {
    let kept = idle.lock().unwrap().pop();
    let mut connection = match kept {
        Some(connection) => connection,
        None => Connection::open(address)
            .await
            .map_err(|error| error.to_string())?,
    };
    let fields: Vec<(&str, &str)> = ask
        .fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let answered = connection
        .request(ask.method, ask.path, &fields, ask.body)
        .await;
    let response = answered.map_err(|error| error.to_string())?;
    if response.field("connection") != Some("close") {
        idle.lock().unwrap().push(connection);
    }
    Ok((response.status, endpoint_of(&response)))
}

/// Who answered: the endpoint's address, as clients on this machine are told.
fn endpoint_of(response: &Response) -> String {
    response.field("x-served-by").unwrap_or_default().to_owned()
}
