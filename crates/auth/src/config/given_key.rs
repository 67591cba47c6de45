//! A signing key that the operator gives instead of letting instances make theirs. Never repeats it in a message.

use std::path::PathBuf;

use portcullis_ops::Secret;
use portcullis_token::{Algorithm, SigningKey};

use super::values::Values;

const PRIVATE: &str = "JWT_PRIVATE_KEY";
const PRIVATE_FILE: &str = "JWT_PRIVATE_KEY_FILE";
const PUBLIC: &str = "JWT_PUBLIC_KEY";
const KEY_ID: &str = "JWT_KEY_ID";

/// The given key as it was set; parsed when the instance starts, since it may lie in a file.
#[derive(Debug, Clone)]
pub struct GivenKey {
    /// Where the private half is.
    pub private_key: PrivateKey,
    /// PEM of the public half, to compare with.
    pub public_key: Option<String>,
    /// Its name; `None`: its thumbprint.
    pub kid: Option<String>,
}

/// Where a given private key is.
#[derive(Debug, Clone)]
pub enum PrivateKey {
    /// PEM from the environment, line breaks restored.
    Inline(Secret<String>),
    /// PEM in a file.
    File(PathBuf),
}

impl GivenKey {
    pub(super) fn read(v: &mut Values<'_>, algorithm: Algorithm) -> Option<Self> {
        let inline = v.get(PRIVATE).map(|text| Secret::new(with_lines(&text)));
        let file = v.get(PRIVATE_FILE).map(PathBuf::from);
        let public_key = v.get(PUBLIC).map(|text| with_lines(&text));
        let kid = v.get(KEY_ID);
        let private_key = match (inline, file) {
            (None, None) => {
                for (name, is_set) in [(PUBLIC, public_key.is_some()), (KEY_ID, kid.is_some())] {
                    if is_set {
                        v.error(
                            name,
                            "is set without JWT_PRIVATE_KEY",
                            "set the private key too, or unset it: keys that instances make name themselves",
                        );
                    }
                }
                return None;
            }
            (Some(_), Some(_)) => {
                v.error(
                    PRIVATE,
                    "is set together with JWT_PRIVATE_KEY_FILE",
                    "set one of the two",
                );
                return None;
            }
            (Some(pem), None) => PrivateKey::Inline(pem),
            (None, Some(path)) => PrivateKey::File(path),
        };
        let given = Self {
            private_key,
            public_key,
            kid,
        };
        given.check(v, algorithm);
        Some(given)
    }

    /// The parsed key under its name, and its PKCS#8 form.
    ///
    /// # Errors
    /// The variable that is wrong, what is wrong with it and what to do.
    pub(crate) fn parse(
        &self,
        pem: &str,
        algorithm: Algorithm,
    ) -> Result<Parsed, (&'static str, String)> {
        let (key, pkcs8) =
            SigningKey::import_pem(algorithm, pem).map_err(|error| (PRIVATE, error.to_string()))?;
        if let Some(public) = &self.public_key
            && !key.is_public_pem(public)
        {
            let message = "is not the public half of JWT_PRIVATE_KEY, as PEM `PUBLIC KEY`";
            return Err((PUBLIC, message.to_owned()));
        }
        let key = match &self.kid {
            None => key,
            Some(kid) => key
                .with_kid(kid)
                .map_err(|error| (KEY_ID, error.to_string()))?,
        };
        Ok(Parsed { key, pkcs8 })
    }

    fn check(&self, v: &mut Values<'_>, algorithm: Algorithm) {
        let PrivateKey::Inline(pem) = &self.private_key else {
            return;
        };
        if let Err((variable, message)) = self.parse(pem.expose(), algorithm) {
            v.error(variable, message, hint(variable, algorithm));
        }
    }
}

/// A given key, ready to be stored.
pub(crate) struct Parsed {
    pub(crate) key: SigningKey,
    pub(crate) pkcs8: zeroize::Zeroizing<Vec<u8>>,
}

fn hint(variable: &str, algorithm: Algorithm) -> String {
    match variable {
        PUBLIC => "print it with: openssl pkey -in private.pem -pubout".to_owned(),
        KEY_ID => "use up to 128 letters, digits and - _ . :".to_owned(),
        _ => format!(
            "JWT_ALGORITHM is {}; RSA keys need 2048 bits and the exponent 65537, ES256 the curve P-256",
            algorithm.name()
        ),
    }
}

/// Environment files keep a PEM on one line and write its line breaks as backslash and n.
fn with_lines(text: &str) -> String {
    text.trim()
        .trim_matches('"')
        .replace("\\r", "")
        .replace("\\n", "\n")
}
