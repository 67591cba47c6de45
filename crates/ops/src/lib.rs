//! What both operators need: located configuration errors, secrets, telemetry, shutdown. A closed list, never policy.

pub mod decode;
pub mod diagnostic;
pub mod file;
pub mod signal;
pub mod telemetry;
pub mod yaml;

mod secret;

pub use secret::Secret;
