//! Many clients at once, each doing something orderly or disorderly at random, before endpoints of
//! which one misbehaves: whoever is answered gets the answer to its own request, and in the end
//! nothing is left. `SEED=n` repeats what each client does, not how they interleave.

use std::net::SocketAddr;

use fastrand::Rng;
use portcullis_testkit::{Behavior, Connection, Endpoint, Response, Step, wait_until};
use serde_json::json;

use super::Setup;

const CLIENTS: u64 = 24;
const ROUNDS: usize = 30;

/// What a client does with one connection.
async fn round(address: SocketAddr, name: &str, rng: &mut Rng) {
    let mut client = Connection::open(address).await.expect("the edge accepts");
    let body = "b".repeat(rng.usize(..3_000));
    let post = format!(
        "POST /{name}/post HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    match rng.u8(..8) {
        0 | 1 => {
            for number in 0..rng.usize(1..5) {
                let path = format!("/{name}/{number}");
                let Ok(response) = client.get(&path).await else {
                    return;
                };
                expect_own(&response, &path, "");
            }
        }
        2 => {
            let path = format!("/{name}/post");
            if let Ok(response) = client.request("POST", &path, &[], body.as_bytes()).await {
                expect_own(&response, &path, &body);
            }
        }
        3 => {
            let _ = client.send(post.repeat(3).as_bytes()).await;
            for _ in 0..3 {
                let Ok(response) = client.response().await else {
                    return;
                };
                expect_own(&response, &format!("/{name}/post"), &body);
            }
        }
        4 => {
            let _ = client
                .send(&post.as_bytes()[..rng.usize(..post.len())])
                .await;
            client.reset().expect("a socket can be reset");
        }
        5 => {
            let _ = client
                .send(&post.as_bytes()[..rng.usize(..post.len())])
                .await;
            let _ = client.finish_sending().await;
            let _ = client.read_to_end().await;
        }
        6 => {
            let _ = client.send(post.as_bytes()).await;
            drop(client);
        }
        _ => {
            let mut junk = post.into_bytes();
            let at = rng.usize(..junk.len());
            junk[at] = rng.u8(..);
            let _ = client.send(&junk).await;
            let _ = client.finish_sending().await;
            let _ = client.read_to_end().await;
        }
    }
}

/// An answer of an endpoint tells of the very request; other answers are the edge's own.
fn expect_own(response: &Response, path: &str, body: &str) {
    match response.status {
        200 => {
            let json = response.json();
            assert_eq!((&json["path"], &json["body"]), (&json!(path), &json!(body)));
        }
        status => assert!(matches!(status, 502..=504), "{path}: {status}"),
    }
}

fn mischief(rng: &mut Rng) -> Behavior {
    let forged =
        "HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n{\"path\": \"forged\", \"body\": \"\"}";
    match rng.u8(..8) {
        0 => Behavior::ResetBeforeAnswer,
        1 => Behavior::ResetMidBody,
        2 => Behavior::TruncatedLength,
        3 => Behavior::CloseUnannounced,
        4 => Behavior::Garbage,
        5 => Behavior::raw(format!(
            "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n{forged}"
        )),
        6 => Behavior::Script(vec![
            Step::Send(b"HTTP/1.1 502 Early\r\ncontent-length: 0\r\n\r\n".to_vec()),
            Step::Close,
        ]),
        _ => Behavior::Echo,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_the_answer_of_another_in_a_storm() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("replay with SEED={seed}");
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let bad = Endpoint::start("bad").await;
    let edge = Setup::new(&[&a, &b, &bad])
        .set("clusters.main.ejection", json!("off"))
        .start()
        .await;
    let address = edge.http();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            tokio::spawn(async move {
                let mut rng = Rng::with_seed(seed.wrapping_add(client));
                for number in 0..ROUNDS {
                    round(address, &format!("{client}/{number}"), &mut rng).await;
                }
            })
        })
        .collect();
    let mut rng = Rng::with_seed(seed);
    wait_until("the storm to pass", async || {
        bad.behave(mischief(&mut rng));
        clients
            .iter()
            .all(tokio::task::JoinHandle::is_finished)
            .then_some(())
    })
    .await;
    for client in clients {
        client.await.expect("no answer went astray");
    }
    edge.expect_nothing_left().await;
    bad.behave(Behavior::Echo);
    for endpoint in [&a, &b, &bad] {
        wait_until("every endpoint to be left", async || {
            (endpoint.in_flight() == 0).then_some(())
        })
        .await;
    }
    let mut client = edge.connect().await;
    for _ in 0..20 {
        let response = client.get("/after").await.unwrap();
        expect_own(&response, "/after", "");
        assert_eq!(response.status, 200);
    }
}
