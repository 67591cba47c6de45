//! One living instance as the others see it. Never a secret: settings travel as a fingerprint.

use super::UnixMillis;

/// One instance as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRecord {
    /// `INSTANCE_ID`.
    pub id: String,
    /// Where it listens, as `host:port`.
    pub address: String,
    /// `APP_VERSION`.
    pub version: String,
    /// Fingerprint of the settings that must agree between instances.
    pub fingerprint: String,
    /// What it is doing.
    pub state: InstanceState,
    /// When it started.
    pub started_at: UnixMillis,
}

/// What an instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// Takes requests.
    Ready,
    /// Finishes what it has.
    Draining,
}

impl InstanceState {
    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }

    /// Reads the stored word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ready, Self::Draining]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}
