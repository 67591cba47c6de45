//! Issuers, and what routes ask of tokens, as written. Never compares two values.

use std::time::Duration;

use http::HeaderName;
use portcullis_ops::decode::{Fields, Located, Mistake};
use portcullis_ops::diagnostic::Span;
use portcullis_token::{Algorithm, Profile, Skew};

use super::super::address::{self, HttpAddress};
use super::super::{Tunnels, WhenLost, names, words};
use super::revocations::{self, FileRevocations};

#[derive(Debug)]
pub(in crate::config) struct FileIssuer {
    pub(in crate::config) name: Located<String>,
    pub(in crate::config) issuer: Option<Located<String>>,
    pub(in crate::config) profile: Profile,
    pub(in crate::config) jwks: Option<Located<HttpAddress>>,
    pub(in crate::config) authorities: Option<Located<String>>,
    pub(in crate::config) allow_http: Located<bool>,
    pub(in crate::config) audience: Option<Located<String>>,
    /// `None` if the file names none.
    pub(in crate::config) algorithms: Option<(Span, Vec<Algorithm>)>,
    pub(in crate::config) skew: Skew,
    pub(in crate::config) roles_claim: Option<Located<String>>,
    pub(in crate::config) refresh: Duration,
    pub(in crate::config) max_stale: Duration,
    pub(in crate::config) revocations: Option<FileRevocations>,
}

#[derive(Debug)]
pub(in crate::config) struct FileAuth {
    pub(in crate::config) span: Span,
    pub(in crate::config) issuer: Option<Located<String>>,
    pub(in crate::config) audience: Option<Located<String>>,
    pub(in crate::config) roles: Vec<Located<String>>,
    pub(in crate::config) scopes: Vec<Located<String>>,
    pub(in crate::config) claims: Vec<Located<(HeaderName, String)>>,
    pub(in crate::config) forward_token: Located<bool>,
    pub(in crate::config) optional: Located<bool>,
    pub(in crate::config) tunnels: Located<Tunnels>,
    pub(in crate::config) when_lost: Option<(Span, WhenLost)>,
}

pub(super) fn issuer((name, fields): (Located<String>, Fields<'_>)) -> FileIssuer {
    if let Err(mistake) = names::label(&name.value) {
        let shown = names::shown(&name.value);
        let message = format!("the name `{shown}` {}", mistake.message);
        fields
            .report()
            .error_with_hint(name.span, message, mistake.hint);
    }
    let skew = fields.duration("skew").value;
    let skew = skew.as_millis().div_ceil(1000);
    FileIssuer {
        name,
        issuer: fields.text("issuer", visible),
        profile: match fields.word("profile").value {
            "generic" => Profile::Generic,
            _ => Profile::Portcullis,
        },
        jwks: fields.text("jwks", address::http),
        authorities: fields.text("authorities", names::file),
        allow_http: fields.flag("allow_http"),
        audience: fields.text("audience", visible),
        algorithms: algorithms(&fields),
        // The table of keys ends the range at the largest skew.
        skew: u32::try_from(skew)
            .ok()
            .and_then(Skew::new)
            .unwrap_or(Skew::DEFAULT),
        roles_claim: fields.text("roles_claim", visible),
        refresh: fields.duration("refresh").value,
        max_stale: fields.duration("max_stale").value,
        revocations: revocations::revocations(&fields),
    }
}

/// `None` where the route asks for no token.
pub(super) fn auth(route: &Fields<'_>) -> Option<FileAuth> {
    if !route.is_written("auth") {
        return None;
    }
    let fields = route.short("auth");
    let roles = fields.texts("roles", role);
    let scopes = fields.texts("scopes", scope);
    for (name, named) in [("roles", &roles), ("scopes", &scopes)] {
        if fields.is_written(name) && named.is_empty() && !fields.report().has_errors() {
            let message = format!("`{name}` names none");
            let hint = "leave it out where any will do";
            let span = fields.span_of(name);
            fields.report().error_with_hint(span, message, hint);
        }
    }
    Some(FileAuth {
        span: fields.span(),
        issuer: fields.text("issuer", anything),
        audience: fields.text("audience", visible),
        roles,
        scopes,
        claims: fields.map("claims", |name, claim| {
            Ok((words::claim_field(name)?, visible(claim)?))
        }),
        forward_token: fields.flag("forward_token"),
        optional: fields.flag("optional"),
        tunnels: tunnels(&fields),
        when_lost: revocations::when_lost(&fields)
            .map(|when_lost| (fields.span_of("when_lost"), when_lost)),
    })
}

fn tunnels(auth: &Fields<'_>) -> Located<Tunnels> {
    let word = auth.word("tunnels");
    Located {
        value: match word.value {
            "until_revoked" => Tunnels::UntilRevoked,
            _ => Tunnels::UntilExpired,
        },
        span: word.span,
        is_written: word.is_written,
    }
}

fn algorithms(fields: &Fields<'_>) -> Option<(Span, Vec<Algorithm>)> {
    if !fields.is_written("algorithms") {
        return None;
    }
    let algorithms = fields.texts("algorithms", |text| {
        Algorithm::from_name(text).ok_or_else(|| {
            let hint = "RS256, ES256 and EdDSA can be verified; `none` and HMAC never are";
            Mistake::new("is no algorithm that is accepted", hint)
        })
    });
    let algorithms = algorithms.into_iter().map(|one| one.value).collect();
    Some((fields.span_of("algorithms"), algorithms))
}

fn anything(text: &str) -> Result<String, Mistake> {
    Ok(text.to_owned())
}

/// Issuers, audiences and names of claims.
fn visible(text: &str) -> Result<String, Mistake> {
    let is_sound =
        (1..=TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    is_sound.then(|| text.to_owned()).ok_or_else(|| {
        Mistake::new(
            "holds what no token says there",
            "1 to 512 visible characters, without spaces",
        )
    })
}

fn role(text: &str) -> Result<String, Mistake> {
    let is_sound = !text.is_empty() && !text.chars().any(char::is_control);
    is_sound
        .then(|| text.to_owned())
        .ok_or_else(|| Mistake::new("is no role", "write one such as `admin`"))
}

/// RFC 6749 section 3.3.
fn scope(text: &str) -> Result<String, Mistake> {
    let is_sound = visible(text).is_ok() && !text.contains(['"', '\\']);
    is_sound.then(|| text.to_owned()).ok_or_else(|| {
        Mistake::new(
            "is no scope",
            "one scope an entry, such as `orders:read`, without quotes, backslashes and spaces",
        )
    })
}

/// Longest issuer that a token may name.
const TEXT_BYTES_MAX: usize = 512;
