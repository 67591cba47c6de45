//! Authenticators, recovery codes and proofs of identity over HTTP, as a client and an app on a phone see them.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_auth::operator;
use portcullis_testkit::Response;
use serde_json::{Value, json};

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, Tokens, assert_problem};

const SECOND: &str = "/api/v1/auth/login/second-factor";
const TOTP: &str = "/api/v1/auth/mfa/totp";
const CONFIRM: &str = "/api/v1/auth/mfa/totp/confirm";
const CODES: &str = "/api/v1/auth/mfa/recovery-codes";
const REAUTHENTICATE: &str = "/api/v1/auth/reauthenticate";

on_every_store!(
    sec_g01_a_login_takes_two_steps_once_an_authenticator_is_confirmed,
    sec_g08_recovery_codes_are_shown_once_and_good_once,
    sec_f05_a_code_alone_or_a_password_alone_proves_nothing,
    whoever_lost_the_phone_is_helped_by_the_operator,
    tokens_say_by_what_their_owner_proved_who_they_are,
);

/// An app that has read the secret, and the step of the code it was enrolled with.
pub(crate) struct Phone {
    secret: Vec<u8>,
    step: u64,
}

impl Phone {
    fn of(enrolment: &Response) -> Self {
        assert_eq!(enrolment.status, 200, "{}", enrolment.text());
        assert_eq!(enrolment.field("cache-control"), Some("no-store"));
        let json = enrolment.json();
        let secret = json["secret"].as_str().unwrap();
        let url = json["otpauth_url"].as_str().unwrap();
        assert!(url.starts_with("otpauth://totp/auth.example.com:ada%40example.com?secret="));
        assert!(url.contains(secret), "{url}");
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let bits: Vec<u8> = secret
            .chars()
            .flat_map(|symbol| {
                let value = alphabet.find(symbol).unwrap();
                (0..5).rev().map(move |bit| (value >> bit & 1) as u8)
            })
            .collect();
        let bytes = bits.chunks_exact(8);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            secret: bytes
                .map(|byte| byte.iter().fold(0, |held, bit| held << 1 | bit))
                .collect(),
            step: since.as_secs() / 30,
        }
    }

    /// The code of so many steps after the first: a test that needs another one does not wait for it. Good while the
    /// test takes less than a step.
    fn code(&self, ahead: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let tag = hmac::sign(&key, &(self.step + ahead).to_be_bytes());
        let at = usize::from(tag.as_ref()[19] & 15);
        let four = <[u8; 4]>::try_from(&tag.as_ref()[at..at + 4]).unwrap();
        format!(
            "{:06}",
            (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000
        )
    }
}

async fn send(instance: &Instance, path: &str, token: &str, body: Value) -> Response {
    let authorization = format!("Bearer {token}");
    let fields = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
    ];
    let body = body.to_string();
    let mut connection = instance.connect().await;
    let answer = connection.request("POST", path, &fields, body.as_bytes());
    answer.await.unwrap()
}

/// Gives [`EMAIL`] an authenticator; its recovery codes.
pub(crate) async fn enrol(instance: &Instance, tokens: &Tokens) -> (Phone, Vec<String>) {
    let phone = Phone::of(&instance.bearer("POST", TOTP, &tokens.access).await);
    let wrong = send(instance, CONFIRM, &tokens.access, json!({"code": "12345x"})).await;
    assert_problem(&wrong, 401, "invalid_code");
    let code = json!({ "code": phone.code(0) });
    let confirmed = send(instance, CONFIRM, &tokens.access, code).await;
    assert_eq!(confirmed.field("cache-control"), Some("no-store"));
    (phone, recovery_codes(&confirmed))
}

fn recovery_codes(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    let codes = json["recovery_codes"].as_array().unwrap();
    codes
        .iter()
        .map(|code| code.as_str().unwrap().to_owned())
        .collect()
}

async fn challenge(instance: &Instance) -> String {
    let answer = instance.try_login(EMAIL, PASSWORD).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["status"], "second_factor_required");
    assert_eq!(json["expires_in"], 300);
    assert!(json.get("access_token").is_none() && json.get("refresh_token").is_none());
    assert_eq!(answer.field("set-cookie"), None);
    json["challenge"].as_str().unwrap().to_owned()
}

async fn answer(instance: &Instance, challenge: &str, code: &str) -> Response {
    let body = json!({ "challenge": challenge, "code": code });
    instance.post(SECOND, body).await
}

async fn sec_g01_a_login_takes_two_steps_once_an_authenticator_is_confirmed(
    installation: Installation,
) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let tokens = a.register_and_login().await;
    let pending = Phone::of(&a.bearer("POST", TOTP, &tokens.access).await);
    assert_eq!(b.try_login(EMAIL, PASSWORD).await.status, 200, "not yet");
    drop(pending);
    let (phone, _) = enrol(&a, &tokens).await;

    let wrong = b.try_login(EMAIL, "not the password").await;
    assert_problem(&wrong, 401, "invalid_credentials");
    let challenge = challenge(&b).await;
    let verified = a.verify(&challenge).await;
    assert_problem(&verified, 401, "invalid_token");
    let forged = answer(&a, &challenge.replacen("pcc_", "pcc_A", 1), &phone.code(1)).await;
    assert_problem(&forged, 401, "invalid_challenge");
    let replayed = answer(&a, &challenge, &phone.code(0)).await;
    assert_problem(&replayed, 401, "invalid_code");
    let next = phone.code(1);
    let granted = answer(&a, &challenge, &next).await;
    assert!(
        granted.field("set-cookie").is_some(),
        "a session for browsers"
    );
    let both = Tokens::of(&granted);
    assert_eq!(b.verify(&both.access).await.status, 200);
    assert_eq!(b.refresh(&both.refresh).await.status, 200);
    let again = answer(&b, &challenge, &next).await;
    assert_problem(&again, 401, "invalid_code");
}

async fn sec_g08_recovery_codes_are_shown_once_and_good_once(installation: Installation) {
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    let left = async || {
        let answer = instance
            .bearer("GET", "/api/v1/auth/mfa", &tokens.access)
            .await;
        let json = answer.json();
        (json["totp"].as_bool(), json["recovery_codes_left"].as_u64())
    };
    assert_eq!(left().await, (Some(false), Some(0)));
    let (_, old) = enrol(&instance, &tokens).await;
    assert_eq!(old.len(), 10);
    assert_eq!(left().await, (Some(true), Some(10)));
    let first = challenge(&instance).await;
    assert_eq!(answer(&instance, &first, &old[0]).await.status, 200);
    let again = answer(&instance, &first, &old[0]).await;
    assert_problem(&again, 401, "invalid_code");
    assert_eq!(left().await, (Some(true), Some(9)));
    let new = recovery_codes(&instance.bearer("POST", CODES, &tokens.access).await);
    let voided = answer(&instance, &first, &old[1]).await;
    assert_problem(&voided, 401, "invalid_code");
    let typed = new[0].to_uppercase().replace('-', " ");
    assert_eq!(answer(&instance, &first, &typed).await.status, 200);
}

async fn sec_f05_a_code_alone_or_a_password_alone_proves_nothing(installation: Installation) {
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    let (phone, codes) = enrol(&instance, &tokens).await;
    let prove = async |body: Value| send(&instance, REAUTHENTICATE, &tokens.access, body).await;
    let half = prove(json!({ "password": PASSWORD })).await;
    assert_problem(&half, 401, "code_required");
    let other = prove(json!({ "password": "not the password", "code": phone.code(1) })).await;
    assert_problem(&other, 401, "invalid_credentials");
    let wrong = prove(json!({ "password": PASSWORD, "code": "x" })).await;
    assert_problem(&wrong, 401, "invalid_code");
    let null = prove(json!({ "password": PASSWORD, "code": null })).await;
    assert_problem(&null, 400, "invalid_body");
    let good = prove(json!({ "password": PASSWORD, "code": codes[0] })).await;
    assert_eq!(good.status, 204, "{}", good.text());
    assert!(good.field("ratelimit-remaining").is_some());
    let without = instance
        .post(REAUTHENTICATE, json!({ "password": PASSWORD }))
        .await;
    assert_problem(&without, 401, "missing_token");

    let twice = instance.bearer("POST", TOTP, &tokens.access).await;
    assert_problem(&twice, 409, "factor_exists");
    let removed = instance.bearer("DELETE", TOTP, &tokens.access).await;
    assert_eq!(removed.status, 204, "{}", removed.text());
    let gone = instance.bearer("DELETE", TOTP, &tokens.access).await;
    assert_problem(&gone, 409, "no_factor");
    let none = instance.bearer("POST", CODES, &tokens.access).await;
    assert_problem(&none, 409, "no_factor");
    assert_eq!(instance.try_login(EMAIL, PASSWORD).await.status, 200);
}

async fn whoever_lost_the_phone_is_helped_by_the_operator(installation: Installation) {
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    enrol(&instance, &tokens).await;
    let config = installation.config("op", &[]);
    operator::factors::reset(&config, EMAIL).await.unwrap();
    assert_eq!(instance.try_login(EMAIL, PASSWORD).await.status, 200);
    let again = operator::factors::reset(&config, EMAIL).await.unwrap_err();
    assert!(again.to_string().contains("no authenticator"), "{again}");
    let nobody = operator::factors::reset(&config, "x@example.com").await;
    assert!(nobody.is_err());
}

/// `amr`, `acr` and `auth_time` of an access token, as it says them and as `/verify` does.
async fn proof(instance: &Instance, token: &str) -> (Value, Value, i64) {
    let payload = token.split('.').nth(1).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    let told = instance.verify(token).await.json();
    for name in ["amr", "acr", "auth_time"] {
        assert_eq!(claims[name], told[name], "{name}");
    }
    let at = claims["auth_time"].as_i64().unwrap();
    assert!(at <= claims["iat"].as_i64().unwrap(), "{claims}");
    (claims["amr"].clone(), claims["acr"].clone(), at)
}

async fn tokens_say_by_what_their_owner_proved_who_they_are(installation: Installation) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let (one, two) = (json!(["pwd"]), json!(["pwd", "otp", "mfa"]));
    let tokens = a.register_and_login().await;
    let (amr, acr, began) = proof(&a, &tokens.access).await;
    assert_eq!((amr, acr), (one.clone(), json!("aal1")));
    let tokens = Tokens::of(&b.refresh(&tokens.refresh).await);
    let (amr, acr, still) = proof(&a, &tokens.access).await;
    assert_eq!((amr, acr, still), (one, json!("aal1"), began));

    // Whoever enrolled an authenticator has shown a code of it.
    let (phone, codes) = enrol(&a, &tokens).await;
    let tokens = Tokens::of(&b.refresh(&tokens.refresh).await);
    let (amr, acr, enrolled) = proof(&b, &tokens.access).await;
    assert_eq!((amr, acr), (two.clone(), json!("aal2")));
    assert!(enrolled >= began);

    let challenged = challenge(&a).await;
    let both = Tokens::of(&answer(&a, &challenged, &phone.code(1)).await);
    let (amr, acr, _) = proof(&b, &both.access).await;
    assert_eq!((amr, acr), (two.clone(), json!("aal2")));
    let both = Tokens::of(&b.refresh(&both.refresh).await);
    assert_eq!(proof(&a, &both.access).await.0, two, "kept");

    // RFC 8176 has no word for a recovery code.
    let again = json!({ "password": PASSWORD, "code": codes[0] });
    let proved = send(&a, REAUTHENTICATE, &both.access, again).await;
    assert_eq!(proved.status, 204, "{}", proved.text());
    let renewed = Tokens::of(&b.refresh(&both.refresh).await);
    let (amr, acr, _) = proof(&a, &renewed.access).await;
    assert_eq!((amr, acr), (json!(["pwd", "mfa"]), json!("aal2")));

    // Another password begins another session, by the proof that the one before had.
    let change = json!({ "current_password": PASSWORD, "new_password": "another horse battery" });
    let changed = send(&a, "/api/v1/auth/password/change", &renewed.access, change).await;
    let changed = Tokens::of(&changed);
    let (amr, acr, _) = proof(&b, &changed.access).await;
    assert_eq!((amr, acr), (json!(["pwd", "mfa"]), json!("aal2")));

    // Without the authenticator a proof is by the password alone.
    let removed = a.bearer("DELETE", TOTP, &changed.access).await;
    assert_eq!(removed.status, 204, "{}", removed.text());
    let password = json!({ "password": "another horse battery" });
    let proved = send(&b, REAUTHENTICATE, &changed.access, password).await;
    assert_eq!(proved.status, 204, "{}", proved.text());
    let last = Tokens::of(&a.refresh(&changed.refresh).await);
    let (amr, acr, _) = proof(&b, &last.access).await;
    assert_eq!((amr, acr), (json!(["pwd"]), json!("aal1")));
}
