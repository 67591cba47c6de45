//! Attacks with tokens, through the real binary: each is refused, none reaches an endpoint, and what
//! is valid gets through beside them. Never compares with what a crate thinks of a token.

use aws_lc_rs::hmac;
use portcullis_testkit::{Connection, Endpoint};
use portcullis_token::Algorithm;
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;
use crate::harness::issuer::{AUDIENCE, ISSUER, Publisher, Signer, changed, claims, encode, now};

/// An edge that asks for tokens, and three keys: RS256, ES256, EdDSA.
struct Site {
    edge: Edge,
    app: Endpoint,
    publisher: Publisher,
    signers: [Signer; 3],
    valid: usize,
}

impl Site {
    async fn new() -> Site {
        Site::with_profile("portcullis").await
    }

    async fn with_profile(profile: &str) -> Site {
        let signers = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa].map(Signer::new);
        let publisher = Publisher::start(&signers.each_ref()).await;
        let app = Endpoint::start("app").await;
        let issuer = changed(&publisher.keys(), &json!({ "profile": profile }));
        let edge = Setup::new(&[&app])
            .set("issuers.main", issuer)
            .set("routes.0.auth", json!("main"))
            .start()
            .await;
        Site {
            edge,
            app,
            publisher,
            signers,
            valid: 0,
        }
    }

    /// What a token gets. A header value that cannot be sent as such counts as refused.
    async fn status(&self, client: &mut Connection, token: &str) -> u16 {
        let value = format!("Bearer {token}");
        let fields = [("Authorization", value.as_str())];
        match client.request("GET", "/", &fields, b"").await {
            Ok(response) => response.status,
            Err(error) => panic!("no answer to {token}: {error}"),
        }
    }

    /// Each token is refused with 401 (or 431, where it is beyond every header), and valid ones
    /// are served before and after.
    async fn refuses(&mut self, tokens: &[(&str, String)]) {
        self.serves_valid().await;
        for (name, token) in tokens {
            let mut client = self.edge.connect().await;
            let status = self.status(&mut client, token).await;
            assert!(matches!(status, 401 | 431), "{name}: {status} for {token}");
        }
        self.serves_valid().await;
        assert_eq!(self.app.requests(), self.valid, "a forged one got through");
    }

    async fn serves_valid(&mut self) {
        let mut client = self.edge.connect().await;
        for signer in &self.signers {
            let token = signer.token(&json!({}));
            assert_eq!(self.status(&mut client, &token).await, 200);
        }
        self.valid += self.signers.len();
    }
}

/// The three parts of a valid token.
fn parts(token: &str) -> (&str, &str, &str) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    (header, payload, signature)
}

#[tokio::test]
async fn sec_c01_c02_c03_the_header_never_chooses_how_a_token_is_verified() {
    let mut site = Site::new().await;
    let mut tokens = Vec::new();
    let payload = encode(claims().to_string());
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        for (name, signature) in [("unsigned", ""), ("with a signature", "AAAA")] {
            let kid = site.signers[0].public.kid();
            let header = encode(json!({ "alg": alg, "typ": "at+jwt", "kid": kid }).to_string());
            tokens.push((name, format!("{header}.{payload}.{signature}")));
        }
    }
    for signer in &site.signers {
        for alg in [
            json!(null),
            json!(["none", "RS256"]),
            json!(0),
            json!("RS384"),
            json!("PS256"),
            json!("ES384"),
            json!("HS256"),
            json!("rs256"),
        ] {
            tokens.push(("alg", signer.token_with_header(&json!({ "alg": alg }))));
        }
    }
    // The public key as the secret of an HMAC.
    let jwk = String::from_utf8(crate::harness::issuer::answer(&[&site.signers[0]])).unwrap();
    let (_, jwk) = jwk.split_once("\r\n\r\n").unwrap();
    let document: Value = serde_json::from_str(jwk).unwrap();
    let modulus = document["keys"][0]["n"].as_str().unwrap();
    let key = document["keys"][0].to_string();
    for secret in [
        jwk,
        &key,
        modulus,
        "",
        "secret",
        site.signers[0].public.kid(),
    ] {
        for (alg, algorithm) in [("HS256", hmac::HMAC_SHA256), ("HS512", hmac::HMAC_SHA512)] {
            let header = changed(&site.signers[0].header(), &json!({ "alg": alg }));
            let signed = format!("{}.{payload}", encode(header.to_string()));
            let key = hmac::Key::new(algorithm, secret.as_bytes());
            let signature = hmac::sign(&key, signed.as_bytes());
            tokens.push(("hmac", format!("{signed}.{}", encode(signature))));
        }
    }
    // One key's signature under another's name.
    let other = json!({ "kid": site.signers[1].public.kid() });
    tokens.push(("kid of another", site.signers[0].token_with_header(&other)));
    site.refuses(&tokens).await;
}

#[tokio::test]
async fn sec_c04_c05_c06_keys_and_extensions_in_the_header_are_refused_unasked() {
    let mut site = Site::new().await;
    let evil = Signer::new(Algorithm::EdDsa);
    let trap = Publisher::start(&[&evil]).await;
    let mut tokens = Vec::new();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": evil.public.kid() });
    for (name, value) in [
        ("jku", json!(trap.url())),
        ("x5u", json!(trap.url())),
        ("jwk", jwk),
        ("x5c", json!(["AAAA"])),
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
    ] {
        for signer in [&evil, &site.signers[2]] {
            let mut header = signer.header();
            header[name] = value.clone();
            tokens.push((name, signer.sign(&header, &claims())));
        }
    }
    let long = "k".repeat(2000);
    for kid in [
        json!("../../../../dev/null"),
        json!("x' UNION SELECT 'secret"),
        json!("|/bin/sleep 5"),
        json!("k\u{0}"),
        json!(long),
        json!(["k"]),
        json!(1),
        json!(""),
        json!(trap.url()),
        Value::Null,
    ] {
        let header = changed(&evil.header(), &json!({ "kid": kid }));
        tokens.push(("kid", evil.sign(&header, &claims())));
        let header = changed(&site.signers[2].header(), &json!({ "kid": kid }));
        tokens.push((
            "kid of a good key",
            site.signers[2].sign(&header, &claims()),
        ));
    }
    let stolen = json!({ "kid": site.signers[2].public.kid() });
    tokens.push(("stolen kid", evil.token_with_header(&stolen)));
    site.refuses(&tokens).await;
    assert_eq!(trap.requests(), 0, "nobody asks where a token says");
    assert!(site.publisher.requests() <= 2);
}

#[tokio::test]
async fn sec_c07_c08_claims_are_what_they_should_be_or_nothing() {
    let mut site = Site::new().await;
    let signer = &site.signers[2];
    let mut tokens = Vec::new();
    for name in ["exp", "iat", "nbf"] {
        for value in [
            json!("never"),
            json!((now() + 300).to_string()),
            json!(1e30),
            json!(-1),
            json!([now() + 300]),
            json!({}),
            json!(true),
        ] {
            tokens.push((name, signer.token(&json!({ name: value }))));
        }
        let payload = claims().to_string();
        let open = &payload[..payload.len() - 1];
        let header = signer.header().to_string();
        for raw in ["NaN", "1e400", "null", "99999999999999999999"] {
            let mut payload = claims();
            payload.as_object_mut().unwrap().remove(name);
            let payload = payload.to_string();
            let open = &payload[..payload.len() - 1];
            let forged = format!("{open},\"{name}\":{raw}}}");
            tokens.push((name, signer.sign_text(&header, &forged)));
        }
        let twice = format!("{open},\"exp\":{}}}", now() + 9999);
        tokens.push(("twice", signer.sign_text(&header, &twice)));
    }
    for name in ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "sid"] {
        tokens.push(("missing", signer.token(&json!({ name: null }))));
    }
    for payload in [
        "hello",
        "[1]",
        "\"x\"",
        "null",
        "",
        "{}",
        "\u{feff}{}",
        &format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200)),
        &format!("{}x", claims()),
    ] {
        let header = signer.header().to_string();
        tokens.push(("payload", signer.sign_text(&header, payload)));
    }
    let header = signer.header().to_string();
    let header = format!("{},\"alg\":\"EdDSA\"}}", &header[..header.len() - 1]);
    tokens.push((
        "header twice",
        signer.sign_text(&header, &claims().to_string()),
    ));
    site.refuses(&tokens).await;
}

#[tokio::test]
async fn sec_c09_c10_issuer_audience_type_and_time_are_exact() {
    let mut site = Site::new().await;
    let signer = &site.signers[2];
    let mut tokens = Vec::new();
    for iss in [
        json!("https://evil.example"),
        json!(format!("{ISSUER}/")),
        json!(format!("{ISSUER}.evil.example")),
        json!(ISSUER.to_uppercase()),
        json!(format!("{ISSUER}:443")),
        json!([ISSUER]),
    ] {
        tokens.push(("iss", signer.token(&json!({ "iss": iss }))));
    }
    for aud in [
        json!("other"),
        json!([]),
        json!({ AUDIENCE: 1 }),
        json!(format!("{AUDIENCE}.evil")),
        json!(format!("{AUDIENCE}/")),
        json!([["x", AUDIENCE]]),
    ] {
        tokens.push(("aud", signer.token(&json!({ "aud": aud }))));
    }
    for typ in [
        Value::Null,
        json!("JWT"),
        json!("session+jwt"),
        json!("logout+jwt"),
        json!("dpop+jwt"),
        json!("application/at+jwt"),
        json!(["at+jwt"]),
    ] {
        tokens.push(("typ", signer.token_with_header(&json!({ "typ": typ }))));
    }
    for times in [
        json!({ "iat": now() - 900, "exp": now() - 31 }),
        json!({ "iat": 0, "exp": 1 }),
        json!({ "iat": now() + 3600, "exp": now() + 7200 }),
        json!({ "nbf": now() + 120 }),
        json!({ "exp": now() - 900 }),
    ] {
        tokens.push(("times", signer.token(&times)));
    }
    site.refuses(&tokens).await;
}

#[tokio::test]
async fn sec_c12_c20_a_token_has_one_spelling_and_one_signature() {
    let mut site = Site::new().await;
    let mut tokens = Vec::new();
    for signer in &site.signers {
        let valid = signer.token(&json!({}));
        let (header, payload, signature) = parts(&valid);
        let flipped = match signature.strip_prefix('A') {
            Some(rest) => format!("B{rest}"),
            None => format!("A{}", &signature[1..]),
        };
        let admin = encode(changed(&claims(), &json!({ "sub": "root" })).to_string());
        tokens.extend([
            ("flipped", format!("{header}.{payload}.{flipped}")),
            ("other payload", format!("{header}.{admin}.{signature}")),
            ("no signature", format!("{header}.{payload}.")),
            ("two parts", format!("{header}.{payload}")),
            ("four parts", format!("{valid}.x")),
            ("trailing dot", format!("{valid}.")),
            ("cut", valid[..valid.len() - 20].to_owned()),
            ("longer", format!("{valid}AAAA")),
            ("padded", format!("{valid}==")),
            ("padded within", format!("{header}=.{payload}.{signature}")),
            ("space within", format!("{header}. {payload}.{signature}")),
            ("junk within", format!("{header}.!{payload}.{signature}")),
            ("two tokens", format!("{valid}, Bearer {valid}")),
            ("two words", format!("{valid} {valid}")),
        ]);
        let last = signature.as_bytes()[signature.len() - 1];
        // The last character of 256 and 64 bytes has bits to spare.
        let respelled = char::from(match last {
            b'A'..=b'Y' | b'a'..=b'y' | b'0'..=b'8' => last + 1,
            _ => b'B',
        });
        let respelled = format!("{}{respelled}", &valid[..valid.len() - 1]);
        tokens.push(("trailing bits", respelled));
    }
    let (header, payload) = {
        let valid = site.signers[1].token(&json!({ "sub": "root" }));
        let (header, payload, _) = parts(&valid);
        (header.to_owned(), payload.to_owned())
    };
    for signature in [vec![0; 64], vec![0xff; 64], vec![1; 63], vec![0; 8]] {
        let token = format!("{header}.{payload}.{}", encode(signature));
        tokens.push(("psychic", token));
    }
    let big = site.signers[2].token(&json!({ "x": "a".repeat(7000) }));
    assert!(big.len() > 8192);
    tokens.push(("big", big));
    tokens.push(("dots", "..".to_owned()));
    tokens.push(("many dots", ".".repeat(5000)));
    tokens.push((
        "json",
        json!({ "payload": payload, "protected": header, "signature": "" }).to_string(),
    ));
    tokens.push((
        "jwe",
        "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAA.AAAA.AAAA".to_owned(),
    ));
    site.refuses(&tokens).await;
}

#[tokio::test]
async fn a_generic_profile_lets_no_more_forgeries_pass() {
    let mut site = Site::with_profile("generic").await;
    let evil = Signer::new(Algorithm::Es256);
    let signer = &site.signers[1];
    let kid = json!({ "kid": signer.public.kid() });
    let mut tokens = vec![
        ("stolen kid", evil.token_with_header(&kid)),
        ("unknown kid", evil.token(&json!({}))),
        (
            "kid missing",
            signer.token_with_header(&json!({ "kid": null })),
        ),
        ("none", signer.token_with_header(&json!({ "alg": "none" }))),
        ("hmac", signer.token_with_header(&json!({ "alg": "HS256" }))),
        (
            "type",
            signer.token_with_header(&json!({ "typ": "dpop+jwt" })),
        ),
        ("expired", signer.token(&json!({ "exp": now() - 60 }))),
        ("no end", signer.token(&json!({ "exp": null }))),
        ("no subject", signer.token(&json!({ "sub": null }))),
        ("no audience", signer.token(&json!({ "aud": null }))),
    ];
    for name in ["crit", "b64", "zip", "jku", "jwk", "x5u", "x5c"] {
        tokens.push((name, signer.token_with_header(&json!({ name: "x" }))));
    }
    site.refuses(&tokens).await;
}
