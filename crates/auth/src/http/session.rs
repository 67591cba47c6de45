//! The session cookie on the wire: read, set, removed, and guarded against requests that other sites cause.
//! Never takes a cookie where an Authorization header was sent too.

use axum::response::Response;
use http::header::{AUTHORIZATION, COOKIE, ORIGIN, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{ApiError, bearer};
use crate::app::Refusal;
use crate::app::session::SessionCookie;
use crate::config::Sessions;

/// Where the CSRF token is expected. No form and no plain link can send it.
const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
/// Written by browsers, out of reach for scripts.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What follows the session cookie's name in that of the cookie that scripts read the CSRF token from.
const CSRF_SUFFIX: &str = "_csrf";

/// What a request proves its identity with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Presented<'a> {
    /// An access token.
    Bearer(&'a str),
    /// A session.
    Cookie(&'a str),
}

/// How cookies look, and who may use them.
#[derive(Debug, Clone)]
pub(crate) struct Cookies {
    name: String,
    attributes: String,
    /// Scheme, host and port of the issuer: the only origin that may change anything.
    origin: String,
    is_enabled: bool,
}

impl Cookies {
    pub(crate) fn new(sessions: &Sessions, issuer: &str) -> Self {
        let secure = if sessions.is_secure { "; Secure" } else { "" };
        Self {
            name: sessions.cookie_name.clone(),
            attributes: format!("; Path=/; SameSite={}{secure}", sessions.same_site.as_str()),
            origin: origin_of(issuer),
            is_enabled: sessions.is_enabled,
        }
    }

    /// The access token, or else the one session cookie.
    pub(super) fn presented<'a>(&self, headers: &'a HeaderMap) -> Result<Presented<'a>, ApiError> {
        if !self.is_enabled || headers.contains_key(AUTHORIZATION) {
            return bearer::token(headers).map(Presented::Bearer);
        }
        let mut found = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name)
            .map(|(_, value)| value);
        // Two of one name: somebody planted one, and nobody can tell which.
        match (found.next(), found.next()) {
            (Some(value), None) => Ok(Presented::Cookie(value)),
            _ => Err(ApiError::MissingToken),
        }
    }

    /// The CSRF token of a request that a page of ours made, as browsers tell; whether it is right, `app` decides.
    pub(super) fn csrf<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, ApiError> {
        let forged = || ApiError::Refused(Refusal::ForgedRequest);
        let is_ours = match only(headers, &SEC_FETCH_SITE) {
            Some(site) => site == "same-origin",
            None => only(headers, &ORIGIN) == Some(self.origin.as_str()),
        };
        if !is_ours {
            return Err(forged());
        }
        only(headers, &X_CSRF_TOKEN).ok_or_else(forged)
    }

    /// Hands a browser its session.
    pub(super) fn set(&self, response: &mut Response, cookie: &SessionCookie) {
        let age = cookie.expires_in.as_secs();
        self.write(response, cookie.token.expose(), &cookie.csrf, age);
    }

    /// Takes it away.
    pub(super) fn remove(&self, response: &mut Response) {
        self.write(response, "", "", 0);
    }

    fn write(&self, response: &mut Response, token: &str, csrf: &str, age: u64) {
        let Self {
            name, attributes, ..
        } = self;
        for text in [
            format!("{name}={token}{attributes}; Max-Age={age}; HttpOnly"),
            format!("{name}{CSRF_SUFFIX}={csrf}{attributes}; Max-Age={age}"),
        ] {
            let Ok(mut value) = HeaderValue::try_from(text) else {
                continue;
            };
            value.set_sensitive(true);
            response.headers_mut().append(SET_COOKIE, value);
        }
    }
}

/// The value of a header that was sent once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn origin_of(issuer: &str) -> String {
    let scheme_ends = issuer.find("://").map_or(0, |at| at + 3);
    let end = issuer[scheme_ends..].find('/');
    issuer[..end.map_or(issuer.len(), |at| scheme_ends + at)].to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_of_an_issuer_has_no_path() {
        for (issuer, origin) in [
            ("https://auth.acme.test", "https://auth.acme.test"),
            ("https://Acme.test:8443/auth/x", "https://acme.test:8443"),
            ("http://localhost:8000", "http://localhost:8000"),
        ] {
            assert_eq!(origin_of(issuer), origin);
        }
    }
}
