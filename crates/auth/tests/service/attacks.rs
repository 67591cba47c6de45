//! Forged tokens against a running instance: by somebody who knows everything that is public, and by somebody who may have
//! things signed but not these. Each is refused with 401 and nothing else; the unchanged token is accepted.

use std::net::TcpListener;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, Tokens, assert_problem};

const ISSUER: &str = "http://auth.example.com";
/// RFC 8410 section 10.3.
const KEY: &str = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";
const KID: &str = "auth-server-key-1";

/// An instance whose private key the test knows.
struct Target {
    key: Ed25519KeyPair,
    instance: Instance,
    _installation: Installation,
}

impl Target {
    async fn start() -> Self {
        let pem = format!("-----BEGIN PRIVATE KEY-----\\n{KEY}\\n-----END PRIVATE KEY-----");
        let settings = [
            ("JWT_ALGORITHM", "EdDSA"),
            ("JWT_PRIVATE_KEY", pem.as_str()),
            ("JWT_KEY_ID", KID),
        ];
        let installation = Installation::with(&settings).await;
        Self {
            key: Ed25519KeyPair::from_pkcs8(&STANDARD.decode(KEY).unwrap()).unwrap(),
            instance: installation.start("a").await,
            _installation: installation,
        }
    }

    /// Correctly signed, whatever it says.
    fn signed(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    async fn refuses(&self, token: &str) {
        let response = self.instance.verify(token).await;
        assert_eq!(response.status, 401, "{token:.300}");
        assert_problem(&response, 401, "invalid_token");
    }
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn header(change: Value) -> String {
    with(
        json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": KID }),
        change,
    )
}

fn claims(change: Value) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let base = json!({
        "iss": ISSUER, "aud": ISSUER, "sub": "ada", "iat": now, "exp": now + 60, "jti": "j", "sid": "s",
        "client_id": "portcullis", "roles": ["admin"],
    });
    with(base, change)
}

/// `null` takes a member away.
fn with(mut base: Value, change: Value) -> String {
    let members = base.as_object_mut().unwrap();
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    base.to_string()
}

#[tokio::test]
async fn sec_c01_c04_c05_c06_no_header_of_a_forger_is_believed() {
    let target = Target::start().await;
    // Whoever looked where a token says would connect here.
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let elsewhere = format!("http://{}/keys", trap.local_addr().unwrap());
    let good = target.signed(&header(json!({})), &claims(json!({})));
    assert_eq!(target.instance.verify(&good).await.status, 200);
    for change in [
        json!({ "alg": "none" }),
        json!({ "alg": "None" }),
        json!({ "alg": "nOnE" }),
        json!({ "alg": "" }),
        json!({ "alg": null }),
        json!({ "alg": ["EdDSA"] }),
        json!({ "alg": "RS256" }),
        json!({ "jku": elsewhere }),
        json!({ "x5u": elsewhere }),
        json!({ "jku": elsewhere, "kid": "nobody-knows-it" }),
        json!({ "kid": elsewhere }),
        json!({ "jwk": { "kty": "OKP", "crv": "Ed25519", "x": "AA" } }),
        json!({ "x5c": ["AA=="] }),
        json!({ "kid": null }),
        json!({ "kid": "../../../../dev/null" }),
        json!({ "kid": "x' UNION SELECT 'secret" }),
        json!({ "kid": "auth-server-key-1\u{0}" }),
        json!({ "kid": "k".repeat(5000) }),
        json!({ "kid": 1 }),
        json!({ "kid": [KID] }),
        json!({ "kid": "AUTH-SERVER-KEY-1" }),
        json!({ "crit": ["exp"], "exp": 1 }),
        json!({ "b64": false, "crit": ["b64"] }),
        json!({ "zip": "DEF" }),
        json!({ "typ": "JWT" }),
        json!({ "typ": "session+jwt" }),
        json!({ "typ": "logout+jwt" }),
    ] {
        let header = header(change);
        target
            .refuses(&target.signed(&header, &claims(json!({}))))
            .await;
        let unsigned = format!("{}.{}.", encode(&header), encode(&claims(json!({}))));
        target.refuses(&unsigned).await;
    }
    let twice = header(json!({})).replacen('{', "{\"alg\":\"none\",", 1);
    target
        .refuses(&target.signed(&twice, &claims(json!({}))))
        .await;
    let nobody = trap.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "asked there");
}

#[tokio::test]
async fn sec_c02_nothing_public_is_an_hmac_secret() {
    let target = Target::start().await;
    let jwks = target.instance.get("/.well-known/jwks.json").await;
    let x = jwks.json()["keys"][0]["x"].as_str().unwrap().to_owned();
    let raw = URL_SAFE_NO_PAD.decode(&x).unwrap();
    let secrets: [&[u8]; 6] = [
        x.as_bytes(),
        &raw,
        &jwks.body,
        KID.as_bytes(),
        b"",
        b"secret",
    ];
    for secret in secrets {
        for (alg, digest) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ] {
            let header = header(json!({ "alg": alg }));
            let signed = format!("{}.{}", encode(&header), encode(&claims(json!({}))));
            let tag = hmac::sign(&hmac::Key::new(digest, secret), signed.as_bytes());
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
            target.refuses(&token).await;
        }
    }
}

#[tokio::test]
async fn sec_c07_c08_c09_c10_no_claim_out_of_range_is_believed() {
    let target = Target::start().await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let header = header(json!({}));
    let skewed = target.signed(
        &header,
        &claims(json!({ "iat": now - 99, "exp": now - 20 })),
    );
    assert_eq!(target.instance.verify(&skewed).await.status, 200);
    for change in [
        json!({ "exp": now - 31, "iat": now - 99 }),
        json!({ "exp": null }),
        json!({ "exp": (now + 60).to_string() }),
        json!({ "exp": 1e30 }),
        json!({ "exp": -1 }),
        json!({ "exp": [now + 60] }),
        json!({ "exp": true }),
        json!({ "iat": now + 40 }),
        json!({ "nbf": now + 40 }),
        json!({ "nbf": "later" }),
        json!({ "iss": format!("{ISSUER}/") }),
        json!({ "iss": "https://auth.example.com" }),
        json!({ "iss": "http://AUTH.example.com" }),
        json!({ "iss": "http://auth.example.com:80" }),
        json!({ "iss": [ISSUER] }),
        json!({ "aud": "other" }),
        json!({ "aud": [] }),
        json!({ "aud": null }),
        json!({ "sub": null }),
        json!({ "sid": null }),
        json!({ "jti": null }),
        json!({ "client_id": null }),
        json!({ "roles": "admin" }),
    ] {
        target
            .refuses(&target.signed(&header, &claims(change)))
            .await;
    }
    let twice = claims(json!({})).replacen('{', "{\"sub\":\"root\",", 1);
    target.refuses(&target.signed(&header, &twice)).await;
}

#[tokio::test]
async fn sec_c12_no_second_spelling_of_a_token_is_believed() {
    let target = Target::start().await;
    let good = target.signed(&header(json!({})), &claims(json!({})));
    let [head, body, signature] =
        <[&str; 3]>::try_from(good.split('.').collect::<Vec<_>>()).unwrap();
    let nested = target.signed(&header(json!({ "cty": "JWT" })), &good);
    let flattened = json!({ "protected": head, "payload": body, "signature": signature });
    let large = claims(json!({ "x": "a".repeat(9000) }));
    for token in [
        format!("{good}="),
        format!("{good}."),
        format!("{good}.x"),
        format!("{good}AAAA"),
        format!("{head}.{body}"),
        format!("{head}.{body}."),
        format!("{head}.{}!.{signature}", &body[..body.len() - 1]),
        format!(
            "{head}.{}.{signature}",
            encode(&claims(json!({ "sub": "root" })))
        ),
        "..".to_owned(),
        ".".repeat(100),
        nested,
        flattened.to_string(),
        target.signed(&header(json!({})), &large),
        target.signed(&header(json!({})), "[1]"),
        target.signed(&header(json!({})), "null"),
    ] {
        target.refuses(&token).await;
    }
}

/// What an edge tells endpoints, and what other proxies do: auth believes tokens alone, whoever is in front of it.
#[tokio::test]
async fn sec_h03_fields_that_carry_identity_are_believed_from_nobody() {
    let installation = Installation::with(&[("TRUST_PROXY", "127.0.0.0/8")]).await;
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    let own = instance.verify(&tokens.access).await.json();
    let bearer = format!("Bearer {}", tokens.access);
    let forged = [
        ("X-Auth-Subject", "00000000-0000-4000-8000-000000000000"),
        ("X-Auth-Roles", "admin"),
        ("X-Auth-Session", "s"),
        ("X-Auth-Client", "portcullis"),
        ("X-Auth-Scope", "admin"),
        ("X_Auth_Roles", "admin"),
        ("X-Auth-Tier", "internal"),
        ("X-Forwarded-User", "root@example.com"),
        ("X-Remote-User", "root@example.com"),
        ("X-Forwarded-Client-Cert", "Subject=\"CN=root\""),
        ("X-SSL-Client-Verify", "SUCCESS"),
        ("X-Client-Cert", "CN=root"),
    ];
    let ask = async |path: &str, fields: &[(&str, &str)]| {
        let mut connection = instance.connect().await;
        let answer = connection.request("GET", path, fields, b"").await;
        answer.unwrap()
    };
    for path in [
        "/api/v1/auth/verify",
        "/api/v1/admin/users",
        "/api/v1/auth/sessions",
    ] {
        assert_problem(&ask(path, &forged).await, 401, "missing_token");
    }
    let mut fields = forged.to_vec();
    fields.push(("Authorization", bearer.as_str()));
    let refused = ask("/api/v1/admin/users", &fields).await;
    assert_problem(&refused, 403, "forbidden");
    let told = ask("/api/v1/auth/verify", &fields).await.json();
    assert_eq!(told, own, "what the token says and nothing else");
}

#[tokio::test]
async fn sec_e07_no_answer_lets_a_page_of_another_origin_read_it() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    let bearer = format!("Bearer {}", tokens.access);
    let fields = [
        ("Origin", "https://evil.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization"),
        ("Authorization", bearer.as_str()),
    ];
    for path in [
        "/api/v1/auth/login",
        "/api/v1/auth/refresh",
        "/api/v1/auth/verify",
        "/api/v1/auth/sessions",
        "/api/v1/admin/users",
        "/.well-known/jwks.json",
        "/.well-known/openid-configuration",
        "/health",
        "/nowhere",
    ] {
        for method in ["OPTIONS", "GET", "POST"] {
            let mut connection = instance.connect().await;
            let answer = connection
                .request(method, path, &fields, b"")
                .await
                .unwrap();
            let mut names = answer.fields.iter().map(|(name, _)| name.to_lowercase());
            let cors = names.find(|name| name.starts_with("access-control-"));
            assert_eq!(cors, None, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn sec_e08_what_carries_tokens_is_kept_by_no_cache() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    assert_eq!(instance.register(EMAIL, PASSWORD).await.status, 202);
    let login = instance.try_login(EMAIL, PASSWORD).await;
    let tokens = Tokens::of(&login);
    let refreshed = instance.refresh(&tokens.refresh).await;
    let enrolment = instance
        .bearer("POST", "/api/v1/auth/mfa/totp", &tokens.access)
        .await;
    for answer in [&login, &refreshed, &enrolment] {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.field("cache-control"), Some("no-store"));
    }
}
