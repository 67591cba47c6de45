//! The rules of the auth service, one use case per file: load, decide, change,
//! save. Never knows HTTP, and never reads a clock: `now` is an argument.

pub(crate) mod admin;
mod attempts;
pub(crate) mod audit;
pub(crate) mod authorization;
mod cursor;
mod email;
mod factor;
mod grant;
pub(crate) mod health;
mod instances;
mod limits;
mod login;
mod logout;
mod owner;
mod password;
mod refresh;
mod register;
pub(crate) mod revocations;
pub(crate) mod session;
mod sessions;
mod setup;
mod verify;

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_token::Skew;

use crate::breaker::Breakers;
use crate::config::RevocationFallback;
use crate::domain::{
    AccountId, Actor, AuditEntry, AuditEvent, ChainKey, InvalidEmail, PasswordRefused, RequestId,
    UnixMillis,
};
use crate::keys::KeyRing;
use crate::live::{Live, SettingRefused};
use crate::metrics::{Ending, Metrics};
use crate::password::{HashError, PasswordHasher};
use crate::shared::{Shared, SharedError, Taken};
use crate::store::{Store, StoreError};
use authorization::{ApiKeys, Subjects, Unauthorized};

pub(crate) use admin::Administrator;
pub(crate) use factor::Challenge;
pub(crate) use grant::Grant;
pub(crate) use limits::Limited;
pub(crate) use owner::Owner;
use session::SessionPolicy;

/// The OAuth client of everyone who logs in with a password here.
pub(crate) const FIRST_PARTY: &str = "portcullis";

/// What the use cases work with; built once by `server.rs`.
pub(crate) struct App {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) shared: Arc<dyn Shared>,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) passwords: PasswordHasher,
    pub(crate) policy: Policy,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) breakers: Breakers,
    pub(crate) subjects: Subjects,
    pub(crate) api_keys: ApiKeys,
    /// The settings that may change meanwhile.
    pub(crate) live: Arc<Live>,
    /// Seals, links and pages of the audit log.
    pub(crate) chain: ChainKey,
}

/// The settings that the rules depend on.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) verifier: portcullis_token::Verifier,
    pub(crate) access_token_ttl: Duration,
    pub(crate) refresh_idle_ttl: Duration,
    pub(crate) refresh_absolute_ttl: Duration,
    pub(crate) limits_logins: bool,
    pub(crate) revocation_fallback: RevocationFallback,
    /// Who an authenticator says the codes are for.
    pub(crate) factor_issuer: String,
    /// Whether owners can be sent mail.
    pub(crate) sends_mail: bool,
    /// `None`: there are no session cookies.
    pub(crate) sessions: Option<SessionPolicy>,
}

/// When and from where a use case was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) now: UnixMillis,
    pub(crate) client: IpAddr,
    pub(crate) request: Option<RequestId>,
}

impl Origin {
    /// A line of the audit log about what an account's owner asked for.
    pub(crate) fn audit(&self, event: AuditEvent, account: AccountId) -> AuditEntry {
        AuditEntry {
            request: self.request,
            ..AuditEntry::of(self.now, event, account, Some(self.client))
        }
    }

    /// A line of the audit log about what was asked for by somebody.
    pub(crate) fn audit_by(&self, actor: Actor, event: AuditEvent) -> AuditEntry {
        AuditEntry {
            client: Some(self.client),
            request: self.request,
            ..AuditEntry::by(actor, self.now, event)
        }
    }
}

/// Why a use case did not do what was asked; one variant per answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    InvalidEmail,
    InvalidPassword,
    WeakPassword,
    /// On a list of stolen ones.
    BreachedPassword,
    /// Wrong password, unknown or disabled account: nobody learns which.
    BadCredentials,
    /// This network has guessed too often.
    TooManyAttempts {
        retry_after: Duration,
    },
    /// Asked too often, whatever for.
    RateLimited(Taken),
    InvalidRefreshToken,
    InvalidToken,
    InvalidSetupToken,
    /// A good token of somebody without the role.
    Forbidden,
    /// A request with a session cookie that another site may have caused.
    ForgedRequest,
    /// Only said to the holder of the set-up token.
    EmailTaken,
    /// The owner has none of this id, whoever else may.
    NoSuchSession,
    /// The password was right, and a code is needed as well.
    SecondFactorRequired(Challenge),
    /// The first step of a login must be taken anew.
    InvalidChallenge,
    /// Wrong, spent, or not looked at because of a lock: nobody learns which.
    InvalidCode,
    /// The password was right, and the account has an authenticator.
    CodeRequired,
    /// The proof of identity is too old for what was asked.
    ReauthenticationRequired,
    /// There is an authenticator already.
    FactorExists,
    /// There is none, or none that waits for its first code.
    NoFactor,
    /// About roles, permissions, clients and API keys.
    Unauthorized(Unauthorized),
    /// Of somebody who shows a session: not a login that failed.
    WrongPassword,
    /// Unknown, spent, replaced or expired.
    InvalidMailToken,
    /// Nobody sends mail here.
    NoMail,
    NoSuchAccount,
    /// Administrators do not shut themselves out.
    OwnAccount,
    /// A cursor of another list, or of nobody.
    StrangeCursor,
    /// A setting that cannot be stored.
    Setting(SettingRefused),
    Busy {
        retry_after: Duration,
    },
    StoreUnavailable(Cause),
    SharedUnavailable(Cause),
    Internal(Cause),
}

/// What stands behind a failure of ours: for the log, never for the requester.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// The result of every use case.
pub(crate) type Outcome<T> = Result<T, Refusal>;

impl App {
    /// Until when a token issued at any time up to `now` could still be accepted, with room for
    /// one whose signing is under way while its session ends.
    fn tokens_end(&self, now: UnixMillis) -> UnixMillis {
        const UNDER_WAY: Duration = Duration::from_secs(60);
        // An older session cookie is looked up in the store, where the end of its session stays.
        let longest = self.policy.access_token_ttl.max(session::TRUSTED);
        Self::token_end(now.plus(longest + UNDER_WAY))
    }

    /// Until when a token that expires at `exp` could still be accepted by whoever is most tolerant: an
    /// edge that starts anew knows only what is told here.
    fn token_end(exp: UnixMillis) -> UnixMillis {
        // `exp` has whole seconds, and one more lets no comparison at the very end go wrong.
        exp.plus(Duration::from_secs(u64::from(Skew::MAX_SECONDS) + 1))
    }

    /// Counts how a use case ended, and passes the outcome on.
    fn counted<T>(&self, use_case: &'static str, outcome: Outcome<T>) -> Outcome<T> {
        let ending = match &outcome {
            Ok(_) => Ending::Done,
            Err(refusal) if refusal.is_ours() => Ending::Failed,
            Err(_) => Ending::Refused,
        };
        self.metrics.use_case(use_case, ending);
        outcome
    }
}

impl Refusal {
    /// Whether we failed, rather than the requester.
    fn is_ours(&self) -> bool {
        match self {
            Self::Busy { .. }
            | Self::StoreUnavailable(_)
            | Self::SharedUnavailable(_)
            | Self::Internal(_) => true,
            Self::InvalidEmail
            | Self::InvalidPassword
            | Self::WeakPassword
            | Self::BreachedPassword
            | Self::BadCredentials
            | Self::TooManyAttempts { .. }
            | Self::RateLimited(_)
            | Self::InvalidRefreshToken
            | Self::InvalidToken
            | Self::InvalidSetupToken
            | Self::Forbidden
            | Self::ForgedRequest
            | Self::EmailTaken
            | Self::NoSuchSession
            | Self::SecondFactorRequired(_)
            | Self::InvalidChallenge
            | Self::InvalidCode
            | Self::CodeRequired
            | Self::ReauthenticationRequired
            | Self::FactorExists
            | Self::NoFactor
            | Self::Unauthorized(_)
            | Self::WrongPassword
            | Self::InvalidMailToken
            | Self::NoMail
            | Self::NoSuchAccount
            | Self::OwnAccount
            | Self::StrangeCursor
            | Self::Setting(_) => false,
        }
    }

    fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy { .. } | StoreError::Unavailable { .. } => {
                Self::StoreUnavailable(error.into())
            }
            error => Self::Internal(error.into()),
        }
    }
}

impl From<SharedError> for Refusal {
    fn from(error: SharedError) -> Self {
        Self::SharedUnavailable(error.into())
    }
}

impl From<InvalidEmail> for Refusal {
    fn from(_: InvalidEmail) -> Self {
        Self::InvalidEmail
    }
}

impl From<PasswordRefused> for Refusal {
    fn from(refused: PasswordRefused) -> Self {
        match refused {
            PasswordRefused::TooShort | PasswordRefused::TooLong => Self::InvalidPassword,
            PasswordRefused::TooCommon | PasswordRefused::Guessable => Self::WeakPassword,
        }
    }
}

impl From<HashError> for Refusal {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Overloaded => Self::Busy {
                retry_after: Duration::from_secs(1),
            },
            HashError::Stopped => Self::Internal(error.into()),
            HashError::Breached => Self::BreachedPassword,
            HashError::Guessable => Self::WeakPassword,
        }
    }
}
