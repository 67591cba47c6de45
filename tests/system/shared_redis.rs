//! Three real auth processes that share one database and one Redis. Never asks for anything but what users see.

use std::net::SocketAddr;

use portcullis_testkit::redis::Redis;
use portcullis_testkit::{Connection, Process, free_port, wait_until};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::PORTCULLIS;
use crate::harness::up::{post, with_token};

const PASSWORD: &str = "correct horse battery staple";
const PEPPER: &str = "0123456789abcdef0123456789abcdef";
const REPETITIONS: usize = 1000;

/// Starts three instances on one database and one Redis.
async fn three(data: &TempDir, redis: &Redis) -> (Vec<Process>, [SocketAddr; 3]) {
    let ports = [free_port(), free_port(), free_port()];
    let mut processes = Vec::new();
    for port in &ports {
        let mut command = std::process::Command::new(PORTCULLIS);
        command.arg("auth").current_dir(data.path());
        for (name, value) in [
            ("PORT", port.number().to_string()),
            (
                "DATABASE_URL",
                format!("sqlite://{}/auth.db", data.path().display()),
            ),
            ("REDIS_URL", redis.url()),
            ("ISSUER_URL", "http://localhost:8080".to_owned()),
            ("SECURITY_SALT", PEPPER.to_owned()),
            ("DRAIN_DELAY", "0".to_owned()),
            // A thousand logins of one person, faster than any person.
            ("AUTH_RATE_LIMIT_ENABLED", "false".to_owned()),
        ] {
            command.env(name, value);
        }
        processes.push(Process::spawn(command));
    }
    for port in &ports {
        wait_until("every instance to be ready", async || {
            let answer = portcullis_testkit::client::get(port.address(), "/health/ready").await;
            answer.ok().filter(|response| response.status == 200)
        })
        .await;
    }
    (processes, ports.each_ref().map(|port| port.address()))
}

#[tokio::test]
async fn sec_d01_a_thousand_logouts_are_each_seen_by_another_process_on_the_next_request() {
    let (data, redis) = (TempDir::new().unwrap(), Redis::start().await);
    let (_processes, addresses) = three(&data, &redis).await;
    let account = json!({ "email": "ada@example.com", "password": PASSWORD });
    let registered = post(addresses[0], "/api/v1/auth/register", &account).await;
    assert_eq!(registered.status, 202);
    let mut connections = Vec::new();
    for address in addresses {
        connections.push(Connection::open(address).await.unwrap());
    }
    for turn in 0..REPETITIONS {
        let (here, there) = (turn % 3, (turn + 1 + turn / 3 % 2) % 3);
        let login = connections[turn / 2 % 3]
            .post_json("/api/v1/auth/login", &account)
            .await;
        let token = login.unwrap().json()["access_token"].clone();
        let mut ask = async |who: usize, method: &str, path: &str| {
            let path = format!("/api/v1/auth/{path}");
            let answer = with_token(&mut connections[who], method, &path, &token).await;
            answer.unwrap().status
        };
        assert_eq!(ask(there, "GET", "verify").await, 200, "turn {turn}");
        assert_eq!(ask(here, "POST", "logout").await, 204, "turn {turn}");
        assert_eq!(ask(there, "GET", "verify").await, 401, "turn {turn}");
    }
    // Redis answered, not the database behind it, but for what a busy machine made wait too long.
    let mut fallbacks = 0;
    for connection in &mut connections {
        let metrics = connection.get("/metrics").await.unwrap().text();
        let prefix = "portcullis_auth_revocation_fallbacks_total ";
        let value = metrics.lines().find_map(|line| line.strip_prefix(prefix));
        fallbacks += value.unwrap().parse::<usize>().unwrap();
    }
    assert!(
        fallbacks < REPETITIONS,
        "{fallbacks} of {}",
        3 * REPETITIONS
    );
}
