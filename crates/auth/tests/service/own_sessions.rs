//! Sessions in the hands of their owner: listed, ended one by one, and all at once.

use serde_json::{Value, json};

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, Tokens, assert_problem};

on_every_store!(
    sec_f06_an_owner_lists_and_ends_sessions_on_any_instance,
    sec_f06_a_foreign_session_is_as_unknown_as_one_that_never_was,
    sec_f06_logging_out_everywhere_ends_every_session_on_every_instance,
    a_login_after_logging_out_everywhere_holds_at_once,
    a_list_of_sessions_comes_in_pages,
    what_cannot_be_asked_of_sessions_is_refused,
);

const SESSIONS: &str = "/api/v1/auth/sessions";
const LOG_OUT_ALL: &str = "/api/v1/auth/logout-all";

async fn list(instance: &Instance, tokens: &Tokens) -> Vec<Value> {
    let answer = instance.bearer("GET", SESSIONS, &tokens.access).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["sessions"].as_array().unwrap().clone()
}

async fn id_of(instance: &Instance, tokens: &Tokens) -> String {
    let found = list(instance, tokens).await;
    let current = found.iter().find(|it| it["is_current"] == true).unwrap();
    current["id"].as_str().unwrap().to_owned()
}

async fn end(instance: &Instance, id: &str, tokens: &Tokens) -> portcullis_testkit::Response {
    let path = format!("{SESSIONS}/{id}");
    instance.bearer("DELETE", &path, &tokens.access).await
}

async fn sec_f06_an_owner_lists_and_ends_sessions_on_any_instance(installation: Installation) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let laptop = a.register_and_login().await;
    let phone = b.login().await;
    let found = list(&b, &laptop).await;
    assert_eq!(found.len(), 2);
    for session in &found {
        assert_eq!(session["began_from"], "127.0.0.0/24");
        assert!(session["began_at"].as_str().unwrap().ends_with('Z'));
        assert!(session["last_used_at"].as_str() >= session["began_at"].as_str());
    }
    assert_eq!(
        found.iter().filter(|it| it["is_current"] == true).count(),
        1
    );

    let phones = id_of(&a, &phone).await;
    assert_eq!(end(&a, &phones, &laptop).await.status, 204);
    for instance in [&a, &b] {
        assert_problem(&instance.verify(&phone.access).await, 401, "invalid_token");
        assert_eq!(instance.verify(&laptop.access).await.status, 200);
    }
    assert_eq!(b.refresh(&phone.refresh).await.status, 401);
    assert_eq!(list(&b, &laptop).await.len(), 1);
    // A lost answer is asked for again.
    assert_eq!(end(&b, &phones, &laptop).await.status, 204);
}

async fn sec_f06_a_foreign_session_is_as_unknown_as_one_that_never_was(installation: Installation) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let ada = a.register_and_login().await;
    a.register("eve@example.com", PASSWORD).await;
    let eve = Tokens::of(&b.try_login("eve@example.com", PASSWORD).await);
    let adas = id_of(&a, &ada).await;
    let foreign = end(&b, &adas, &eve).await;
    assert_problem(&foreign, 404, "no_such_session");
    for unknown in [
        "8a9c1f9e-0000-4000-8000-000000000000",
        "x",
        "%27%20OR%201=1",
    ] {
        let unknown = end(&b, unknown, &eve).await;
        assert_eq!((unknown.status, &unknown.body), (404, &foreign.body));
    }
    assert_eq!(a.verify(&ada.access).await.status, 200);
}

async fn sec_f06_logging_out_everywhere_ends_every_session_on_every_instance(
    installation: Installation,
) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let laptop = a.register_and_login().await;
    let phone = b.login().await;
    a.register("eve@example.com", PASSWORD).await;
    let eve = Tokens::of(&b.try_login("eve@example.com", PASSWORD).await);
    assert_eq!(
        a.bearer("POST", LOG_OUT_ALL, &laptop.access).await.status,
        204
    );
    for instance in [&b, &a] {
        for tokens in [&phone, &laptop] {
            let refused = instance.verify(&tokens.access).await;
            assert_problem(&refused, 401, "invalid_token");
            assert_eq!(instance.refresh(&tokens.refresh).await.status, 401);
        }
        assert_eq!(instance.verify(&eve.access).await.status, 200);
    }
    let again = b.bearer("POST", LOG_OUT_ALL, &laptop.access).await;
    assert_problem(&again, 401, "invalid_token");
}

async fn a_login_after_logging_out_everywhere_holds_at_once(installation: Installation) {
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let mut tokens = a.register_and_login().await;
    for _ in 0..3 {
        assert_eq!(
            a.bearer("POST", LOG_OUT_ALL, &tokens.access).await.status,
            204
        );
        tokens = b.login().await;
        assert_eq!(a.verify(&tokens.access).await.status, 200);
    }
}

async fn a_list_of_sessions_comes_in_pages(installation: Installation) {
    let a = installation.start("a").await;
    let tokens = a.register_and_login().await;
    for _ in 0..4 {
        a.login().await;
    }
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = a
            .bearer("GET", &format!("{SESSIONS}{query}"), &tokens.access)
            .await;
        let page = page.json();
        let sessions = page["sessions"].as_array().unwrap();
        assert!((1..=2).contains(&sessions.len()), "{page}");
        seen.extend(
            sessions
                .iter()
                .map(|it| it["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        query = format!("?limit=2&after={next}");
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5);
}

async fn what_cannot_be_asked_of_sessions_is_refused(installation: Installation) {
    let a = installation.start("a").await;
    let tokens = a.register_and_login().await;
    for query in [
        "?limit=0",
        "?limit=201",
        "?after=x",
        "?limit=1&limit=1",
        "?sort=id",
    ] {
        let path = format!("{SESSIONS}{query}");
        let refused = a.bearer("GET", &path, &tokens.access).await;
        assert_problem(&refused, 400, "invalid_query");
    }
    for (method, path) in [("GET", SESSIONS), ("POST", LOG_OUT_ALL)] {
        let mut connection = a.connect().await;
        let refused = connection.request(method, path, &[], b"").await.unwrap();
        assert_problem(&refused, 401, "missing_token");
        let refused = a.bearer(method, path, &tokens.refresh).await;
        assert_problem(&refused, 401, "invalid_token");
    }
    let wrong_method = a.bearer("GET", LOG_OUT_ALL, &tokens.access).await;
    assert_problem(&wrong_method, 405, "method_not_allowed");
}

#[tokio::test]
async fn sec_f02_a_cookie_ends_sessions_only_with_its_csrf_token() {
    let installation = Installation::new().await;
    let a = installation.start("a").await;
    a.register(EMAIL, PASSWORD).await;
    let login = a.try_login(EMAIL, PASSWORD).await;
    let cookies = login
        .fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let pairs: Vec<_> = cookies
        .map(|(_, value)| value.split(';').next().unwrap().to_owned())
        .collect();
    let (cookie, csrf) = (pairs[0].as_str(), pairs[1].split_once('=').unwrap().1);
    let ask = async |method: &str, path: &str, more: &[(&str, &str)]| {
        let fields = [&[("Cookie", cookie)][..], more].concat();
        let mut connection = a.connect().await;
        connection
            .request(method, path, &fields, b"")
            .await
            .unwrap()
    };
    let found = ask("GET", SESSIONS, &[]).await;
    assert_eq!(
        (
            found.status,
            found.json()["sessions"][0]["is_current"].clone()
        ),
        (200, json!(true))
    );
    let id = found.json()["sessions"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let one = format!("{SESSIONS}/{id}");
    let ours = ("Sec-Fetch-Site", "same-origin");
    for (method, path) in [("DELETE", one.as_str()), ("POST", LOG_OUT_ALL)] {
        let strange = [("Sec-Fetch-Site", "cross-site"), ("X-CSRF-Token", csrf)];
        for refused in [&[][..], &[ours], &[ours, ("X-CSRF-Token", "x")], &strange] {
            assert_problem(&ask(method, path, refused).await, 403, "csrf");
        }
    }
    assert_eq!(ask("GET", SESSIONS, &[]).await.status, 200);
    let ended = ask("POST", LOG_OUT_ALL, &[ours, ("X-CSRF-Token", csrf)]).await;
    assert_eq!(ended.status, 204);
    assert!(
        ended
            .fields
            .iter()
            .any(|(_, value)| value.contains("Max-Age=0"))
    );
    assert_eq!(ask("GET", SESSIONS, &[]).await.status, 401);
}
