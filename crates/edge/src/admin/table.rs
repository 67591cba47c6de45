//! Everything the operator's listener serves, on one screen: requests are routed by this table, and
//! the OpenAPI document is made from it. Never serves anything by itself.

use http::Method;
use portcullis_ops::decode::nearest;

use super::answer::Refused;
use crate::config::AdminRole;

/// One request that is served.
#[derive(Debug)]
pub(super) struct Operation {
    /// GET (and with it HEAD) or POST.
    pub(super) verb: Verb,
    /// Steps in braces stand for one step each, percent-encoded.
    pub(super) path: &'static str,
    /// Who may ask for it.
    pub(super) needs: Needs,
    /// What it does.
    pub(super) does: Does,
    /// In one sentence.
    pub(super) summary: &'static str,
    /// Members of the JSON object that it takes.
    pub(super) body: &'static [Field],
}

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Shows something.
    Get,
    /// Changes something, or has something done.
    Post,
}

/// Whom an operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Everybody.
    Nothing,
    /// Everybody, or readers, as the configuration says.
    Metrics,
    /// Somebody with this role.
    Role(AdminRole),
}

/// A member of a body.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    pub(super) is_required: bool,
    pub(super) meaning: &'static str,
}

/// What a member of a body can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// A number from 0 to 1000.
    Weight,
    /// A name.
    Name,
    /// Weights by names of clusters.
    Weights,
    /// A network or an address.
    Network,
    /// A whole number above 0.
    Seconds,
    /// The same, of something that is counted.
    Number,
    /// Yes or no.
    Flag,
    /// `on`, `off` or a percentage.
    Setting,
    /// Pairs of texts.
    Pairs,
    /// A list of endpoints.
    Endpoints,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Live,
    Ready,
    Metrics,
    Status,
    Bans,
    Flags,
    Audit,
    History,
    Configuration,
    Reload,
    RollBack,
    Upgrade,
    Document,
    Balancer(Told),
    Check,
    Explain,
    Change(Kind),
}

/// What `/api/v1/load-balancer` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Health,
    Metrics,
    Instances,
}

/// A change of what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Drain,
    Undrain,
    Weight,
    Switch,
    SwitchBack,
    Split,
    Ban,
    Unban,
    SetFlag,
    ResetFlag,
}

const READ: Needs = Needs::Role(AdminRole::Read);

/// In the order of the document.
#[rustfmt::skip]
pub(super) static OPERATIONS: &[Operation] = &[
    get("/livez", Needs::Nothing, Does::Live, "Whether the process runs."),
    get("/readyz", Needs::Nothing, Does::Ready, "Whether traffic should come here, with the reasons if not."),
    get("/metrics", Needs::Metrics, Does::Metrics, "All metrics as Prometheus text."),
    get("/v1/status", READ, Does::Status, "What runs and why: clusters, endpoints, routes, issuers, certificates, latest events."),
    get("/v1/bans", READ, Does::Bans, "Networks that are kept out, and until when."),
    get("/v1/flags", READ, Does::Flags, "Feature flags: for whom they are on, who said so, and what that led to."),
    get("/v1/audit", READ, Does::Audit, "The latest changes: who asked for them, and what became of them."),
    get("/v1/history", READ, Does::History, "Which configurations ran in this process, and why the file is not in force if it is not."),
    get("/v1/config", READ, Does::Configuration, "The configuration in force; secrets are hidden, values from the environment told by the names of their variables."),
    post("/v1/reload", Does::Reload, "Reads the file again and puts it into force, whole or not at all; 422 tells its mistakes.", &[may("plan", Takes::Flag, "Only tells what would change.")]),
    post("/v1/rollback", Does::RollBack, "An earlier configuration is in force again; the file stays as it is.", &[may("number", Takes::Number, "Which, of /v1/history; the last one that was different by default.")]),
    post("/v1/upgrade", Does::Upgrade, "The binary that is at the path of this one now takes over, with all listeners and without losing a connection; answers when it serves.", &[]),
    ask("/v1/explain", Does::Explain, "What would become of a request, and why: route, policies, endpoints with their scores. Changes nothing.", &[
        needs("method", Takes::Name, "Its method."),
        needs("target", Takes::Name, "Path and query, as they would be sent."),
        may("host", Takes::Name, "Its host; localhost by default."),
        may("headers", Takes::Pairs, "Its other header fields, each a name and a value."),
        may("client", Takes::Network, "The address it comes from; 127.0.0.1 by default."),
        may("listener", Takes::Name, "Where it arrives; at the first one that speaks plain HTTP by default."),
        may("server_name", Takes::Name, "What TLS is asked for; its host by default."),
        may("tried", Takes::Endpoints, "Endpoints at which attempts have failed already."),
        may("seed", Takes::Name, "What chance is drawn from, in hexadecimal digits; drawn and told by default."),
    ]),
    get("/v1/openapi.json", READ, Does::Document, "This document."),
    post("/v1/clusters/{cluster}/check", Does::Check, "Checks all endpoints of a cluster now, and tells what was found.", &[]),
    change("/v1/clusters/{cluster}/endpoints/{endpoint}/drain", Kind::Drain, "An endpoint takes no new clients; those bound to it stay.", &[]),
    change("/v1/clusters/{cluster}/endpoints/{endpoint}/undrain", Kind::Undrain, "It takes new clients again.", &[]),
    change("/v1/clusters/{cluster}/endpoints/{endpoint}/weight", Kind::Weight, "It gets another share of the traffic.", &[needs("weight", Takes::Weight, "Its share beside the other endpoints' weights.")]),
    change("/v1/routes/{route}/switch", Kind::Switch, "All requests of a route go to one cluster.", &[needs("cluster", Takes::Name, "Which.")]),
    change("/v1/routes/{route}/switch-back", Kind::SwitchBack, "What was in force before the last change of the route is in force again.", &[]),
    change("/v1/routes/{route}/split", Kind::Split, "Other weights for the clusters of a route's split; who is not named keeps its own.", &[needs("weights", Takes::Weights, "Weights by cluster.")]),
    change("/v1/flags/{flag}/set", Kind::SetFlag, "A feature flag is on for others than the file says, until the file says something else.", &[needs("to", Takes::Setting, "`on` or `off` for everybody, or percent of the clients beside the keys that the file names.")]),
    change("/v1/flags/{flag}/reset", Kind::ResetFlag, "It is as file and environment have it again.", &[]),
    change("/v1/bans/add", Kind::Ban, "Keeps a network out.", &[needs("network", Takes::Network, "Which."), may("ttl_seconds", Takes::Seconds, "For how long; as long as the process runs by default.")]),
    change("/v1/bans/remove", Kind::Unban, "Lets it in again.", &[needs("network", Takes::Network, "Which.")]),
    get("/api/v1/load-balancer/health", READ, Does::Balancer(Told::Health), "How every cluster and endpoint fares; 503 if nothing can be served."),
    get("/api/v1/load-balancer/metrics", READ, Does::Balancer(Told::Metrics), "The first figures as JSON; all of them are in /metrics."),
    get("/api/v1/load-balancer/instances", READ, Does::Balancer(Told::Instances), "All endpoints in one list."),
    get("/api/v1/load-balancer/config", READ, Does::Configuration, "The same as /v1/config."),
    post("/api/v1/load-balancer/health-check", Does::Check, "Checks all endpoints now, and tells what was found.", &[may("cluster", Takes::Name, "Only those of this cluster.")]),
];

const fn get(path: &'static str, needs: Needs, does: Does, summary: &'static str) -> Operation {
    Operation {
        verb: Verb::Get,
        path,
        needs,
        does,
        summary,
        body: &[],
    }
}

const fn post(
    path: &'static str,
    does: Does,
    summary: &'static str,
    body: &'static [Field],
) -> Operation {
    Operation {
        verb: Verb::Post,
        path,
        needs: Needs::Role(AdminRole::Operate),
        does,
        summary,
        body,
    }
}

/// Changes nothing, but what it asks for needs a body.
const fn ask(
    path: &'static str,
    does: Does,
    summary: &'static str,
    body: &'static [Field],
) -> Operation {
    Operation {
        needs: READ,
        ..post(path, does, summary, body)
    }
}

const fn change(
    path: &'static str,
    kind: Kind,
    summary: &'static str,
    body: &'static [Field],
) -> Operation {
    post(path, Does::Change(kind), summary, body)
}

const fn needs(name: &'static str, takes: Takes, meaning: &'static str) -> Field {
    Field {
        name,
        takes,
        is_required: true,
        meaning,
    }
}

const fn may(name: &'static str, takes: Takes, meaning: &'static str) -> Field {
    Field {
        name,
        takes,
        is_required: false,
        meaning,
    }
}

/// The operation of a request, and the steps of its path that stand for something.
pub(super) fn find<'p>(
    method: &Method,
    path: &'p str,
) -> Result<(&'static Operation, Vec<&'p str>), Refused> {
    let verb = match *method {
        Method::GET | Method::HEAD => Some(Verb::Get),
        Method::POST => Some(Verb::Post),
        _ => None,
    };
    let of_path = OPERATIONS
        .iter()
        .filter_map(|operation| Some((operation, operation.steps(path)?)));
    let mut of_path: Vec<_> = of_path.collect();
    let fit = of_path
        .iter()
        .position(|(operation, _)| Some(operation.verb) == verb);
    match (fit, of_path.first()) {
        (Some(position), _) => Ok(of_path.swap_remove(position)),
        (None, Some((operation, _))) => Err(Refused::Method(operation.verb.allowed())),
        (None, None) => Err(Refused::NotFound(unknown(path))),
    }
}

impl Operation {
    fn steps<'p>(&self, path: &'p str) -> Option<Vec<&'p str>> {
        let (written, asked) = (self.path.split('/'), path.split('/'));
        if written.clone().count() != asked.clone().count() {
            return None;
        }
        let mut steps = Vec::new();
        for (written, asked) in written.zip(asked) {
            if is_variable(written) {
                steps.push(asked);
            } else if written != asked {
                return None;
            }
        }
        Some(steps)
    }
}

impl Verb {
    fn allowed(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::Post => "POST",
        }
    }
}

/// Whether a step of a path stands for something.
pub(super) fn is_variable(step: &str) -> bool {
    step.starts_with('{')
}

/// What somebody may have meant by a path that is not served.
fn unknown(path: &str) -> String {
    let asked: Vec<&str> = path.split('/').collect();
    let mut meant: Vec<&str> = Vec::new();
    for operation in OPERATIONS {
        let written: Vec<&str> = operation.path.split('/').collect();
        if written.len() != asked.len() {
            continue;
        }
        let pairs = written.iter().zip(&asked);
        let wrong: Vec<_> = pairs
            .filter(|(written, asked)| !is_variable(written) && written != asked)
            .collect();
        let is_slip = wrong
            .iter()
            .all(|(written, asked)| nearest(asked, [**written]).is_some());
        if is_slip {
            return format!("There is no such path. Did you mean {}?", operation.path);
        }
        if wrong.len() == 1 {
            meant.push(operation.path);
        }
    }
    if meant.is_empty() {
        meant.extend(OPERATIONS.iter().map(|operation| operation.path));
    }
    format!("There is no such path. Try {}.", meant.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: &Method, path: &str) -> Refused {
        find(method, path)
            .map(|(operation, _)| operation.path)
            .unwrap_err()
    }

    #[test]
    fn every_operation_is_found_by_its_own_path_and_no_two_share_one() {
        for (position, operation) in OPERATIONS.iter().enumerate() {
            let path = operation.path.replace("{endpoint}", "[::1]:80");
            let method = match operation.verb {
                Verb::Get => Method::HEAD,
                Verb::Post => Method::POST,
            };
            let (found, steps) = find(&method, &path).unwrap();
            assert_eq!(found.path, operation.path);
            assert_eq!(steps.len(), operation.path.matches('{').count());
            let twins = OPERATIONS.iter().skip(position + 1);
            assert!(twins.clone().all(|twin| twin.path != operation.path));
        }
    }

    #[test]
    fn a_path_has_its_methods() {
        let only_post = refused(&Method::GET, "/v1/bans/add");
        assert_eq!(only_post, Refused::Method("POST"));
        let only_get = refused(&Method::POST, "/v1/status");
        assert_eq!(only_get, Refused::Method("GET, HEAD"));
        let only_get = refused(&Method::DELETE, "/metrics");
        assert_eq!(only_get, Refused::Method("GET, HEAD"));
    }

    #[test]
    fn a_slip_is_understood_and_anything_else_gets_a_list() {
        for (path, word) in [
            ("/v1/staus", "Did you mean /v1/status?"),
            ("/v1/clsters/a/check", "mean /v1/clusters/{cluster}/check?"),
            (
                "/v1/clusters/a/endpoints/1.2.3.4:5/drian",
                "mean /v1/clusters/{cluster}/endpoints/{endpoint}/drain?",
            ),
            ("/v1/clusters/a/endpoints/1.2.3.4:5/fly", "Try /v1/clusters"),
            ("/v1/clusters/a", "/livez"),
            ("/", "/livez"),
        ] {
            let Refused::NotFound(detail) = refused(&Method::GET, path) else {
                panic!("{path}");
            };
            assert!(detail.contains(word), "{path}: {detail}");
        }
        let endless = "/".repeat(60_000);
        assert!(matches!(
            refused(&Method::GET, &endless),
            Refused::NotFound(_)
        ));
    }
}
