//! What a token says. Never holds a value out of range: both signing and parsing pass the same check.

use serde::Serialize;

use crate::base64url;
use crate::json::{Json, Object};

/// Last second of the year 9999; beyond it a timestamp is a mistake, and arithmetic stays safe.
pub(crate) const TIME_MAX: i64 = 253_402_300_799;
/// Longest identifier (`sub`, `jti`, `sid`, `client_id`) and role, in bytes.
pub(crate) const IDENTIFIER_BYTES_MAX: usize = 256;
/// Longest issuer or audience: they may be URLs.
pub(crate) const URL_BYTES_MAX: usize = 512;
/// Longest `scope`.
pub(crate) const SCOPE_BYTES_MAX: usize = 2048;
/// Most audiences of one token.
pub(crate) const AUDIENCES_MAX: usize = 16;
/// Most roles of one token.
const ROLES_MAX: usize = 64;
/// Most ways in which somebody proved who they are.
const METHODS_MAX: usize = 16;

/// The claims of every Portcullis token (RFC 7519, RFC 9068). Times are Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// Whom it is about.
    pub sub: String,
    /// Who may accept it; never empty.
    pub aud: Vec<String>,
    /// End of validity, exclusive.
    pub exp: i64,
    /// Time of issue.
    pub iat: i64,
    /// Start of validity, if later than `iat`.
    pub nbf: Option<i64>,
    /// Unique to this token; see [`id`].
    pub jti: String,
    /// The OAuth client that asked for it.
    pub client_id: String,
    /// The session it belongs to.
    pub sid: String,
    /// Roles of the subject: printable ASCII without comma or quote, so a list fits a header.
    pub roles: Vec<String>,
    /// OAuth scope, separated by spaces.
    pub scope: Option<String>,
    /// Which limits the subject has.
    pub tier: Option<String>,
    /// How and when the subject proved who they are.
    pub authentication: Authentication,
}

/// How and when somebody proved who they are (OpenID Connect Core 2, RFC 9068 section 2.2.1). Empty where that is not
/// known, or nobody did: a machine shows a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// `auth_time`: when. Unix seconds.
    pub time: Option<i64>,
    /// `acr`: how good the proof is, in one word.
    pub class: Option<String>,
    /// `amr`: by what, in the words of RFC 8176.
    pub methods: Vec<String>,
}

/// Which claim is missing, of the wrong kind or out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("claim `{0}` is missing, of the wrong kind or out of range")]
pub struct ClaimsError(pub &'static str);

/// An identifier for a token or session out of 128 random bits, spelled in 22 characters.
pub fn id(random: [u8; 16]) -> String {
    base64url::encode(&random)
}

impl Claims {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, ClaimsError> {
        Self::from_object(&Object::parse(payload).ok_or(ClaimsError("payload"))?)
    }

    pub(crate) fn from_object(object: &Object<'_>) -> Result<Self, ClaimsError> {
        let text = |name| {
            object
                .string(name)
                .map(str::to_owned)
                .ok_or(ClaimsError(name))
        };
        let time = |name| {
            object
                .member(name)
                .and_then(Json::as_integer)
                .ok_or(ClaimsError(name))
        };
        let is_present = |name| object.member(name).is_some();
        let claims = Self {
            iss: text("iss")?,
            sub: text("sub")?,
            aud: match object.member("aud") {
                Some(Json::String(one)) => vec![one.clone().into_owned()],
                other => texts(other).ok_or(ClaimsError("aud"))?,
            },
            exp: time("exp")?,
            iat: time("iat")?,
            nbf: is_present("nbf").then(|| time("nbf")).transpose()?,
            jti: text("jti")?,
            client_id: text("client_id")?,
            sid: text("sid")?,
            roles: match object.member("roles") {
                None => Vec::new(),
                other => texts(other).ok_or(ClaimsError("roles"))?,
            },
            scope: is_present("scope").then(|| text("scope")).transpose()?,
            tier: is_present("tier").then(|| text("tier")).transpose()?,
            authentication: Authentication {
                time: is_present("auth_time")
                    .then(|| time("auth_time"))
                    .transpose()?,
                class: is_present("acr").then(|| text("acr")).transpose()?,
                methods: match object.member("amr") {
                    None => Vec::new(),
                    other => texts(other).ok_or(ClaimsError("amr"))?,
                },
            },
        };
        claims.check()?;
        Ok(claims)
    }

    /// The payload, or the claim that must not be signed.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, ClaimsError> {
        self.check()?;
        let wire = Wire {
            iss: &self.iss,
            sub: &self.sub,
            aud: match self.aud.as_slice() {
                [one] => Audience::One(one),
                many => Audience::Many(many),
            },
            exp: self.exp,
            iat: self.iat,
            nbf: self.nbf,
            jti: &self.jti,
            client_id: &self.client_id,
            sid: &self.sid,
            roles: &self.roles,
            scope: self.scope.as_deref(),
            tier: self.tier.as_deref(),
            auth_time: self.authentication.time,
            acr: self.authentication.class.as_deref(),
            amr: &self.authentication.methods,
        };
        Ok(serde_json::to_vec(&wire).expect("strings and integers always serialise"))
    }

    fn check(&self) -> Result<(), ClaimsError> {
        let rules = [
            ("iss", is_text(&self.iss, URL_BYTES_MAX)),
            ("sub", is_text(&self.sub, IDENTIFIER_BYTES_MAX)),
            ("aud", (1..=AUDIENCES_MAX).contains(&self.aud.len())),
            (
                "aud",
                self.aud.iter().all(|aud| is_text(aud, URL_BYTES_MAX)),
            ),
            ("iat", (0..=TIME_MAX).contains(&self.iat)),
            (
                "exp",
                (0..=TIME_MAX).contains(&self.exp) && self.exp > self.iat,
            ),
            (
                "nbf",
                self.nbf.is_none_or(|nbf| (0..self.exp).contains(&nbf)),
            ),
            ("jti", is_text(&self.jti, IDENTIFIER_BYTES_MAX)),
            ("client_id", is_text(&self.client_id, IDENTIFIER_BYTES_MAX)),
            ("sid", is_text(&self.sid, IDENTIFIER_BYTES_MAX)),
            ("roles", self.roles.len() <= ROLES_MAX),
            ("roles", self.roles.iter().all(|role| is_role(role))),
            (
                "scope",
                self.scope
                    .as_deref()
                    .is_none_or(|scope| is_text(scope, SCOPE_BYTES_MAX)),
            ),
            (
                "tier",
                self.tier
                    .as_deref()
                    .is_none_or(|tier| is_text(tier, IDENTIFIER_BYTES_MAX)),
            ),
        ];
        let mut rules = rules.into_iter().chain(self.authentication.rules());
        match rules.find(|(_, holds)| !holds) {
            Some((name, _)) => Err(ClaimsError(name)),
            None => Ok(()),
        }
    }
}

impl Authentication {
    fn rules(&self) -> [(&'static str, bool); 4] {
        let is_word = |text: &String| is_text(text, IDENTIFIER_BYTES_MAX);
        [
            (
                "auth_time",
                self.time.is_none_or(|time| (0..=TIME_MAX).contains(&time)),
            ),
            ("acr", self.class.as_ref().is_none_or(is_word)),
            ("amr", self.methods.len() <= METHODS_MAX),
            ("amr", self.methods.iter().all(is_word)),
        ]
    }
}

fn texts(json: Option<&Json<'_>>) -> Option<Vec<String>> {
    json?
        .as_array()?
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// Claims end up in headers and logs, so control characters are nobody's identifier.
pub(crate) fn is_text(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_role(role: &str) -> bool {
    is_text(role, IDENTIFIER_BYTES_MAX)
        && role
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b',' && byte != b'"')
}

/// The claims as written: a single audience is a plain string, which every JWT library reads.
#[derive(Serialize)]
struct Wire<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: Audience<'a>,
    exp: i64,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    jti: &'a str,
    client_id: &'a str,
    sid: &'a str,
    roles: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    amr: &'a [String],
}

#[derive(Serialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(&'a str),
    Many(&'a [String]),
}
