//! By what and when somebody proved who they are. Never says more than was shown in this session.
//!
//! The words are those of RFC 8176, which has none for a recovery code: that two factors were shown is all that is said
//! of one. The classes are the authenticator assurance levels of NIST SP 800-63B, as far as the factors alone decide
//! them: one factor, or two of different kinds.

use super::UnixMillis;

/// The factors that were shown, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvedBy {
    /// The password alone.
    Password,
    /// The password and a code of the authenticator.
    PasswordAndCode,
    /// The password and a recovery code.
    PasswordAndRecoveryCode,
}

/// One proof of identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// By what.
    pub by: ProvedBy,
    /// When.
    pub at: UnixMillis,
}

impl ProvedBy {
    /// What is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::PasswordAndCode => "password_and_code",
            Self::PasswordAndRecoveryCode => "password_and_recovery_code",
        }
    }

    /// Reads what is stored; `None` for what only a later release knows.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Password,
            Self::PasswordAndCode,
            Self::PasswordAndRecoveryCode,
        ]
        .into_iter()
        .find(|factors| factors.as_str() == text)
    }

    /// The claim `amr`.
    pub fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Password => &["pwd"],
            Self::PasswordAndCode => &["pwd", "otp", "mfa"],
            Self::PasswordAndRecoveryCode => &["pwd", "mfa"],
        }
    }

    /// The claim `acr`.
    pub fn class(self) -> &'static str {
        match self {
            Self::Password => "aal1",
            Self::PasswordAndCode | Self::PasswordAndRecoveryCode => "aal2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_read_back_and_what_is_not_known_is_none() {
        for factors in [
            ProvedBy::Password,
            ProvedBy::PasswordAndCode,
            ProvedBy::PasswordAndRecoveryCode,
        ] {
            assert_eq!(ProvedBy::parse(factors.as_str()), Some(factors));
            let has_two = factors.methods().contains(&"mfa");
            assert_eq!(factors.class() == "aal2", has_two, "{factors:?}");
            assert_eq!(factors == ProvedBy::Password, !has_two);
        }
        for strange in ["", "Password", "passkey", "password "] {
            assert_eq!(ProvedBy::parse(strange), None, "{strange:?}");
        }
    }
}
