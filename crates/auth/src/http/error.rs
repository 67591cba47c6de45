//! Every way a request can be refused, as problem+json (RFC 9457). The only
//! place that chooses status codes for refusals. Never shows what the requester
//! sent, nor what went wrong inside.

mod samples;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::limited;
use crate::app::Refusal;
use crate::app::authorization::Unauthorized;
use crate::live::SettingRefused;

/// Why a request is answered with a problem.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// No such path.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// A body that is not JSON.
    UnsupportedMediaType,
    /// A body beyond the limit.
    BodyTooLarge,
    /// A body that did not arrive in time.
    BodyTimeout,
    /// A body that ended early.
    BodyIncomplete,
    /// Not JSON at all.
    MalformedJson,
    /// JSON, but not the object this endpoint takes; what would be right instead.
    InvalidBody(Option<String>),
    /// No `Authorization: Bearer`, or one that cannot be read.
    MissingToken,
    /// The internal listener's token is missing or wrong.
    InternalToken,
    /// A query that this endpoint does not take; what is wrong with it.
    InvalidQuery(Option<String>),
    /// Revocations cannot be read at present.
    FeedLost,
    /// The request took longer than any request may.
    Timeout,
    /// A panic was caught.
    Panicked,
    /// What the rules decided.
    Refused(Refusal),
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// How a refusal looks from outside: status, stable code, and a text for people.
struct Problem(StatusCode, &'static str, &'static str);

impl ApiError {
    fn problem(&self) -> Problem {
        use StatusCode as S;
        match self {
            Self::NotFound => Problem(S::NOT_FOUND, "not_found", "There is nothing at this path."),
            Self::MethodNotAllowed => Problem(
                S::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This path takes the methods in Allow.",
            ),
            Self::UnsupportedMediaType => Problem(
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Send the body as application/json.",
            ),
            Self::BodyTooLarge => Problem(
                S::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "The body is larger than 64 KiB.",
            ),
            Self::BodyTimeout => Problem(
                S::REQUEST_TIMEOUT,
                "body_timeout",
                "The body did not arrive within 10 s.",
            ),
            Self::BodyIncomplete => Problem(
                S::BAD_REQUEST,
                "body_incomplete",
                "The body ended before it was complete.",
            ),
            Self::MalformedJson => Problem(
                S::BAD_REQUEST,
                "malformed_json",
                "The body is not valid JSON.",
            ),
            Self::InvalidBody(_) => Problem(
                S::BAD_REQUEST,
                "invalid_body",
                "A member is missing, unknown, there twice or of another kind.",
            ),
            Self::MissingToken => Problem(
                S::UNAUTHORIZED,
                "missing_token",
                "Send one credential and no second: an access token as Authorization: Bearer, or what else this path takes.",
            ),
            Self::InternalToken => Problem(
                S::UNAUTHORIZED,
                "internal_token",
                "This listener wants its own token as Authorization: Bearer.",
            ),
            Self::InvalidQuery(_) => Problem(
                S::BAD_REQUEST,
                "invalid_query",
                "The query holds something unknown, twice or out of range.",
            ),
            Self::FeedLost => Problem(
                S::SERVICE_UNAVAILABLE,
                "feed_lost",
                "Revocations cannot be read at present: ask another instance.",
            ),
            Self::Timeout => Problem(
                S::SERVICE_UNAVAILABLE,
                "timeout",
                "The request took too long: try again.",
            ),
            Self::Panicked => INTERNAL,
            Self::Refused(refusal) => refused(refusal),
        }
    }
}

const INTERNAL: Problem = Problem(
    StatusCode::INTERNAL_SERVER_ERROR,
    "internal",
    "Something went wrong on our side.",
);

/// What owners of accounts are told about what is theirs.
fn owners(refusal: &Refusal) -> Problem {
    use StatusCode as S;
    match refusal {
        Refusal::NoSuchSession => Problem(
            S::NOT_FOUND,
            "no_such_session",
            "No session of the account has this id.",
        ),
        Refusal::WrongPassword => Problem(
            S::FORBIDDEN,
            "wrong_password",
            "The present password is another one.",
        ),
        Refusal::InvalidMailToken => Problem(
            S::BAD_REQUEST,
            "invalid_mail_token",
            "The token is unknown, used, replaced by a newer one or expired.",
        ),
        Refusal::NoMail => Problem(S::NOT_IMPLEMENTED, "no_mail", "This service sends no mail."),
        _ => INTERNAL,
    }
}

fn refused(refusal: &Refusal) -> Problem {
    use StatusCode as S;
    match refusal {
        Refusal::InvalidEmail => Problem(
            S::BAD_REQUEST,
            "invalid_email",
            "The email is not an address.",
        ),
        Refusal::InvalidPassword => Problem(
            S::BAD_REQUEST,
            "invalid_password",
            "A password has 8 to 128 characters and at most 512 bytes.",
        ),
        Refusal::WeakPassword => Problem(
            S::BAD_REQUEST,
            "weak_password",
            "This password is among the first that attackers try.",
        ),
        Refusal::BadCredentials => Problem(
            S::UNAUTHORIZED,
            "invalid_credentials",
            "Email or password is wrong.",
        ),
        Refusal::TooManyAttempts { .. } => Problem(
            S::TOO_MANY_REQUESTS,
            "too_many_attempts",
            "Too many failed logins came from your network: try again later.",
        ),
        Refusal::RateLimited(_) => Problem(
            S::TOO_MANY_REQUESTS,
            "rate_limited",
            "Too many requests of this kind came: try again later.",
        ),
        Refusal::InvalidRefreshToken => Problem(
            S::UNAUTHORIZED,
            "invalid_refresh_token",
            "The refresh token is unknown, used, expired or revoked.",
        ),
        Refusal::InvalidToken => Problem(
            S::UNAUTHORIZED,
            "invalid_token",
            "The access token, session or API key is malformed, expired or revoked.",
        ),
        Refusal::InvalidSetupToken => Problem(
            S::FORBIDDEN,
            "invalid_setup_token",
            "The set-up token is wrong, used or expired.",
        ),
        Refusal::Forbidden => Problem(
            S::FORBIDDEN,
            "forbidden",
            "This needs a role that the token does not carry.",
        ),
        Refusal::ForgedRequest => Problem(
            S::FORBIDDEN,
            "csrf",
            "With a session cookie, send its CSRF token as X-CSRF-Token, from a page of this origin.",
        ),
        Refusal::EmailTaken => Problem(
            S::CONFLICT,
            "email_taken",
            "The email belongs to another account.",
        ),
        Refusal::NoSuchSession
        | Refusal::WrongPassword
        | Refusal::InvalidMailToken
        | Refusal::NoMail => owners(refusal),
        Refusal::Unauthorized(unauthorized) => about_permissions(*unauthorized),
        _ => unproven(refusal),
    }
}

/// What second factors and proofs of identity lack.
fn unproven(refusal: &Refusal) -> Problem {
    use StatusCode as S;
    match refusal {
        Refusal::BreachedPassword => Problem(
            S::BAD_REQUEST,
            "breached_password",
            "This password is on a list of stolen ones: choose another.",
        ),
        Refusal::SecondFactorRequired(_) => Problem(
            S::UNAUTHORIZED,
            "second_factor_required",
            "The password alone is not enough: send a code with the challenge.",
        ),
        Refusal::InvalidChallenge => Problem(
            S::UNAUTHORIZED,
            "invalid_challenge",
            "The challenge is malformed, over or of an earlier password: log in again.",
        ),
        Refusal::InvalidCode => Problem(
            S::UNAUTHORIZED,
            "invalid_code",
            "The code is wrong or was used: wait for the next one.",
        ),
        Refusal::CodeRequired => Problem(
            S::UNAUTHORIZED,
            "code_required",
            "The account has an authenticator: send a code as well.",
        ),
        Refusal::ReauthenticationRequired => Problem(
            S::FORBIDDEN,
            "reauthentication_required",
            "This needs a proof of identity of the last 5 minutes: /api/v1/auth/reauthenticate.",
        ),
        Refusal::FactorExists => Problem(
            S::CONFLICT,
            "factor_exists",
            "The account has an authenticator: remove it first.",
        ),
        Refusal::NoFactor => Problem(
            S::CONFLICT,
            "no_factor",
            "The account has no authenticator, or none that waits for its first code.",
        ),
        _ => administrators(refusal),
    }
}

/// Roles, permissions, clients and API keys.
fn about_permissions(unauthorized: Unauthorized) -> Problem {
    use StatusCode as S;
    use Unauthorized as U;
    let bad = |code, detail| Problem(S::BAD_REQUEST, code, detail);
    match unauthorized {
        U::InvalidPermission => bad(
            "invalid_permission",
            "A permission is resource:action; only a grant may be resource:*.",
        ),
        U::InvalidRole => bad(
            "invalid_role",
            "A role is named by a-z, 0-9, '_', '.', ':' and '-', up to 64 characters.",
        ),
        U::InvalidSubject => bad(
            "invalid_subject",
            "A subject is the id of an account, or client: and a client's name.",
        ),
        U::InvalidClient => bad(
            "invalid_client",
            "A client is named by a-z, 0-9, '_', '.' and '-', up to 64 characters.",
        ),
        U::InvalidTier => bad(
            "invalid_tier",
            "A tier is anonymous, free, pro, enterprise or internal.",
        ),
        U::InvalidKeyName => bad(
            "invalid_name",
            "A key's name has 1 to 64 printable ASCII characters.",
        ),
        U::InvalidExpiry => bad(
            "invalid_expiry",
            "A key ends after 1 second to 10 years, or never.",
        ),
        U::TooMany => bad(
            "too_many",
            "A batch has 1 to 100 permissions, a role or key at most 128, an account 64 roles and 100 keys.",
        ),
        U::RoleHeld => Problem(
            S::CONFLICT,
            "role_held",
            "Accounts or clients hold the role: take it from them first.",
        ),
        U::BeyondOwner => Problem(
            S::FORBIDDEN,
            "beyond_owner",
            "A key gives no more than its owner has.",
        ),
        U::NotFound => Problem(
            S::NOT_FOUND,
            "no_such_thing",
            "There is none of that name or id.",
        ),
    }
}

/// What administrators are told.
fn administrators(refusal: &Refusal) -> Problem {
    use StatusCode as S;
    match refusal {
        Refusal::NoSuchAccount => {
            Problem(S::NOT_FOUND, "no_such_account", "No account has this id.")
        }
        Refusal::OwnAccount => Problem(
            S::CONFLICT,
            "own_account",
            "This would shut you out: let another administrator do it.",
        ),
        Refusal::StrangeCursor => Problem(
            S::BAD_REQUEST,
            "invalid_cursor",
            "The cursor belongs to another list, or to other filters.",
        ),
        Refusal::Setting(SettingRefused::Unknown(_)) => Problem(
            S::NOT_FOUND,
            "no_such_setting",
            "This is not among the settings that can change while instances run.",
        ),
        Refusal::Setting(SettingRefused::Environment(_)) => Problem(
            S::CONFLICT,
            "set_by_environment",
            "The environment of this instance sets it, and that comes first.",
        ),
        Refusal::Setting(SettingRefused::Wrong(_)) => Problem(
            S::BAD_REQUEST,
            "invalid_setting",
            "The value is not one that this setting takes.",
        ),
        _ => failed(refusal),
    }
}

/// What is no fault of the requester.
fn failed(refusal: &Refusal) -> Problem {
    use StatusCode as S;
    match refusal {
        Refusal::Busy { .. } => Problem(
            S::SERVICE_UNAVAILABLE,
            "busy",
            "Too much to do at the moment: try again.",
        ),
        Refusal::StoreUnavailable(_) => Problem(
            S::SERVICE_UNAVAILABLE,
            "store_unavailable",
            "The database does not answer.",
        ),
        Refusal::SharedUnavailable(_) => Problem(
            S::SERVICE_UNAVAILABLE,
            "shared_state_unavailable",
            "The shared state does not answer.",
        ),
        _ => INTERNAL,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let Problem(status, code, detail) = self.problem();
        let hint = self.hint();
        let detail = hint.as_deref().unwrap_or(detail);
        let title = status.canonical_reason().unwrap_or("Error");
        let body = serde_json::json!({
            "type": "about:blank",
            "title": title,
            "status": status.as_u16(),
            "code": code,
            "detail": detail,
        });
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Self::Refused(Refusal::RateLimited(taken)) = &self {
            limited::write(taken, headers);
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.retry_after(status) {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl ApiError {
    /// How it is told: for the document of all routes.
    pub(super) fn told(&self) -> (StatusCode, &'static str) {
        let Problem(status, code, _) = self.problem();
        (status, code)
    }

    /// What would be right instead; never what was sent.
    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(Refusal::Setting(SettingRefused::Wrong(mistake))) => {
                // The value stands quoted in front of the rule that it breaks.
                let rule = mistake.message.rsplit_once("\" ");
                Some(rule.map_or_else(
                    || mistake.hint.clone(),
                    |(_, rule)| format!("The value {rule}."),
                ))
            }
            Self::InvalidBody(hint) | Self::InvalidQuery(hint) => hint.clone(),
            _ => None,
        }
    }

    /// RFC 6750 section 3: no error attribute when no token was sent at all.
    fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::MissingToken => Some("Bearer realm=\"portcullis\""),
            Self::InternalToken => Some("Bearer realm=\"portcullis-internal\""),
            Self::Refused(Refusal::InvalidToken) => {
                Some("Bearer realm=\"portcullis\", error=\"invalid_token\"")
            }
            _ => None,
        }
    }

    fn retry_after(&self, status: StatusCode) -> Option<u64> {
        match self {
            Self::Refused(
                Refusal::Busy { retry_after } | Refusal::TooManyAttempts { retry_after },
            ) => Some(retry_after.as_secs().max(1)),
            Self::Refused(Refusal::RateLimited(taken)) => {
                Some(limited::whole_seconds(taken.retry_after).max(1))
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => Some(1),
            _ => None,
        }
    }

    /// Failures of ours, once each, with their source. Refusals are the requester's affair.
    fn log(&self) {
        let (what, source) = match self {
            Self::Refused(Refusal::StoreUnavailable(source)) => ("the database failed", source),
            Self::Refused(Refusal::SharedUnavailable(source)) => {
                ("the shared state failed", source)
            }
            Self::Refused(Refusal::Internal(source)) => ("a request failed inside", source),
            _ => return,
        };
        tracing::error!(error = %Chain(source.as_ref()), "{what}");
    }
}

/// Shows an error with everything that caused it.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
