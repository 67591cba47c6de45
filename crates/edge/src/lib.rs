//! The load balancer. Never knows anything of the auth service but the token contract.

pub mod access_log;
pub mod affinity;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod metrics;
pub mod outcome;
pub mod pipeline;
pub mod probe;
pub mod state;
