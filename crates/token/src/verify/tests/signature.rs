//! Algorithms and signatures: only the key's own algorithm, only its one signature.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    KeyPair, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::jwk::Material;
use crate::testing::{Forge, NOW, ORDER, hex, key_set, negate_s, signing_input, verifier};
use crate::{Algorithm, Jwk, SigningKey, VerifyError, base64url};

#[test]
fn sec_c02_a_public_key_is_never_an_hmac_secret() {
    let (rsa, pkcs8) = SigningKey::generate(Algorithm::Rs256).expect("key");
    let keys = key_set(&[&rsa]);
    let pair = RsaKeyPair::from_pkcs8(&pkcs8).expect("own key");
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");
    let pem = |label: &str, der: &[u8]| {
        let body = STANDARD.encode(der);
        let lines: Vec<_> = body
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).expect("ASCII"))
            .collect();
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----",
            lines.join("\n")
        )
    };
    let spki_pem = pem("PUBLIC KEY", spki.as_ref());
    let pkcs1_pem = pem("RSA PUBLIC KEY", pair.public_key().as_ref());
    let jwk = rsa.public_jwk().to_value();
    let secrets: Vec<Vec<u8>> = vec![
        spki.as_ref().to_vec(),
        pair.public_key().as_ref().to_vec(),
        spki_pem.clone().into_bytes(),
        format!("{spki_pem}\n").into_bytes(),
        pkcs1_pem.clone().into_bytes(),
        format!("{pkcs1_pem}\n").into_bytes(),
        jwk.to_string().into_bytes(),
        jwk["n"].as_str().expect("modulus").as_bytes().to_vec(),
        rsa.kid().as_bytes().to_vec(),
        Vec::new(),
    ];
    let (_, payload) = Forge::new(Algorithm::EdDsa).texts();
    for secret in &secrets {
        for (alg, hash) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ] {
            for written in [alg, "RS256"] {
                let header = json!({"alg": written, "typ": "at+jwt", "kid": rsa.kid()});
                let signed = signing_input(&header.to_string(), &payload);
                let tag = hmac::sign(&hmac::Key::new(hash, secret), signed.as_bytes());
                let token = format!("{signed}.{}", base64url::encode(tag.as_ref()));
                let verdict = verifier().verify(&token, &keys, NOW);
                assert!(
                    matches!(
                        verdict,
                        Err(VerifyError::WrongAlgorithm | VerifyError::BadSignature)
                    ),
                    "{verdict:?}"
                );
            }
        }
    }
}

#[test]
fn sec_c03_the_algorithm_comes_from_the_key_record() {
    let (rsa, pkcs8) = SigningKey::generate(Algorithm::Rs256).expect("key");
    let keys = key_set(&[&rsa]);
    let pair = RsaKeyPair::from_pkcs8(&pkcs8).expect("own key");
    let (_, payload) = Forge::new(Algorithm::EdDsa).texts();
    let encodings: [(&str, &'static dyn RsaEncoding); 3] = [
        ("PS256", &RSA_PSS_SHA256),
        ("RS384", &RSA_PKCS1_SHA384),
        ("RS512", &RSA_PKCS1_SHA512),
    ];
    for (alg, encoding) in encodings {
        for (written, expected) in [
            (alg, VerifyError::WrongAlgorithm),
            ("RS256", VerifyError::BadSignature),
        ] {
            let header = json!({"alg": written, "typ": "at+jwt", "kid": rsa.kid()});
            let signed = signing_input(&header.to_string(), &payload);
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(
                encoding,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .expect("signature");
            let token = format!("{signed}.{}", base64url::encode(&signature));
            assert_eq!(
                verifier().verify(&token, &keys, NOW),
                Err(expected),
                "{written} for {alg}"
            );
        }
    }
}

#[test]
fn sec_c03_a_header_that_disagrees_with_the_key_is_refused() {
    for algorithm in crate::testing::ALL {
        let forge = Forge::new(algorithm);
        for alg in [
            "RS256", "RS384", "PS256", "ES256", "ES256K", "ES384", "EdDSA", "Ed25519", "HS256",
            "rs256", "XX999",
        ] {
            if alg != algorithm.name() {
                let token = forge.with_header("alg", Some(json!(alg)));
                assert_eq!(
                    forge.verify(&token),
                    Err(VerifyError::WrongAlgorithm),
                    "{alg}"
                );
            }
        }
    }
}

#[test]
fn sec_c03_a_kid_of_another_algorithms_key_is_refused() {
    let forge = Forge::new(Algorithm::EdDsa);
    let other = crate::testing::key(Algorithm::Es256);
    let keys = key_set(&[&forge.key, &other]);
    let token = forge.with_header("kid", Some(json!(other.kid())));
    assert_eq!(
        verifier().verify(&token, &keys, NOW),
        Err(VerifyError::WrongAlgorithm)
    );
}

#[test]
fn a_signature_by_another_key_is_refused() {
    for algorithm in crate::testing::ALL {
        let forge = Forge::new(algorithm);
        let mut impostor = Forge::new(algorithm);
        let (header, payload) = forge.texts();
        impostor.keys = forge.keys.clone();
        assert_eq!(
            impostor.verify(&impostor.raw(&header, &payload)),
            Err(VerifyError::BadSignature)
        );
    }
}

#[test]
fn a_signature_of_the_wrong_length_is_refused() {
    for algorithm in crate::testing::ALL {
        let forge = Forge::new(algorithm);
        let valid = forge.valid();
        let (signed, signature) = valid.rsplit_once('.').expect("a signature");
        let signature = base64url::decode(signature).expect("canonical");
        let zero_in_front = [&[0], signature.as_slice()].concat();
        let zero_behind = [signature.as_slice(), &[0]].concat();
        let shorter = &signature[..signature.len() - 1];
        for bytes in [&[][..], shorter, &zero_in_front, &zero_behind] {
            let token = format!("{signed}.{}", base64url::encode(bytes));
            assert_eq!(forge.verify(&token), Err(VerifyError::BadSignature));
        }
    }
}

#[test]
fn sec_c20_psychic_and_out_of_range_ecdsa_signatures_are_refused() {
    let forge = Forge::new(Algorithm::Es256);
    let valid = forge.valid();
    let (signed, signature) = valid.rsplit_once('.').expect("a signature");
    let good = base64url::decode(signature).expect("canonical");
    let (r, s) = good.split_at(32);
    let zero = [0; 32].as_slice();
    let one = [&[0; 31][..], &[1]].concat();
    let order = hex(ORDER);
    let max = [0xff; 32].as_slice();
    let der_zero = hex("3006020101020101");
    for (r, s) in [
        (zero, zero),
        (zero, s),
        (r, zero),
        (zero, one.as_slice()),
        (one.as_slice(), zero),
        (&order, s),
        (r, &order),
        (&order, &order),
        (max, s),
        (r, max),
        (one.as_slice(), one.as_slice()),
        (s, r),
        (&[], &der_zero),
    ] {
        let token = format!("{signed}.{}", base64url::encode(&[r, s].concat()));
        assert_eq!(forge.verify(&token), Err(VerifyError::BadSignature));
    }
}

#[test]
fn sec_c20_the_second_signature_of_ecdsa_is_refused() {
    let forge = Forge::new(Algorithm::Es256);
    let valid = forge.valid();
    let (signed, signature) = valid.rsplit_once('.').expect("a signature");
    let mut twin = base64url::decode(signature).expect("canonical");
    negate_s(&mut twin);
    assert_eq!(
        forge.verify(&format!("{signed}.{}", base64url::encode(&twin))),
        Err(VerifyError::BadSignature)
    );
    negate_s(&mut twin);
    forge
        .verify(&format!("{signed}.{}", base64url::encode(&twin)))
        .expect("negated twice");
}

#[test]
fn sec_c20_every_ecdsa_signature_we_make_has_low_s() {
    let forge = Forge::new(Algorithm::Es256);
    for number in 0..64 {
        forge
            .verify(&forge.with_claim("jti", Some(json!(number.to_string()))))
            .expect("low s");
    }
}

#[test]
fn rfc_7515_a2_rs256_vector_verifies() {
    let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let material = Material::Rsa {
        n: bytes(n),
        e: vec![1, 0, 1],
    };
    let key = Jwk::new(None, material).expect("valid key");
    assert!(key.is_signature(&example_input("RS256"), &bytes(signature)));
    assert!(!key.is_signature(&example_input("RS257"), &bytes(signature)));
}

#[test]
fn rfc_7515_a3_es256_vector_has_high_s_and_its_twin_verifies() {
    let material = Material::P256 {
        x: coordinate("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
        y: coordinate("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
    };
    let key = Jwk::new(None, material).expect("valid key");
    let mut signature = bytes(
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
    assert!(!key.is_signature(&example_input("ES256"), &signature));
    negate_s(&mut signature);
    assert!(key.is_signature(&example_input("ES256"), &signature));
}

#[test]
fn rfc_8037_a4_eddsa_vector_verifies() {
    let material = Material::Ed25519 {
        x: coordinate("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
    };
    let key = Jwk::new(None, material).expect("valid key");
    let input = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = bytes(
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    );
    assert!(key.is_signature(input, &signature));
    assert_eq!(
        key.thumbprint(),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
}

/// The signing input of RFC 7515 appendices A.2 and A.3.
fn example_input(alg: &str) -> Vec<u8> {
    let claims =
        "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
    signing_input(&format!("{{\"alg\":\"{alg}\"}}"), claims).into_bytes()
}

fn bytes(text: &str) -> Vec<u8> {
    base64url::decode(text).expect("canonical base64url")
}

fn coordinate(text: &str) -> [u8; 32] {
    bytes(text).try_into().expect("32 bytes")
}
