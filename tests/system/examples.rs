//! The configurations under `examples/`, run as their README says, on ports of their own.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use portcullis_testkit::{Authority, Connection, Endpoint, Process, client, free_port, wait_until};

use portcullis_token::Algorithm;
use serde_json::json;

use crate::harness::issuer::{Publisher, Signer};
use crate::harness::{PORTCULLIS, open_tls};

/// Runs `portcullis edge` on an example, with variables for everything the machine decides.
fn run(example: &str, variables: &[(&str, String)]) -> Process {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(example);
    let mut command = Command::new(PORTCULLIS);
    command
        .args(["edge", "--config"])
        .arg(file.join("edge.yaml"));
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    Process::spawn(command)
}

async fn wait_until_ready(process: &mut Process, admin: std::net::SocketAddr) {
    wait_until("the example to be ready", async || {
        if let Some(status) = process.try_status() {
            panic!("the edge ended with {status}\n{}", process.output());
        }
        client::get(admin, "/readyz")
            .await
            .ok()
            .filter(|r| r.status == 200)
    })
    .await;
}

#[tokio::test]
async fn quickstart_balances_and_survives_a_dead_endpoint() {
    let (one, two) = (Endpoint::start("one").await, Endpoint::start("two").await);
    let (listen, admin) = (free_port(), free_port());
    let mut edge = run(
        "quickstart",
        &[
            ("LISTEN", listen.address().to_string()),
            ("ADMIN", admin.address().to_string()),
            ("APP_1", one.address().to_string()),
            ("APP_2", two.address().to_string()),
        ],
    );
    wait_until_ready(&mut edge, admin.address()).await;
    for _ in 0..10 {
        assert_eq!(
            client::get(listen.address(), "/").await.unwrap().status,
            200
        );
    }
    assert!(one.requests() > 0 && two.requests() > 0, "both get some");
    drop(one);
    for _ in 0..20 {
        let response = client::get(listen.address(), "/").await.unwrap();
        assert_eq!(response.endpoint(), "two");
    }
    edge.signal(Signal::SIGINT);
    assert_eq!(edge.exit_code().await, 0, "{}", edge.output());
    let served = edge
        .stdout()
        .iter()
        .filter(|line| line.contains("\"served\""))
        .count();
    assert_eq!(served, 30, "a line for each request on standard output");
}

#[tokio::test]
async fn tokens_lets_in_whom_its_page_says() {
    let (app, signer) = (Endpoint::start("app").await, Signer::new(Algorithm::Rs256));
    let publisher = Publisher::start(&[&signer]).await;
    let issuer = format!("http://{}", publisher.endpoint.address());
    let (listen, admin) = (free_port(), free_port());
    let mut edge = run(
        "tokens",
        &[
            ("LISTEN", listen.address().to_string()),
            ("ADMIN", admin.address().to_string()),
            ("APP_1", app.address().to_string()),
            ("ISSUER", issuer.clone()),
        ],
    );
    wait_until_ready(&mut edge, admin.address()).await;
    let token = |roles: &[&str]| {
        let claims = json!({ "iss": issuer, "aud": "portcullis", "roles": roles });
        format!("Bearer {}", signer.token(&claims))
    };
    let (user, root) = (token(&[]), token(&["admin"]));
    for (path, token, status) in [
        ("/", None, 200),
        ("/api/x", None, 401),
        ("/api/x", Some(&user), 200),
        ("/api/admin", Some(&user), 403),
        ("/api/admin", Some(&root), 200),
    ] {
        let fields: Vec<_> = token
            .map(|token| ("Authorization", token.as_str()))
            .into_iter()
            .collect();
        let mut client = Connection::open(listen.address()).await.unwrap();
        let response = client.request("GET", path, &fields, b"").await.unwrap();
        assert_eq!(response.status, status, "{path}");
        if path == "/api/admin" && status == 200 {
            assert_eq!(response.echoed("x-client-session"), ["session-1"]);
            assert_eq!(response.echoed("authorization"), [] as [&str; 0]);
        }
    }
}

#[tokio::test]
async fn nginx_parity_does_what_the_nginx_configuration_did() {
    let authority = Authority::new();
    authority.issue("auth", &["auth.yourdomain.com"]);
    let mut endpoints = Vec::new();
    for name in ["one", "two", "three"] {
        endpoints.push(Endpoint::start(name).await);
    }
    let (listen, admin) = (free_port(), free_port());
    let mut variables = vec![
        ("LISTEN", listen.address().to_string()),
        ("ADMIN", admin.address().to_string()),
        ("CERT_DIR", authority.directory().display().to_string()),
        ("SHUTDOWN_DELAY", "0s".to_owned()),
    ];
    for (name, endpoint) in ["AUTH_1", "AUTH_2", "AUTH_3"].iter().zip(&endpoints) {
        variables.push((name, endpoint.address().to_string()));
    }
    let mut edge = run("nginx-parity", &variables);
    wait_until_ready(&mut edge, admin.address()).await;

    let mut https = open_tls(listen.address(), "auth.yourdomain.com", &authority).await;
    let claim = [("X-Forwarded-For", "6.6.6.6")];
    let response = https
        .request("GET", "/login?x=1", &claim, b"")
        .await
        .unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.echoed("host"), ["auth.yourdomain.com"]);
    assert_eq!(response.echoed("x-real-ip"), ["127.0.0.1"]);
    assert_eq!(response.echoed("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(response.echoed("x-forwarded-proto"), ["https"]);
    for path in ["/health", "/health/ready", "/healthy"] {
        assert_eq!(https.get(path).await.unwrap().status, 200);
    }
    let upgrade = [("Connection", "upgrade"), ("Upgrade", "websocket")];
    assert_eq!(
        https
            .request("GET", "/ws", &upgrade, b"")
            .await
            .unwrap()
            .status,
        101
    );

    let config = authority.client();
    let other = Connection::open_tls(listen.address(), "auth.yourdomain.com", config).await;
    let mut other = other.unwrap().with_host("other.yourdomain.com");
    assert_eq!(other.get("/").await.unwrap().status, 404);
    drop((https, other));

    edge.signal(Signal::SIGTERM);
    assert_eq!(edge.exit_code().await, 0, "{}", edge.output());
    let log = edge.stdout().join("\n");
    for (path, is_logged) in [("/login", true), ("/healthy", true), ("/health", false)] {
        assert_eq!(
            log.contains(&format!("\"{path}\"")),
            is_logged,
            "{path} in\n{log}"
        );
    }
}
