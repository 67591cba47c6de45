//! Administration over HTTP: accounts, sessions, the audit log and settings, for administrators alone.

use portcullis_auth::operator;
use portcullis_testkit::{Response, wait_until};
use serde_json::{Value, json};

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, Tokens, assert_problem};

const ADMIN: &str = "admin@example.com";

/// Makes the first administrator and logs it in.
async fn administrator(installation: &Installation, instance: &Instance) -> String {
    let token = &installation.setup_token;
    let body = json!({ "setup_token": token, "email": ADMIN, "password": PASSWORD });
    assert_eq!(instance.post("/api/v1/auth/setup", body).await.status, 201);
    Tokens::of(&instance.try_login(ADMIN, PASSWORD).await).access
}

async fn ask(instance: &Instance, token: &str, method: &str, path: &str, body: Value) -> Response {
    let authorization = format!("Bearer {token}");
    let fields = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
    ];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let path = format!("/api/v1/admin/{path}");
    let mut connection = instance.connect().await;
    connection
        .request(method, &path, &fields, body.as_bytes())
        .await
        .unwrap()
}

async fn get(instance: &Instance, token: &str, path: &str) -> Value {
    let answer = ask(instance, token, "GET", path, Value::Null).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

async fn id_of(instance: &Instance, token: &str, email: &str) -> String {
    let found = get(instance, token, &format!("users?search={email}")).await;
    found["users"][0]["id"].as_str().unwrap().to_owned()
}

on_every_store!(
    administrators_find_accounts_page_by_page,
    administrators_shut_and_open_accounts_on_every_instance,
    administrators_do_not_shut_themselves_out_nor_find_nobody,
    administrators_give_roles_and_end_sessions,
    administrators_give_tiers_and_help_whoever_lost_the_phone,
    sec_f06_nobody_else_administrates,
    sec_f02_a_cookie_looks_and_changes_only_with_what_a_page_of_ours_knows,
    sec_h05_hostile_filters_and_cursors_are_refused_or_find_nothing,
    settings_hold_on_every_instance_within_seconds_and_wrong_ones_never,
);

async fn administrators_find_accounts_page_by_page(installation: Installation) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let admin = administrator(&installation, &a).await;
    a.register_and_login().await;
    for number in 0..4 {
        a.register(&format!("user{number}@example.org"), PASSWORD)
            .await;
    }
    let mut seen = Vec::new();
    let mut path = "users?search=EXAMPLE.org&limit=3".to_owned();
    loop {
        let page = get(&b, &admin, &path).await;
        let users = page["users"].as_array().unwrap();
        seen.extend(
            users
                .iter()
                .map(|user| user["email"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("users?search=EXAMPLE.org&limit=3&cursor={next}");
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    let admins = get(&a, &admin, "users?role=admin").await;
    assert_eq!(admins["users"][0]["email"], ADMIN);
    assert!(!admins.to_string().contains("argon2"), "{admins}");
}

async fn administrators_shut_and_open_accounts_on_every_instance(installation: Installation) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let admin = administrator(&installation, &a).await;
    let tokens = a.register_and_login().await;
    let id = id_of(&a, &admin, EMAIL).await;
    let shut = ask(
        &a,
        &admin,
        "POST",
        &format!("users/{id}/disable"),
        Value::Null,
    )
    .await;
    assert_eq!(
        (shut.status, &shut.json()["status"]),
        (200, &json!("disabled"))
    );
    assert_problem(&b.verify(&tokens.access).await, 401, "invalid_token");
    assert_problem(
        &b.refresh(&tokens.refresh).await,
        401,
        "invalid_refresh_token",
    );
    assert_eq!(b.try_login(EMAIL, PASSWORD).await.status, 401);
    let found = get(&b, &admin, "users?status=disabled").await;
    assert_eq!(found["users"][0]["id"], json!(id));
    let opened = ask(
        &b,
        &admin,
        "POST",
        &format!("users/{id}/enable"),
        Value::Null,
    )
    .await;
    assert_eq!(opened.json()["status"], "active");
    assert_eq!(a.try_login(EMAIL, PASSWORD).await.status, 200);
    let own = id_of(&a, &admin, ADMIN).await;
    let lines = get(&a, &admin, &format!("audit?account={own}&event=disabled")).await;
    let line = &lines["lines"][0];
    assert_eq!(
        (&line["actor"], &line["actor_id"]),
        (&json!("account"), &json!(own))
    );
    assert_eq!(line["account_id"], json!(id));
    assert!(line["request_id"].is_string());
}

async fn administrators_do_not_shut_themselves_out_nor_find_nobody(installation: Installation) {
    let a = installation.start("a").await;
    let admin = administrator(&installation, &a).await;
    let own = id_of(&a, &admin, ADMIN).await;
    let refused = ask(
        &a,
        &admin,
        "POST",
        &format!("users/{own}/disable"),
        Value::Null,
    )
    .await;
    assert_problem(&refused, 409, "own_account");
    let body = json!({ "roles": [] });
    let refused = ask(&a, &admin, "PUT", &format!("users/{own}/roles"), body).await;
    assert_problem(&refused, 409, "own_account");
    for nobody in [
        "00000000-0000-4000-8000-000000000000",
        "nobody",
        "1%20OR%201=1",
    ] {
        let refused = ask(&a, &admin, "GET", &format!("users/{nobody}"), Value::Null).await;
        assert_problem(&refused, 404, "no_such_account");
    }
}

async fn administrators_give_roles_and_end_sessions(installation: Installation) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let admin = administrator(&installation, &a).await;
    let tokens = a.register_and_login().await;
    let id = id_of(&a, &admin, EMAIL).await;
    let body = json!({ "roles": ["editor"] });
    let given = ask(&a, &admin, "PUT", &format!("users/{id}/roles"), body).await;
    assert_eq!(given.json()["roles"], json!(["editor"]));
    assert_problem(&b.verify(&tokens.access).await, 401, "invalid_token");
    let body = json!({ "roles": ["Not A Role"] });
    let refused = ask(&a, &admin, "PUT", &format!("users/{id}/roles"), body).await;
    assert_problem(&refused, 400, "invalid_role");
    let many: Vec<String> = (0..65).map(|n| format!("r{n}")).collect();
    let body = json!({ "roles": many });
    let refused = ask(&a, &admin, "PUT", &format!("users/{id}/roles"), body).await;
    assert_problem(&refused, 400, "too_many");

    let fresh = wait_until("a token after the cut", async || {
        let tokens = Tokens::of(&a.try_login(EMAIL, PASSWORD).await);
        (a.verify(&tokens.access).await.status == 200).then_some(tokens)
    })
    .await;
    let sessions = get(&b, &admin, &format!("users/{id}/sessions")).await;
    let newest = sessions["sessions"][0]["id"].as_str().unwrap();
    let path = format!("users/{id}/sessions/{newest}");
    assert_eq!(
        ask(&b, &admin, "DELETE", &path, Value::Null).await.status,
        204
    );
    assert_problem(&a.verify(&fresh.access).await, 401, "invalid_token");
    let other = format!("users/{id}/sessions/00000000-0000-4000-8000-000000000000");
    let refused = ask(&b, &admin, "DELETE", &other, Value::Null).await;
    assert_problem(&refused, 404, "no_such_session");

    let last = Tokens::of(&a.try_login(EMAIL, PASSWORD).await);
    let path = format!("users/{id}/sessions");
    assert_eq!(
        ask(&b, &admin, "DELETE", &path, Value::Null).await.status,
        204
    );
    assert_problem(
        &a.refresh(&last.refresh).await,
        401,
        "invalid_refresh_token",
    );
    let config = installation.config("op", &[]);
    assert!(operator::sessions(&config, EMAIL).await.unwrap().is_empty());
    let again = Tokens::of(&a.try_login(EMAIL, PASSWORD).await);
    assert_eq!(operator::sessions(&config, EMAIL).await.unwrap().len(), 1);
    operator::log_out(&config, EMAIL).await.unwrap();
    assert_problem(
        &a.refresh(&again.refresh).await,
        401,
        "invalid_refresh_token",
    );
}

async fn administrators_give_tiers_and_help_whoever_lost_the_phone(installation: Installation) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let admin = administrator(&installation, &a).await;
    let tokens = a.register_and_login().await;
    let id = id_of(&a, &admin, EMAIL).await;
    let (tier, mfa) = (format!("users/{id}/tier"), format!("users/{id}/mfa"));
    let shown = get(&b, &admin, &format!("users/{id}")).await;
    assert_eq!(shown["tier"], "free");
    assert_eq!(shown["email_verified_at"], Value::Null);
    let none = json!({ "totp": false, "recovery_codes_left": 0 });
    assert_eq!(shown["mfa"], none);

    let given = ask(&a, &admin, "PUT", &tier, json!({ "tier": "pro" })).await;
    assert_eq!((given.status, &given.json()["tier"]), (200, &json!("pro")));
    let login = Tokens::of(&b.try_login(EMAIL, PASSWORD).await);
    assert_eq!(b.verify(&login.access).await.json()["tier"], "pro");
    let line = get(&a, &admin, "audit?event=tier_changed").await["lines"][0].clone();
    assert_eq!(
        (&line["object"], &line["account_id"]),
        (&json!("pro"), &json!(id))
    );
    assert_eq!(line["actor"], "account");
    for (body, code) in [
        (json!({ "tier": "gold" }), "invalid_tier"),
        (json!({ "tier": 1 }), "invalid_body"),
        (json!({}), "invalid_body"),
    ] {
        assert_problem(&ask(&a, &admin, "PUT", &tier, body).await, 400, code);
    }

    let refused = ask(&a, &admin, "DELETE", &mfa, Value::Null).await;
    assert_problem(&refused, 409, "no_factor");
    crate::factors::enrol(&a, &tokens).await;
    let shown = get(&b, &admin, &format!("users/{id}")).await;
    assert_eq!(shown["mfa"]["totp"], true, "{shown}");
    assert_eq!(a.try_login(EMAIL, PASSWORD).await.status, 202, "and a code");
    let reset = ask(&b, &admin, "DELETE", &mfa, Value::Null).await;
    assert_eq!(reset.status, 204, "{}", reset.text());
    assert_eq!(a.try_login(EMAIL, PASSWORD).await.status, 200);
    let line = get(&a, &admin, "audit?event=factors_reset").await["lines"][0].clone();
    assert_eq!(line["account_id"], json!(id));

    let nobody = "users/00000000-0000-4000-8000-000000000000";
    for (method, path, body) in [
        ("PUT", format!("{nobody}/tier"), json!({ "tier": "pro" })),
        ("DELETE", format!("{nobody}/mfa"), Value::Null),
        ("GET", format!("{nobody}/api-keys"), Value::Null),
    ] {
        let refused = ask(&a, &admin, method, &path, body).await;
        assert_problem(&refused, 404, "no_such_account");
    }
    let keys = get(&a, &admin, &format!("users/{id}/api-keys")).await;
    assert_eq!(keys["api_keys"], json!([]));
}

async fn sec_f06_nobody_else_administrates(installation: Installation) {
    let a = installation.start("a").await;
    let admin = administrator(&installation, &a).await;
    let user = a.register_and_login().await.access;
    let id = id_of(&a, &admin, EMAIL).await;
    for (method, path) in [
        ("GET", "users".to_owned()),
        ("GET", format!("users/{id}")),
        ("POST", format!("users/{id}/disable")),
        ("POST", format!("users/{id}/enable")),
        ("PUT", format!("users/{id}/roles")),
        ("GET", format!("users/{id}/sessions")),
        ("DELETE", format!("users/{id}/sessions")),
        ("DELETE", format!("users/{id}/sessions/{id}")),
        ("GET", "audit".to_owned()),
        ("GET", "settings".to_owned()),
        ("PUT", "settings/LOG_LEVEL".to_owned()),
        ("DELETE", "settings/LOG_LEVEL".to_owned()),
    ] {
        let body = json!({ "roles": ["admin"], "value": "debug" });
        let refused = ask(&a, &user, method, &path, body.clone()).await;
        assert_problem(&refused, 403, "forbidden");
        let refused = ask(&a, "nonsense", method, &path, body).await;
        assert_problem(&refused, 401, "invalid_token");
        let mut connection = a.connect().await;
        let path = format!("/api/v1/admin/{path}");
        let bare = connection.request(method, &path, &[], b"").await.unwrap();
        assert_problem(&bare, 401, "missing_token");
    }
    assert_eq!(a.try_login(EMAIL, PASSWORD).await.status, 200, "still open");
}

async fn sec_f02_a_cookie_looks_and_changes_only_with_what_a_page_of_ours_knows(
    installation: Installation,
) {
    let a = installation.start("a").await;
    let admin = administrator(&installation, &a).await;
    a.register_and_login().await;
    let id = id_of(&a, &admin, EMAIL).await;
    let login = a.try_login(ADMIN, PASSWORD).await;
    let set = login.fields.iter();
    let set = set.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let cookies: Vec<_> = set
        .map(|(_, cookie)| cookie.split(';').next().unwrap().to_owned())
        .collect();
    let (cookie, csrf) = (
        cookies.join("; "),
        cookies[1].split_once('=').unwrap().1.to_owned(),
    );
    let path = format!("/api/v1/admin/users/{id}/disable");
    let ours = [
        ("Cookie", cookie.as_str()),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    let strange = [
        ("Cookie", cookie.as_str()),
        ("Sec-Fetch-Site", "cross-site"),
        ("X-CSRF-Token", &csrf),
    ];
    let good = [ours[0], ours[1], ("X-CSRF-Token", &csrf)];
    let look = a
        .connect()
        .await
        .request("GET", "/api/v1/admin/users", &ours[..1], b"")
        .await;
    assert_eq!(look.unwrap().status, 200);
    for fields in [&ours[..], &strange[..]] {
        let refused = a
            .connect()
            .await
            .request("POST", &path, fields, b"")
            .await
            .unwrap();
        assert_problem(&refused, 403, "csrf");
    }
    let done = a
        .connect()
        .await
        .request("POST", &path, &good, b"")
        .await
        .unwrap();
    assert_eq!(done.status, 200, "{}", done.text());
}

async fn sec_h05_hostile_filters_and_cursors_are_refused_or_find_nothing(
    installation: Installation,
) {
    let a = installation.start("a").await;
    let admin = administrator(&installation, &a).await;
    a.register_and_login().await;
    let corpus = [
        "'",
        "\"",
        "' OR '1'='1",
        "'; DROP TABLE account; --",
        "1) UNION SELECT 1 --",
        "%",
        "_",
        "\\",
        "%27",
        "\u{0}",
        "${jndi:x}",
        "../../etc/passwd",
        "NULL",
        "a'||'b",
        "/*",
        "🦀",
        "%00",
    ];
    let encode =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    for text in corpus {
        let text = encode(text);
        for path in [
            format!("users?search={text}"),
            format!("users?status={text}"),
            format!("users?role={text}"),
            format!("users?limit={text}"),
            format!("users?cursor={text}"),
            format!("users?sort={text}"),
            format!("audit?event={text}"),
            format!("audit?outcome={text}"),
            format!("audit?account={text}"),
            format!("audit?request={text}"),
            format!("audit?since={text}"),
            format!("audit?until={text}"),
            format!("audit?cursor={text}"),
        ] {
            let answer = ask(&a, &admin, "GET", &path, Value::Null).await;
            // What may be an address or an id finds nothing; nothing else is even asked for.
            let is_search = path.starts_with("users?search") || path.starts_with("audit?request");
            assert!(
                answer.status == 400 || is_search,
                "{path}: {}",
                answer.text()
            );
            if answer.status == 200 {
                let found = answer.json();
                let is_empty = found["users"] == json!([]) || found["lines"] == json!([]);
                assert!(is_empty, "{path}: {found}");
            }
        }
    }
    // A cursor that was given for another list, or moved.
    for number in 0..3 {
        a.register(&format!("user{number}@example.org"), PASSWORD)
            .await;
    }
    let page = get(&a, &admin, "users?limit=1").await;
    let cursor = page["next"].as_str().unwrap().to_owned();
    get(&a, &admin, &format!("users?limit=2&cursor={cursor}")).await;
    for path in [
        format!("users?search=a&cursor={cursor}"),
        format!("audit?cursor={cursor}"),
        format!("users?cursor={}A", &cursor[..cursor.len() - 1]),
    ] {
        let refused = ask(&a, &admin, "GET", &path, Value::Null).await;
        assert_problem(&refused, 400, "invalid_cursor");
    }
    assert_eq!(
        get(&a, &admin, "users").await["users"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
}

async fn settings_hold_on_every_instance_within_seconds_and_wrong_ones_never(
    installation: Installation,
) {
    let a = installation.start("a").await;
    let b = installation
        .start_with("b", &[("AUTH_RATE_LIMIT_REFRESH", "5000")])
        .await;
    let admin = administrator(&installation, &a).await;
    let limit = async |instance: &Instance| {
        let answer = instance.try_login("nobody@example.com", PASSWORD).await;
        answer.field("ratelimit-limit").unwrap().to_owned()
    };
    assert_eq!(limit(&b).await, "600");
    let value = json!({ "value": "77" });
    let path = "settings/AUTH_RATE_LIMIT_LOGIN";
    let set = ask(&a, &admin, "PUT", path, value).await;
    assert_eq!(set.status, 200, "{}", set.text());
    assert_eq!(limit(&a).await, "77", "here at once");
    wait_until("the other instance follows", async || {
        (limit(&b).await == "77").then_some(())
    })
    .await;
    let shown = get(&b, &admin, "settings").await;
    let named = |name: &str| {
        let all = shown["settings"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap().clone()
    };
    let login = named("AUTH_RATE_LIMIT_LOGIN");
    assert_eq!(
        (&login["source"], &login["value"]),
        (&json!("stored"), &json!("77"))
    );
    assert_eq!(named("AUTH_RATE_LIMIT_REFRESH")["source"], "environment");
    assert_eq!(named("LOG_LEVEL")["source"], "default");
    for (instance, name, value, status, code) in [
        (&a, "AUTH_RATE_LIMIT_LOGIN", "many", 400, "invalid_setting"),
        (&a, "AUTH_RATE_LIMIT_LOGIN", "", 400, "invalid_setting"),
        (&a, "LOG_LEVEL", "CANARY", 400, "invalid_setting"),
        (&a, "SECURITY_SALT", "CANARY", 404, "no_such_setting"),
        (
            &b,
            "AUTH_RATE_LIMIT_REFRESH",
            "1",
            409,
            "set_by_environment",
        ),
    ] {
        let path = format!("settings/{name}");
        let refused = ask(instance, &admin, "PUT", &path, json!({ "value": value })).await;
        assert_problem(&refused, status, code);
        assert!(!refused.text().contains("CANARY"), "{}", refused.text());
    }
    assert_eq!(limit(&a).await, "77", "the old one stays");
    let lines = get(&a, &admin, "audit?event=setting_changed").await;
    let objects: Vec<_> = lines["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| &line["object"])
        .collect();
    assert_eq!(objects, [&json!("AUTH_RATE_LIMIT_LOGIN = 77")]);
    assert_eq!(
        ask(&b, &admin, "DELETE", path, Value::Null).await.status,
        200
    );
    wait_until("the default again", async || {
        (limit(&a).await == "600").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_document_of_all_routes_is_served() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let document = instance.get("/api/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let login = &document["paths"]["/api/v1/auth/login"]["post"]["responses"];
    assert!(login["401"].is_object() && login["429"].is_object() && login["200"].is_object());
}

#[tokio::test]
async fn a_wrong_setting_is_told_the_rule_and_not_its_value() {
    let installation = Installation::new().await;
    let a = installation.start("a").await;
    let admin = administrator(&installation, &a).await;
    let value = json!({ "value": "\" is y" });
    let wrong = ask(&a, &admin, "PUT", "settings/AUTH_RATE_LIMIT_LOGIN", value).await;
    assert_problem(&wrong, 400, "invalid_setting");
    let told = wrong.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        told.starts_with("The value is not a whole number from 0"),
        "{told}"
    );
}
