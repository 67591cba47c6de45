//! Forges tokens for tests: starts from a valid one, changes one thing, signs again. Never compiled into the library.

use serde_json::{Value, json};

use crate::{
    Algorithm, Authentication, Claims, Jwks, KeySet, SigningKey, Skew, TokenType, Verified,
    Verifier, VerifyError, base64url,
};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://auth.example.com";
pub(crate) const AUDIENCE: &str = "https://api.example.com";
pub(crate) const ALL: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

pub(crate) fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(algorithm).expect("key generation").0
}

pub(crate) fn key_set(keys: &[&SigningKey]) -> KeySet {
    let jwks = Jwks::new(keys.iter().map(|key| key.public_jwk().clone()).collect());
    KeySet::from_jwks(&jwks.expect("distinct keys"))
}

pub(crate) fn claims() -> Claims {
    Claims {
        iss: ISSUER.into(),
        sub: "user-1".into(),
        aud: vec![AUDIENCE.into()],
        exp: NOW + 600,
        iat: NOW,
        nbf: Some(NOW),
        jti: crate::id([7; 16]),
        client_id: "web".into(),
        sid: "session-1".into(),
        roles: vec!["admin".into(), "auditor".into()],
        scope: Some("openid profile".into()),
        tier: Some("pro".into()),
        authentication: Authentication {
            time: Some(NOW - 60),
            class: Some("aal2".into()),
            methods: vec!["pwd".into(), "otp".into(), "mfa".into()],
        },
    }
}

pub(crate) fn verifier() -> Verifier {
    Verifier {
        issuer: ISSUER.into(),
        audience: AUDIENCE.into(),
        token_type: TokenType::AccessToken,
        skew: Skew::DEFAULT,
    }
}

/// A valid token of one key, open for changes.
pub(crate) struct Forge {
    pub(crate) key: SigningKey,
    pub(crate) keys: KeySet,
    header: Value,
    payload: Value,
}

impl Forge {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let key = key(algorithm);
        Self {
            keys: key_set(&[&key]),
            header: json!({"alg": algorithm.name(), "typ": "at+jwt", "kid": key.kid()}),
            payload: serde_json::from_slice(&claims().to_json().expect("valid claims"))
                .expect("valid JSON"),
            key,
        }
    }

    /// The unchanged token.
    pub(crate) fn valid(&self) -> String {
        self.raw(&self.header.to_string(), &self.payload.to_string())
    }

    /// The token with one header parameter replaced, or removed by `None`.
    pub(crate) fn with_header(&self, name: &str, value: Option<Value>) -> String {
        self.raw(
            &edited(&self.header, name, value),
            &self.payload.to_string(),
        )
    }

    /// The token with one claim replaced, or removed by `None`.
    pub(crate) fn with_claim(&self, name: &str, value: Option<Value>) -> String {
        self.raw(
            &self.header.to_string(),
            &edited(&self.payload, name, value),
        )
    }

    /// The token with a claim whose value is written as given, valid JSON or not.
    pub(crate) fn with_raw_claim(&self, name: &str, value: &str) -> String {
        let mut payload = edited(&self.payload, name, None);
        payload.truncate(payload.len() - 1);
        self.with_payload(&format!("{payload},\"{name}\":{value}}}"))
    }

    pub(crate) fn with_payload(&self, payload: &str) -> String {
        self.raw(&self.header.to_string(), payload)
    }

    pub(crate) fn with_raw_header(&self, header: &str) -> String {
        self.raw(header, &self.payload.to_string())
    }

    /// Signs any two texts with the key.
    pub(crate) fn raw(&self, header: &str, payload: &str) -> String {
        let signed = signing_input(header, payload);
        let signature = self.key.sign_bytes(signed.as_bytes()).expect("signature");
        format!("{signed}.{}", base64url::encode(&signature))
    }

    /// Header and payload texts of the valid token.
    pub(crate) fn texts(&self) -> (String, String) {
        (self.header.to_string(), self.payload.to_string())
    }

    pub(crate) fn verify(&self, token: &str) -> Result<Verified, VerifyError> {
        verifier().verify(token, &self.keys, NOW)
    }

    #[track_caller]
    pub(crate) fn refuses(&self, token: &str) {
        let verdict = self.verify(token);
        assert!(verdict.is_err(), "accepted: {token}");
    }
}

pub(crate) fn signing_input(header: &str, payload: &str) -> String {
    let [header, payload] = [header, payload].map(|text| base64url::encode(text.as_bytes()));
    format!("{header}.{payload}")
}

fn edited(object: &Value, name: &str, value: Option<Value>) -> String {
    let mut object = object.clone();
    let members = object.as_object_mut().expect("an object");
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    object.to_string()
}

/// A generator whose seed is printed; `TOKEN_TEST_SEED` replays a failure.
pub(crate) fn rng() -> fastrand::Rng {
    let seed = std::env::var("TOKEN_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("replay with TOKEN_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// P-256's order.
pub(crate) const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

pub(crate) fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}

/// `s` becomes `n - s`, by schoolbook subtraction.
pub(crate) fn negate_s(signature: &mut [u8]) {
    let order = hex(ORDER);
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i32::from(order[at]) - i32::from(signature[32 + at]) - borrow;
        borrow = i32::from(difference < 0);
        signature[32 + at] = u8::try_from(difference.rem_euclid(256)).expect("a byte");
    }
}
