//! Takes the access token or the API key out of a request (RFC 6750 section 2.1). Never accepts a token from anywhere
//! else than the Authorization header, nor a key from anywhere but there and `X-API-Key`.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::error::ApiError;
use crate::app::authorization::Credential;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The API key, if one was sent as what it is or as a bearer token. Two credentials are none: nobody can tell which
/// one was meant.
pub(super) fn api_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut keys = headers.get_all(X_API_KEY).iter();
    let is_authorized = headers.contains_key(AUTHORIZATION);
    match (keys.next(), keys.next()) {
        (None, _) if !is_authorized => Ok(None),
        (None, _) => match Credential::of_bearer(token(headers)?) {
            Credential::ApiKey(key) => Ok(Some(key)),
            Credential::Token(_) => Ok(None),
        },
        (Some(key), None) if !is_authorized => match key.to_str() {
            Ok(key) if !key.is_empty() => Ok(Some(key)),
            _ => Err(ApiError::MissingToken),
        },
        _ => Err(ApiError::MissingToken),
    }
}

/// The token of the one `Authorization: Bearer` header.
pub(super) fn token(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(ApiError::MissingToken);
    };
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim_matches(' '))
        .filter(|token| !token.is_empty())
        .ok_or(ApiError::MissingToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        token(&headers).ok().map(str::to_owned)
    }

    #[test]
    fn exactly_one_bearer_token_is_taken() {
        assert_eq!(of(&["Bearer abc.def"]).as_deref(), Some("abc.def"));
        assert_eq!(of(&["bearer  abc"]).as_deref(), Some("abc"));
        for bad in [
            &[][..],
            &["Bearer"],
            &["Bearer "],
            &["Basic abc"],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_key_comes_by_either_header_and_never_beside_another_credential() {
        let of = |fields: &[(HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, value.parse().unwrap());
            }
            api_key(&headers).map(|key| key.map(str::to_owned)).ok()
        };
        let (key, token) = ("pck_a", "Bearer eyJ");
        assert_eq!(of(&[]), Some(None));
        assert_eq!(of(&[(AUTHORIZATION, token)]), Some(None));
        assert_eq!(of(&[(X_API_KEY, key)]), Some(Some(key.to_owned())));
        assert_eq!(
            of(&[(AUTHORIZATION, "bearer pck_a")]),
            Some(Some(key.to_owned()))
        );
        for refused in [
            &[(X_API_KEY, key), (AUTHORIZATION, token)][..],
            &[(X_API_KEY, key), (AUTHORIZATION, "Bearer pck_a")],
            &[(X_API_KEY, key), (X_API_KEY, key)],
            &[(X_API_KEY, "")],
            &[(AUTHORIZATION, "Basic pck_a")],
        ] {
            assert_eq!(of(refused), None, "{refused:?}");
        }
    }
}
