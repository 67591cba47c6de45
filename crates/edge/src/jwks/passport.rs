//! What an endpoint is told of a verified token, made once for all requests that bring it. Never holds
//! a value that a header field could not, and no two subjects share one.

use http::HeaderValue;
use portcullis_token::{AccessClaims, AccessToken, ClaimValue};

/// A token that was read, and the values of header fields that follow from it.
#[derive(Debug)]
pub struct Passport {
    /// What it says.
    pub claims: AccessClaims,
    /// The key that signed it.
    pub kid: String,
    pub(crate) subject: HeaderValue,
    pub(crate) roles: Option<HeaderValue>,
    pub(crate) session: Option<HeaderValue>,
    pub(crate) client: Option<HeaderValue>,
    pub(crate) scope: Option<HeaderValue>,
    /// The further claims that routes pass on, in the order of the verifier's.
    pub(crate) others: Vec<Option<HeaderValue>>,
}

impl Passport {
    pub(super) fn new(token: AccessToken) -> Self {
        let claims = &token.claims;
        let roles = claims.roles();
        let others = token.others.iter();
        Self {
            subject: one(claims.subject()),
            roles: (!roles.is_empty()).then(|| many(roles)),
            session: claims.session().map(one),
            client: claims.client().map(one),
            scope: claims.scope().map(|scope| {
                let scopes: Vec<String> = scope.split(' ').map(|scope| text(scope, "")).collect();
                visible(scopes.join(" "))
            }),
            others: others
                .map(|other| match other {
                    Some(ClaimValue::One(value)) => short(one(value)),
                    Some(ClaimValue::Many(values)) => short(many(values)),
                    None => None,
                })
                .collect(),
            kid: token.kid,
            claims: token.claims,
        }
    }
}

fn one(value: &str) -> HeaderValue {
    visible(text(value, ""))
}

/// Separated by commas; those inside are encoded.
fn many(values: &[String]) -> HeaderValue {
    let values: Vec<String> = values.iter().map(|value| text(value, ",")).collect();
    visible(values.join(","))
}

/// Visible ASCII as it is, everything else percent-encoded, `%` too: so that two different values
/// never look alike, and none breaks out of its field.
fn text(value: &str, also: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(value.len());
    for character in value.chars() {
        if character.is_ascii_graphic() && character != '%' && !also.contains(character) {
            encoded.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
    }
    encoded
}

fn visible(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("visible ASCII and single spaces")
}

/// An empty value says nothing, and one that most servers would refuse the request for is left out.
fn short(value: HeaderValue) -> Option<HeaderValue> {
    (1..=VALUE_BYTES_MAX)
        .contains(&value.len())
        .then_some(value)
}

/// Usual servers take 8 KiB of header fields in all.
const VALUE_BYTES_MAX: usize = 2048;

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use portcullis_token::GenericClaims;

    use super::*;

    fn token(sub: &str) -> AccessToken {
        AccessToken {
            claims: AccessClaims::Generic(GenericClaims {
                iss: "https://auth.example.com".into(),
                sub: sub.into(),
                aud: vec!["api".into()],
                exp: 2_000,
                iat: None,
                nbf: None,
                jti: None,
                client_id: None,
                sid: None,
                roles: vec!["a b".into(), "c,d".into(), "e".into()],
                scope: Some("read \u{e4}".into()),
            }),
            kid: "k".into(),
            others: vec![
                Some(ClaimValue::One("blue".into())),
                Some(ClaimValue::Many(vec!["x".into(), "y,z".into()])),
                None,
                Some(ClaimValue::One(String::new())),
                Some(ClaimValue::One("x".repeat(VALUE_BYTES_MAX + 1))),
            ],
        }
    }

    pub(in crate::jwks) fn passport(sub: &str) -> Arc<Passport> {
        Arc::new(Passport::new(token(sub)))
    }

    #[test]
    fn values_are_visible_and_never_alike() {
        let subject = |sub: &str| {
            let value = Passport::new(token(sub)).subject;
            value.to_str().unwrap().to_owned()
        };
        assert_eq!(subject("auth0|ann@example.com"), "auth0|ann@example.com");
        assert_eq!(subject("a b\r\nX: y"), "a%20b%0D%0AX:%20y");
        assert_eq!(subject("\u{e4}"), "%C3%A4");
        assert_eq!(subject("%C3%A4"), "%25C3%25A4");
        assert_eq!(subject(" ann "), "%20ann%20");
    }

    #[test]
    fn lists_keep_their_members_apart() {
        let passport = passport("ann");
        assert_eq!(passport.roles.as_ref().unwrap(), "a%20b,c%2Cd,e");
        assert_eq!(passport.scope.as_ref().unwrap(), "read %C3%A4");
        assert_eq!(passport.others[0].as_ref().unwrap(), "blue");
        assert_eq!(passport.others[1].as_ref().unwrap(), "x,y%2Cz");
        assert!(passport.others[2..].iter().all(Option::is_none));
        assert_eq!(passport.session, None);
    }
}
