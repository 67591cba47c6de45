//! An issuer of access tokens for one test: publishes keys, signs whatever it is told. Never part of
//! the product, so it signs with the cryptographic library itself.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_testkit::{Behavior, Endpoint};
use portcullis_token::{Algorithm, Jwks, SigningKey};
use serde_json::{Value, json};

/// Whom tokens are for, unless a test says otherwise.
pub(crate) const AUDIENCE: &str = "https://api.example.com";
/// Who issues them.
pub(crate) const ISSUER: &str = "https://auth.example.com";

/// A published key that signs.
pub(crate) struct Signer {
    pub(crate) public: SigningKey,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Publishes key sets on a port of its own.
pub(crate) struct Publisher {
    pub(crate) endpoint: Endpoint,
}

impl Signer {
    pub(crate) fn new(algorithm: Algorithm) -> Signer {
        let (public, pkcs8) = SigningKey::generate(algorithm).unwrap();
        let pair = match algorithm {
            Algorithm::Rs256 => Pair::Rsa(Box::new(RsaKeyPair::from_pkcs8(&pkcs8).unwrap())),
            Algorithm::Es256 => {
                let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
                Pair::P256(EcdsaKeyPair::from_pkcs8(signing, &pkcs8).unwrap())
            }
            Algorithm::EdDsa => Pair::Ed25519(Ed25519KeyPair::from_pkcs8(&pkcs8).unwrap()),
        };
        Signer { public, pair }
    }

    pub(crate) fn header(&self) -> Value {
        let algorithm = self.public.algorithm().name();
        json!({ "alg": algorithm, "typ": "at+jwt", "kid": self.public.kid() })
    }

    /// A token that is valid where nothing is changed; `null` removes a claim.
    pub(crate) fn token(&self, changes: &Value) -> String {
        self.sign(&self.header(), &changed(&claims(), changes))
    }

    /// The same with other header parameters.
    pub(crate) fn token_with_header(&self, changes: &Value) -> String {
        self.sign(&changed(&self.header(), changes), &claims())
    }

    pub(crate) fn sign(&self, header: &Value, payload: &Value) -> String {
        self.sign_text(&header.to_string(), &payload.to_string())
    }

    /// Signs any two texts.
    pub(crate) fn sign_text(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature = self.sign_bytes(signed.as_bytes());
        format!("{signed}.{}", encode(signature))
    }

    pub(crate) fn sign_bytes(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            // Only one of the two signatures counts for a Portcullis issuer: draw until it comes.
            Pair::P256(pair) => loop {
                let signature = pair.sign(&random, message).unwrap();
                if signature.as_ref()[32] < 0x7f {
                    return signature.as_ref().to_vec();
                }
            },
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

impl Publisher {
    pub(crate) async fn start(signers: &[&Signer]) -> Publisher {
        let publisher = Publisher {
            endpoint: Endpoint::start("publisher").await,
        };
        publisher.publish(signers);
        publisher
    }

    /// From now on these are the keys.
    pub(crate) fn publish(&self, signers: &[&Signer]) {
        self.endpoint.behave(Behavior::raw(answer(signers)));
    }

    /// Where they are.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/keys", self.endpoint.address())
    }

    /// What an edge has to know.
    pub(crate) fn keys(&self) -> Value {
        json!({ "issuer": ISSUER, "jwks": self.url(), "audience": AUDIENCE })
    }

    /// How often it was asked.
    pub(crate) fn requests(&self) -> usize {
        self.endpoint.requests()
    }
}

/// An HTTP answer with these keys in it.
pub(crate) fn answer(signers: &[&Signer]) -> Vec<u8> {
    let keys = signers.iter().map(|one| one.public.public_jwk().clone());
    let document = Jwks::new(keys.collect()).unwrap().to_json();
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        document.len()
    )
    .into_bytes();
    answer.extend(document);
    answer
}

/// Every claim of a Portcullis token, valid for five minutes.
pub(crate) fn claims() -> Value {
    let now = now();
    json!({
        "iss": ISSUER, "sub": "ann", "aud": AUDIENCE, "iat": now, "exp": now + 300,
        "jti": format!("{:032x}", fastrand::u128(..)), "client_id": "web", "sid": "session-1",
        "roles": ["admin", "auditor"], "scope": "orders:read orders:write",
        "tenant": "blue",
    })
}

pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn changed(object: &Value, changes: &Value) -> Value {
    let mut object = object.clone();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => object.as_object_mut().unwrap().remove(name),
            value => object
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone()),
        };
    }
    object
}
