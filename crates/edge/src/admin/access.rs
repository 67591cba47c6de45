//! Who may change anything: whoever holds the token. Never logs what was sent.

use aws_lc_rs::{constant_time, digest};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use portcullis_ops::Secret;

use super::answer::Refused;

/// Whether a request carries the token (RFC 6750 section 2.1). A browser that was lured here sends
/// no such field unasked, so this also keeps strange pages out.
pub(super) fn check(token: Option<&Secret<String>>, headers: &HeaderMap) -> Result<(), Refused> {
    let Some(token) = token else {
        return Err(Refused::ReadOnly);
    };
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return Err(Refused::Unauthorized);
    };
    let sent = field.as_bytes();
    let is_bearer = sent
        .get(..SCHEME.len())
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
    let sent = sent.get(SCHEME.len()..).unwrap_or_default();
    // Of digests, a comparison tells not even the length.
    let digest = |bytes: &[u8]| digest::digest(&digest::SHA256, bytes);
    let (sent, token) = (digest(sent), digest(token.expose().as_bytes()));
    let is_token = constant_time::verify_slices_are_equal(sent.as_ref(), token.as_ref()).is_ok();
    if is_bearer && is_token {
        Ok(())
    } else {
        Err(Refused::Unauthorized)
    }
}

const SCHEME: &[u8] = b"Bearer ";

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked_with(fields: &[&'static str]) -> Result<(), Refused> {
        let token = Secret::new("0123456789abcdef0123456789abcdef".to_owned());
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(AUTHORIZATION, HeaderValue::from_static(field));
        }
        check(Some(&token), &headers)
    }

    #[test]
    fn only_the_token_itself_opens() {
        assert_eq!(
            asked_with(&["Bearer 0123456789abcdef0123456789abcdef"]),
            Ok(())
        );
        assert_eq!(
            asked_with(&["bearer 0123456789abcdef0123456789abcdef"]),
            Ok(())
        );
        for wrong in [
            "Bearer 0123456789abcdef0123456789abcdeF",
            "Bearer 0123456789abcdef0123456789abcde",
            "Bearer 0123456789abcdef0123456789abcdef ",
            "Bearer",
            "Bearer ",
            "",
            "Basic 0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(asked_with(&[wrong]), Err(Refused::Unauthorized), "{wrong}");
        }
        assert_eq!(asked_with(&[]), Err(Refused::Unauthorized));
        let twice = ["Bearer 0123456789abcdef0123456789abcdef"; 2];
        assert_eq!(asked_with(&twice), Err(Refused::Unauthorized));
    }

    #[test]
    fn without_a_token_nothing_may_be_changed() {
        assert_eq!(check(None, &HeaderMap::new()), Err(Refused::ReadOnly));
    }
}
