//! The closed list of what the audit log tells. New ones come at the end.

use super::AuditOutcome;

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
    /// The owner ended one session by name.
    SessionEnded,
    /// The owner ended every session.
    LoggedOutEverywhere,
    /// Whoever uses a session proved again who they are.
    Reauthenticated,
    /// An authenticator counts from now on.
    FactorEnrolled,
    /// Its owner took the authenticator and the recovery codes away.
    FactorRemoved,
    /// An operator took them away: the phone was lost.
    FactorsReset,
    /// The right password and a wrong or spent code.
    SecondFactorFailed,
    /// A new set of recovery codes voids the one before.
    RecoveryCodesReplaced,
    /// A recovery code stood in for the authenticator.
    RecoveryCodeUsed,
    /// An operator changed what a role grants.
    RoleDefined,
    /// An operator took a role away.
    RoleRemoved,
    /// An operator made or changed a client.
    ClientChanged,
    /// An operator took a client away, and its keys with it.
    ClientRemoved,
    /// An API key was made.
    ApiKeyCreated,
    /// An API key was revoked.
    ApiKeyRevoked,
    /// An operator changed the tier.
    TierChanged,
    /// The owner, knowing the password, chose another one.
    PasswordChanged,
    /// Somebody said that they forgot the password of an address.
    PasswordResetRequested,
    /// Whoever got the mail chose another password.
    PasswordReset,
    /// Somebody asked for another verification mail to an address.
    VerificationRequested,
    /// Whoever got the mail said that the address is theirs.
    EmailVerified,
    /// An operator added the account.
    AccountAdded,
    /// The account is deleted; what stands for it here is a pseudonym.
    AccountErased,
    /// Lines that were older than they are kept are removed.
    AuditCut,
    /// Somebody read this log.
    AuditRead,
    /// Another key signs.
    KeysRotated,
    /// A signing key, and all it signed, is void.
    KeyRevoked,
    /// A setting of all instances has another value.
    SettingChanged,
    /// Somebody looked for accounts.
    AccountsRead,
    /// Somebody looked at an account.
    AccountRead,
    /// An operator took the account over from another system.
    AccountImported,
}

impl AuditEvent {
    /// Every event, for tables and tests.
    pub const ALL: &[Self] = &[
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
        Self::SessionEnded,
        Self::LoggedOutEverywhere,
        Self::Reauthenticated,
        Self::FactorEnrolled,
        Self::FactorRemoved,
        Self::FactorsReset,
        Self::SecondFactorFailed,
        Self::RecoveryCodesReplaced,
        Self::RecoveryCodeUsed,
        Self::RoleDefined,
        Self::RoleRemoved,
        Self::ClientChanged,
        Self::ClientRemoved,
        Self::ApiKeyCreated,
        Self::ApiKeyRevoked,
        Self::TierChanged,
        Self::PasswordChanged,
        Self::PasswordResetRequested,
        Self::PasswordReset,
        Self::VerificationRequested,
        Self::EmailVerified,
        Self::AccountAdded,
        Self::AccountErased,
        Self::AuditCut,
        Self::AuditRead,
        Self::KeysRotated,
        Self::KeyRevoked,
        Self::SettingChanged,
        Self::AccountsRead,
        Self::AccountRead,
        Self::AccountImported,
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
            Self::SessionEnded => "session_ended",
            Self::LoggedOutEverywhere => "logged_out_everywhere",
            Self::Reauthenticated => "reauthenticated",
            Self::FactorEnrolled => "factor_enrolled",
            Self::FactorRemoved => "factor_removed",
            Self::FactorsReset => "factors_reset",
            Self::SecondFactorFailed => "second_factor_failed",
            Self::RecoveryCodesReplaced => "recovery_codes_replaced",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::RoleDefined => "role_defined",
            Self::RoleRemoved => "role_removed",
            Self::ClientChanged => "client_changed",
            Self::ClientRemoved => "client_removed",
            Self::ApiKeyCreated => "api_key_created",
            Self::ApiKeyRevoked => "api_key_revoked",
            Self::TierChanged => "tier_changed",
            Self::PasswordChanged => "password_changed",
            Self::PasswordResetRequested => "password_reset_requested",
            Self::PasswordReset => "password_reset",
            Self::VerificationRequested => "verification_requested",
            Self::EmailVerified => "email_verified",
            Self::AccountAdded => "account_added",
            Self::AccountErased => "account_erased",
            Self::AuditCut => "audit_cut",
            Self::AuditRead => "audit_read",
            Self::KeysRotated => "keys_rotated",
            Self::KeyRevoked => "key_revoked",
            Self::SettingChanged => "setting_changed",
            Self::AccountsRead => "accounts_read",
            Self::AccountRead => "account_read",
            Self::AccountImported => "account_imported",
        }
    }

    /// Reads the stored word.
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|event| event.as_str() == text)
    }

    /// What became of what was asked for, where nothing else is said.
    pub fn outcome(self) -> AuditOutcome {
        match self {
            Self::LoginFailed
            | Self::RegisteredAgain
            | Self::RefreshReused
            | Self::SecondFactorFailed => AuditOutcome::Refused,
            _ => AuditOutcome::Done,
        }
    }
}
