//! One public key with its id and algorithm: checked when made, parsed once. Never holds a private member.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};

use crate::base64url;
use crate::json::{Json, Object};
use crate::{Algorithm, Profile};

/// Smallest RSA modulus (RFC 7518 section 3.3).
const RSA_BITS_MIN: usize = 2048;
/// Largest RSA modulus: verification cost grows with its square.
const RSA_BITS_MAX: usize = 8192;
/// Smaller exponents have a history of forgeries against lax padding checks.
const RSA_EXPONENT_MIN: u32 = 65_537;
/// Members that hold private or symmetric key material (RFC 7518 section 6).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A public signing key as published in a JWKS.
#[derive(Clone, Debug)]
pub struct Jwk {
    kid: String,
    material: Material,
    key: ParsedPublicKey,
    profile: Profile,
}

/// The numbers of a public key, big-endian and without leading zeros (RSA) or of full width (curves).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256 { x: [u8; 32], y: [u8; 32] },
    Ed25519 { x: [u8; 32] },
}

/// Why a JWK is not a key that we use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// A member is absent, of the wrong kind or not canonically encoded.
    #[error("member `{0}` is missing or malformed")]
    Member(&'static str),
    /// The set was published with private or symmetric key material in it.
    #[error("private member `{0}` in a public key set: the key is compromised")]
    Private(&'static str),
    /// `kty`, `crv` and `alg` do not belong together.
    #[error("`alg` does not fit the kind of key")]
    Mismatch,
    /// A kind of key or a use that we have no business with; a set may hold such keys.
    #[error("not a signature key of a kind we know")]
    Unsupported,
    /// RSA below 2048 (or above 8192) bits, or an even modulus.
    #[error("RSA modulus of {bits} bits: 2048 to 8192 are accepted")]
    Modulus {
        /// Its size.
        bits: usize,
    },
    /// RSA exponent below 65537, even, or beyond 32 bits.
    #[error("RSA exponent: odd numbers from 65537 to 2^32 are accepted")]
    Exponent,
    /// The point is not on its curve, or of small order.
    #[error("not a valid public point")]
    Point,
    /// See [`KeyIdError`].
    #[error(transparent)]
    KeyId(#[from] KeyIdError),
}

/// A key id that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key id: 1 to 128 letters, digits, `-`, `_`, `.`, `:` are accepted")]
pub struct KeyIdError;

fn is_key_id(kid: &str) -> bool {
    Profile::Portcullis.accepts_key_id(kid)
}

impl Jwk {
    /// Checks the numbers and parses them for repeated use. Without `kid`, the thumbprint names the key.
    pub(crate) fn new(kid: Option<&str>, material: Material) -> Result<Self, JwkError> {
        Self::of(Profile::Portcullis, kid, material)
    }

    fn of(profile: Profile, kid: Option<&str>, material: Material) -> Result<Self, JwkError> {
        let kid = match kid {
            Some(kid) if profile.accepts_key_id(kid) => kid.to_owned(),
            Some(_) => return Err(KeyIdError.into()),
            None => thumbprint(&material),
        };
        let key = parse_material(&material)?;
        Ok(Self {
            kid,
            material,
            key,
            profile,
        })
    }

    /// The id by which tokens name the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The only algorithm this key is used with.
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256 { .. } => Algorithm::Es256,
            Material::Ed25519 { .. } => Algorithm::EdDsa,
        }
    }

    /// The RFC 7638 thumbprint: SHA-256 of the required members in their one canonical form.
    pub fn thumbprint(&self) -> String {
        thumbprint(&self.material)
    }

    pub(crate) fn with_kid(self, kid: &str) -> Result<Self, KeyIdError> {
        if !is_key_id(kid) {
            return Err(KeyIdError);
        }
        Ok(Self {
            kid: kid.to_owned(),
            ..self
        })
    }

    /// Whether `signature` over `message` was made with this key. One message of ours has one valid
    /// signature: ECDSA's second one (`n - s`) is refused, so a token cannot be respelled.
    pub(crate) fn is_signature(&self, message: &[u8], signature: &[u8]) -> bool {
        let is_strict = self.profile == Profile::Portcullis;
        if self.algorithm() == Algorithm::Es256
            && is_strict
            && !crate::key::p256::is_low_s(signature)
        {
            return false;
        }
        self.key.verify_sig(message, signature).is_ok()
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut value = canonical(&self.material);
        value["kid"] = json!(self.kid);
        value["alg"] = json!(self.algorithm().name());
        value["use"] = json!("sig");
        value
    }

    pub(crate) fn from_object(object: &Object<'_>, profile: Profile) -> Result<Self, JwkError> {
        if let Some(private) = PRIVATE_MEMBERS
            .into_iter()
            .find(|name| object.member(name).is_some())
        {
            return Err(JwkError::Private(private));
        }
        let kty = object.string("kty").ok_or(JwkError::Member("kty"))?;
        let is_for_signing = object
            .member("use")
            .is_none_or(|usage| usage.as_str() == Some("sig"));
        let expected = match (kty, object.string("crv")) {
            _ if !is_for_signing => return Err(JwkError::Unsupported),
            ("RSA", _) => Algorithm::Rs256,
            ("EC", Some("P-256")) => Algorithm::Es256,
            ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
            _ => return Err(JwkError::Unsupported),
        };
        match (profile, object.member("alg").map(Json::as_str)) {
            (_, Some(Some(alg))) if alg == expected.name() => {}
            // The kind of key leaves no choice among our algorithms.
            (Profile::Generic, None) => {}
            (Profile::Generic, Some(Some(_))) => return Err(JwkError::Unsupported),
            (_, Some(Some(_))) => return Err(JwkError::Mismatch),
            (_, None | Some(None)) => return Err(JwkError::Member("alg")),
        }
        let material = match expected {
            Algorithm::Rs256 => Material::Rsa {
                n: bytes(object, "n")?,
                e: bytes(object, "e")?,
            },
            Algorithm::Es256 => Material::P256 {
                x: coordinate(object, "x")?,
                y: coordinate(object, "y")?,
            },
            Algorithm::EdDsa => Material::Ed25519 {
                x: coordinate(object, "x")?,
            },
        };
        let kid = object.member("kid").and_then(Json::as_str);
        let kid = kid.ok_or(JwkError::Member("kid"))?;
        Self::of(profile, Some(kid), material)
    }
}

fn parse_material(material: &Material) -> Result<ParsedPublicKey, JwkError> {
    match material {
        Material::Rsa { n, e } => {
            check_rsa(n, e)?;
            RsaPublicKeyComponents { n, e }
                .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
                .map_err(|_| JwkError::Member("n"))
        }
        Material::P256 { x, y } => {
            let point = [&[4][..], x, y].concat();
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| JwkError::Point)
        }
        Material::Ed25519 { x } => {
            if crate::key::ed25519::is_degenerate(x) {
                return Err(JwkError::Point);
            }
            ParsedPublicKey::new(&ED25519, x).map_err(|_| JwkError::Point)
        }
    }
}

fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), JwkError> {
    let (Some(first), Some(last)) = (n.first(), n.last()) else {
        return Err(JwkError::Member("n"));
    };
    if *first == 0 {
        return Err(JwkError::Member("n"));
    }
    let bits = n.len() * 8 - first.leading_zeros() as usize;
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) || last % 2 == 0 {
        return Err(JwkError::Modulus { bits });
    }
    if e.is_empty() || e[0] == 0 || e.len() > 4 {
        return Err(JwkError::Exponent);
    }
    let exponent = e
        .iter()
        .fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    if exponent < RSA_EXPONENT_MIN || exponent % 2 == 0 {
        return Err(JwkError::Exponent);
    }
    Ok(())
}

/// The required members only, in lexical order and without spaces: RFC 7638 section 3.
fn canonical(material: &Material) -> Value {
    match material {
        Material::Rsa { n, e } => {
            json!({"e": base64url::encode(e), "kty": "RSA", "n": base64url::encode(n)})
        }
        Material::P256 { x, y } => json!({
            "crv": "P-256", "kty": "EC", "x": base64url::encode(x), "y": base64url::encode(y),
        }),
        Material::Ed25519 { x } => {
            json!({"crv": "Ed25519", "kty": "OKP", "x": base64url::encode(x)})
        }
    }
}

fn thumbprint(material: &Material) -> String {
    let hash = digest(&SHA256, canonical(material).to_string().as_bytes());
    base64url::encode(hash.as_ref())
}

fn bytes(object: &Object<'_>, name: &'static str) -> Result<Vec<u8>, JwkError> {
    object
        .string(name)
        .and_then(base64url::decode)
        .ok_or(JwkError::Member(name))
}

fn coordinate(object: &Object<'_>, name: &'static str) -> Result<[u8; 32], JwkError> {
    bytes(object, name)?
        .try_into()
        .map_err(|_| JwkError::Member(name))
}
