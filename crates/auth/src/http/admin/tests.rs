//! Whom administrative endpoints refuse: tried on every one that the router has, so that none can be forgotten.

use std::collections::BTreeSet;

use axum::body::Body;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::app::authorization::NewApiKey;
use crate::app::authorization::administration::NewClient;
use crate::app::{Administrator, Origin, Owner};
use crate::domain::{
    AccountId, Actor, AuditEntry, AuditEvent, ClientName, Email, Role, SessionId, SubjectId,
};
use crate::http::{now, openapi, router, served};
use crate::server::tests::{Inside, inside};

const PASSWORD: &str = "correct horse battery";
const ADMIN: &str = "root@example.com";
const USER: &str = "ada@example.com";

/// What is for administrators alone.
fn is_administrative(path: &str) -> bool {
    path.starts_with("/api/v1/admin/")
        || (path.starts_with("/api/v1/load-balancer/") && path != "/api/v1/load-balancer/health")
}

/// Somebody who logged in, by token and by cookie.
struct Requester {
    bearer: String,
    cookie: String,
    csrf: String,
}

async fn ask(
    inside: &Inside,
    method: &Method,
    path: &str,
    fields: &[(&str, &str)],
    body: Value,
) -> (Response<Body>, Value) {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_string())).unwrap();
    let answer = router(inside.service()).oneshot(request).await.unwrap();
    let (head, body) = answer.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let json = serde_json::from_slice(&bytes).unwrap_or_default();
    (Response::from_parts(head, Body::empty()), json)
}

fn origin() -> Origin {
    Origin {
        now: now(),
        client: [192, 0, 2, 1].into(),
        request: None,
    }
}

async fn requester(inside: &Inside, email: &str, role: &str) -> Requester {
    let app = inside.app();
    app.register(email, PASSWORD, origin()).await.unwrap();
    let parsed = Email::parse(email).unwrap();
    let account = app.store.account_by_email(&parsed).await.unwrap().unwrap();
    let line = AuditEntry::by(Actor::Operator, now(), AuditEvent::RolesChanged);
    let roles = BTreeSet::from([Role::parse(role).unwrap()]);
    let set = app.store.set_roles(account.id, &roles, &line).await;
    assert!(set.unwrap());
    let login = json!({ "email": email, "password": PASSWORD });
    let (head, grant) = ask(inside, &Method::POST, "/api/v1/auth/login", &[], login).await;
    let cookies = head.headers().get_all("set-cookie").iter();
    let cookies: Vec<&str> = cookies
        .map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap())
        .collect();
    Requester {
        bearer: format!("Bearer {}", grant["access_token"].as_str().unwrap()),
        cookie: cookies.join("; "),
        csrf: cookies[1].split_once('=').unwrap().1.to_owned(),
    }
}

/// A key of a machine that has the role of administrators.
async fn key(inside: &Inside) -> String {
    let by = Administrator {
        owner: Owner {
            account: AccountId::from_random([1; 16]),
            session: SessionId::from_random([1; 16]),
            expires_at: now(),
        },
    };
    let wanted = NewClient {
        name: "robot",
        roles: &["admin".to_owned()],
        tier: None,
        is_active: true,
    };
    inside.app().put_client(wanted, by, origin()).await.unwrap();
    let owner = SubjectId::Client(ClientName::parse("robot").unwrap());
    let wanted = NewApiKey {
        name: "k",
        permissions: &[],
        expires_in: None,
    };
    let made = inside.app().create_client_key(owner, wanted, by, origin());
    made.await.unwrap().1.expose().to_owned()
}

type Fields = Vec<(&'static str, String)>;

const OURS: &str = "same-origin";

fn by_token(bearer: &str) -> Fields {
    vec![("authorization", bearer.to_owned())]
}

fn by_page(of: &Requester, site: &str, csrf: &str) -> Fields {
    let mut fields = vec![
        ("cookie", of.cookie.clone()),
        ("sec-fetch-site", site.to_owned()),
    ];
    if !csrf.is_empty() {
        fields.push(("x-csrf-token", csrf.to_owned()));
    }
    fields
}

/// Who is no administrator, and how they are told.
fn refused(
    admin: &Requester,
    user: &Requester,
    key: &str,
) -> [(&'static str, Fields, u16, &'static str); 7] {
    let bearer_key = format!("Bearer {key}");
    let two = [by_token(&admin.bearer), by_token(&admin.bearer)].concat();
    [
        ("nobody", vec![], 401, "missing_token"),
        ("nonsense", by_token("Bearer x"), 401, "invalid_token"),
        ("two at once", two, 401, "missing_token"),
        ("a user", by_token(&user.bearer), 403, "forbidden"),
        (
            "a user's page",
            by_page(user, OURS, &user.csrf),
            403,
            "forbidden",
        ),
        (
            "a key of an administrator",
            by_token(&bearer_key),
            401,
            "invalid_token",
        ),
        (
            "the same",
            vec![("x-api-key", key.to_owned())],
            401,
            "missing_token",
        ),
    ]
}

/// What an administrator's browser sends without the administrator's wish.
fn unproven(admin: &Requester, user: &Requester) -> [(&'static str, Fields); 3] {
    [
        ("no proof", by_page(admin, OURS, "")),
        ("another site's", by_page(admin, "cross-site", &admin.csrf)),
        ("a user's proof", by_page(admin, OURS, &user.csrf)),
    ]
}

#[tokio::test]
async fn sec_f06_every_administrative_endpoint_refuses_whoever_is_no_administrator() {
    let (_directory, inside) = inside().await;
    let admin = requester(&inside, ADMIN, Role::ADMIN).await;
    let user = requester(&inside, USER, "administrator").await;
    let key = key(&inside).await;
    let (refused, unproven) = (refused(&admin, &user, &key), unproven(&admin, &user));
    let mut tried = 0;
    for (path, method) in served(inside.service()).await {
        if !is_administrative(path) {
            continue;
        }
        tried += 1;
        let one = format!("{method} {path}");
        let asked = |fields: Fields| {
            let (inside, method) = (&inside, method.clone());
            async move {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, of)| (*name, of.as_str()))
                    .collect();
                let path = path.replace(['{', '}'], "");
                let (head, body) = ask(inside, &method, &path, &fields, json!({})).await;
                (head.status().as_u16(), body["code"].clone())
            }
        };
        for (who, fields, status, code) in refused.clone() {
            assert_eq!(asked(fields).await, (status, json!(code)), "{one}: {who}");
        }
        for (what, fields) in unproven.clone() {
            let (status, code) = asked(fields).await;
            match method {
                Method::GET => assert!(![401, 403].contains(&status), "{one}: {what}: {code}"),
                _ => assert_eq!((status, code), (403, json!("csrf")), "{one}: {what}"),
            }
        }
        for fields in [by_token(&admin.bearer), by_page(&admin, OURS, &admin.csrf)] {
            let (status, code) = asked(fields).await;
            assert!(![401, 403].contains(&status), "{one}: {code}");
        }
    }
    assert!(tried > 20, "{tried}");
}

#[tokio::test]
async fn the_document_says_what_is_for_administrators() {
    let (_directory, inside) = inside().await;
    let document = openapi::document();
    for (path, method) in served(inside.service()).await {
        let told = &document["paths"][path][method.as_str().to_ascii_lowercase()]["x-role"];
        let is_told = told == "admin";
        assert_eq!(is_told, is_administrative(path), "{method} {path}: {told}");
    }
}
