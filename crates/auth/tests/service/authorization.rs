//! Roles, permission checks, clients and API keys as their users meet them, on several instances.

use portcullis_auth::operator;
use portcullis_testkit::{Response, wait_until};
use serde_json::{Value, json};

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, Tokens, assert_problem};

on_every_store! {
    a_change_of_a_role_counts_on_the_next_request_of_every_instance,
    sec_b10_a_key_works_wherever_a_token_does_and_is_shown_once,
    sec_d04_a_revoked_key_is_refused_by_every_instance_at_once,
    sec_a14_a_key_of_whoever_is_shut_is_refused,
    sec_c19_a_machine_named_like_a_person_is_somebody_else,
}

const CHECK: &str = "/api/v1/permissions/check";
const ROOT: &str = "root@example.com";

/// One instance's side of a conversation with a token or a key.
impl Instance {
    async fn asked(&self, method: &str, path: &str, token: &str, body: &Value) -> Response {
        let authorization = format!("Bearer {token}");
        let fields = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = body.to_string();
        let mut connection = self.connect().await;
        let answer = connection.request(method, path, &fields, body.as_bytes());
        answer.await.unwrap()
    }

    async fn check(&self, token: &str, permission: &str) -> Response {
        let body = json!({ "permission": permission });
        self.asked("POST", CHECK, token, &body).await
    }

    async fn may(&self, token: &str, permission: &str) -> bool {
        let answer = self.check(token, permission).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["allowed"].as_bool().unwrap()
    }

    /// Makes the first administrator and logs it in.
    async fn administrator(&self, installation: &Installation) -> String {
        let body =
            json!({ "setup_token": installation.setup_token, "email": ROOT, "password": PASSWORD });
        assert_eq!(self.post("/api/v1/auth/setup", body).await.status, 201);
        Tokens::of(&self.try_login(ROOT, PASSWORD).await).access
    }

    async fn define(&self, administrator: &str, role: &str, permissions: &[&str]) {
        let path = format!("/api/v1/admin/roles/{role}");
        let body = json!({ "permissions": permissions });
        let answer = self.asked("PUT", &path, administrator, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Makes an API key of whoever the token is of.
    async fn key(&self, token: &str, permissions: &[&str]) -> (String, String) {
        let body = json!({ "name": "a key", "permissions": permissions });
        let answer = self.asked("POST", "/api/v1/api-keys", token, &body).await;
        made(&answer)
    }

    async fn with_field(&self, key: &str, path: &str) -> Response {
        let fields = [("X-API-Key", key)];
        let mut connection = self.connect().await;
        connection.request("GET", path, &fields, b"").await.unwrap()
    }
}

fn made(answer: &Response) -> (String, String) {
    assert_eq!(answer.status, 201, "{}", answer.text());
    let json = answer.json();
    let text = |name: &str| json[name].as_str().unwrap().to_owned();
    (text("id"), text("key"))
}

/// Ada's token, after she was given roles.
async fn ada(installation: &Installation, instance: &Instance, roles: &[&str]) -> String {
    instance.register(EMAIL, PASSWORD).await;
    let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    let config = installation.config("op", &[]);
    operator::set_roles(&config, EMAIL, &roles).await.unwrap();
    // `iat` has whole seconds: a token of the very second of the cut counts as older.
    wait_until("a login after the cut", async || {
        let token = instance.login().await.access;
        (instance.verify(&token).await.status == 200).then_some(token)
    })
    .await
}

async fn a_change_of_a_role_counts_on_the_next_request_of_every_instance(
    installation: Installation,
) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let root = a.administrator(&installation).await;
    let token = ada(&installation, &a, &["clerk"]).await;
    for instance in [&a, &b] {
        assert!(
            !instance.may(&token, "orders:read").await,
            "nobody defined the role"
        );
    }
    for round in 0..5 {
        let (changed, other) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        changed
            .define(&root, "clerk", &["orders:read", "users:*"])
            .await;
        for instance in [other, changed] {
            assert!(instance.may(&token, "orders:read").await, "{round}");
            assert!(instance.may(&token, "users:delete").await, "{round}");
            assert!(!instance.may(&token, "orders:write").await, "{round}");
        }
        changed.define(&root, "clerk", &["orders:write"]).await;
        for instance in [other, changed] {
            assert!(!instance.may(&token, "orders:read").await, "{round}");
            assert!(instance.may(&token, "orders:write").await, "{round}");
        }
    }
    a.stop().await;
    b.stop().await;
}

async fn sec_b10_a_key_works_wherever_a_token_does_and_is_shown_once(installation: Installation) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let root = a.administrator(&installation).await;
    a.define(&root, "clerk", &["orders:read", "orders:write"])
        .await;
    let token = ada(&installation, &a, &["clerk"]).await;
    let (id, key) = a.key(&token, &["orders:read"]).await;
    assert!(key.starts_with("pck_") && key.len() == 52, "{key}");
    for instance in [&a, &b] {
        assert!(instance.may(&key, "orders:read").await);
        assert!(
            !instance.may(&key, "orders:write").await,
            "beyond its scope"
        );
        for answer in [
            instance.verify(&key).await,
            instance.with_field(&key, "/api/v1/auth/verify").await,
        ] {
            assert_eq!(answer.status, 200, "{}", answer.text());
            let json = answer.json();
            assert_eq!((&json["active"], &json["jti"]), (&json!(true), &json!(id)));
            assert_eq!(json["roles"], json!(["clerk"]));
            assert_eq!(json["tier"], json!("free"));
        }
    }
    let listed = b.asked("GET", "/api/v1/api-keys", &token, &json!({})).await;
    assert!(
        !listed.text().contains(&key[12..]),
        "only its beginning is ever shown again"
    );
    let listed = listed.json();
    assert_eq!(listed["api_keys"][0]["prefix"], json!(key[..12]));
    assert!(
        listed["api_keys"][0]["last_used_at"].is_string(),
        "{listed}"
    );
    // A role that gives less takes it from the key, too.
    a.define(&root, "clerk", &["orders:write"]).await;
    assert!(!b.may(&key, "orders:read").await);
    a.stop().await;
    b.stop().await;
}

async fn sec_d04_a_revoked_key_is_refused_by_every_instance_at_once(installation: Installation) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let root = a.administrator(&installation).await;
    a.define(&root, "clerk", &["orders:read"]).await;
    let token = ada(&installation, &a, &["clerk"]).await;
    for revoker in [&token, &root] {
        let (id, key) = a.key(&token, &["orders:read"]).await;
        for instance in [&a, &b] {
            assert!(instance.may(&key, "orders:read").await, "it is remembered");
        }
        let path = format!("/api/v1/api-keys/{id}");
        for _ in 0..2 {
            let revoked = b.asked("DELETE", &path, revoker, &json!({})).await;
            assert_eq!(revoked.status, 204, "{}", revoked.text());
        }
        for instance in [&a, &b] {
            assert_problem(
                &instance.check(&key, "orders:read").await,
                401,
                "invalid_token",
            );
            assert_problem(&instance.verify(&key).await, 401, "invalid_token");
        }
    }
    a.stop().await;
    b.stop().await;
}

async fn sec_a14_a_key_of_whoever_is_shut_is_refused(installation: Installation) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let root = a.administrator(&installation).await;
    a.define(&root, "clerk", &["orders:read"]).await;
    let token = ada(&installation, &a, &["clerk"]).await;
    let (_, of_account) = a.key(&token, &["orders:read"]).await;
    let path = "/api/v1/admin/clients/worker";
    let client = json!({ "roles": ["clerk"], "tier": "pro" });
    let put = a.asked("PUT", path, &root, &client).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let wanted =
        json!({ "name": "deploy", "permissions": ["orders:*"], "expires_in_seconds": 3600 });
    let keys = format!("{path}/api-keys");
    let (_, of_client) = made(&a.asked("POST", &keys, &root, &wanted).await);
    for instance in [&a, &b] {
        for key in [&of_account, &of_client] {
            assert!(instance.may(key, "orders:read").await);
        }
        assert!(
            !instance.may(&of_client, "orders:write").await,
            "beyond what the client has"
        );
    }
    assert_eq!(
        b.verify(&of_client).await.json()["sub"],
        json!("client:worker")
    );

    operator::disable(&installation.config("op", &[]), EMAIL)
        .await
        .unwrap();
    let shut = json!({ "roles": ["clerk"], "status": "disabled" });
    assert_eq!(b.asked("PUT", path, &root, &shut).await.status, 200);
    for instance in [&a, &b] {
        for key in [&of_account, &of_client] {
            assert_problem(&instance.verify(key).await, 401, "invalid_token");
        }
    }
    assert_eq!(b.asked("PUT", path, &root, &client).await.status, 200);
    assert_eq!(a.verify(&of_client).await.status, 200, "opened again");
    assert_eq!(a.asked("DELETE", path, &root, &json!({})).await.status, 204);
    assert_problem(&b.verify(&of_client).await, 401, "invalid_token");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_batch_answers_each_and_asking_about_others_takes_a_permission() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let root = instance.administrator(&installation).await;
    instance.define(&root, "clerk", &["orders:read"]).await;
    instance
        .define(&root, "gateway", &["permissions:check"])
        .await;
    let token = ada(&installation, &instance, &["clerk"]).await;
    let path = "/api/v1/permissions/check/batch";
    let many = json!({ "permissions": ["orders:read", "orders:write", "orders:read"] });
    let answer = instance.asked("POST", path, &token, &many).await.json();
    let allowed: Vec<_> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["allowed"])
        .collect();
    assert_eq!(allowed, [&json!(true), &json!(false), &json!(true)]);
    let subject = answer["subject"].as_str().unwrap().to_owned();

    let about = json!({ "permission": "orders:read", "subject": subject });
    assert_eq!(
        instance.asked("POST", CHECK, &token, &about).await.status,
        200,
        "oneself"
    );
    assert_problem(
        &instance.asked("POST", CHECK, &root, &about).await,
        403,
        "forbidden",
    );
    let client = json!({ "roles": ["gateway"], "tier": "internal" });
    let put = instance
        .asked("PUT", "/api/v1/admin/clients/edge", &root, &client)
        .await;
    assert_eq!(put.status, 200);
    let wanted = json!({ "name": "k", "permissions": ["permissions:check"] });
    let keys = "/api/v1/admin/clients/edge/api-keys";
    let (_, key) = made(&instance.asked("POST", keys, &root, &wanted).await);
    for (subject, permission, allowed) in [
        (subject.as_str(), "orders:read", true),
        (&subject, "orders:write", false),
        ("client:edge", "permissions:check", true),
        ("client:nobody", "orders:read", false),
        ("00000000-0000-4000-8000-000000000000", "orders:read", false),
    ] {
        let about = json!({ "permission": permission, "subject": subject });
        let answer = instance.asked("POST", CHECK, &key, &about).await;
        assert_eq!(
            answer.json(),
            json!({ "allowed": allowed }),
            "{subject} {permission}"
        );
    }
    // Without the permission in its scope, a key of the same client may not ask.
    let wanted = json!({ "name": "k", "permissions": ["orders:read"] });
    let (_, key) = made(&instance.asked("POST", keys, &root, &wanted).await);
    assert_problem(
        &instance.asked("POST", CHECK, &key, &about).await,
        403,
        "forbidden",
    );
    instance.stop().await;
}

/// What Ada asks for, and how that ends. `$129` and `$101` stand for so many permissions.
const OF_ADA: &str = r#"
POST /api/v1/permissions/check | {"permission":"orders"} | 400 invalid_permission
POST /api/v1/permissions/check | {"permission":"orders:*"} | 400 invalid_permission
POST /api/v1/permissions/check | {"permission":"a:b","subject":"x"} | 400 invalid_subject
POST /api/v1/permissions/check | {"permission":"a:b","more":1} | 400 invalid_body
POST /api/v1/permissions/check | {"permission":["a:b"]} | 400 invalid_body
POST /api/v1/permissions/check/batch | {"permissions":[]} | 400 too_many
POST /api/v1/permissions/check/batch | {"permissions":$101} | 400 too_many
POST /api/v1/api-keys | {"name":"","permissions":[]} | 400 invalid_name
POST /api/v1/api-keys | {"name":"k","permissions":["a"]} | 400 invalid_permission
POST /api/v1/api-keys | {"name":"k","permissions":$129} | 400 too_many
POST /api/v1/api-keys | {"name":"k","permissions":["orders:*"]} | 403 beyond_owner
POST /api/v1/api-keys | {"name":"k","permissions":[],"expires_in_seconds":0} | 400 invalid_expiry
DELETE /api/v1/api-keys/1 | {} | 404 no_such_thing
DELETE /api/v1/api-keys/00000000-0000-4000-8000-000000000000 | {} | 404 no_such_thing
PUT /api/v1/admin/roles/x | {"permissions":[]} | 403 forbidden
DELETE /api/v1/admin/roles/x | {} | 403 forbidden
GET /api/v1/admin/roles | {} | 403 forbidden
PUT /api/v1/admin/clients/x | {"roles":[]} | 403 forbidden
GET /api/v1/admin/clients | {} | 403 forbidden
POST /api/v1/admin/clients/x/api-keys | {"name":"k","permissions":[]} | 403 forbidden
"#;

/// What an administrator asks for.
const OF_ROOT: &str = r#"
PUT /api/v1/admin/roles/X | {"permissions":[]} | 400 invalid_role
PUT /api/v1/admin/roles/x | {"permissions":["a:b:c"]} | 400 invalid_permission
PUT /api/v1/admin/roles/x | {"permissions":$129} | 400 too_many
DELETE /api/v1/admin/roles/x | {} | 404 no_such_thing
DELETE /api/v1/admin/roles/clerk | {} | 409 role_held
GET /api/v1/admin/roles/x | {} | 404 no_such_thing
PUT /api/v1/admin/clients/a:b | {"roles":[]} | 400 invalid_client
PUT /api/v1/admin/clients/x | {"roles":["A"]} | 400 invalid_role
PUT /api/v1/admin/clients/x | {"roles":[],"tier":"gold"} | 400 invalid_tier
PUT /api/v1/admin/clients/x | {"roles":[],"status":"x"} | 400 invalid_body
DELETE /api/v1/admin/clients/x | {} | 404 no_such_thing
POST /api/v1/admin/clients/x/api-keys | {"name":"k","permissions":[]} | 404 no_such_thing
GET /api/v1/admin/clients/x/api-keys | {} | 404 no_such_thing
GET /api/v1/admin/clients?before=x | {} | 400 invalid_query
"#;

#[tokio::test]
async fn nonsense_is_refused_and_nobody_but_administrators_administers() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let root = instance.administrator(&installation).await;
    instance.define(&root, "clerk", &["orders:read"]).await;
    let token = ada(&installation, &instance, &["clerk"]).await;
    let many = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("a:{n}")).collect();
        json!(names).to_string()
    };
    for (asking, questions) in [(&token, OF_ADA), (&root, OF_ROOT)] {
        for line in questions.trim().lines() {
            let [request, body, ending] = line.splitn(3, " | ").collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let (method, path) = request.split_once(' ').unwrap();
            let (status, code) = ending.split_once(' ').unwrap();
            let body = body.replace("$129", &many(129)).replace("$101", &many(101));
            let body: Value = serde_json::from_str(&body).unwrap();
            let answer = instance.asked(method, path, asking, &body).await;
            assert_eq!(answer.json()["code"], json!(code), "{line}");
            assert_problem(&answer, status.parse().unwrap(), code);
            let strange = instance.asked(method, path, "nonsense", &body).await;
            assert_problem(&strange, 401, "invalid_token");
        }
    }
    let (_, key) = instance.key(&token, &["orders:read"]).await;
    let by_key = instance
        .asked("GET", "/api/v1/api-keys", &key, &json!({}))
        .await;
    assert_problem(&by_key, 401, "invalid_token");
    instance.stop().await;
}

#[tokio::test]
async fn sec_b10_unknown_keys_count_as_failed_attempts_of_their_network() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let root = instance.administrator(&installation).await;
    let (_, key) = instance.key(&root, &[]).await;
    assert_eq!(instance.verify(&key).await.status, 200);
    let mistyped = key.replace(&key[20..21], if &key[20..21] == "x" { "y" } else { "x" });
    for n in 0..105_u32 {
        assert_problem(&instance.verify(&mistyped).await, 401, "invalid_token");
        let unknown = portcullis_auth::domain::ApiKeySecret::from_random([n as u8; 32]);
        let answer = instance.verify(unknown.expose()).await;
        match n {
            0..100 => assert_problem(&answer, 401, "invalid_token"),
            _ => assert_problem(&answer, 429, "too_many_attempts"),
        }
    }
    assert_eq!(
        instance.verify(&key).await.status,
        200,
        "one that is known goes on"
    );
    instance.stop().await;
}

#[tokio::test]
async fn sec_j03_the_tier_of_a_key_sets_its_bucket_and_health_has_none() {
    let installation = Installation::with(&[("AUTH_RATE_LIMIT_CHECK", "2")]).await;
    let instance = installation.start("a").await;
    let root = instance.administrator(&installation).await;
    let mut keys = Vec::new();
    for (name, tier) in [
        ("a", "anonymous"),
        ("b", "free"),
        ("c", "pro"),
        ("d", "internal"),
    ] {
        let path = format!("/api/v1/admin/clients/{name}");
        let client = json!({ "roles": [], "tier": tier });
        let put = instance.asked("PUT", &path, &root, &client).await;
        assert_eq!(put.status, 200, "{}", put.text());
        let wanted = json!({ "name": "k", "permissions": [] });
        let made_at = format!("{path}/api-keys");
        keys.push(made(&instance.asked("POST", &made_at, &root, &wanted).await).1);
    }
    for (key, limit) in keys.iter().zip([Some("1"), Some("2"), Some("20"), None]) {
        let answer = instance.check(key, "orders:read").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.field("ratelimit-limit"), limit);
    }
    let refused = instance.check(&keys[0], "orders:read").await;
    assert_problem(&refused, 429, "rate_limited");
    assert!(refused.field("retry-after").is_some());
    assert_eq!(
        instance.check(&keys[1], "orders:read").await.status,
        200,
        "a bucket of its own"
    );
    let metric = "portcullis_auth_rate_limited_total{use_case=\"check\"}";
    assert_eq!(instance.metric(metric).await, 1.0);
    for _ in 0..10 {
        assert_eq!(instance.get("/health").await.status, 200);
        assert_eq!(instance.verify(&keys[0]).await.status, 200);
    }
    instance.stop().await;
}

#[tokio::test]
async fn tokens_say_the_tier_of_their_account() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let before = instance.register_and_login().await;
    assert_eq!(
        instance.verify(&before.access).await.json()["tier"],
        json!("free")
    );
    let config = installation.config("op", &[]);
    let account = operator::authorization::set_tier(&config, EMAIL, "enterprise").await;
    assert_eq!(account.unwrap().tier.as_str(), "enterprise");
    let after = Tokens::of(&instance.refresh(&before.refresh).await);
    assert_eq!(
        instance.verify(&after.access).await.json()["tier"],
        json!("enterprise")
    );
    let unknown = operator::authorization::set_tier(&config, EMAIL, "gold").await;
    assert!(unknown.unwrap_err().to_string().contains("enterprise"));
    instance.stop().await;
}

async fn sec_c19_a_machine_named_like_a_person_is_somebody_else(installation: Installation) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let root = a.administrator(&installation).await;
    a.define(&root, "clerk", &["orders:read"]).await;
    a.define(&root, "robot", &["orders:write"]).await;
    let token = ada(&installation, &a, &["clerk"]).await;
    let sub = async |instance: &Instance, proof: &str| {
        let json = instance.verify(proof).await.json();
        json["sub"].as_str().unwrap().to_owned()
    };
    let id = sub(&a, &token).await;
    let path = format!("/api/v1/admin/clients/{id}");
    let client = json!({ "roles": ["robot"] });
    let put = a.asked("PUT", &path, &root, &client).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let wanted = json!({ "name": "a key", "permissions": ["orders:*"] });
    let keys = format!("{path}/api-keys");
    let (_, key) = made(&a.asked("POST", &keys, &root, &wanted).await);
    for instance in [&a, &b] {
        assert_eq!(sub(instance, &key).await, format!("client:{id}"));
        assert!(
            instance.may(&key, "orders:write").await && !instance.may(&key, "orders:read").await
        );
        assert!(instance.may(&token, "orders:read").await);
        assert!(!instance.may(&token, "orders:write").await);
    }
    let shut = json!({ "roles": ["robot"], "status": "disabled" });
    assert_eq!(a.asked("PUT", &path, &root, &shut).await.status, 200);
    assert_problem(&b.verify(&key).await, 401, "invalid_token");
    assert_eq!(b.verify(&token).await.status, 200, "the person goes on");
    for name in ["client:x", "client%3Ax"] {
        let path = format!("/api/v1/admin/clients/{name}");
        let refused = a.asked("PUT", &path, &root, &client).await;
        assert_problem(&refused, 400, "invalid_client");
    }
}

#[tokio::test]
async fn sec_f05_a_key_is_made_only_after_a_proof_of_the_last_five_minutes() {
    let installation = Installation::on_postgres().await;
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let root = a.administrator(&installation).await;
    a.define(&root, "clerk", &["orders:read"]).await;
    let token = ada(&installation, &a, &["clerk"]).await;
    a.key(&token, &["orders:read"]).await;
    // The session is as old as one that was left open.
    let server = installation.server.as_ref().unwrap();
    server.query("UPDATE refresh_family SET created_at = created_at - 300000");
    let wanted = json!({ "name": "another", "permissions": ["orders:read"] });
    for instance in [&a, &b] {
        let refused = instance
            .asked("POST", "/api/v1/api-keys", &token, &wanted)
            .await;
        assert_problem(&refused, 403, "reauthentication_required");
    }
    let password = json!({ "password": PASSWORD });
    let proved = b
        .asked("POST", "/api/v1/auth/reauthenticate", &token, &password)
        .await;
    assert_eq!(proved.status, 204, "{}", proved.text());
    a.key(&token, &["orders:read"]).await;
}
