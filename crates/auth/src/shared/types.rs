//! Keys and values of the shared state. Never holds an address or a name in clear: keys of counters are digests.

use aws_lc_rs::digest::{Context, SHA256};

use crate::domain::UnixMillis;

/// Names one counter. Of fixed size whatever a requester sends, and of one purpose: `("login_ip", x)` never meets
/// `("login_account", x)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CounterKey([u8; 16]);

impl CounterKey {
    /// The counter of `purpose` for what the parts name together.
    pub fn new(purpose: &'static str, parts: &[&str]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in [purpose].iter().chain(parts) {
            // Length first, so that ("ab", "c") and ("a", "bc") differ.
            context.update(&part.len().to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut key = [0; 16];
        key.copy_from_slice(&context.finish().as_ref()[..16]);
        Self(key)
    }

    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// How often something happened in the window that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Hits since the window began.
    pub count: u32,
    /// When the counter vanishes; `now` when there is none.
    pub resets_at: UnixMillis,
}

/// A copy of the store's revocations into the shared state that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copying {
    /// Names a copy of everything.
    pub(super) nonce: Option<String>,
    /// Which process is copied to.
    pub(super) target: String,
    /// How much there was to doubt when it began.
    pub(super) doubts: u64,
    /// Where the state has parts, the copies into those that need one.
    pub(super) parts: Vec<(usize, Copying)>,
}

impl Copying {
    /// Whether all revocations must be copied, rather than those that came since the last copy.
    pub fn is_of_everything(&self) -> bool {
        self.nonce.is_some() || self.parts.iter().any(|(_, part)| part.is_of_everything())
    }
}

/// How much the shared state holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Memory, in bytes.
    pub bytes: u64,
    /// Keys of every kind.
    pub entries: u64,
}

/// The shared state failed; the answer to what was asked is not known.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// It cannot be reached or stayed busy.
    #[error("{attempted}: the shared state is not available")]
    Unavailable {
        /// What was attempted.
        attempted: &'static str,
        /// The driver's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// As [`SharedError::Unavailable`], of a part; other parts answer.
    #[error("{attempted}: a part of the shared state is not available")]
    PartUnavailable {
        /// What was attempted.
        attempted: &'static str,
        /// The driver's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answers, but may lack revocations.
    #[error("{attempted}: the shared state may lack revocations")]
    Incomplete {
        /// What was attempted.
        attempted: &'static str,
    },
    /// An entry holds what this version cannot read.
    #[error("{attempted}: a shared {what} is not readable")]
    BadEntry {
        /// What was attempted.
        attempted: &'static str,
        /// Which value.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_keys_keep_purposes_and_parts_apart() {
        let keys = [
            CounterKey::new("login_ip", &["x"]),
            CounterKey::new("login_account", &["x"]),
            CounterKey::new("login_pair", &["ab", "c"]),
            CounterKey::new("login_pair", &["a", "bc"]),
            CounterKey::new("login_pair", &["abc"]),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys.iter().skip(i + 1).all(|b| a != b));
        }
        assert_eq!(keys[0], CounterKey::new("login_ip", &["x"]));
    }
}
