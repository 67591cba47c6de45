//! Verification, refresh and logout, on one instance and across two.

use serde_json::json;

use crate::harness::{EMAIL, Installation, PASSWORD, Tokens, assert_problem};

on_every_store!(
    a_token_verifies_on_every_instance,
    a_token_that_is_not_ours_is_refused_with_a_challenge,
    sec_d01_logout_on_one_instance_is_seen_by_the_other_on_the_next_request,
    logout_ends_the_refresh_token_and_cannot_be_repeated,
    logout_survives_the_loss_of_the_shared_state,
    a_refresh_token_is_exchanged_once_and_a_retry_gets_the_same_successor,
    a_spent_refresh_token_that_comes_back_ends_the_session_everywhere,
    what_cannot_be_a_refresh_token_is_refused,
    sec_d03_what_ends_a_refresh_token_ends_its_access_tokens_and_nobody_elses,
);

async fn a_token_verifies_on_every_instance(installation: Installation) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let tokens = a.register_and_login().await;
    for instance in [&a, &b] {
        let answer = instance.verify(&tokens.access).await;
        assert_eq!(answer.status, 200);
        let json = answer.json();
        assert_eq!(
            (&json["active"], &json["client_id"]),
            (&json!(true), &json!("portcullis"))
        );
        assert_eq!(
            json["exp"].as_i64().unwrap() - json["iat"].as_i64().unwrap(),
            600
        );
        assert!(json["sub"].is_string() && json["sid"].is_string() && json["jti"].is_string());
    }
}

async fn a_token_that_is_not_ours_is_refused_with_a_challenge(installation: Installation) {
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    let none = instance.get("/api/v1/auth/verify").await;
    assert_problem(&none, 401, "missing_token");
    assert_eq!(
        none.field("www-authenticate"),
        Some("Bearer realm=\"portcullis\"")
    );
    let (head, signature) = tokens.access.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    for token in [forged.as_str(), "x", "a.b.c", tokens.refresh.as_str(), head] {
        let answer = instance.verify(token).await;
        assert_problem(&answer, 401, "invalid_token");
        let challenge = answer.field("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""));
    }
}

async fn sec_d01_logout_on_one_instance_is_seen_by_the_other_on_the_next_request(
    installation: Installation,
) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    a.register(EMAIL, PASSWORD).await;
    let mut other = b.connect().await;
    for turn in 0..100 {
        // Refreshing is cheap and keeps hundred password hashes out of the test.
        let tokens = a.login().await;
        let authorization = format!("Bearer {}", tokens.access);
        let fields = [("Authorization", authorization.as_str())];
        let before = other
            .request("GET", "/api/v1/auth/verify", &fields, b"")
            .await
            .unwrap();
        assert_eq!(before.status, 200, "turn {turn}");
        assert_eq!(a.logout(&tokens.access).await.status, 204, "turn {turn}");
        let after = other
            .request("GET", "/api/v1/auth/verify", &fields, b"")
            .await
            .unwrap();
        assert_eq!(after.status, 401, "turn {turn}");
    }
}

async fn logout_ends_the_refresh_token_and_cannot_be_repeated(installation: Installation) {
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    let elsewhere = instance.login().await;
    let gone = instance.logout(&tokens.access).await;
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    assert_problem(&instance.logout(&tokens.access).await, 401, "invalid_token");
    assert_problem(
        &instance.refresh(&tokens.refresh).await,
        401,
        "invalid_refresh_token",
    );
    assert_problem(
        &instance
            .connect()
            .await
            .request("POST", "/api/v1/auth/logout", &[], b"")
            .await
            .unwrap(),
        401,
        "missing_token",
    );
    assert_eq!(
        instance.verify(&elsewhere.access).await.status,
        200,
        "another session goes on"
    );
}

async fn logout_survives_the_loss_of_the_shared_state(installation: Installation) {
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    assert_eq!(instance.logout(&tokens.access).await.status, 204);
    instance.stop().await;
    for file in std::fs::read_dir(installation.path()).unwrap() {
        let path = file.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("shared.db")
        {
            std::fs::remove_file(path).unwrap();
        }
    }
    let restarted = installation.start("a").await;
    assert_eq!(restarted.verify(&tokens.access).await.status, 401);
}

async fn a_refresh_token_is_exchanged_once_and_a_retry_gets_the_same_successor(
    installation: Installation,
) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let tokens = a.register_and_login().await;
    let next = Tokens::of(&a.refresh(&tokens.refresh).await);
    assert_ne!(next.refresh, tokens.refresh);
    assert_eq!(b.verify(&next.access).await.status, 200);
    let retried = Tokens::of(&b.refresh(&tokens.refresh).await);
    assert_eq!(
        retried.refresh, next.refresh,
        "a lost answer can be asked for again"
    );
    assert_eq!(
        Tokens::of(&b.refresh(&next.refresh).await).refresh.len(),
        next.refresh.len()
    );
}

async fn a_spent_refresh_token_that_comes_back_ends_the_session_everywhere(
    installation: Installation,
) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let stolen = a.register_and_login().await;
    let second = Tokens::of(&a.refresh(&stolen.refresh).await);
    let third = Tokens::of(&a.refresh(&second.refresh).await);
    assert_eq!(b.verify(&third.access).await.status, 200);

    assert_problem(
        &a.refresh(&stolen.refresh).await,
        401,
        "invalid_refresh_token",
    );
    for token in [&stolen.access, &second.access, &third.access] {
        assert_problem(&b.verify(token).await, 401, "invalid_token");
    }
    assert_problem(
        &b.refresh(&third.refresh).await,
        401,
        "invalid_refresh_token",
    );
    assert_eq!(a.metric("portcullis_auth_refresh_reuses_total").await, 1.0);
}

async fn what_cannot_be_a_refresh_token_is_refused(installation: Installation) {
    let instance = installation.start("a").await;
    let unknown = format!("pcr_{}", "A".repeat(43));
    for token in ["", "x", unknown.as_str(), "pcr_' OR 1=1 --"] {
        assert_problem(&instance.refresh(token).await, 401, "invalid_refresh_token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_remembered_of_as_many_tokens_as_the_operator_says() {
    for (tokens, remembered) in [("0", 0.0), ("8", 4.0)] {
        let installation = Installation::new().await;
        let more = [("SEEN_TOKENS", tokens)];
        let instance = installation.start_with("a", &more).await;
        let access = instance.register_and_login().await.access;
        for _ in 0..5 {
            assert_eq!(instance.verify(&access).await.status, 200);
        }
        let name = "portcullis_auth_token_signatures_total{result=\"remembered\"}";
        assert_eq!(instance.metric(name).await, remembered);
        assert_eq!(instance.logout(&access).await.status, 204);
        assert_eq!(instance.verify(&access).await.status, 401);
    }
}

/// Nothing to trade them at exists, and nothing says so.
#[tokio::test(flavor = "multi_thread")]
async fn sec_c21_neither_passwords_nor_fragments_are_traded_for_tokens() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    instance.register(EMAIL, PASSWORD).await;
    let discovery = instance.get("/.well-known/openid-configuration").await;
    let discovery = discovery.json();
    for list in ["grant_types_supported", "response_types_supported"] {
        let named = discovery[list].as_array().unwrap();
        let refused = [
            "password",
            "implicit",
            "token",
            "id_token",
            "id_token token",
        ];
        assert!(
            !named
                .iter()
                .any(|name| refused.contains(&name.as_str().unwrap())),
            "{discovery}"
        );
    }
    let ask = json!({ "grant_type": "password", "username": EMAIL, "password": PASSWORD });
    for path in [
        "/token",
        "/oauth2/token",
        "/oauth/token",
        "/api/v1/auth/token",
    ] {
        let answer = instance.post(path, ask.clone()).await;
        assert_eq!(answer.status, 404, "{path}");
        let implicit = format!("{path}?response_type=token&client_id=portcullis");
        assert_eq!(instance.get(&implicit).await.status, 404, "{path}");
    }
    let login = instance.post("/api/v1/auth/login", ask).await;
    assert_eq!(login.status, 400, "{}", login.text());
}

async fn sec_d03_what_ends_a_refresh_token_ends_its_access_tokens_and_nobody_elses(
    installation: Installation,
) {
    const EVE: &str = "eve@example.com";
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let first = a.register_and_login().await;
    let second = Tokens::of(&b.refresh(&first.refresh).await);
    let other = a.login().await;
    assert_eq!(a.register(EVE, PASSWORD).await.status, 202);
    let eve = Tokens::of(&a.try_login(EVE, PASSWORD).await);
    let session = a.verify(&first.access).await.json();
    let path = format!("/api/v1/auth/sessions/{}", session["sid"].as_str().unwrap());
    let strange = b.bearer("DELETE", &path, &eve.access).await;
    assert_problem(&strange, 404, "no_such_session");
    for token in [&first.access, &second.access] {
        assert_eq!(a.verify(token).await.status, 200, "it was none of hers");
    }
    let ended = b.bearer("DELETE", &path, &other.access).await;
    assert_eq!(ended.status, 204, "{}", ended.text());
    for instance in [&a, &b] {
        for token in [&first.access, &second.access] {
            assert_problem(&instance.verify(token).await, 401, "invalid_token");
        }
        for token in [&other.access, &eve.access] {
            assert_eq!(instance.verify(token).await.status, 200);
        }
    }
    let refused = a.refresh(&second.refresh).await;
    assert_problem(&refused, 401, "invalid_refresh_token");
    assert_eq!(a.refresh(&other.refresh).await.status, 200);
}
