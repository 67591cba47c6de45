//! The claims of an issuer that is not ours. Never lets a malformed optional claim pass for an absent one.

use super::find;
use crate::claims::{
    AUDIENCES_MAX, ClaimsError, IDENTIFIER_BYTES_MAX, SCOPE_BYTES_MAX, TIME_MAX, URL_BYTES_MAX,
    is_text,
};
use crate::json::{Json, Object};

/// What the token of any issuer says, as far as it concerns us. Times are Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenericClaims {
    /// Who issued it.
    pub iss: String,
    /// Whom it is about.
    pub sub: String,
    /// Who may accept it; never empty.
    pub aud: Vec<String>,
    /// End of validity, exclusive.
    pub exp: i64,
    /// Time of issue.
    pub iat: Option<i64>,
    /// Start of validity.
    pub nbf: Option<i64>,
    /// Unique to this token.
    pub jti: Option<String>,
    /// The OAuth client that asked for it: `client_id`, else `azp`.
    pub client_id: Option<String>,
    /// The session it belongs to.
    pub sid: Option<String>,
    /// Roles of the subject.
    pub roles: Vec<String>,
    /// OAuth scope, separated by spaces: `scope`, else `scp`, each a string or an array.
    pub scope: Option<String>,
}

impl GenericClaims {
    pub(super) fn from_object(object: &Object<'_>, roles_claim: &str) -> Result<Self, ClaimsError> {
        let time = |name| match object.member(name) {
            None => Ok(None),
            Some(json) => match json.as_integer() {
                Some(time) if (0..=TIME_MAX).contains(&time) => Ok(Some(time)),
                _ => Err(ClaimsError(name)),
            },
        };
        let text = |name, bytes_max| match object.member(name) {
            None => Ok(None),
            Some(json) => match json.as_str() {
                Some(text) if is_text(text, bytes_max) => Ok(Some(text.to_owned())),
                _ => Err(ClaimsError(name)),
            },
        };
        let identifier = |name| text(name, IDENTIFIER_BYTES_MAX);
        let missing = |name| move || ClaimsError(name);
        let claims = Self {
            iss: text("iss", URL_BYTES_MAX)?.ok_or_else(missing("iss"))?,
            sub: identifier("sub")?.ok_or_else(missing("sub"))?,
            aud: list(object.member("aud"), "aud", AUDIENCES_MAX, URL_BYTES_MAX)?,
            exp: time("exp")?.ok_or_else(missing("exp"))?,
            iat: time("iat")?,
            nbf: time("nbf")?,
            jti: identifier("jti")?,
            client_id: match identifier("client_id")? {
                Some(client) => Some(client),
                None => identifier("azp")?,
            },
            sid: identifier("sid")?,
            roles: list(
                find(object, roles_claim),
                "roles",
                ROLES_MAX,
                IDENTIFIER_BYTES_MAX,
            )?,
            scope: match scope(object, "scope")? {
                Some(scope) => Some(scope),
                None => scope(object, "scp")?,
            },
        };
        let start = claims.iat.max(claims.nbf).unwrap_or(0);
        match (claims.aud.is_empty(), claims.exp > start) {
            (true, _) => Err(ClaimsError("aud")),
            (_, false) => Err(ClaimsError("exp")),
            _ => Ok(claims),
        }
    }
}

/// A string or an array of strings; nothing at all is an empty one.
fn list(
    json: Option<&Json<'_>>,
    name: &'static str,
    items_max: usize,
    bytes_max: usize,
) -> Result<Vec<String>, ClaimsError> {
    let items = match json {
        None => return Ok(Vec::new()),
        Some(Json::Array(items)) if items.len() <= items_max => items.as_slice(),
        Some(one @ Json::String(_)) => std::slice::from_ref(one),
        Some(_) => return Err(ClaimsError(name)),
    };
    let text = |item: &Json<'_>| {
        let text = item.as_str().filter(|text| is_text(text, bytes_max));
        text.map(str::to_owned).ok_or(ClaimsError(name))
    };
    items.iter().map(text).collect()
}

fn scope(object: &Object<'_>, name: &'static str) -> Result<Option<String>, ClaimsError> {
    let Some(json) = object.member(name) else {
        return Ok(None);
    };
    // Some issuers write an empty one when nothing was asked for.
    if json.as_str().is_some_and(str::is_empty) {
        return Ok(None);
    }
    let scope = list(Some(json), name, SCOPES_MAX, SCOPE_BYTES_MAX)?.join(" ");
    match scope.len() {
        0 => Ok(None),
        1..=SCOPE_BYTES_MAX => Ok(Some(scope)),
        _ => Err(ClaimsError(name)),
    }
}

/// Directories put people into many groups.
const ROLES_MAX: usize = 256;
/// Most entries of a scope that is an array.
const SCOPES_MAX: usize = 256;
