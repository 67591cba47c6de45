//! The short-lived state that all instances see: where it is. Never repeats an address in a
//! message, since it may hold a password.

use std::path::PathBuf;

use super::values::Values;
use super::{Database, Variable, var};

pub(super) const VARIABLES: &[Variable] = &[var(
    "SHARED_STATE_URL",
    "shared.db beside the database",
    "short-lived state that all instances see",
)];

/// The shared state.
#[derive(Debug, Clone)]
pub struct SharedState {
    /// Its file.
    pub path: PathBuf,
}

impl SharedState {
    pub(super) fn read(v: &mut Values<'_>, database: &Database) -> Self {
        let path = match v.get("SHARED_STATE_URL") {
            Some(url) => v.sqlite_path("SHARED_STATE_URL", &url),
            None => database.beside("shared.db"),
        };
        if Some(path.as_path()) == database.file() && !path.as_os_str().is_empty() {
            v.error(
                "SHARED_STATE_URL",
                "names the same file as DATABASE_URL",
                "give it a file of its own, so that counters never block durable writes",
            );
        }
        refuse_redis(v);
        Self { path }
    }
}

/// Ignoring them would leave instances that believe they share state and do not.
fn refuse_redis(v: &mut Values<'_>) {
    for name in ["REDIS_URL", "REDIS_HOST"] {
        if v.get(name).is_some() {
            v.error(
                name,
                "is set, but Redis is not supported by this version yet",
                "unset it; SHARED_STATE_URL names the file that instances share",
            );
        }
    }
}
