//! What must be provable later. Never carries secrets, tokens, addresses of people or free text.

use std::net::IpAddr;

use super::{AccountId, SessionId, UnixMillis};

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When it happened.
    pub at: UnixMillis,
    /// What happened.
    pub event: AuditEvent,
    /// Whom it concerns, when known.
    pub account: Option<AccountId>,
    /// Which session it concerns, when there is one.
    pub session: Option<SessionId>,
    /// Where the request came from; `None` for an operator's command.
    pub client: Option<IpAddr>,
}

impl AuditEntry {
    /// An entry about an account.
    pub fn of(
        at: UnixMillis,
        event: AuditEvent,
        account: AccountId,
        client: Option<IpAddr>,
    ) -> Self {
        Self {
            at,
            event,
            account: Some(account),
            session: None,
            client,
        }
    }
}

/// The events that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditEvent {
    /// The right password for an active account.
    LoginSucceeded,
    /// Wrong password, unknown or disabled account.
    LoginFailed,
    /// A new account.
    Registered,
    /// Somebody registered an address that has an account.
    RegisteredAgain,
    /// A spent refresh token came back: somebody holds a copy.
    RefreshReused,
    /// The session was ended by its owner.
    LoggedOut,
    /// An operator shut the account.
    Disabled,
    /// An operator opened the account again.
    Enabled,
    /// An operator changed the roles.
    RolesChanged,
    /// The one-time set-up token made the first administrator.
    SetUp,
}

impl AuditEvent {
    /// Every event, for tables and tests.
    pub const ALL: [Self; 10] = [
        Self::LoginSucceeded,
        Self::LoginFailed,
        Self::Registered,
        Self::RegisteredAgain,
        Self::RefreshReused,
        Self::LoggedOut,
        Self::Disabled,
        Self::Enabled,
        Self::RolesChanged,
        Self::SetUp,
    ];

    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LoginSucceeded => "login_succeeded",
            Self::LoginFailed => "login_failed",
            Self::Registered => "registered",
            Self::RegisteredAgain => "registered_again",
            Self::RefreshReused => "refresh_reused",
            Self::LoggedOut => "logged_out",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::RolesChanged => "roles_changed",
            Self::SetUp => "set_up",
        }
    }

    /// Reads the stored word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == text)
    }
}
