//! The stateless authentication service. Never keeps in memory what another instance must see.
//!
//! The life of a request:
//!
//! 1. `http::connection` accepts it under explicit limits; `http::envelope` gives it
//!    an id, a client address and a deadline.
//! 2. `http` finds the endpoint, which decodes the body or the bearer token.
//! 3. `app` holds the rules, one use case per file: load, decide, change, save.
//! 4. [`domain`] is what rules are made of; [`store`] is durable truth, [`shared`]
//!    what all instances see, `keys` the key ring.
//! 5. `http::error` turns a refusal into problem+json, the envelope adds the
//!    headers that every answer has.
//!
//! Any instance may be killed at any time: what must survive is in the store,
//! what all must see is in the shared state, the rest is rebuilt.

mod app;
pub mod breaker;
pub mod config;
mod database;
pub mod domain;
mod feed;
mod http;
mod jobs;
pub mod keys;
mod lifecycle;
mod live;
mod mail;
mod metrics;
pub mod migration;
pub mod operator;
pub mod password;
pub mod random;
mod registry;
mod server;
pub mod shared;
pub mod store;

pub use app::audit::{AuditPage, Broken, ChainReport};
pub use config::{Config, ConfigErrors};
pub use live::{SettingRefused, Shown, Source};
pub use mail::MailError;
pub use server::{
    InternalError, OpenError, PrepareError, Prepared, ServeError, prepare, serve, serve_logging,
};
