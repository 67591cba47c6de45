//! One visit from the first connection to the report. Never decides whether what it sees is good: checks do.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderName;
use portcullis_token::headers::{X_INSTANCE_ID, X_SERVED_BY};
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::checks;
use crate::client::{Answer, Ask, Client, Trouble, Visitor};
use crate::plan::{Check, Plan};
use crate::report::{Event, Finding, Report};
use crate::target::Target;
use crate::trust::{Tls, TrustError};

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
pub enum CannotVisit {
    /// No such name, or nobody to ask.
    #[error("cannot find {0}: {1}")]
    Name(String, String),
    /// The authorities cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Not one answer.
    #[error("cannot reach {0}: {1}")]
    Reach(Target, Trouble),
}

/// What checks work with.
pub(crate) struct Visit<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) client: Arc<Client>,
    /// Where to go when any path will do.
    pub(crate) path: String,
    /// Everybody who has answered.
    pub(crate) instances: BTreeSet<String>,
    /// What is wrong with the certificate, where something is.
    pub(crate) distrust: Option<String>,
    pub(crate) tell: &'a (dyn Fn(Event<'_>) + Send + Sync),
}

/// Visits a deployment and tells what happens on the way.
pub async fn run(
    plan: &Plan,
    tell: &(dyn Fn(Event<'_>) + Send + Sync),
) -> Result<Report, CannotVisit> {
    let began = Instant::now();
    let mut visit = Visit::arrive(plan, tell).await?;
    tell(Event::Arrived { plan });
    let mut findings: Vec<Finding> = Vec::new();
    for check in plan.checks() {
        // The watch over an endpoint that leaves judges both at once.
        if findings.iter().any(|finding| finding.check == check) {
            continue;
        }
        tell(Event::Begins(check));
        for finding in checks::run(&mut visit, check).await {
            let is_demanded = plan.asked_for.contains(&finding.check);
            let finding = if is_demanded {
                finding.demanded()
            } else {
                finding
            };
            tell(Event::Ends(&finding));
            findings.push(finding);
        }
    }
    Ok(Report {
        url: plan.target.to_string(),
        findings,
        notes: plan.notes(),
        requests: visit.client.asked(),
        took: began.elapsed(),
    })
}

impl<'a> Visit<'a> {
    async fn arrive(
        plan: &'a Plan,
        tell: &'a (dyn Fn(Event<'_>) + Send + Sync),
    ) -> Result<Self, CannotVisit> {
        let addresses = addresses(&plan.target).await?;
        let tls = match plan.target.is_https() {
            true => Some(Tls::new(&plan.trust)?),
            false => None,
        };
        let client = |tls, is_lenient| {
            let (target, addresses) = (plan.target.clone(), addresses.clone());
            Arc::new(Client::new(
                target,
                addresses,
                tls,
                plan.timeout,
                is_lenient,
            ))
        };
        let mut visit = Self {
            plan,
            client: client(tls, false),
            path: plan.target.path().to_owned(),
            instances: BTreeSet::new(),
            distrust: None,
            tell,
        };
        let unreachable = |trouble| CannotVisit::Reach(plan.target.clone(), trouble);
        let answer = match visit.look().await {
            // The check for it says so, or nobody minds; the rest can be looked at all the same, without
            // secrets.
            Err(Trouble::Untrusted(why))
                if plan.trust.is_insecure || plan.checks().contains(&Check::Tls) =>
            {
                visit.distrust = Some(why);
                visit.client = client(Some(Tls::new(&plan.trust)?), true);
                visit.look().await
            }
            ended => ended,
        };
        let answer = answer.map_err(unreachable)?;
        if visit.path == "/" && !answer.is_good() {
            visit.find_path().await;
        }
        Ok(visit)
    }

    async fn look(&self) -> Result<Answer, Trouble> {
        self.client.visitor().ask(&Ask::get(&self.path)).await
    }

    /// Nothing lives at the root: a health path will do.
    async fn find_path(&mut self) {
        let mut visitor = self.visitor();
        for path in self.health_paths() {
            let answer = visitor.ask(&Ask::get(&path)).await;
            if answer.is_ok_and(|answer| answer.is_good()) {
                self.path = path;
                return;
            }
        }
    }

    pub(crate) fn visitor(&self) -> Visitor {
        self.client.visitor()
    }

    /// A request that any instance may answer.
    pub(crate) fn ask(&self) -> Ask {
        Ask::get(&self.path)
    }

    /// The operator's, or the usual ones.
    pub(crate) fn health_paths(&self) -> Vec<String> {
        if self.plan.health_paths.is_empty() {
            Plan::HEALTH_PATHS.map(str::to_owned).to_vec()
        } else {
            self.plan.health_paths.clone()
        }
    }

    /// Who answered, as far as the answer says; remembered for checks that ask everybody.
    pub(crate) fn instance(&mut self, answer: &Answer) -> Option<String> {
        let name = instance(self.plan.instance_header.as_ref(), answer);
        if let Some(name) = &name
            && self.instances.len() < INSTANCES_MAX
        {
            self.instances.insert(name.clone());
        }
        name
    }
}

/// Who answered, by the field that the operator names or by ours.
pub(crate) fn instance(header: Option<&HeaderName>, answer: &Answer) -> Option<String> {
    let name = match header {
        Some(header) => answer.field(header),
        None => INSTANCE_HEADERS
            .iter()
            .find_map(|header| answer.field(header)),
    };
    // Names go into tables: whoever sends a novel gets its beginning told.
    name.map(|name| name.chars().take(NAME_CHARS_MAX).collect())
}

pub(crate) const INSTANCE_HEADERS: [HeaderName; 2] = [
    HeaderName::from_static(X_SERVED_BY),
    HeaderName::from_static(X_INSTANCE_ID),
];
const NAME_CHARS_MAX: usize = 64;
/// Whoever gives every answer another name has no instances.
const INSTANCES_MAX: usize = 1_000;

async fn addresses(target: &Target) -> Result<Vec<SocketAddr>, CannotVisit> {
    let cannot = |why: String| CannotVisit::Name(target.host().to_owned(), why);
    let found = timeout(LOOKUP_TIMEOUT, lookup_host((target.host(), target.port())))
        .await
        .map_err(|_| cannot("the look-up takes too long".to_owned()))?
        .map_err(|error| cannot(error.to_string()))?;
    let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() {
        return Err(cannot("it has no address".to_owned()));
    }
    Ok(addresses)
}

const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
const ADDRESSES_MAX: usize = 8;
