//! Sessions of browsers: the cookie, what it opens, and requests that other sites cause.

use portcullis_testkit::Response;
use serde_json::json;

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, Tokens, assert_problem};

const HTTPS: (&str, &str) = ("ISSUER_URL", "https://auth.example.com");

/// A cookie as a browser keeps it.
#[derive(Clone, Debug)]
struct Cookie {
    name: String,
    value: String,
    attributes: Vec<String>,
}

fn cookies(response: &Response) -> Vec<Cookie> {
    let all = response.fields.iter();
    let set = all.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    set.map(|(_, value)| {
        let mut parts = value.split("; ");
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        Cookie {
            name: name.to_owned(),
            value: value.to_owned(),
            attributes: parts.map(str::to_owned).collect(),
        }
    })
    .collect()
}

/// What a login in a browser gives: session and CSRF token.
async fn log_in(instance: &Instance) -> (Cookie, Cookie, Tokens) {
    instance.register(EMAIL, PASSWORD).await;
    let response = instance.try_login(EMAIL, PASSWORD).await;
    let [session, csrf] = <[_; 2]>::try_from(cookies(&response)).unwrap();
    (session, csrf, Tokens::of(&response))
}

async fn with(instance: &Instance, method: &str, path: &str, fields: &[(&str, &str)]) -> Response {
    let mut connection = instance.connect().await;
    connection.request(method, path, fields, b"").await.unwrap()
}

async fn verify(instance: &Instance, session: &Cookie) -> Response {
    let cookie = format!("theme=dark; {}={}", session.name, session.value);
    with(
        instance,
        "GET",
        "/api/v1/auth/verify",
        &[("Cookie", &cookie)],
    )
    .await
}

#[tokio::test]
async fn sec_f01_the_cookie_is_for_this_host_over_https_and_not_for_scripts() {
    let installation = Installation::with(&[HTTPS]).await;
    let instance = installation.start("a").await;
    let (session, csrf, _) = log_in(&instance).await;
    assert_eq!(session.name, "__Host-portcullis_session");
    assert_eq!(csrf.name, "__Host-portcullis_session_csrf");
    let common = ["Path=/", "SameSite=Lax", "Secure", "Max-Age=28800"];
    assert_eq!(session.attributes, [&common[..], &["HttpOnly"]].concat());
    assert_eq!(csrf.attributes, common);
}

#[tokio::test]
async fn the_cookie_is_as_the_settings_say() {
    let installation = Installation::with(&[
        HTTPS,
        ("SESSION_COOKIE_NAME", "haven_session"),
        ("SESSION_COOKIE_SAMESITE", "Strict"),
        ("SESSION_IDLE_TTL", "600"),
        ("SESSION_TTL", "900"),
    ])
    .await;
    let instance = installation.start("a").await;
    let (session, _, _) = log_in(&instance).await;
    assert_eq!(session.name, "haven_session");
    let attributes = [
        "Path=/",
        "SameSite=Strict",
        "Secure",
        "Max-Age=600",
        "HttpOnly",
    ];
    assert_eq!(session.attributes, attributes);
    let plain = [
        ("SESSION_COOKIE_SECURE", "false"),
        ("SESSION_COOKIE_NAME", "s"),
    ];
    let plain = installation.start_with("b", &plain).await;
    let session = &cookies(&plain.try_login(EMAIL, PASSWORD).await)[0];
    assert!(!session.attributes.contains(&"Secure".to_owned()));
    let none = installation
        .start_with("c", &[("SESSION_COOKIE_ENABLED", "false")])
        .await;
    let response = none.try_login(EMAIL, PASSWORD).await;
    assert_eq!((response.status, cookies(&response).len()), (200, 0));
    assert_problem(&verify(&none, session).await, 401, "missing_token");
}

#[tokio::test]
async fn a_session_works_on_every_instance() {
    let installation = Installation::new().await;
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let (session, _, tokens) = log_in(&a).await;
    let by_cookie = verify(&b, &session).await;
    assert_eq!(by_cookie.status, 200, "{}", by_cookie.text());
    let by_token = b.verify(&tokens.access).await.json();
    let by_cookie = by_cookie.json();
    assert_eq!(
        (&by_cookie["sub"], &by_cookie["sid"]),
        (&by_token["sub"], &by_token["sid"])
    );
}

#[tokio::test]
async fn sec_c09_a_session_is_no_access_token_and_an_access_token_no_session() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let (session, _, tokens) = log_in(&instance).await;
    let as_bearer = instance.verify(&session.value).await;
    assert_problem(&as_bearer, 401, "invalid_token");
    let as_cookie = Cookie {
        value: tokens.access.clone(),
        ..session.clone()
    };
    assert_problem(&verify(&instance, &as_cookie).await, 401, "invalid_token");
    let refresh = Cookie {
        value: tokens.refresh,
        ..session.clone()
    };
    assert_problem(&verify(&instance, &refresh).await, 401, "invalid_token");
    let admin = instance
        .bearer("GET", "/api/v1/load-balancer/instances", &session.value)
        .await;
    assert_problem(&admin, 401, "invalid_token");
}

#[tokio::test]
async fn two_cookies_of_one_name_are_none() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let (session, _, _) = log_in(&instance).await;
    let one = format!("{}={}", session.name, session.value);
    for fields in [
        vec![("Cookie", format!("{one}; {}=x", session.name))],
        vec![("Cookie", one.clone()), ("Cookie", one.clone())],
        vec![("Cookie", format!("X{one}"))],
    ] {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let response = with(&instance, "GET", "/api/v1/auth/verify", &fields).await;
        assert_problem(&response, 401, "missing_token");
    }
}

#[tokio::test]
async fn sec_f02_another_site_cannot_log_anybody_out() {
    let installation = Installation::with(&[HTTPS]).await;
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let (session, csrf, tokens) = log_in(&a).await;
    let cookie = format!("{}={}", session.name, session.value);
    let (cookie, csrf) = (
        ("Cookie", cookie.as_str()),
        ("X-CSRF-Token", csrf.value.as_str()),
    );
    let ours = ("Origin", "https://auth.example.com");
    let forged: [&[(&str, &str)]; 9] = [
        &[cookie],
        &[cookie, ours],
        &[cookie, csrf],
        &[cookie, csrf, ("Origin", "https://evil.example.com")],
        &[
            cookie,
            csrf,
            ("Origin", "https://auth.example.com.evil.test"),
        ],
        &[cookie, csrf, ("Origin", "null")],
        &[cookie, csrf, ours, ("Sec-Fetch-Site", "same-site")],
        &[cookie, ours, ("X-CSRF-Token", "AAAA")],
        &[cookie, csrf, csrf, ours],
    ];
    for fields in forged {
        let response = with(&a, "POST", "/api/v1/auth/logout", fields).await;
        assert_problem(&response, 403, "csrf");
    }
    assert_eq!(verify(&b, &session).await.status, 200);
    let response = with(&a, "POST", "/api/v1/auth/logout", &[cookie, csrf, ours]).await;
    assert_eq!(response.status, 204, "{}", response.text());
    let removed = cookies(&response);
    assert_eq!(removed.len(), 2);
    for cookie in removed {
        assert!(cookie.value.is_empty() && cookie.attributes.contains(&"Max-Age=0".to_owned()));
    }
    assert_problem(&verify(&b, &session).await, 401, "invalid_token");
    assert_problem(&b.verify(&tokens.access).await, 401, "invalid_token");
    assert_eq!(b.refresh(&tokens.refresh).await.status, 401);
}

#[tokio::test]
async fn a_page_of_ours_logs_out_without_an_origin_where_the_browser_vouches_for_it() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let (session, csrf, _) = log_in(&instance).await;
    let cookie = format!("{}={}", session.name, session.value);
    let fields = [
        ("Cookie", cookie.as_str()),
        ("X-CSRF-Token", csrf.value.as_str()),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    let response = with(&instance, "POST", "/api/v1/auth/logout", &fields).await;
    assert_eq!(response.status, 204, "{}", response.text());
}

#[tokio::test]
async fn a_logout_by_token_ends_the_session_of_the_cookie_too() {
    let installation = Installation::new().await;
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let (session, _, tokens) = log_in(&a).await;
    assert_eq!(a.logout(&tokens.access).await.status, 204);
    assert_problem(&verify(&b, &session).await, 401, "invalid_token");
}

#[tokio::test]
async fn sec_f03_a_form_of_another_site_is_no_login() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let body = json!({ "email": EMAIL, "password": PASSWORD }).to_string();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let mut connection = instance.connect().await;
        let fields = [("Content-Type", kind)];
        let response = connection
            .request("POST", "/api/v1/auth/login", &fields, body.as_bytes())
            .await
            .unwrap();
        assert_problem(&response, 415, "unsupported_media_type");
    }
}
