//! The way to the mail server: what it is told, how it is believed, and what becomes of mail while it fails.

use portcullis_testkit::smtp::{SmtpFault, SmtpSink};
use portcullis_testkit::{Authority, wait_until};
use serde_json::json;

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, Tokens};

fn settings<'a>(host: &'a str, port: &'a str, tls: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("SMTP_HOST", host),
        ("SMTP_PORT", port),
        ("SMTP_TLS", tls),
        ("SMTP_FROM", "Acme <no-reply@acme.example>"),
    ]
}

/// The sum of `portcullis_auth_mails_total` with this result.
async fn mails(instance: &Instance, result: &str) -> f64 {
    let text = instance.get("/metrics").await.text();
    let label = format!("result=\"{result}\"");
    let lines = text
        .lines()
        .filter(|line| line.starts_with("portcullis_auth_mails_total{") && line.contains(&label));
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

#[tokio::test]
async fn mail_says_whom_it_is_from_and_that_nobody_wrote_it() {
    let sink = SmtpSink::start().await;
    let port = sink.address().port().to_string();
    let installation = Installation::with(&settings("127.0.0.1", &port, "none")).await;
    let a = installation.start("a").await;
    a.register(EMAIL, PASSWORD).await;
    let letter = &sink.wait_for(1).await[0];
    assert_eq!(
        (letter.from.as_str(), &letter.to[..]),
        ("no-reply@acme.example", &[EMAIL.to_owned()][..])
    );
    assert_eq!(letter.header("From"), "Acme <no-reply@acme.example>");
    assert_eq!(letter.header("To"), EMAIL);
    assert_eq!(letter.header("Subject"), "Confirm your email address");
    assert_eq!(letter.header("Auto-Submitted"), "auto-generated");
    assert!(letter.header("Message-ID").ends_with("@acme.example>"));
    letter.header("Date");
}

#[tokio::test]
async fn of_many_instances_one_sends_each_mail() {
    for on_postgres in [false, true] {
        let sink = SmtpSink::start().await;
        let port = sink.address().port().to_string();
        let settings = settings("127.0.0.1", &port, "none");
        let installation = match on_postgres {
            true => Installation::on_postgres_with(&settings).await,
            false => Installation::with(&settings).await,
        };
        let mut instances = Vec::new();
        for name in ["a", "b", "c"] {
            instances.push(installation.start(name).await);
        }
        for n in 0..24 {
            let registered = instances[n % 3]
                .register(&format!("u{n}@example.com"), PASSWORD)
                .await;
            assert_eq!(registered.status, 202);
        }
        sink.wait_for(24).await;
        for instance in instances {
            instance.stop().await;
        }
        let mut to: Vec<_> = sink
            .letters()
            .into_iter()
            .map(|letter| letter.to[0].clone())
            .collect();
        to.sort();
        to.dedup();
        assert_eq!((to.len(), sink.letters().len()), (24, 24));
    }
}

#[tokio::test]
async fn a_mail_server_that_fails_delays_mail_and_nothing_else() {
    let sink = SmtpSink::start().await;
    let port = sink.address().port().to_string();
    let installation = Installation::with(&settings("127.0.0.1", &port, "none")).await;
    let a = installation.start("a").await;
    let faults = [
        SmtpFault::Refuses,
        SmtpFault::ClosesMidData,
        SmtpFault::Busy,
    ];
    for (n, fault) in faults.into_iter().enumerate() {
        sink.set(fault);
        let before = mails(&a, "deferred").await;
        let email = format!("u{n}@example.com");
        assert_eq!(a.register(&email, PASSWORD).await.status, 202);
        wait_until("an attempt that failed", async || {
            (mails(&a, "deferred").await > before).then_some(())
        })
        .await;
        assert_eq!(a.get("/health/ready").await.status, 200);
        Tokens::of(&a.try_login(&email, PASSWORD).await);
        let is_down = fault != SmtpFault::Busy;
        let health = a.get("/health/detailed").await;
        assert_eq!(health.status, 200);
        let status = health.json()["data"]["services"]["mail"]["status"].clone();
        assert_eq!(status == "unhealthy", is_down, "{fault:?}");
        assert_eq!(
            a.metric("portcullis_auth_mail_server_up").await == 0.0,
            is_down
        );
        assert_eq!(sink.letters().len(), n, "{fault:?}");
        sink.set(SmtpFault::None);
        sink.wait_for(n + 1).await;
    }
    wait_until("the last word", async || {
        (mails(&a, "sent").await == 3.0).then_some(())
    })
    .await;
    assert_eq!(mails(&a, "given_up").await, 0.0);
}

#[tokio::test]
async fn mail_that_nobody_takes_is_given_up() {
    let sink = SmtpSink::start().await;
    sink.set(SmtpFault::Rejects);
    let port = sink.address().port().to_string();
    let installation = Installation::with(&settings("127.0.0.1", &port, "none")).await;
    let a = installation.start("a").await;
    a.register(EMAIL, PASSWORD).await;
    wait_until("the end of a mail", async || {
        (mails(&a, "given_up").await == 1.0).then_some(())
    })
    .await;
    sink.set(SmtpFault::None);
    a.register("eve@example.com", PASSWORD).await;
    assert_eq!(sink.wait_for(1).await[0].to, ["eve@example.com"]);
}

#[tokio::test]
async fn a_mail_server_that_hangs_holds_up_neither_requests_nor_the_end() {
    let sink = SmtpSink::start().await;
    sink.set(SmtpFault::Hangs);
    let port = sink.address().port().to_string();
    let installation = Installation::with(&settings("127.0.0.1", &port, "none")).await;
    let a = installation.start("a").await;
    a.register(EMAIL, PASSWORD).await;
    wait_until("a connection", async || {
        (sink.connections() > 0).then_some(())
    })
    .await;
    a.login().await;
    assert_eq!(a.get("/health/ready").await.status, 200);
    a.stop().await;
}

#[tokio::test]
async fn mail_that_arrived_without_a_word_of_it_comes_again() {
    let sink = SmtpSink::start().await;
    sink.set(SmtpFault::ClosesAfterData);
    let port = sink.address().port().to_string();
    let installation = Installation::with(&settings("127.0.0.1", &port, "none")).await;
    let a = installation.start("a").await;
    a.register(EMAIL, PASSWORD).await;
    sink.wait_for(1).await;
    sink.set(SmtpFault::None);
    let letters = sink.wait_for(2).await;
    let token = letters[1].token();
    assert_ne!(letters[0].token(), token);
    assert_ne!(
        letters[0].header("Message-ID"),
        letters[1].header("Message-ID")
    );
    let verified = a
        .post("/api/v1/auth/email/verify", json!({ "token": token }))
        .await;
    assert_eq!(verified.status, 204, "{}", verified.text());
}

#[tokio::test]
async fn mail_goes_over_tls_to_whom_the_authorities_vouch_for() {
    let authority = Authority::new();
    let identity = authority.issue("mail", &["localhost"]);
    let root = authority.root_file().display().to_string();
    for tls in ["starttls", "tls"] {
        let sink = match tls {
            "tls" => SmtpSink::start_wrapped(&identity).await,
            _ => SmtpSink::start_tls(&identity).await,
        };
        let port = sink.address().port().to_string();
        let secrets = tempfile::tempdir().unwrap();
        let file = secrets.path().join("password");
        std::fs::write(&file, "open sesame\n").unwrap();
        let file = file.display().to_string();
        let login = [
            ("SMTP_USER", "acme"),
            ("SMTP_PASSWORD_FILE", file.as_str()),
            ("SMTP_CA_FILE", root.as_str()),
        ];
        let settings = [&settings("localhost", &port, tls)[..], &login].concat();
        let installation = Installation::with(&settings).await;
        let a = installation.start("a").await;
        a.register(EMAIL, PASSWORD).await;
        let letter = &sink.wait_for(1).await[0];
        assert!(letter.is_private);
        // NUL acme NUL open sesame
        assert_eq!(letter.login.as_deref(), Some("AGFjbWUAb3BlbiBzZXNhbWU="));
    }
}

#[tokio::test]
async fn no_mail_goes_to_a_server_that_nobody_vouches_for_or_that_knows_no_tls() {
    let authority = Authority::new();
    let elsewhere = authority.issue("evil", &["mail.evil.example"]);
    let root = authority.root_file().display().to_string();
    for sink in [
        SmtpSink::start_tls(&elsewhere).await,
        SmtpSink::start().await,
    ] {
        let port = sink.address().port().to_string();
        let settings = [
            &settings("localhost", &port, "starttls")[..],
            &[("SMTP_CA_FILE", root.as_str())],
        ]
        .concat();
        let installation = Installation::with(&settings).await;
        let a = installation.start("a").await;
        a.register(EMAIL, PASSWORD).await;
        wait_until("an attempt that failed", async || {
            (mails(&a, "deferred").await > 0.0).then_some(())
        })
        .await;
        assert_eq!(a.metric("portcullis_auth_mail_server_up").await, 0.0);
        assert_eq!(sink.letters().len(), 0);
    }
}
