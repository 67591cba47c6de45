//! Keys of issuers and of what routes ask of tokens. Never holds a rule that concerns two keys.

use std::time::Duration;

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::revocations::{REVOCATIONS, WHEN_LOST};
use super::{Default, HOUR, NAME, Optional, Required, key, text};

const FLAG: Kind = Kind::Scalar(Scalar::Flag);
const SECOND: Duration = Duration::from_secs(1);

pub(super) static ISSUER: Table = Table {
    keys: &[
        key("issuer", text(&ISSUER_TEXT), Required("https://auth.example.com"), "The `iss` of its tokens, compared byte by byte."),
        key("profile", Kind::Scalar(Scalar::Word(&["portcullis", "generic"])), Default("portcullis"), "Whose tokens they are: those of a Portcullis auth service, or of any other, of which less is demanded (docs/tokens.md)."),
        key("jwks", text(&JWKS), Optional("https://auth.example.com/.well-known/jwks.json"), "Where its public keys are; at /.well-known/jwks.json below `issuer` by default."),
        key("authorities", text(&FILE), Optional("certs/ca.pem"), "PEM file of the authorities to trust for `jwks` and feeds; the system's by default."),
        key("allow_http", FLAG, Default("false"), "Whether keys may come over plain HTTP from another machine; whoever is between can then sign tokens."),
        key("audience", text(&AUDIENCE), Optional("https://api.example.com"), "Must be among a token's audiences, where a route names no other."),
        key("algorithms", Kind::List(&ALGORITHM), Optional("[RS256, ES256, EdDSA]"), "Signatures that are accepted; these three by default."),
        key("skew", Kind::Scalar(Scalar::Duration(Duration::ZERO, Duration::from_secs(120))), Default("30s"), "How far clocks may differ."),
        key("roles_claim", text(&CLAIM), Default("roles"), "Where `profile: generic` finds roles, such as realm_access.roles."),
        key("refresh", Kind::Scalar(Scalar::Duration(SECOND, HOUR)), Default("1m"), "How often the keys are asked for; a token with a key not known yet brings that forward, at most twice a minute."),
        key("max_stale", Kind::Scalar(Scalar::Duration(SECOND, SEVEN_DAYS)), Default("24h"), "How long the last keys serve while new ones cannot be had; beyond it 503."),
        key("revocations", Kind::Table(&REVOCATIONS), Optional(""), "Where its revocations are told (docs/revocation.md); without it a token holds until it expires."),
    ],
};

pub(super) static AUTH: Table = Table {
    keys: &[
        key("issuer", text(&NAME), Required("main"), "Whose tokens are accepted: a name under `issuers`."),
        key("audience", text(&AUDIENCE), Optional("https://api.example.com"), "Must be among a token's audiences; that of the issuer by default."),
        key("roles", Kind::List(&ROLE), Optional("[admin, auditor]"), "The token must hold one of these roles."),
        key("scopes", Kind::List(&SCOPE), Optional("[\"orders:read\"]"), "The token must hold all of these scopes."),
        key("claims", Kind::Map(&ANY_CLAIM), Optional("{ X-Org: org }"), "Header fields for the endpoint, and the claim that each takes its value from; what clients send under these names is removed on every route."),
        key("forward_token", FLAG, Default("true"), "Whether the endpoint gets the Authorization field, too."),
        key("optional", FLAG, Default("false"), "Whether a request without a token passes, without identity; one with a bad token never does."),
        key("tunnels", Kind::Scalar(Scalar::Word(&["until_expired", "until_revoked"])), Default("until_expired"), "How long a connection that becomes a tunnel (WebSocket) may last: until its token expires or is revoked, or until the latter alone."),
        key("when_lost", Kind::Short(&WHEN_LOST), Optional("{ stale: 60s }"), "What becomes of tokens while the revocations of the issuer are lost; as the issuer says by default."),
    ],
};

const SEVEN_DAYS: Duration = Duration::from_secs(7 * 24 * 3600);

static ALGORITHM: Kind = text(&ALGORITHM_TEXT);
static ROLE: Kind = text(&ROLE_TEXT);
static SCOPE: Kind = text(&SCOPE_TEXT);
static ANY_CLAIM: Scalar = Scalar::Text(&CLAIM);

static ISSUER_TEXT: Text = Text { what: "an issuer such as `https://auth.example.com`", pattern: "^[!-~]+$" };
static JWKS: Text = Text { what: "an address such as `https://auth.example.com/.well-known/jwks.json`", pattern: "^https?://[^#@]+$" };
static FILE: Text = Text { what: "a file such as `certs/ca.pem`", pattern: "" };
static AUDIENCE: Text = Text { what: "an audience such as `https://api.example.com`", pattern: "^[!-~]+$" };
static ALGORITHM_TEXT: Text = Text { what: "RS256, ES256 or EdDSA", pattern: "^(RS256|ES256|EdDSA)$" };
static CLAIM: Text = Text { what: "the name of a claim such as `tenant`", pattern: "^[!-~]+$" };
static ROLE_TEXT: Text = Text { what: "a role such as `admin`", pattern: "" };
static SCOPE_TEXT: Text = Text { what: "a scope such as `orders:read`", pattern: "^[!#-\\[\\]-~]+$" };
