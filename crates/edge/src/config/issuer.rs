//! Whose tokens are believed, and what a route asks of them. Never holds a key: those are fetched.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use portcullis_token::{AccessVerifier, Algorithm};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use super::{Follow, WhenLost};

/// Somebody who issues access tokens.
#[derive(Debug)]
pub struct Issuer {
    /// Unique; routes and the `issuer` label in metrics name it so.
    pub name: String,
    /// What every token of it has to satisfy. `others` are the claims that routes pass on.
    pub verifier: AccessVerifier,
    /// Where its public keys are.
    pub jwks: JwksSource,
    /// How often the keys are asked for (default 1 min).
    pub refresh: Duration,
    /// How long the last keys serve while new ones cannot be had (default 24 h).
    pub max_stale: Duration,
    /// Where its revocations are told; `None` (default): its tokens hold until they expire.
    pub revocations: Option<Follow>,
}

/// Where a key set is published.
#[derive(Clone, Debug)]
pub struct JwksSource {
    /// Name or address, without brackets.
    pub host: String,
    /// Port, that of the scheme by default.
    pub port: u16,
    /// For the Host field.
    pub authority: String,
    /// Path and query.
    pub target: String,
    /// How to speak TLS; `None` for plain HTTP.
    pub tls: Option<JwksTls>,
}

/// TLS towards a publisher of keys.
#[derive(Clone, Debug)]
pub struct JwksTls {
    /// Name to ask for and to verify.
    pub server_name: ServerName<'static>,
    /// Where the authorities come from; the system's by default.
    pub ca_path: Option<PathBuf>,
    /// Versions and trust.
    pub client: Arc<ClientConfig>,
}

/// Position of an issuer in [`Config::issuers`](super::Config). Made by the parser, so it always resolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IssuerId(pub usize);

/// What a route asks of the tokens that come with its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Whose tokens.
    pub issuer: IssuerId,
    /// Must be among a token's audiences.
    pub audience: String,
    /// One of these, unless there are none.
    pub roles: Vec<String>,
    /// All of these.
    pub scopes: Vec<String>,
    /// Header fields for the endpoint, and the claim that each takes its value from: a position
    /// in the verifier's `others`.
    pub claims: Vec<(HeaderName, usize)>,
    /// Whether a request without a token passes, without identity (default no).
    pub is_optional: bool,
    /// Whether the endpoint gets the token, too (default yes).
    pub forwards_token: bool,
    /// How long the tunnels may last that are opened here.
    pub tunnels: Tunnels,
    /// What holds while the revocations of the issuer are lost.
    pub when_lost: WhenLost,
}

/// How long a tunnel may last that was opened with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnels {
    /// Until the token expires or is revoked (default).
    UntilExpired,
    /// Until it is revoked.
    UntilRevoked,
}

/// The algorithms that are accepted unless the file names some.
pub(super) const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
