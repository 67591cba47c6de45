//! A route after parsing. Never holds a string that somebody must parse again.

use super::{ClusterId, Pattern};

/// Match rule and where its requests go.
#[derive(Debug)]
pub struct Route {
    /// Unique; the `route` label in logs and metrics. Defaults to host and path as written.
    pub name: String,
    /// Which requests.
    pub pattern: Pattern,
    /// Where to.
    pub cluster: ClusterId,
    /// Whether a request with an `Idempotency-Key` may be carried out twice (default no).
    pub idempotency_key: bool,
    /// Whether requests of this route are written to the access log (default yes).
    pub access_log: bool,
}
