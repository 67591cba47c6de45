//! Forgotten and changed passwords and addresses that are verified, with a mail server that takes what is sent.

use portcullis_testkit::Response;
use portcullis_testkit::smtp::{Letter, SmtpSink};
use serde_json::json;

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, Tokens, assert_problem};

const NEW: &str = "another battery staple";
const FORGOT: &str = "/api/v1/auth/password/forgot";
const RESET: &str = "/api/v1/auth/password/reset";
const CHANGE: &str = "/api/v1/auth/password/change";
const VERIFY: &str = "/api/v1/auth/email/verify";
const RESEND: &str = "/api/v1/auth/email/resend";

/// Instances that send mail, and where it arrives.
async fn mailing(more: &[(&str, &str)], on_postgres: bool) -> (Installation, SmtpSink) {
    let sink = SmtpSink::start().await;
    let port = sink.address().port().to_string();
    let mail = [
        ("SMTP_HOST", "127.0.0.1"),
        ("SMTP_PORT", port.as_str()),
        ("SMTP_TLS", "none"),
        ("SMTP_FROM", "Acme <no-reply@acme.example>"),
    ];
    let all = [more, &mail[..]].concat();
    let installation = match on_postgres {
        true => Installation::on_postgres_with(&all).await,
        false => Installation::with(&all).await,
    };
    (installation, sink)
}

/// The letters with this subject, when there are so many.
async fn about(sink: &SmtpSink, subject: &str, count: usize) -> Vec<Letter> {
    portcullis_testkit::wait_until("mail", async || {
        let all = sink.letters().into_iter();
        let found: Vec<_> = all
            .filter(|letter| letter.header("Subject") == subject)
            .collect();
        (found.len() >= count).then_some(found)
    })
    .await
}

async fn forgot(instance: &Instance, email: &str) -> Response {
    instance.post(FORGOT, json!({ "email": email })).await
}

async fn reset(instance: &Instance, token: &str, password: &str) -> Response {
    instance
        .post(RESET, json!({ "token": token, "new_password": password }))
        .await
}

/// A registered account and the token of a reset that its owner asked for.
async fn forgotten(instance: &Instance, sink: &SmtpSink) -> String {
    assert_eq!(instance.register(EMAIL, PASSWORD).await.status, 202);
    assert_eq!(forgot(instance, EMAIL).await.status, 202);
    about(sink, "Reset your password", 1).await[0]
        .token()
        .to_owned()
}

async fn change(instance: &Instance, tokens: &Tokens, current: &str, new: &str) -> Response {
    let body = json!({ "current_password": current, "new_password": new }).to_string();
    let authorization = format!("Bearer {}", tokens.access);
    let fields = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
    ];
    let mut connection = instance.connect().await;
    connection
        .request("POST", CHANGE, &fields, body.as_bytes())
        .await
        .unwrap()
}

#[tokio::test]
async fn sec_g03_a_reset_begins_no_session_and_ends_all_on_every_instance() {
    for on_postgres in [false, true] {
        let (installation, sink) = mailing(&[], on_postgres).await;
        let (a, b) = (installation.start("a").await, installation.start("b").await);
        let token = forgotten(&a, &sink).await;
        let before = b.login().await;
        let done = reset(&b, &token, NEW).await;
        assert_eq!((done.status, done.body.len()), (204, 0), "{}", done.text());
        assert_eq!(done.field("set-cookie"), None);
        for instance in [&a, &b] {
            assert_problem(&instance.verify(&before.access).await, 401, "invalid_token");
            assert_eq!(instance.refresh(&before.refresh).await.status, 401);
            assert_eq!(instance.try_login(EMAIL, PASSWORD).await.status, 401);
        }
        let after = Tokens::of(&a.try_login(EMAIL, NEW).await);
        assert_eq!(
            b.verify(&after.access).await.status,
            200,
            "a login holds at once"
        );
        let notice = about(&sink, "Your password was changed", 1).await;
        assert_eq!(notice[0].to, [EMAIL]);
        assert_problem(
            &reset(&a, &token, PASSWORD).await,
            400,
            "invalid_mail_token",
        );
    }
}

#[tokio::test]
async fn sec_g04_no_password_is_reset_without_the_newest_mailed_token() {
    let (installation, sink) = mailing(&[], false).await;
    let a = installation.start("a").await;
    let first = forgotten(&a, &sink).await;
    assert_eq!(forgot(&a, EMAIL).await.status, 202);
    let letters = about(&sink, "Reset your password", 2).await;
    let tokens: Vec<_> = letters.iter().map(Letter::token).collect();
    let newest = *tokens.iter().find(|token| **token != first).unwrap();
    let verification = about(&sink, "Confirm your email address", 1).await[0]
        .token()
        .to_owned();
    let guess = format!("pcm_{}", "A".repeat(43));
    for bad in [
        "",
        "x",
        guess.as_str(),
        first.as_str(),
        verification.as_str(),
        &newest.to_uppercase(),
    ] {
        assert_problem(&reset(&a, bad, NEW).await, 400, "invalid_mail_token");
    }
    for body in [
        json!({ "new_password": NEW }),
        json!({ "token": null, "new_password": NEW }),
        json!({ "token": newest, "new_password": NEW, "email": "eve@example.com" }),
        json!({ "token": [newest], "new_password": NEW }),
    ] {
        assert_problem(&a.post(RESET, body).await, 400, "invalid_body");
    }
    assert_problem(&reset(&a, newest, "short").await, 400, "invalid_password");
    assert_problem(&reset(&a, newest, EMAIL).await, 400, "weak_password");
    assert_eq!(
        a.try_login(EMAIL, PASSWORD).await.status,
        200,
        "nothing has changed so far"
    );
    assert_eq!(reset(&a, newest, NEW).await.status, 204);
}

#[tokio::test]
async fn sec_g06_programs_that_follow_links_spend_nothing() {
    let (installation, sink) = mailing(&[], false).await;
    let a = installation.start("a").await;
    let token = forgotten(&a, &sink).await;
    let verification = about(&sink, "Confirm your email address", 1).await[0]
        .token()
        .to_owned();
    for method in ["GET", "HEAD", "OPTIONS"] {
        for (path, token) in [(RESET, &token), (VERIFY, &verification)] {
            let path = format!("{path}?token={token}&new_password=scanner12345");
            let mut connection = a.connect().await;
            let answer = connection.request(method, &path, &[], b"").await.unwrap();
            assert_eq!(answer.status, 405, "{method} {path}");
        }
    }
    assert_eq!(reset(&a, &token, NEW).await.status, 204);
    let verified = a.post(VERIFY, json!({ "token": verification })).await;
    assert_eq!(verified.status, 204, "{}", verified.text());
    let again = a.post(VERIFY, json!({ "token": verification })).await;
    assert_problem(&again, 400, "invalid_mail_token");
}

#[tokio::test]
async fn sec_a04_nobody_learns_which_addresses_have_an_account() {
    let (installation, sink) = mailing(&[], false).await;
    let a = installation.start("a").await;
    a.register(EMAIL, PASSWORD).await;
    about(&sink, "Confirm your email address", 1).await;
    let shape = |response: Response| {
        // Those of the rest depend on how many came before, not on whom it was about.
        let varies = ["x-request-id", "x-response-time", "date"];
        let counted = ["ratelimit-remaining", "ratelimit-reset"];
        let fields = response.fields.iter().map(|(name, value)| {
            let lower = name.to_lowercase();
            let shown = match lower.as_str() {
                it if varies.contains(&it) => value.len().to_string(),
                it if counted.contains(&it) => String::new(),
                _ => value.clone(),
            };
            (lower, shown)
        });
        (
            response.status,
            fields.collect::<Vec<_>>(),
            response.body.clone(),
        )
    };
    for path in [FORGOT, RESEND] {
        let known = shape(a.post(path, json!({ "email": EMAIL })).await);
        for email in ["nobody@example.com", "ADA@example.com "] {
            let other = shape(a.post(path, json!({ "email": email })).await);
            assert_eq!(other, known, "{path} {email}");
        }
        assert_eq!(known.0, 202);
    }
    let letters = about(&sink, "Reset your password", 2).await;
    assert!(letters.iter().all(|letter| letter.to == [EMAIL]));
    for bad in ["x", "a@b@c", "ada@example.com\r\nBcc: eve@evil.example"] {
        assert_problem(&forgot(&a, bad).await, 400, "invalid_email");
    }
}

#[tokio::test]
async fn sec_g05_links_in_mail_do_not_depend_on_the_request() {
    let page = ("MAIL_RESET_URL", "https://www.acme.example/forgot");
    let (installation, sink) = mailing(&[page], false).await;
    let a = installation
        .start_with("a", &[("TRUST_PROXY", "127.0.0.0/8")])
        .await;
    a.register(EMAIL, PASSWORD).await;
    let plain = about(&sink, "Confirm your email address", 1).await;
    assert!(
        plain[0]
            .body()
            .contains("http://auth.example.com/verify-email#token=")
    );
    let names = [
        "Host",
        "Forwarded",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Original-URL",
    ];
    for (count, name) in names.into_iter().enumerate() {
        let evil = match name {
            "Forwarded" => "host=evil.example;proto=https",
            _ => "evil.example",
        };
        let fields = [(name, evil), ("Content-Type", "application/json")];
        let body = json!({ "email": EMAIL }).to_string();
        let mut connection = match name {
            "Host" => a.connect().await.with_host(evil),
            _ => a.connect().await,
        };
        let fields = &fields[usize::from(name == "Host")..];
        let answer = connection
            .request("POST", FORGOT, fields, body.as_bytes())
            .await
            .unwrap();
        assert_eq!(answer.status, 202, "{name}");
        let letter = about(&sink, "Reset your password", count + 1)
            .await
            .pop()
            .unwrap();
        assert!(!letter.data.contains("evil"), "{name}: {}", letter.data);
        assert!(
            letter
                .body()
                .contains("\r\nhttps://www.acme.example/forgot#token=pcm_"),
            "{name}: {}",
            letter.data
        );
    }
}

#[tokio::test]
async fn sec_b09_a_change_asks_for_the_password_and_ends_all_other_sessions() {
    for on_postgres in [false, true] {
        let (installation, sink) = mailing(&[], on_postgres).await;
        let (a, b) = (installation.start("a").await, installation.start("b").await);
        let here = a.register_and_login().await;
        let there = b.login().await;
        for wrong in ["", "not the password", NEW] {
            assert_problem(&change(&a, &here, wrong, NEW).await, 403, "wrong_password");
        }
        assert_problem(
            &change(&a, &here, PASSWORD, "short").await,
            400,
            "invalid_password",
        );
        assert_eq!(b.verify(&there.access).await.status, 200);
        let changed = change(&a, &here, PASSWORD, NEW).await;
        let now = Tokens::of(&changed);
        assert_eq!(
            changed.field("set-cookie"),
            None,
            "it was asked for with a token"
        );
        for instance in [&a, &b] {
            for old in [&here, &there] {
                assert_problem(&instance.verify(&old.access).await, 401, "invalid_token");
                assert_eq!(instance.refresh(&old.refresh).await.status, 401);
            }
            assert_eq!(instance.verify(&now.access).await.status, 200);
        }
        assert_eq!(b.refresh(&now.refresh).await.status, 200);
        assert_eq!(a.try_login(EMAIL, PASSWORD).await.status, 401);
        assert_eq!(b.try_login(EMAIL, NEW).await.status, 200);
        assert_eq!(
            about(&sink, "Your password was changed", 1).await[0].to,
            [EMAIL]
        );
    }
}

#[tokio::test]
async fn whoever_found_a_session_open_cannot_guess_the_password_behind_it() {
    let installation = Installation::new().await;
    let a = installation.start("a").await;
    let tokens = a.register_and_login().await;
    for _ in 0..7 {
        assert_problem(
            &change(&a, &tokens, "a guess or two", NEW).await,
            403,
            "wrong_password",
        );
    }
    let locked = change(&a, &tokens, PASSWORD, NEW).await;
    assert_problem(&locked, 403, "wrong_password");
}

#[tokio::test]
async fn sec_f02_a_password_is_changed_by_cookie_only_with_its_csrf_token() {
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
    let csrf = pairs[1].split_once('=').unwrap().1;
    let body = json!({ "current_password": PASSWORD, "new_password": NEW }).to_string();
    let ask = async |more: &[(&str, &str)]| {
        let fields = [
            ("Cookie", pairs[0].as_str()),
            ("Content-Type", "application/json"),
        ];
        let fields = [&fields[..], more].concat();
        let mut connection = a.connect().await;
        connection
            .request("POST", CHANGE, &fields, body.as_bytes())
            .await
            .unwrap()
    };
    let ours = ("Sec-Fetch-Site", "same-origin");
    assert_problem(&ask(&[ours]).await, 403, "csrf");
    let changed = ask(&[ours, ("X-CSRF-Token", csrf)]).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let set = changed
        .fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    assert_eq!(set.count(), 2, "the browser goes on with a new session");
    assert_problem(
        &ask(&[ours, ("X-CSRF-Token", csrf)]).await,
        401,
        "invalid_token",
    );
}

#[tokio::test]
async fn without_a_mail_server_what_needs_mail_says_so() {
    let installation = Installation::new().await;
    let a = installation.start("a").await;
    let tokens = a.register_and_login().await;
    for path in [FORGOT, RESEND] {
        let answer = a.post(path, json!({ "email": EMAIL })).await;
        assert_problem(&answer, 501, "no_mail");
    }
    assert_problem(&reset(&a, "pcm_x", NEW).await, 400, "invalid_mail_token");
    assert_eq!(change(&a, &tokens, PASSWORD, NEW).await.status, 200);
    let health = a.get("/health/detailed").await.json();
    assert!(health["data"]["services"].get("mail").is_none(), "{health}");
}

#[tokio::test]
async fn sec_a03_the_owner_hears_of_a_second_registration_and_of_a_stolen_session() {
    let (installation, sink) = mailing(&[], false).await;
    let a = installation.start("a").await;
    let tokens = a.register_and_login().await;
    assert_eq!(a.register(EMAIL, "another password").await.status, 202);
    assert_eq!(
        about(&sink, "You have an account already", 1).await[0].to,
        [EMAIL]
    );
    let first = a.refresh(&tokens.refresh).await;
    let second = first.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(a.refresh(&second).await.status, 200);
    assert_eq!(
        a.refresh(&tokens.refresh).await.status,
        401,
        "a copy came back"
    );
    assert_eq!(
        about(&sink, "A session of your account was ended", 1).await[0].to,
        [EMAIL]
    );
}

#[tokio::test]
async fn sec_j01_mail_is_asked_for_and_tokens_are_tried_only_so_often() {
    let (installation, _sink) = mailing(&[("AUTH_RATE_LIMIT_MAIL", "3")], false).await;
    let a = installation.start("a").await;
    for n in 0..3 {
        assert_eq!(forgot(&a, &format!("u{n}@example.com")).await.status, 202);
    }
    let limited = forgot(&a, "u9@example.com").await;
    assert_problem(&limited, 429, "rate_limited");
    assert!(limited.field("retry-after").is_some());
    for _ in 0..3 {
        assert_problem(&reset(&a, "pcm_x", NEW).await, 400, "invalid_mail_token");
    }
    assert_problem(&reset(&a, "pcm_x", NEW).await, 429, "rate_limited");
    assert_eq!(a.hashes().await, 0.0);
}

#[tokio::test]
async fn sec_g03_a_reset_does_not_skip_the_second_factor() {
    let (installation, sink) = mailing(&[], false).await;
    let a = installation.start("a").await;
    let token = forgotten(&a, &sink).await;
    let (older, tokens) = (a.login().await, a.login().await);
    crate::factors::enrol(&a, &tokens).await;
    // That session is older than the authenticator: the password alone changes nothing there any more.
    let refused = change(&a, &older, PASSWORD, NEW).await;
    assert_problem(&refused, 403, "reauthentication_required");
    assert_eq!(reset(&a, &token, NEW).await.status, 204);
    let login = a.try_login(EMAIL, NEW).await;
    assert_eq!(login.status, 202, "{}", login.text());
    assert_eq!(login.json()["status"], "second_factor_required");
    assert!(login.json().get("access_token").is_none());
}
