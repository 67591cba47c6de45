//! What system tests are made of: the real binary, misbehaving endpoints, clients, certificates.
//! Never used outside tests, and depends on no other crate of the workspace, so that a bug in
//! the product cannot hide in its own tests.
//!
//! Everything here fails by panicking with a sentence that says what was awaited and what was
//! seen instead. No fixed ports and no sleeps that guess: see [`wait_until`] and [`free_port`].

pub mod attack;
pub mod certificates;
pub mod client;
pub mod deployment;
pub mod dns;
pub mod endpoint;
pub mod fault;
pub mod frames;
pub mod grpc;
pub mod h2_endpoint;
pub mod machine;
pub mod measure;
pub mod noise;
mod origin;
mod ports;
pub mod postgres;
pub mod process;
mod proxy_front;
pub mod redis;
pub mod smtp;
mod tls_endpoint;
pub mod tls_front;
mod wait;
mod wire;

pub use certificates::{Authority, Identity};
pub use client::{Connection, Response};
pub use deployment::{Deployment, Flaw};
pub use endpoint::{Behavior, Endpoint, Health, Step};
pub use origin::TlsOrigin;
pub use ports::{ReservedPort, free_port, free_ports};
pub use postgres::Postgres;
pub use process::Process;
pub use proxy_front::ProxyFront;
pub use tls_endpoint::TlsEndpoint;
pub use tls_front::TlsFront;
pub use wait::{DEADLINE, wait_until};
