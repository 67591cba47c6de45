//! Cost of signing and verifying an access token, per algorithm. Keys are parsed before, as in service.
//! Never measures key generation: it happens once a key, not once a token.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis_token::{
    Algorithm, Claims, Jwks, KeySet, SigningKey, Skew, TokenType, Verifier, sign,
};

const NOW: i64 = 1_700_000_000;

fn claims() -> Claims {
    Claims {
        iss: "https://auth.example.com".into(),
        sub: "0190f5a2-6d5e-7c3b-9f7e-2d6b8a1c4e5f".into(),
        aud: vec!["portcullis".into()],
        iat: NOW,
        exp: NOW + 600,
        nbf: None,
        jti: portcullis_token::id([7; 16]),
        client_id: "web".into(),
        sid: portcullis_token::id([8; 16]),
        roles: vec!["user".into(), "administrator".into()],
        scope: None,
        tier: None,
        authentication: portcullis_token::Authentication::default(),
    }
}

fn tokens(criterion: &mut Criterion) {
    let verifier = Verifier {
        issuer: "https://auth.example.com".into(),
        audience: "portcullis".into(),
        token_type: TokenType::AccessToken,
        skew: Skew::DEFAULT,
    };
    let claims = claims();
    let algorithms = [
        ("RS256", Algorithm::Rs256),
        ("ES256", Algorithm::Es256),
        ("EdDSA", Algorithm::EdDsa),
    ];
    for (name, algorithm) in algorithms {
        let (key, _pkcs8) = SigningKey::generate(algorithm).expect("a key");
        let jwks = Jwks::new(vec![key.public_jwk().clone()]).expect("one key is a set");
        let keys = KeySet::from_jwks(&jwks);
        let token = sign(&key, TokenType::AccessToken, &claims).expect("claims are in order");
        verifier.verify(&token, &keys, NOW).expect("our own token");

        criterion.bench_function(&format!("sign/{name}"), |bencher| {
            bencher.iter(|| sign(&key, TokenType::AccessToken, black_box(&claims)));
        });
        criterion.bench_function(&format!("verify/{name}"), |bencher| {
            bencher.iter(|| verifier.verify(black_box(&token), &keys, NOW));
        });
    }
}

fn brief() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
}

criterion_group! { name = benches; config = brief(); targets = tokens }
criterion_main!(benches);
