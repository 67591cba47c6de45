//! What both operators need: located configuration errors, secrets, telemetry, shutdown. A closed list, never policy.

mod secret;

pub use secret::Secret;
