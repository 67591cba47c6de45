//! What both operators need: located configuration errors, secrets, telemetry, shutdown, and what
//! service managers and process 1 ask for. A closed list, never policy.

pub mod decode;
pub mod diagnostic;
pub mod file;
pub mod manager;
pub mod orphans;
pub mod signal;
pub mod telemetry;
pub mod yaml;

mod secret;

pub use secret::{Secret, tells_of_secret};
