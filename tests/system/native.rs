//! What must hold on every engine, on the native one, and what only it is held to.

use crate::harness::{self, Engine};

pub(crate) type Setup = harness::Setup<Native>;

/// The default: its tests leave the key out.
pub(crate) struct Native;

impl Engine for Native {
    const KEY: Option<&'static str> = None;
}

#[path = "affinity.rs"]
mod affinity;
#[path = "client_phases.rs"]
mod client_phases;
#[path = "conditions.rs"]
mod conditions;
#[path = "cors.rs"]
mod cors;
#[path = "distribution.rs"]
mod distribution;
#[path = "endpoint_phases.rs"]
mod endpoint_phases;
#[path = "failed_attempts.rs"]
mod failed_attempts;
#[path = "flags.rs"]
mod flags;
#[path = "forged_tokens.rs"]
mod forged_tokens;
#[path = "forwarding.rs"]
mod forwarding;
#[path = "health.rs"]
mod health;
#[path = "issuers.rs"]
mod issuers;
#[path = "keys.rs"]
mod keys;
#[path = "large.rs"]
mod large;
#[path = "leases.rs"]
mod leases;
#[path = "lifecycle.rs"]
mod lifecycle;
#[path = "limits.rs"]
mod limits;
#[path = "log_privacy.rs"]
mod log_privacy;
#[path = "malformed.rs"]
mod malformed;
#[path = "messages.rs"]
mod messages;
#[path = "outage.rs"]
mod outage;
#[path = "pages.rs"]
mod pages;
#[path = "paths.rs"]
mod paths;
#[path = "proxy_out.rs"]
mod proxy_out;
#[path = "proxying.rs"]
mod proxying;
#[path = "queueing.rs"]
mod queueing;
#[path = "rate_limits.rs"]
mod rate_limits;
#[path = "redirects.rs"]
mod redirects;
#[path = "reload.rs"]
mod reload;
#[path = "retries.rs"]
mod retries;
#[path = "retry_budget.rs"]
mod retry_budget;
#[path = "reuse.rs"]
mod reuse;
#[path = "rewriting.rs"]
mod rewriting;
#[path = "routing.rs"]
mod routing;
#[path = "security_headers.rs"]
mod security_headers;
#[path = "series.rs"]
mod series;
#[path = "splits.rs"]
mod splits;
#[path = "tls.rs"]
mod tls;
#[path = "tokens.rs"]
mod tokens;
#[path = "upgrade/load.rs"]
mod upgrade;
#[path = "upgrades.rs"]
mod upgrades;
#[path = "upstream_http2.rs"]
mod upstream_http2;
#[path = "upstream_tls.rs"]
mod upstream_tls;

mod endpoint_garbage;
mod expectations;
mod framing;
mod leaving;
mod pipelining;
mod storm;
mod to_http2;
