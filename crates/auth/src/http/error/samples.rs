//! One refusal of each kind, for the document of all routes. Never answered to anybody.

use std::time::Duration;

use super::ApiError;
use crate::app::authorization::Unauthorized;
use crate::app::{Cause, Refusal};
use crate::config::ConfigError;
use crate::live::SettingRefused;
use crate::shared::Taken;

impl ApiError {
    /// One of each kind.
    pub(in crate::http) fn samples() -> Vec<Self> {
        let own = [
            Self::NotFound,
            Self::MethodNotAllowed,
            Self::UnsupportedMediaType,
            Self::BodyTooLarge,
            Self::BodyTimeout,
            Self::BodyIncomplete,
            Self::MalformedJson,
            Self::InvalidBody(None),
            Self::MissingToken,
            Self::InvalidQuery(None),
            Self::Timeout,
            Self::Panicked,
        ];
        let settings = settings().map(Refusal::Setting);
        let refused = refusals().into_iter().chain(settings);
        let refused = refused.chain(unauthorized()).map(Self::Refused);
        own.into_iter().chain(refused).collect()
    }
}

fn refusals() -> Vec<Refusal> {
    let none = Duration::ZERO;
    let taken = Taken {
        is_allowed: false,
        limit: 0,
        remaining: 0,
        reset_after: none,
        retry_after: none,
    };
    let cause = || Cause::from("a sample");
    vec![
        Refusal::InvalidEmail,
        Refusal::InvalidPassword,
        Refusal::WeakPassword,
        Refusal::BadCredentials,
        Refusal::TooManyAttempts { retry_after: none },
        Refusal::RateLimited(taken),
        Refusal::InvalidRefreshToken,
        Refusal::InvalidToken,
        Refusal::InvalidSetupToken,
        Refusal::Forbidden,
        Refusal::ForgedRequest,
        Refusal::EmailTaken,
        Refusal::NoSuchSession,
        Refusal::InvalidChallenge,
        Refusal::InvalidCode,
        Refusal::CodeRequired,
        Refusal::ReauthenticationRequired,
        Refusal::FactorExists,
        Refusal::NoFactor,
        Refusal::WrongPassword,
        Refusal::InvalidMailToken,
        Refusal::NoMail,
        Refusal::NoSuchAccount,
        Refusal::OwnAccount,
        Refusal::StrangeCursor,
        Refusal::Busy { retry_after: none },
        Refusal::StoreUnavailable(cause()),
        Refusal::SharedUnavailable(cause()),
        Refusal::Internal(cause()),
    ]
}

fn unauthorized() -> impl Iterator<Item = Refusal> {
    let all = [
        Unauthorized::InvalidPermission,
        Unauthorized::InvalidRole,
        Unauthorized::InvalidSubject,
        Unauthorized::InvalidClient,
        Unauthorized::InvalidTier,
        Unauthorized::InvalidKeyName,
        Unauthorized::InvalidExpiry,
        Unauthorized::TooMany,
        Unauthorized::RoleHeld,
        Unauthorized::BeyondOwner,
        Unauthorized::NotFound,
    ];
    all.into_iter().map(Refusal::Unauthorized)
}

fn settings() -> impl Iterator<Item = SettingRefused> {
    let mistake = ConfigError {
        variable: "",
        message: String::new(),
        hint: String::new(),
    };
    let refused = [
        SettingRefused::Unknown(String::new()),
        SettingRefused::Environment(""),
        SettingRefused::Wrong(mistake),
    ];
    refused.into_iter()
}
