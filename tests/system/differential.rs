//! The same bytes through both engines: what the endpoint receives, what the client is told and
//! whether the connection goes on must agree, but for the differences listed with a reason in
//! `allowed`. Never decides which engine is right.
//!
//! An ordinary run repeats the requests of one seed, so that no change is stopped by a difference
//! that was there before it. `SEED=n` takes others, `CASES=n` more of them.

use std::fmt;
use std::net::SocketAddr;

use portcullis_testkit::endpoint::Received;
use portcullis_testkit::{Connection, Endpoint};
use serde_json::json;

use crate::native::Setup;

mod allowed;
mod cases;

/// Random requests for each lane in an ordinary run.
const CASES: u64 = 120;

/// Lanes run side by side, each with an edge and an endpoint of its own, since most of the time
/// goes into requests that are never complete.
const LANES: u64 = 4;

/// How long an engine waits for the rest of an incomplete request.
const PATIENCE: &str = "200ms";

/// What can be seen of one exchange from outside.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    /// Status of the answer; `None` when there was none.
    status: Option<u16>,
    /// Whether a further request on the connection was answered.
    goes_on: bool,
    /// What the endpoint received.
    received: Vec<Request>,
}

/// A request as the endpoint received it, without what differs from request to request.
#[derive(Clone, PartialEq, Eq)]
struct Request {
    line: String,
    /// Lower-case names in alphabetical order; the order of equal names is kept.
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Bytes, and where they come from.
struct Case {
    origin: String,
    bytes: Vec<u8>,
}

struct Lane {
    endpoint: Endpoint,
    edge: crate::harness::Edge,
}

impl Lane {
    async fn start() -> Lane {
        let endpoint = Endpoint::start("a").await;
        let timeouts = json!({ "header": PATIENCE, "body": PATIENCE });
        let edge = Setup::new(&[&endpoint])
            .set("listeners.0.timeouts", timeouts.clone())
            .set("clusters.main.ejection", json!("off"))
            .set("access_log", json!("off"))
            .listener(
                "other",
                &json!({ "engine": "pingora", "timeouts": timeouts }),
            )
            .start()
            .await;
        Lane { endpoint, edge }
    }

    /// `None`: the engines agree or may differ; else what differs.
    async fn compare(&self, case: &Case) -> Option<String> {
        let native = self.exchange(self.edge.http(), &case.bytes).await;
        let pingora = self.exchange(self.edge.listener(1), &case.bytes).await;
        if allowed::is_alike(&case.bytes, &native, &pingora) {
            return None;
        }
        let text = case.bytes.escape_ascii();
        let origin = &case.origin;
        Some(format!(
            "{origin}: {text}\n  native:  {native:?}\n  pingora: {pingora:?}\n"
        ))
    }

    async fn exchange(&self, address: SocketAddr, bytes: &[u8]) -> Seen {
        let before = self.endpoint.requests();
        let mut client = Connection::open(address).await.expect("the edge accepts");
        // An engine may answer and close before it has read everything.
        let _ = client.send(bytes).await;
        let method = bytes.split(|&byte| byte == b' ').next();
        let method = String::from_utf8_lossy(method.unwrap_or_default()).into_owned();
        let answer = client.response_to(&method).await.ok();
        let goes_on = match &answer {
            Some(answer) if answer.field("connection") != Some("close") => {
                sentinel(&mut client).await
            }
            _ => false,
        };
        drop(client);
        let count = self.endpoint.requests() - before;
        let received = self.endpoint.received();
        let new = &received[received.len() - count.min(received.len())..];
        let new = new.iter().filter(|request| request.target != SENTINEL);
        Seen {
            status: answer.map(|answer| answer.status),
            goes_on,
            received: new.map(Request::from).collect(),
        }
    }
}

/// Whether the connection serves another request, and not something else in its place.
async fn sentinel(client: &mut Connection) -> bool {
    let answer = client.get(SENTINEL).await;
    answer.is_ok_and(|answer| {
        answer.status == 200 && String::from_utf8_lossy(&answer.body).contains(SENTINEL)
    })
}

const SENTINEL: &str = "/sentinel/of/this/exchange";

impl Seen {
    fn bodies(&self) -> Vec<&[u8]> {
        let received = self.received.iter();
        received.map(|request| request.body.as_slice()).collect()
    }
}

impl From<&Received> for Request {
    fn from(received: &Received) -> Request {
        let own = ["x-request-id", "traceparent", "x-forwarded-port"];
        let fields = received.fields.iter();
        let mut fields: Vec<(String, String)> = fields
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .filter(|(name, _)| !own.contains(&name.as_str()))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Request {
            line: format!("{} {}", received.method, received.target),
            fields,
            body: received.body.clone(),
        }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, goes on: {}", self.status, self.goes_on)?;
        for request in &self.received {
            write!(f, "\n    {} {:?}", request.line, request.fields)?;
            write!(f, " {}", request.body.escape_ascii())?;
        }
        Ok(())
    }
}

fn expect_agreement(differences: &[String]) {
    let shown: String = differences.iter().take(10).map(String::as_str).collect();
    let count = differences.len();
    assert_eq!(count, 0, "{count} differences, the first of them:\n{shown}");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[tokio::test]
async fn both_engines_treat_well_known_attacks_alike() {
    let lane = Lane::start().await;
    let mut differences = Vec::new();
    for case in cases::attacks() {
        differences.extend(lane.compare(&case).await);
    }
    expect_agreement(&differences);
}

#[tokio::test]
async fn both_engines_treat_random_requests_alike() {
    let seed = number("SEED").unwrap_or(0);
    let count = number("CASES").unwrap_or(CASES);
    let lanes = tokio::task::LocalSet::new();
    let compared: Vec<_> = (0..LANES)
        .map(|lane| lanes.spawn_local(lane_of(seed.wrapping_add(lane), count)))
        .collect();
    lanes.await;
    let mut differences = Vec::new();
    for lane in compared {
        differences.extend(lane.await.expect("a lane runs to its end"));
    }
    expect_agreement(&differences);
}

/// Compares the requests of every [`LANES`]th seed from `first` on.
async fn lane_of(first: u64, count: u64) -> Vec<String> {
    let (lane, mut differences) = (Lane::start().await, Vec::new());
    for position in 0..count {
        let case = cases::random(first.wrapping_add(position * LANES));
        differences.extend(lane.compare(&case).await);
    }
    differences
}

#[tokio::test]
async fn every_allowed_difference_has_an_example() {
    let lane = Lane::start().await;
    for allowance in allowed::ALLOWED {
        let why = allowance.why;
        let mut native = lane.exchange(lane.edge.http(), allowance.example).await;
        let mut pingora = lane
            .exchange(lane.edge.listener(1), allowance.example)
            .await;
        assert!(native != pingora, "no difference any more: {why}");
        (allowance.forgive)(allowance.example, &mut native, &mut pingora);
        assert!(
            native == pingora,
            "{why}\n  native:  {native:?}\n  pingora: {pingora:?}"
        );
    }
}

#[test]
fn a_seed_makes_the_same_request_again() {
    for seed in 0..100 {
        assert_eq!(cases::random(seed).bytes, cases::random(seed).bytes);
    }
}
