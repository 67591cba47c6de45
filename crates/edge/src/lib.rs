//! The load balancer. Never knows anything of the auth service but the token contract.

pub mod config;
