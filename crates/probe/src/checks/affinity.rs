//! A cookie keeps a client with its endpoint, tells nobody which one that is, and is worth nothing when
//! forged. Never sends a cookie that another client was given.

mod opaque;

use http::header::COOKIE;
use serde_json::json;

use super::counted;
use crate::client::{Answer, Trouble, Visitor};
use crate::cookie::SetCookie;
use crate::plan::{Check, Plan};
use crate::report::Finding;
use crate::visit::Visit;
use opaque::revealed;

/// A client that was given a cookie, and what became of it.
struct Bound {
    cookie: SetCookie,
    first: Option<String>,
    /// Status and instance of each further answer, or why there was none.
    later: Vec<Result<(u16, Option<String>), String>>,
}

/// A cookie that nobody was given.
struct Forged {
    what: &'static str,
    /// Status, and whether the client was given a cookie of its own.
    result: Result<(u16, bool), String>,
}

/// All that was seen.
struct Seen {
    usual_status: u16,
    is_https: bool,
    bound: Vec<Bound>,
    forged: Vec<Forged>,
}

pub(super) async fn run(visit: &mut Visit<'_>) -> Finding {
    let name = visit.plan.affinity_cookie.clone();
    let name = name.unwrap_or_else(|| Plan::AFFINITY_COOKIE.to_owned());
    let mut seen = Seen {
        usual_status: 0,
        is_https: visit.plan.target.is_https(),
        bound: Vec::new(),
        forged: Vec::new(),
    };
    while seen.bound.len() < CLIENTS
        || (instances(&seen).len() < 2 && seen.bound.len() < CLIENTS_MAX)
    {
        let mut visitor = visit.visitor();
        let answer = match visitor.ask(&visit.ask()).await {
            Ok(answer) => answer,
            Err(trouble) => return unanswered(&trouble),
        };
        // Whoever comes in step with other clients always meets the same endpoint.
        tokio::time::sleep(answer.took.mul_f64(fastrand::f64())).await;
        seen.usual_status = answer.status;
        let Some(cookie) = cookie(&answer, &name) else {
            let reason = format!(
                "answers set no cookie {name}: affinity is off, or --affinity-cookie names another"
            );
            return Finding::skipped(Check::Affinity, reason);
        };
        let first = visit.instance(&answer);
        let later = follow(visit, &mut visitor, &cookie).await;
        seen.bound.push(Bound {
            cookie,
            first,
            later,
        });
    }
    seen.forged = forge(visit, &seen.bound[0].cookie).await;
    judge(&seen)
}

fn unanswered(trouble: &Trouble) -> Finding {
    let mut finding = Finding::of(Check::Affinity).summary("a client got no answer at all");
    finding.fault(trouble.to_string(), "look at the edge's access log");
    finding
}

fn cookie(answer: &Answer, name: &str) -> Option<SetCookie> {
    let mut all = SetCookie::all(&answer.headers).into_iter();
    all.find(|cookie| cookie.name == name && !cookie.value.is_empty())
}

/// The further requests of one client, as a browser would send them.
async fn follow(
    visit: &mut Visit<'_>,
    visitor: &mut Visitor,
    given: &SetCookie,
) -> Vec<Result<(u16, Option<String>), String>> {
    let mut cookie_held = given.clone();
    let mut later = Vec::new();
    for _ in 0..TIMES {
        let ask = visit.ask().with(COOKIE, &cookie_held.pair());
        later.push(match visitor.ask(&ask).await {
            Ok(answer) => {
                cookie_held = cookie(&answer, &given.name).unwrap_or(cookie_held);
                Ok((answer.status, visit.instance(&answer)))
            }
            Err(trouble) => Err(trouble.to_string()),
        });
    }
    later
}

async fn forge(visit: &mut Visit<'_>, given: &SetCookie) -> Vec<Forged> {
    let mut forged = Vec::new();
    for (what, value) in forgeries(&given.value) {
        let pair = format!("{}={value}", given.name);
        let ask = visit.ask().with(COOKIE, &pair);
        let result = match visit.visitor().ask(&ask).await {
            Ok(answer) => Ok((answer.status, cookie(&answer, &given.name).is_some())),
            Err(trouble) => Err(trouble.to_string()),
        };
        forged.push(Forged { what, result });
    }
    forged
}

fn forgeries(value: &str) -> Vec<(&'static str, String)> {
    let changed = |at: usize| {
        let swap = |(i, c): (usize, char)| match (i == at, c) {
            (true, 'A') => 'B',
            (true, _) => 'A',
            (false, c) => c,
        };
        value.chars().enumerate().map(swap).collect::<String>()
    };
    let length = value.chars().count();
    let mut forgeries = vec![
        ("an address", "10.0.0.1:80".to_owned()),
        ("garbage", "%00%ff../\\{}".to_owned()),
        ("nothing", String::new()),
        ("far too much", "A".repeat(3_000)),
        ("a cookie with its middle changed", changed(length / 2)),
        (
            "a cookie cut in half",
            value.chars().take(length / 2).collect(),
        ),
    ];
    // Changing the only letter of "A" could make what is valid elsewhere: that tells nothing.
    forgeries.retain(|(_, forged)| forged != value);
    forgeries
}

fn judge(seen: &Seen) -> Finding {
    let mut finding = Finding::of(Check::Affinity);
    let instances = instances(seen);
    judge_binding(&mut finding, seen, instances.len());
    judge_cookie(&mut finding, seen, &instances);
    judge_forgeries(&mut finding, seen);
    let cookie = &seen.bound[0].cookie;
    finding.figure("cookie", cookie.name.clone());
    finding.figure("clients", seen.bound.len());
    finding.figure("instances", json!(instances));
    finding.figure("forgeries", seen.forged.len());
    finding.summary(format!(
        "{} bound by {} over {}, {} forgeries",
        counted(seen.bound.len(), "client"),
        cookie.name,
        counted(instances.len(), "instance"),
        seen.forged.len()
    ))
}

fn instances(seen: &Seen) -> Vec<String> {
    let of_one = |bound: &Bound| {
        let later = bound.later.iter().flatten().filter_map(|(_, i)| i.clone());
        bound.first.iter().cloned().chain(later).collect::<Vec<_>>()
    };
    let mut all: Vec<String> = seen.bound.iter().flat_map(of_one).collect();
    all.sort();
    all.dedup();
    all
}

fn judge_binding(finding: &mut Finding, seen: &Seen, instances: usize) {
    if instances < 2 {
        finding.doubt(
            "whether clients stay cannot be seen: fewer than two instances told their names",
            "try again when more of them serve; --instance-header names another field",
        );
    }
    for bound in &seen.bound {
        let moved = bound
            .later
            .iter()
            .flatten()
            .filter(|(_, i)| *i != bound.first);
        let (moved, all) = (moved.count(), bound.later.len());
        if moved > 0 {
            finding.fault(
                format!("{moved} of {all} answers to a client came from another instance than its first"),
                "if its endpoint did not leave meanwhile, the cookie is not read: check the affinity of this route's cluster",
            );
            break;
        }
    }
    let failed = seen.bound.iter().flat_map(|bound| &bound.later);
    let failed = failed.filter(|answer| !matches!(answer, Ok((s, _)) if *s == seen.usual_status));
    if let Some(first) = failed.into_iter().next() {
        let what = first
            .as_ref()
            .map_or_else(Clone::clone, |(s, _)| format!("answer {s}"));
        finding.fault(
            format!("a client that sends its cookie back gets: {what}"),
            "look at the edge's access log",
        );
    }
}

fn judge_cookie(finding: &mut Finding, seen: &Seen, instances: &[String]) {
    let cookie = &seen.bound[0].cookie;
    let mut needed = vec![("httponly", "HttpOnly"), ("samesite", "SameSite")];
    if seen.is_https {
        needed.push(("secure", "Secure"));
    }
    for (attribute, shown) in needed {
        if cookie.attribute(attribute).is_none() {
            finding.fault(
                format!("the cookie {} lacks {shown}", cookie.name),
                "scripts, other sites and plain HTTP have no business with it: set the attribute",
            );
        }
    }
    let mut values = seen.bound.iter().map(|bound| bound.cookie.value.as_str());
    if let Some(what) = values.find_map(|value| revealed(value, instances)) {
        finding.fault(
            format!("the cookie {} reveals {what}", cookie.name),
            "let the cookie be opaque and authenticated: a stranger learns about the inside, and can choose",
        );
    }
}

fn judge_forgeries(finding: &mut Finding, seen: &Seen) {
    for forged in &seen.forged {
        let what = match &forged.result {
            Err(trouble) => trouble.clone(),
            Ok((status, _)) if *status != seen.usual_status => format!("answer {status}"),
            Ok((_, false)) => "no cookie of its own".to_owned(),
            Ok((_, true)) => continue,
        };
        finding.fault(
            format!("a client that sends {} gets: {what}", forged.what),
            "treat a cookie that does not authenticate as absent: another endpoint and a new cookie, never an error",
        );
    }
}

const CLIENTS: usize = 5;
/// Enough to meet a second instance where there is one.
const CLIENTS_MAX: usize = 20;
/// Requests that each client sends with its cookie.
const TIMES: usize = 8;

#[cfg(test)]
mod tests;
