//! The contract between edge and auth: claims, JWS, JWKS, revocations and their feed, header names. Never does IO.
//!
//! Auth signs with a [`SigningKey`] and publishes [`Jwks`]; whoever checks builds a [`KeySet`] from it
//! once and asks a [`Verifier`]. The verifier accepts one shape of token only: compact serialisation, a key
//! named by `kid`, the algorithm of that key's own record, and the claims of [`Claims`] in range.
//! `now` is always an argument, in Unix seconds.
//!
//! An edge guards applications of any issuer with an [`AccessVerifier`], which reads what is not ours
//! by [`Profile::Generic`].
//!
//! ```
//! use portcullis_token::{Algorithm, Claims, Jwks, KeySet, SigningKey, Skew, TokenType, Verifier, sign};
//!
//! let (key, _pkcs8) = SigningKey::generate(Algorithm::EdDsa)?;
//! let claims = Claims {
//!     iss: "https://auth.example.com".into(), sub: "u-1".into(), aud: vec!["api".into()],
//!     iat: 1_000, exp: 1_600, nbf: None, jti: portcullis_token::id([7; 16]), client_id: "web".into(),
//!     sid: "s-1".into(), roles: vec!["admin".into()], scope: None,
//!     tier: Some("pro".into()), authentication: Default::default(),
//! };
//! let token = sign(&key, TokenType::AccessToken, &claims)?;
//!
//! let published = Jwks::new(vec![key.public_jwk().clone()])?.to_json();
//! let keys = KeySet::from_jwks(&Jwks::parse(&published)?);
//! let verifier = Verifier {
//!     issuer: "https://auth.example.com".into(), audience: "api".into(),
//!     token_type: TokenType::AccessToken, skew: Skew::DEFAULT,
//! };
//! assert_eq!(verifier.verify(&token, &keys, 1_001)?.claims, claims);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod algorithm;
mod base64url;
mod claims;
pub mod feed;
pub mod headers;
mod json;
mod jwk;
mod jwks;
mod key;
mod profile;
pub mod revocation;
mod seen;
mod sign;
#[cfg(test)]
mod testing;
mod verify;

pub use access::{AccessClaims, AccessToken, AccessVerifier, ClaimValue, GenericClaims};
pub use algorithm::{Algorithm, TokenType};
pub use claims::{Authentication, Claims, ClaimsError, id};
pub use jwk::{Jwk, JwkError, KeyIdError};
pub use jwks::{Jwks, JwksError, KeySet};
pub use key::{KeyError, RsaSize, SigningKey};
pub use profile::Profile;
pub use seen::{Digest, Seen};
pub use sign::{SignError, sign};
pub use verify::{Skew, TOKEN_BYTES_MAX, Verified, Verifier, VerifyError};
