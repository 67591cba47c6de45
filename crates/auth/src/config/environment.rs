//! The kind of place an instance runs in. Never guessed: a name that is not known is a mistake.

use super::values::Values;
use super::{Variable, var};

pub(super) const VARIABLES: &[Variable] = &[var(
    "APP_ENV",
    "development",
    "development, test, staging or production; production refuses unsafe settings",
)];

/// The kind of place an instance runs in. A closed set, so that a misspelt
/// `prodution` cannot switch the production checks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// A developer's machine: defaults suffice.
    Development,
    /// An automated test.
    Test,
    /// A rehearsal of production, without its checks.
    Staging,
    /// Unsafe settings are refused.
    Production,
}

impl Environment {
    /// The name as written in `APP_ENV`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Test => "test",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }

    pub(super) fn is_production(self) -> bool {
        self == Self::Production
    }

    pub(super) fn read(v: &mut Values<'_>) -> Self {
        let known = [
            Self::Development,
            Self::Test,
            Self::Staging,
            Self::Production,
        ];
        let Some(text) = v.get("APP_ENV") else {
            return Self::Development;
        };
        known
            .into_iter()
            .find(|known| known.as_str() == text.trim())
            .unwrap_or_else(|| {
                v.error(
                    "APP_ENV",
                    format!("{text:?} is not a known environment"),
                    "use development, test, staging or production",
                );
                // The strictest one, so that a misspelling also shows what production would refuse.
                Self::Production
            })
    }
}
