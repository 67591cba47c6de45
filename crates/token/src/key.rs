//! Private signing keys, parsed once and kept. Never prints or publishes anything but the public half.

pub(crate) mod der;
pub(crate) mod ed25519;
pub(crate) mod p256;
mod pem;

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use zeroize::Zeroizing;

use crate::Algorithm;
use crate::jwk::{Jwk, JwkError, KeyIdError, Material};

/// A private key with its id. The id is the RFC 7638 thumbprint unless the key was imported under another.
pub struct SigningKey {
    pair: Pair,
    public: Jwk,
}

/// How long the modulus of a new RSA key is: the longer, the slower to sign and the larger the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RsaSize {
    /// 112 bits of security, as NIST asks until 2030.
    Bits2048,
    /// 128 bits of security; signing takes three times as long.
    Bits3072,
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Why a private key cannot be had or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not one `PRIVATE KEY` block of PEM.
    #[error(
        "not a PEM `PRIVATE KEY` (PKCS#8); convert others with `openssl pkcs8 -topk8 -nocrypt`"
    )]
    Pem,
    /// Not an unencrypted PKCS#8 private key of the algorithm, or an inconsistent one.
    #[error("not a PKCS#8 private key for {}: {reason}", .algorithm.name())]
    Rejected {
        /// What it was imported for.
        algorithm: Algorithm,
        /// The library's word for it.
        reason: String,
    },
    /// The key is too weak or malformed.
    #[error("unusable key: {0}")]
    Unusable(#[from] JwkError),
    /// The cryptographic library failed for reasons of its own.
    #[error("the cryptographic library failed")]
    Library,
}

impl From<Unspecified> for KeyError {
    fn from(_: Unspecified) -> Self {
        Self::Library
    }
}

impl SigningKey {
    /// A new key (RSA has 2048 bits) and its PKCS#8 form, which is the only copy that can be stored.
    ///
    /// RSA takes some 25 to 200 ms of CPU: not for a runtime thread.
    ///
    /// # Errors
    /// Only if the cryptographic library fails.
    pub fn generate(algorithm: Algorithm) -> Result<(Self, Zeroizing<Vec<u8>>), KeyError> {
        let pkcs8 = match algorithm {
            Algorithm::Rs256 => return Self::generate_rsa(RsaSize::Bits2048),
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
                Zeroizing::new(pair.to_pkcs8v1()?.as_ref().to_vec())
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate()?;
                Zeroizing::new(pair.to_pkcs8v1()?.as_ref().to_vec())
            }
        };
        Ok((Self::from_pkcs8(algorithm, &pkcs8)?, pkcs8))
    }

    /// A new RSA key of a chosen size, as [`SigningKey::generate`].
    ///
    /// # Errors
    /// Only if the cryptographic library fails.
    pub fn generate_rsa(size: RsaSize) -> Result<(Self, Zeroizing<Vec<u8>>), KeyError> {
        let size = match size {
            RsaSize::Bits2048 => KeySize::Rsa2048,
            RsaSize::Bits3072 => KeySize::Rsa3072,
        };
        let der: Pkcs8V1Der<'_> = RsaKeyPair::generate(size)?.as_der()?;
        let pkcs8 = Zeroizing::new(der.as_ref().to_vec());
        Ok((Self::from_pkcs8(Algorithm::Rs256, &pkcs8)?, pkcs8))
    }

    /// Reads an unencrypted PKCS#8 document.
    ///
    /// # Errors
    /// If it is none, is for another algorithm, or is too weak: RSA needs 2048 bits and an exponent of 65537.
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let rejected = |reason: aws_lc_rs::error::KeyRejected| KeyError::Rejected {
            algorithm,
            reason: reason.to_string(),
        };
        let (pair, material) = match algorithm {
            Algorithm::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(rejected)?;
                let (n, e) =
                    der::rsa_public_key(pair.public_key().as_ref()).ok_or(KeyError::Library)?;
                (Pair::Rsa(pair), Material::Rsa { n, e })
            }
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
                    .map_err(rejected)?;
                let (x, y) =
                    p256::coordinates(pair.public_key().as_ref()).ok_or(KeyError::Library)?;
                (Pair::P256(pair), Material::P256 { x, y })
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(rejected)?;
                let x = pair
                    .public_key()
                    .as_ref()
                    .try_into()
                    .map_err(|_| KeyError::Library)?;
                (Pair::Ed25519(pair), Material::Ed25519 { x })
            }
        };
        Ok(Self {
            pair,
            public: Jwk::new(None, material)?,
        })
    }

    /// Reads a PEM document with one PKCS#8 `PRIVATE KEY` block.
    ///
    /// # Errors
    /// As [`SigningKey::from_pkcs8`], and if the PEM is malformed.
    pub fn from_pem(algorithm: Algorithm, pem: &str) -> Result<Self, KeyError> {
        Ok(Self::import_pem(algorithm, pem)?.0)
    }

    /// As [`SigningKey::from_pem`], with the PKCS#8 document inside it, to be stored.
    ///
    /// # Errors
    /// As [`SigningKey::from_pem`].
    pub fn import_pem(
        algorithm: Algorithm,
        pem: &str,
    ) -> Result<(Self, Zeroizing<Vec<u8>>), KeyError> {
        let pkcs8 = pem::private_key(pem).ok_or(KeyError::Pem)?;
        Ok((Self::from_pkcs8(algorithm, &pkcs8)?, pkcs8))
    }

    /// Whether a PEM document with one `PUBLIC KEY` block (RFC 5280 SubjectPublicKeyInfo) is this key's public half.
    pub fn is_public_pem(&self, pem: &str) -> bool {
        let own: Result<PublicKeyX509Der<'_>, Unspecified> = match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_der(),
            Pair::P256(pair) => pair.public_key().as_der(),
            Pair::Ed25519(pair) => pair.public_key().as_der(),
        };
        own.is_ok_and(|own| pem::public_key(pem).is_some_and(|der| der.as_slice() == own.as_ref()))
    }

    /// The same key under an id of the operator's choice.
    ///
    /// # Errors
    /// If the id has characters other than letters, digits, `-`, `_`, `.`, `:` or more than 128 of them.
    pub fn with_kid(self, kid: &str) -> Result<Self, KeyIdError> {
        Ok(Self {
            public: self.public.with_kid(kid)?,
            ..self
        })
    }

    /// The id that tokens will name.
    pub fn kid(&self) -> &str {
        self.public.kid()
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// The public half, to be published.
    pub fn public_jwk(&self) -> &Jwk {
        &self.public
    }

    pub(crate) fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        // The library has its own generator and ignores the one passed for compatibility.
        let unused = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &unused, message, &mut signature)?;
                Ok(signature)
            }
            Pair::P256(pair) => {
                let mut signature = pair.sign(&unused, message)?.as_ref().to_vec();
                p256::lower_s(&mut signature);
                Ok(signature)
            }
            Pair::Ed25519(pair) => Ok(pair.try_sign(message)?.as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid())
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
