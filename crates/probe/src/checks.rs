//! The checks, one file each. Never depend on each other: each can be run alone.

mod affinity;
mod distribution;
mod echo;
mod errors;
mod failover;
mod forwarding;
mod health;
mod inner;
mod limits;
mod logout;
mod tls;

use std::time::Duration;

use tokio::time::timeout;

use crate::plan::Check;
use crate::report::Finding;
use crate::visit::Visit;

/// Runs a check, which says something about itself and perhaps about others.
pub(crate) async fn run(visit: &mut Visit<'_>, check: Check) -> Vec<Finding> {
    if check.disturbs() && !visit.plan.asked_for.contains(&check) {
        return vec![Finding::skipped(check, not_asked_for(check))];
    }
    let limit = CHECK_TIMEOUT.max(visit.plan.timeout * 2)
        + match check {
            Check::Failover | Check::Reassignment => visit.plan.disturbance.watch,
            Check::Logout => visit.plan.logout_bound,
            _ => Duration::ZERO,
        };
    let work = async {
        match check {
            Check::Tls => vec![tls::run(visit).await],
            Check::Health => vec![health::run(visit).await],
            Check::Distribution => vec![distribution::run(visit).await],
            Check::Affinity => vec![affinity::run(visit).await],
            Check::Forwarding => vec![forwarding::run(visit).await],
            Check::Errors => vec![errors::run(visit).await],
            Check::Logout => vec![logout::run(visit).await],
            Check::Failover | Check::Reassignment => failover::run(visit).await,
            Check::Limits => vec![limits::run(visit).await],
        }
    };
    timeout(limit, work).await.unwrap_or_else(|_| {
        let mut finding = Finding::of(check).summary(format!("not done after {limit:?}"));
        finding.fault(
            "answers come too slowly to judge them",
            "look at what makes the deployment slow, or give it more time with --timeout",
        );
        vec![finding]
    })
}

fn not_asked_for(check: Check) -> &'static str {
    match check {
        Check::Limits => "guesses passwords until it is stopped: ask for it with --limits",
        _ => "an endpoint must leave meanwhile: ask for it with --failover",
    }
}

/// `1 instance`, `3 instances`.
fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn milliseconds(duration: Duration) -> f64 {
    // Tenths: what is finer says nothing over a network.
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

/// Beyond it a check has failed, so that a visit ends.
const CHECK_TIMEOUT: Duration = Duration::from_secs(15);
