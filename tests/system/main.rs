//! System tests: they start the real binary and judge it from outside. Never reach into a crate
//! to see whether something worked.
//!
//! One integration binary with a module per subject, so that there is one link and every test
//! runs beside every other. What a test needs of the outside world comes from the testkit.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod harness;

mod accounts;
mod affinity;
mod check;
mod config_keys;
mod distribution;
mod examples;
mod forwarding;
mod health;
mod http2;
mod keys;
mod lifecycle;
mod limits;
mod malformed;
mod operation;
mod printed;
mod proxying;
mod retries;
mod routing;
mod survival;
mod tls;
mod upgrades;
