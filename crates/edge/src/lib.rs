//! The load balancer. Never knows anything of the auth service but the token contract.

pub mod access_log;
mod admin;
pub mod affinity;
pub mod cluster;
pub mod config;
pub mod connection;
mod engine;
mod listener;
pub mod metrics;
pub mod outcome;
pub mod pipeline;
pub mod probe;
mod server;
pub mod state;
mod tls;

pub use config::Config;
pub use server::{Running, StartError, start};
