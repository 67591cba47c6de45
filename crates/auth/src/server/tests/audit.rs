//! What the audit log says of a request: who asked, whom it concerns, from where, and what became of it.

use super::*;
use crate::domain::{Actor, AuditEntry, AuditEvent, AuditOutcome};
use crate::store::PageLimit;

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery";

impl Inside {
    async fn post_as(&self, id: &str, client: &str, path: &str, body: Value) -> Value {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("x-request-id", id)
            .header("x-forwarded-for", client)
            .extension(crate::http::Peer(([127, 0, 0, 1], 4711).into()));
        let request = request.body(Body::from(body.to_string())).unwrap();
        let answering = web::router(self.instance.service.clone()).oneshot(request);
        read(answering.await.unwrap()).await.1
    }

    async fn newest(&self) -> AuditEntry {
        let newest = self.stores.store.recent_audit(PageLimit::new(1));
        newest.await.unwrap().remove(0)
    }
}

#[tokio::test]
async fn sec_i05_a_line_says_who_whom_where_which_request_and_what_became_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let inside = inside_as(&directory, &[("TRUST_PROXY", "127.0.0.1")]).await;
    // Committed with what it is about: another process reads it as soon as the answer is there.
    let elsewhere = inside_at(&directory).await;
    let login = json!({ "email": EMAIL, "password": PASSWORD });
    let wrong = json!({ "email": EMAIL, "password": "a wrong one" });
    let at = "2001:db8:7:8::9";
    inside
        .post_as("first", at, "/api/v1/auth/register", login.clone())
        .await;
    let registered = elsewhere.newest().await;
    let ada = registered.account.unwrap();
    inside
        .post_as("second", at, "/api/v1/auth/login", wrong)
        .await;
    let failed = elsewhere.newest().await;
    let grant = inside.post_as("third", at, "/api/v1/auth/login", login);
    let grant = grant.await;
    let succeeded = elsewhere.newest().await;
    for spent in [&grant["refresh_token"], &grant["refresh_token"]] {
        let body = json!({ "refresh_token": spent });
        let next = inside.post_as("fourth", at, "/api/v1/auth/refresh", body);
        let body = json!({ "refresh_token": next.await["refresh_token"] });
        inside
            .post_as("fifth", at, "/api/v1/auth/refresh", body)
            .await;
    }
    let reused = elsewhere.newest().await;
    for (line, event, actor, request) in [
        (
            &registered,
            AuditEvent::Registered,
            Actor::Account(ada),
            "first",
        ),
        (&failed, AuditEvent::LoginFailed, Actor::Unproven, "second"),
        (
            &succeeded,
            AuditEvent::LoginSucceeded,
            Actor::Account(ada),
            "third",
        ),
        (
            &reused,
            AuditEvent::RefreshReused,
            Actor::Unproven,
            "fourth",
        ),
    ] {
        assert_eq!((line.event, &line.actor), (event, &actor));
        assert_eq!((line.account, line.outcome), (Some(ada), event.outcome()));
        let client = line.client.unwrap().to_string();
        assert_eq!(client, "2001:db8:7::", "truncated, as nothing else is said");
        assert_eq!(line.request.unwrap().as_str(), request);
    }
    assert_eq!(failed.outcome, AuditOutcome::Refused);
    assert_eq!(succeeded.session, reused.session);
}

#[tokio::test]
async fn an_operators_line_names_no_address_and_no_request() {
    let (directory, inside) = inside().await;
    let login = json!({ "email": EMAIL, "password": PASSWORD });
    inside.post("/api/v1/auth/register", login).await;
    let config = config_with(&directory, TTL);
    crate::operator::disable(&config, EMAIL).await.unwrap();
    let line = inside.newest().await;
    assert_eq!(
        (line.event, line.actor),
        (AuditEvent::Disabled, Actor::Operator)
    );
    assert_eq!((line.client, line.request), (None, None));
}

#[tokio::test]
async fn addresses_are_kept_as_the_settings_say() {
    for (policy, kept) in [("full", Some("192.0.2.7")), ("none", None)] {
        let directory = tempfile::tempdir().unwrap();
        let settings = [
            ("AUDIT_CLIENT_ADDRESS", policy),
            ("TRUST_PROXY", "127.0.0.1"),
        ];
        let inside = inside_as(&directory, &settings).await;
        let login = json!({ "email": EMAIL, "password": PASSWORD });
        inside
            .post_as("one", "192.0.2.7", "/api/v1/auth/login", login)
            .await;
        let client = inside
            .newest()
            .await
            .client
            .map(|client| client.to_string());
        assert_eq!(client.as_deref(), kept, "{policy}");
    }
}
