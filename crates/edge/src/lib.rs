//! The load balancer. Never knows anything of the auth service but the token contract.
//!
//! # The life of a request
//!
//! 1. `listener` accepts the connection, within its limits. On a TLS port it reads the ClientHello
//!    first (`listener/hello`): a chosen server name leaves here for its cluster, untouched
//!    (`listener/passthrough`). `tls` picks certificate and rules for the others.
//! 2. HTTP/1.1 goes to `engine/h1`, our own path: it parses the head, within its deadline and size.
//!    HTTP/2, and listeners with `engine: pingora`, go to `engine/pingora` behind `engine/guard`,
//!    which keeps what pingora does not: header deadline and size, keep-alive timeout, HTTP/2 frame
//!    rates, and a report of every answer given before a request exists.
//! 3. The engine asks one [`pipeline::Exchange`] at every step from here. The exchange holds one
//!    [`state::Snapshot`] from beginning to end.
//! 4. [`pipeline`] admits (request id, client address, sizes), routes, and reads the access token
//!    where the route asks for one (`pipeline/authorize`, with keys of [`jwks`]); what fails becomes
//!    an answer in `pipeline/fail`, the only place that chooses a status.
//! 5. Once per attempt `pipeline/select` picks an endpoint of the [`cluster`] and takes a place in
//!    its in-flight count; `pipeline/forward` edits the request head.
//! 6. `engine/h1/relay` lets request and answer pass each other. The endpoint answers, or
//!    `pipeline/retry` decides about another attempt elsewhere.
//! 7. `pipeline/respond` edits the response head on its way to the client.
//! 8. `pipeline/finish` always runs: it releases the place, feeds ejection, metrics and the access
//!    log. The request has ended in exactly one [`outcome::Outcome`].
//!
//! Beside requests: [`probe`] checks endpoints, [`jwks`] asks issuers for their keys, `admin` answers the operator, `server` starts all
//! of it and ends it in order.

pub mod access_log;
mod admin;
pub mod affinity;
pub mod audit;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod control;
mod dialling;
pub mod discovery;
mod engine;
pub mod explain;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gate;
pub mod jwks;
mod line;
mod listener;
pub mod metrics;
pub mod outcome;
pub mod pipeline;
pub mod probe;
pub mod rate_limit;
pub mod revocation;
mod server;
mod stamps;
pub mod state;
mod tls;
mod unknown;
pub mod upgrade;
mod words;

pub use config::Config;
pub use server::{Lineage, Running, StartError, start, start_from};
