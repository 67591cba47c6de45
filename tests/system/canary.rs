//! Marked secrets on every way into auth: every route of its document, every command, and all that a login hands out. None
//! of them comes out where it does not belong: logs at their most talkative, metrics, refusals, the audit log, commands.

use std::net::SocketAddr;

use portcullis_testkit::postgres::{self, Postgres};
use portcullis_testkit::redis::Redis;
use portcullis_testkit::{Connection, Response};
use serde_json::{Map, Value, json};

use crate::harness::auth::{Auth, INTERNAL_TOKEN, with_token};

const MARK: &str = "CANARY";
const PASSWORD: &str = "CANARY-battery-staple";
const SALT: &str = "CANARY-salt-Zq8vR2mX9cL4bN7tK1wP6yH3";
const KEY: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
const REDIS_PASSWORD: &str = "CANARY-redis-password";
/// What a service of any size may have.
const SERIES_MAX: usize = 2000;

async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &Value,
) -> Response {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut connection = Connection::open(address).await.unwrap();
    connection
        .request(method, path, fields, body.as_bytes())
        .await
        .unwrap()
}

/// Every operation of the document: method, path with its steps filled in, and a body with every member marked.
async fn operations(address: SocketAddr) -> Vec<(String, String, Value)> {
    let document = ask(address, "GET", "/api/v1/openapi.json", &[], &Value::Null)
        .await
        .json();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let filled = path.split('/').map(|step| match step.starts_with('{') {
            true => "CANARY-step",
            false => step,
        });
        let filled: Vec<_> = filled.collect();
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let body = match schema["properties"].as_object() {
                Some(members) => marked(members),
                None => Value::Null,
            };
            found.push((method.to_ascii_uppercase(), filled.join("/"), body));
        }
    }
    assert!(found.len() > 30, "the document has every route");
    found
}

fn marked(members: &Map<String, Value>) -> Value {
    let member = |(name, schema): (&String, &Value)| {
        let text = format!("{MARK}-{name}");
        let value = if schema["type"] == "array" {
            json!([text])
        } else {
            json!(text)
        };
        (name.clone(), value)
    };
    Value::Object(members.iter().map(member).collect())
}

/// Asks every route with marked proofs of identity, and with the real ones of somebody who may do nothing.
async fn ask_everything(address: SocketAddr, real: &str) {
    let bearer = format!("Bearer {real}");
    let marked = format!("Bearer {MARK}.{MARK}.{MARK}");
    let cookie =
        format!("__Host-portcullis_session={MARK}-cookie; portcullis_session={MARK}-cookie");
    let json = ("Content-Type", "application/json");
    let proofs = [
        vec![json],
        vec![json, ("Authorization", marked.as_str())],
        vec![
            json,
            ("Cookie", cookie.as_str()),
            ("X-CSRF-Token", "CANARY-csrf"),
            ("Sec-Fetch-Site", "same-origin"),
        ],
        vec![json, ("Authorization", bearer.as_str())],
    ];
    for (method, path, body) in operations(address).await {
        let ends_sessions = path.ends_with("logout") || path.ends_with("logout-all");
        for fields in &proofs {
            if ends_sessions && fields.contains(&("Authorization", bearer.as_str())) {
                continue;
            }
            for query in ["", "?token=CANARY-query&cursor=CANARY-cursor"] {
                let path = format!("{path}{query}");
                let answer = ask(address, &method, &path, fields, &body).await;
                let text = answer.text();
                assert!(
                    !text.contains(MARK) && !text.contains(real),
                    "{method} {path}: {text}"
                );
                assert!(
                    answer.status < 500 || matches!(answer.status, 501 | 503),
                    "{method} {path}: {text}"
                );
                let fields = format!("{:?}", answer.fields);
                assert!(!fields.contains(MARK), "{method} {path}: {fields}");
            }
        }
    }
}

/// Every command that tells something, and its whole output.
async fn run_everything(auth: &Auth) -> String {
    let mut told = String::new();
    for arguments in [
        &["user", "list"][..],
        &["user", "list", "--json"],
        &["user", "show", "ada@example.com", "--json"],
        &["user", "sessions", "ada@example.com"],
        &["user", "add", "CANARY-nobody"],
        &["user", "disable", "nobody@example.com"],
        &["user", "roles", "ada@example.com", "editor"],
        &["user", "logout", "ada@example.com"],
        &["keys", "list", "--json"],
        &["keys", "rotate"],
        &["keys", "revoke", "nobody"],
        &["settings", "list", "--json"],
        &["settings", "set", "LOG_LEVEL", "loud"],
        &["settings", "set", "SECURITY_SALT", "x"],
        &["audit", "list", "--json", "--limit", "500"],
        &["audit", "verify"],
        &["audit", "export"],
        &["user", "erase", "ada@example.com", "--yes"],
        &["migrate"],
    ] {
        let (_, process) = auth.run(arguments).await;
        told += &process.output();
    }
    // What an operator typed may be told back; a marked secret that an instance holds may not.
    told.replace("CANARY-nobody", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_i01_no_marked_secret_comes_out_of_any_route_command_log_or_metric() {
    let (redis, postgres) = tokio::join!(
        Redis::start_with_password(REDIS_PASSWORD),
        Postgres::start()
    );
    let variables = [
        ("REDIS_URL", redis.url()),
        ("DATABASE_URL", postgres.url()),
        ("SECURITY_SALT", SALT.to_owned()),
        ("KEY_ENCRYPTION_KEY", KEY.to_owned()),
        ("KEY_ENCRYPTION_KEY_FILE", String::new()),
        ("LOG_LEVEL", "trace".to_owned()),
    ];
    let auth = Auth::start_with(1, &variables).await;
    let address = auth.instances[0].address();
    let grant = auth.log_in_for(0).await;
    let body = json!({ "email": "eve@example.com", "password": PASSWORD });
    let json = [("Content-Type", "application/json")];
    for path in ["register", "login"] {
        let path = format!("/api/v1/auth/{path}");
        assert!(ask(address, "POST", &path, &json, &body).await.status < 300);
    }
    let token = |name: &str| grant[name].as_str().unwrap().to_owned();
    let (access, refresh) = (token("access_token"), token("refresh_token"));
    ask_everything(address, &access).await;
    let refreshed = json!({ "refresh_token": refresh });
    let next = ask(address, "POST", "/api/v1/auth/refresh", &json, &refreshed)
        .await
        .json();
    let commands = run_everything(&auth).await;
    let internal = auth.instances[0].internal();
    let metrics = with_token(internal, "GET", "/metrics", INTERNAL_TOKEN)
        .await
        .text();
    let series = metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .count();
    assert!(series < SERIES_MAX, "sec_i07: {series} series");
    let logs = auth.instances[0].output();
    assert!(logs.contains("answered"), "the capture works");
    let secrets = [
        MARK,
        KEY,
        INTERNAL_TOKEN,
        postgres::PASSWORD,
        &access,
        &refresh,
        next["access_token"].as_str().unwrap(),
        next["refresh_token"].as_str().unwrap(),
        "correct horse",
        "argon2id",
        "PRIVATE KEY",
    ];
    for (what, text) in [
        ("logs", &logs),
        ("metrics", &metrics),
        ("commands", &commands),
    ] {
        for secret in secrets {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is in the {what}");
        }
    }
    assert!(!logs.contains("ada@example.com") && !logs.contains("eve@example.com"));
}
