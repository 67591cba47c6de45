//! System tests: they start the real binary and judge it from outside. Never reach into a crate
//! to see whether something worked.
//!
//! One integration binary with a module per subject, so that there is one link and every test
//! runs beside every other. What a test needs of the outside world comes from the testkit.
//!
//! What must hold whoever carries HTTP/1.1 is compiled twice, below `native` and below `pingora`:
//! such a file takes its `Setup` from `super`. Modules named here run once, on the default engine.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(
    clippy::duplicate_mod,
    reason = "a subject is loaded once for each engine"
)]

mod harness;

mod accounts;
mod admin;
mod attacks;
mod auth_commands;
mod auth_logs;
mod authorization;
mod balancer_api;
mod balancing;
mod canary;
mod check;
mod clients;
mod config_keys;
mod containment;
mod control;
mod dependencies;
mod differential;
mod discovery;
mod examples;
mod explain;
mod failures;
mod health_grpc;
mod http2;
mod lists;
mod mail;
mod native;
mod operation;
mod operator;
mod pingora;
mod printed;
mod probe;
mod revocation;
mod shared_redis;
mod signed_out;
mod signing_keys;
mod supervised;
mod survival;
mod termination;
mod upgrade;
