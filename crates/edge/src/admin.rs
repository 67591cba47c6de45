//! The operator's listener: health, metrics, status, and changes while the edge runs. Never carries
//! clients' traffic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::audit::{ENTRIES_MAX, Outcome, Record, Who};
use crate::config::AdminRole;
use crate::control::Controller;
use crate::state::Edge;

mod access;
mod answer;
mod apply;
mod balancer;
mod browser;
mod change;
mod check;
mod conversation;
mod explain;
mod flags;
mod json;
mod openapi;
mod precondition;
mod reload;
mod status;
mod table;
mod upgrade;

pub(crate) use access::Access;
use answer::{Answer, Refused, document, set, tag, text};
use change::Change;
use conversation::converse;
use table::{Does, Kind, Needs};

/// Connections at once: a few scrapers and an operator.
const MAX_CONNECTIONS: usize = 64;
/// A request head must be complete by then, and a body as long after.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest change: a split over many clusters.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// After a failed accept, which is lack of descriptors: others may let go of some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Said to who comes too late.
const SUCCEEDED: &str = "Another process has taken over: ask again, and it will answer.";

/// A longer path is cut in the audit.
const TOLD_CHARS_MAX: usize = 256;

/// Connections of operators: at most so many at once.
#[derive(Clone, Debug)]
pub(crate) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_CONNECTIONS)))
    }
}

impl Places {
    /// Resolves when all are free.
    pub(crate) async fn free(&self) {
        let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
        // It is never closed.
        drop(self.0.acquire_many(all).await);
    }
}

/// What requests are answered from.
struct Desk {
    edge: Arc<Edge>,
    controller: Arc<Controller>,
}

/// Answers until `stop` turns true: another configuration has another address, or another process has
/// this one. While the edge drains it answers, so that readiness can be seen failing.
pub(crate) async fn run(
    controller: Arc<Controller>,
    socket: Arc<TcpListener>,
    mut stop: watch::Receiver<bool>,
    places: Places,
) {
    let desk = Arc::new(Desk {
        edge: Arc::clone(controller.edge()),
        controller,
    });
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = socket.accept() => accepted,
        };
        let Ok((stream, operator)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places.0).try_acquire_owned() else {
            continue;
        };
        let (desk, stop) = (Arc::clone(&desk), stop.clone());
        tokio::spawn(async move {
            converse(stream, stop, |request| desk.answer(request, operator)).await;
            drop(place);
        });
    }
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>, operator: SocketAddr) -> Answer {
        let (head, body) = request.into_parts();
        let answered = self.serve(&head, body, operator).await;
        answered.unwrap_or_else(|refused| refused.answer())
    }

    async fn serve(
        &self,
        head: &Parts,
        body: Incoming,
        operator: SocketAddr,
    ) -> Result<Answer, Refused> {
        let path = head.uri.path();
        let found = table::find(&head.method, path);
        let needs = match &found {
            Ok((operation, _)) => operation.needs,
            Err(_) if path.starts_with("/v1/") || path.starts_with("/api/") => {
                Needs::Role(AdminRole::Read)
            }
            Err(_) => Needs::Nothing,
        };
        let who = self.admit(head, needs, operator)?;
        let (operation, steps) = found?;
        match operation.does {
            Does::Change(kind) => self.change(kind, &steps, head, body, who).await,
            Does::Check => self.check(&steps, head, body, who).await,
            Does::Upgrade => self.upgrade(head, body, who).await,
            Does::Explain => self.explain(body).await,
            Does::Reload | Does::RollBack => self.reload(operation.does, head, body, who).await,
            shown => Ok(self.show(shown)),
        }
    }

    /// Who asks, if they may. A change that was refused is told in the audit.
    fn admit(&self, head: &Parts, needs: Needs, operator: SocketAddr) -> Result<Who, Refused> {
        let access = self.edge.access.load();
        let browser = match needs {
            Needs::Role(_) => browser::check(&head.uri, &head.headers, &access.hosts),
            Needs::Nothing | Needs::Metrics => Ok(()),
        };
        let admitted = browser.and_then(|()| access.check(needs, &head.headers, operator));
        if let (Err(refused), true) = (&admitted, head.method == Method::POST) {
            let who = match refused {
                Refused::Role(name) => Who::operator(name, AdminRole::Read, operator),
                _ => Who::stranger(operator),
            };
            self.refuse(who, head, refused);
        }
        admitted
    }

    /// What is told without a change. Checks and changes have their own way.
    fn show(&self, what: Does) -> Answer {
        let (edge, now) = (&*self.edge, Instant::now());
        let revision = edge.audit.revision();
        let body = match what {
            Does::Live => return text(StatusCode::OK, "alive\n"),
            Does::Ready => return readiness(edge),
            Does::Metrics => {
                let mut answer = text(StatusCode::OK, edge.render_metrics(now));
                set(&mut answer, CONTENT_TYPE, "text/plain; version=0.0.4");
                return answer;
            }
            Does::Balancer(told) => return balancer::tell(edge, told, now),
            Does::Status => status::status(edge, revision, now),
            Does::Bans => status::bans(edge),
            Does::Flags => flags::all(edge),
            Does::Audit => json!({
                "revision": revision,
                "most": ENTRIES_MAX,
                "entries": edge.audit.latest(),
            }),
            Does::History => reload::history(&self.controller),
            Does::Configuration => reload::configuration(&self.controller),
            Does::Document
            | Does::Reload
            | Does::RollBack
            | Does::Upgrade
            | Does::Check
            | Does::Explain
            | Does::Change(_) => openapi::document(),
        };
        let mut answer = document(StatusCode::OK, &body);
        tag(&mut answer, revision);
        answer
    }

    /// Makes a change, one at a time, and tells of it.
    async fn change(
        &self,
        kind: Kind,
        steps: &[&str],
        head: &Parts,
        body: Incoming,
        who: Who,
    ) -> Result<Answer, Refused> {
        let body = collected(body).await;
        let _one_at_a_time = self.edge.changing.lock().await;
        let made = body.and_then(|body| {
            precondition::check(&head.headers, &self.edge.audit)?;
            if self.edge.succession.is_over() {
                return Err(Refused::Conflict(SUCCEEDED.to_owned()));
            }
            let change = Change::parse(kind, steps, &body)?;
            apply::apply(&self.edge, &change, Instant::now())
        });
        let mut made = match made {
            Ok(made) => made,
            Err(refused) => {
                self.refuse(who, head, &refused);
                return Err(refused);
            }
        };
        let revision = self.edge.revise();
        self.edge.audit.record(Record {
            who,
            what: told(head.uri.path()),
            before: made.before,
            after: made.after,
            outcome: Outcome::Done(revision),
        });
        made.answer["revision"] = json!(revision);
        let mut answer = document(StatusCode::OK, &made.answer);
        tag(&mut answer, revision);
        Ok(answer)
    }

    /// Has endpoints checked; the state in force stays the same.
    async fn check(
        &self,
        steps: &[&str],
        head: &Parts,
        body: Incoming,
        who: Who,
    ) -> Result<Answer, Refused> {
        let clusters = collected(body)
            .await
            .and_then(|body| change::checked_cluster(steps, &body))
            .and_then(|cluster| check::clusters(&self.edge, cluster.as_deref()));
        let clusters = clusters.inspect_err(|refused| self.refuse(who.clone(), head, refused))?;
        let found = check::now(&clusters).await;
        let revision = self.edge.audit.revision();
        self.edge.audit.record(Record {
            who,
            what: told(head.uri.path()),
            before: Value::Null,
            after: Value::Null,
            outcome: Outcome::Done(revision),
        });
        let mut answer = document(StatusCode::OK, &found);
        tag(&mut answer, revision);
        Ok(answer)
    }

    fn refuse(&self, who: Who, head: &Parts, refused: &Refused) {
        self.edge.audit.record(Record {
            who,
            what: told(head.uri.path()),
            before: Value::Null,
            after: Value::Null,
            outcome: Outcome::Refused(refused.detail()),
        });
    }
}

/// A path as the audit has it.
fn told(path: &str) -> String {
    let path = path.strip_prefix("/v1/").unwrap_or(path);
    path.chars().take(TOLD_CHARS_MAX).collect()
}

/// A whole body.
async fn collected(body: Incoming) -> Result<Bytes, Refused> {
    let body = Limited::new(body, BODY_BYTES_MAX).collect();
    let body = tokio::time::timeout(READ_TIMEOUT, body).await;
    let body = body
        .map_err(|_elapsed| Refused::Invalid("The body did not arrive in time.".to_owned()))?
        .map_err(|_too_large_or_broken| Refused::TooLarge)?;
    Ok(body.to_bytes())
}

/// Ready unless the edge is leaving or could serve nothing at all. One cluster down is named but
/// does not take the others' traffic away.
fn readiness(edge: &Edge) -> Answer {
    let snapshot = edge.snapshot.load();
    let without_endpoint: Vec<&str> = snapshot
        .clusters
        .iter()
        .filter(|cluster| !cluster.has_eligible())
        .map(|cluster| cluster.name())
        .collect();
    let mut reasons = Vec::new();
    if edge.is_draining() {
        reasons.push("draining");
    }
    if without_endpoint.len() == snapshot.clusters.len() {
        reasons.push("no cluster has an eligible endpoint");
    }
    reasons.extend(snapshot.awaits(Instant::now()));
    let without_keys: Vec<&str> = snapshot
        .issuers
        .iter()
        .filter(|issuer| issuer.kids().is_empty())
        .map(|issuer| issuer.name())
        .collect();
    let is_ready = reasons.is_empty();
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "ready": is_ready,
        "generation": snapshot.generation,
        "reasons": reasons,
        "clusters_without_endpoint": without_endpoint,
        "issuers_without_keys": without_keys,
    });
    let mut answer = document(status, &body);
    if !is_ready {
        set(&mut answer, RETRY_AFTER, "1");
    }
    answer
}
