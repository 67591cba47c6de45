//! Published key sets: read, printed, and looked up by key id. Never larger than what a small service publishes.

use serde_json::json;

use crate::Profile;
use crate::json::{Json, Object};
use crate::jwk::{Jwk, JwkError};

/// Longest document that is parsed.
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// Most keys in one set.
const KEYS_MAX: usize = 32;

/// The signature keys of one issuer, each id once.
#[derive(Clone, Debug)]
pub struct Jwks {
    keys: Vec<Jwk>,
}

/// Why a document is not a key set we may rely on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not JSON of the right shape, or longer than 256 KiB.
    #[error("not a JSON Web Key Set of at most 256 KiB")]
    Malformed,
    /// More than 32 keys.
    #[error("more than 32 keys")]
    TooMany,
    /// Two keys share an id, so a token could mean either.
    #[error("key id `{kid}` appears twice")]
    Duplicate {
        /// The id.
        kid: String,
    },
    /// One key is unsafe or broken. The whole set is refused: a publisher that errs here is not to be trusted by halves.
    #[error("key {index}: {source}")]
    Key {
        /// Position in the document, from 0.
        index: usize,
        /// What is wrong with it.
        source: JwkError,
    },
}

impl Jwks {
    /// A set of these keys, in this order.
    ///
    /// # Errors
    /// If there are more than 32 or two share an id.
    pub fn new(keys: Vec<Jwk>) -> Result<Self, JwksError> {
        if keys.len() > KEYS_MAX {
            return Err(JwksError::TooMany);
        }
        for (index, key) in keys.iter().enumerate() {
            if keys[..index].iter().any(|other| other.kid() == key.kid()) {
                return Err(JwksError::Duplicate {
                    kid: key.kid().to_owned(),
                });
            }
        }
        Ok(Self { keys })
    }

    /// Reads a document. Keys of kinds or for uses that we do not know are left out, as RFC 7517
    /// section 5 asks; keys of our kinds must be sound, each with `kid` and `alg`.
    ///
    /// # Errors
    /// See [`JwksError`].
    pub fn parse(document: &[u8]) -> Result<Self, JwksError> {
        Self::parse_as(document, Profile::Portcullis)
    }

    /// The same for any issuer. Of [`Profile::Generic`] also keys without `kid`, for another
    /// algorithm or too weak for us are left out; private members still make the set unacceptable.
    ///
    /// # Errors
    /// See [`JwksError`].
    pub fn parse_as(document: &[u8], profile: Profile) -> Result<Self, JwksError> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(JwksError::Malformed);
        }
        let object = Object::parse(document).ok_or(JwksError::Malformed)?;
        let items = object
            .member("keys")
            .and_then(Json::as_array)
            .ok_or(JwksError::Malformed)?;
        if items.len() > KEYS_MAX {
            return Err(JwksError::TooMany);
        }
        let mut keys = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let Json::Object(item) = item else {
                return Err(JwksError::Malformed);
            };
            match Jwk::from_object(item, profile) {
                Ok(key) => keys.push(key),
                Err(JwkError::Unsupported) => {}
                Err(source) if profile == Profile::Generic && !is_tainting(&source) => {}
                Err(source) => return Err(JwksError::Key { index, source }),
            }
        }
        Self::new(keys)
    }

    /// The document to publish: `kty`, `kid`, `alg`, `use` and the public numbers of each key.
    pub fn to_json(&self) -> Vec<u8> {
        let keys: Vec<_> = self.keys.iter().map(Jwk::to_value).collect();
        json!({ "keys": keys }).to_string().into_bytes()
    }

    /// The keys in order.
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }
}

/// Whether a key taints the whole set, whoever published it.
fn is_tainting(error: &JwkError) -> bool {
    matches!(error, JwkError::Private(_))
}

/// The keys a verifier accepts, found by id.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<Jwk>,
}

impl KeySet {
    /// All keys of the set; they were parsed when the set was made.
    pub fn from_jwks(jwks: &Jwks) -> Self {
        Self {
            keys: jwks.keys.clone(),
        }
    }

    /// The key with exactly this id. A set has few keys, so a scan beats a hash.
    pub fn find(&self, kid: &str) -> Option<&Jwk> {
        self.keys.iter().find(|key| key.kid() == kid)
    }
}

#[cfg(test)]
mod tests;
