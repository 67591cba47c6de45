//! Private keys: what may be generated, imported and named.

use crate::testing::{ALL, claims, key_set, verifier};
use crate::{Algorithm, JwkError, KeyError, RsaSize, SigningKey, TokenType, sign};

const RSA_1024: &str = include_str!("../../testdata/rsa-1024.pem");
const RSA_EXPONENT_3: &str = include_str!("../../testdata/rsa-2048-exponent-3.pem");
const P384: &str = include_str!("../../testdata/p384.pem");
/// RFC 8410 section 10.3, the first example.
const ED25519: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";

#[test]
fn a_key_read_back_from_pkcs8_is_the_same_key() {
    for algorithm in ALL {
        let (key, pkcs8) = SigningKey::generate(algorithm).expect("generated");
        let again = SigningKey::from_pkcs8(algorithm, &pkcs8).expect("own document");
        assert_eq!(key.kid(), again.kid());
        assert_eq!(key.algorithm(), algorithm);
        let token = sign(&again, TokenType::AccessToken, &claims()).expect("signed");
        verifier()
            .verify(&token, &key_set(&[&key]), claims().iat)
            .expect("same key");
    }
}

#[test]
fn a_key_is_not_read_as_one_of_another_algorithm() {
    for algorithm in ALL {
        let (_, pkcs8) = SigningKey::generate(algorithm).expect("generated");
        for other in ALL {
            let refused = SigningKey::from_pkcs8(other, &pkcs8).is_err();
            assert_eq!(refused, other != algorithm, "{algorithm:?} as {other:?}");
        }
    }
}

#[test]
fn sec_c13_weak_rsa_keys_are_refused_at_import() {
    let short = SigningKey::from_pem(Algorithm::Rs256, RSA_1024);
    assert!(matches!(
        short,
        Err(KeyError::Rejected { .. } | KeyError::Unusable(JwkError::Modulus { bits: 1024 }))
    ));
    let small_exponent = SigningKey::from_pem(Algorithm::Rs256, RSA_EXPONENT_3);
    assert!(matches!(
        small_exponent,
        Err(KeyError::Unusable(JwkError::Exponent))
    ));
}

#[test]
fn sec_c13_another_curve_is_refused_at_import() {
    let other = SigningKey::from_pem(Algorithm::Es256, P384);
    assert!(matches!(other, Err(KeyError::Rejected { .. })));
}

#[test]
fn sec_c13_new_rsa_keys_have_2048_bits() {
    let (key, _) = SigningKey::generate(Algorithm::Rs256).expect("generated");
    let jwk = key.public_jwk().to_value();
    let modulus = crate::base64url::decode(jwk["n"].as_str().expect("n")).expect("canonical");
    assert_eq!((modulus.len(), modulus[0] >> 7), (256, 1));
    assert_eq!(jwk["e"], "AQAB");
}

#[test]
fn sec_c13_a_chosen_size_is_the_size_of_the_key() {
    for (size, bytes) in [(RsaSize::Bits2048, 256), (RsaSize::Bits3072, 384)] {
        let (key, pkcs8) = SigningKey::generate_rsa(size).expect("generated");
        let jwk = key.public_jwk().to_value();
        let modulus = crate::base64url::decode(jwk["n"].as_str().expect("n")).expect("canonical");
        assert_eq!((modulus.len(), modulus[0] >> 7), (bytes, 1));
        let again = SigningKey::from_pkcs8(Algorithm::Rs256, &pkcs8).expect("own document");
        assert_eq!(again.kid(), key.kid());
        let token = sign(&key, TokenType::AccessToken, &claims()).expect("signed");
        verifier()
            .verify(&token, &key_set(&[&key]), claims().iat)
            .expect("verified");
    }
}

#[test]
fn a_public_half_is_recognised() {
    let key = SigningKey::from_pem(Algorithm::EdDsa, ED25519).expect("RFC 8410's key");
    // RFC 8410 section 10.1.
    let public = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";
    assert!(key.is_public_pem(public));
    for other in [
        "",
        ED25519,
        &public.replace("PUBLIC", "RSA PUBLIC"),
        &public.replace("Gb9E", "Gb9F"),
    ] {
        assert!(!key.is_public_pem(other), "{other}");
    }
    let (other, _) = SigningKey::generate(Algorithm::EdDsa).expect("generated");
    assert!(!other.is_public_pem(public));
}

#[test]
fn pem_is_read_strictly() {
    let key = SigningKey::from_pem(Algorithm::EdDsa, ED25519).expect("RFC 8410's key");
    let x = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
    let jwk = key.public_jwk().to_value();
    let public = crate::base64url::decode(jwk["x"].as_str().expect("x")).expect("canonical");
    assert_eq!(
        public
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>(),
        x
    );
    for pem in [
        String::new(),
        ED25519.replace("PRIVATE", "PUBLIC"),
        ED25519.replace("PRIVATE", "RSA PRIVATE"),
        ED25519.replace("PRIVATE", "ENCRYPTED PRIVATE"),
        ED25519.replace("MC4C", "MC4*"),
        ED25519.repeat(2),
        format!("Bag Attributes\n{ED25519}"),
    ] {
        let refusal = SigningKey::from_pem(Algorithm::EdDsa, &pem);
        assert!(matches!(refusal, Err(KeyError::Pem)), "{pem}");
    }
}

#[test]
fn truncated_pkcs8_is_refused() {
    let (_, pkcs8) = SigningKey::generate(Algorithm::EdDsa).expect("generated");
    for end in 0..pkcs8.len() {
        assert!(SigningKey::from_pkcs8(Algorithm::EdDsa, &pkcs8[..end]).is_err());
    }
}

#[test]
fn imported_keys_keep_a_well_formed_id() {
    let key = crate::testing::key(Algorithm::EdDsa)
        .with_kid("2026-11:a_b-c.d")
        .expect("fine");
    assert_eq!(key.kid(), "2026-11:a_b-c.d");
    assert_ne!(key.public_jwk().thumbprint(), key.kid());
    for kid in ["", "../x", "a b", "a\"b", "ключ", "x\n", &"k".repeat(129)] {
        assert!(
            crate::testing::key(Algorithm::EdDsa).with_kid(kid).is_err(),
            "{kid}"
        );
    }
}

#[test]
fn debug_shows_no_private_part() {
    let (key, _) = SigningKey::generate(Algorithm::EdDsa).expect("generated");
    let shown = format!("{key:?}");
    assert_eq!(
        shown,
        format!(
            "SigningKey {{ kid: {:?}, algorithm: EdDsa, .. }}",
            key.kid()
        )
    );
}
