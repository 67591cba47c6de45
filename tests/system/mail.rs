//! Mail of real processes: a forgotten password from the mail to the login, and a mail server that is away from the start.

use portcullis_testkit::smtp::{SmtpFault, SmtpSink};
use portcullis_testkit::{Connection, Response, wait_until};
use serde_json::{Value, json};

use crate::harness::auth::{Auth, with_token};

const EMAIL: &str = "ada@example.com";
const NEW: &str = "another battery staple";

async fn mailing(count: usize, sink: &SmtpSink) -> Auth {
    let port = sink.address().port().to_string();
    let settings = [
        ("SMTP_HOST", "127.0.0.1".to_owned()),
        ("SMTP_PORT", port),
        ("SMTP_TLS", "none".to_owned()),
        ("SMTP_FROM", "no-reply@acme.example".to_owned()),
    ];
    Auth::start_with(count, &settings).await
}

async fn post(auth: &Auth, position: usize, path: &str, body: Value) -> Response {
    let address = auth.instances[position].address();
    let mut connection = Connection::open(address).await.unwrap();
    connection.post_json(path, &body).await.unwrap()
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_through_any_instance_and_nobody_reads_it_in_a_log() {
    let sink = SmtpSink::start().await;
    let auth = mailing(2, &sink).await;
    let old = auth.log_in(0).await;
    sink.wait_for(1).await;
    let asked = post(
        &auth,
        0,
        "/api/v1/auth/password/forgot",
        json!({ "email": EMAIL }),
    )
    .await;
    assert_eq!(asked.status, 202, "{}", asked.text());
    let token = sink.wait_for(2).await[1].token().to_owned();
    let body = json!({ "token": token, "new_password": NEW });
    let reset = post(&auth, 1, "/api/v1/auth/password/reset", body).await;
    assert_eq!(reset.status, 204, "{}", reset.text());
    for instance in &auth.instances {
        let verified = with_token(instance.address(), "GET", "/api/v1/auth/verify", &old).await;
        assert_eq!(verified.status, 401);
    }
    let login = post(
        &auth,
        0,
        "/api/v1/auth/login",
        json!({ "email": EMAIL, "password": NEW }),
    )
    .await;
    assert_eq!(login.status, 200, "{}", login.text());
    sink.wait_for(3).await;
    for instance in &auth.instances {
        let log = instance.log();
        assert!(!log.is_empty());
        for secret in [EMAIL, NEW, token.as_str(), "pcm_"] {
            assert!(!log.contains(secret), "{secret} in\n{log}");
        }
    }
}

#[tokio::test]
async fn instances_start_and_serve_while_the_mail_server_is_away_and_send_when_it_is_back() {
    let sink = SmtpSink::start().await;
    sink.set(SmtpFault::Refuses);
    let mut auth = mailing(2, &sink).await;
    auth.log_in(0).await;
    wait_until("an attempt", async || {
        (sink.connections() > 0).then_some(())
    })
    .await;
    let most = async |metric: &str| {
        let mut most = 0.0_f64;
        for instance in &auth.instances {
            most = most.max(instance.metric(metric).await);
        }
        most
    };
    wait_until("the mail to be counted", async || {
        (most("portcullis_auth_mail_waiting").await == 1.0).then_some(())
    })
    .await;
    wait_until("its age to be told", async || {
        let age = most("portcullis_auth_mail_oldest_seconds").await;
        (age >= 1.0).then_some(())
    })
    .await;
    // Whatever becomes of the instances meanwhile.
    auth.restart(0).await;
    auth.restart(1).await;
    sink.set(SmtpFault::None);
    assert_eq!(sink.wait_for(1).await[0].to, [EMAIL]);
}
