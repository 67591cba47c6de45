//! Connections that become tunnels (WebSocket), and requests that only look as if they would.

use portcullis_testkit::{Behavior, Endpoint, Step, wait_until};

use super::Setup;
use crate::harness::doors::DOORS;

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    let fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let response = client.request("GET", "/ws", &fields, b"").await.unwrap();
    assert_eq!(response.status, 101);
    for message in ["one", "two", "three"] {
        client.send(message.as_bytes()).await.unwrap();
        assert_eq!(client.read_some().await.unwrap(), message.as_bytes());
    }
    drop(client);
    assert_eq!(edge.log_of("/ws").await["status"], 101);
}

#[tokio::test]
async fn many_upgraded_connections_do_not_share_bytes() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let mut clients = Vec::new();
    for number in 0..200 {
        let mut client = edge.connect().await;
        let path = format!("/ws/{number}");
        assert_eq!(
            client
                .request("GET", &path, &fields, b"")
                .await
                .unwrap()
                .status,
            101
        );
        clients.push(client);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client
            .send(format!("message {number}").as_bytes())
            .await
            .unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let echo = client.read_some().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&echo), format!("message {number}"));
    }
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let a = Endpoint::with("a", Behavior::Status(426)).await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    for _ in 0..5 {
        assert_eq!(
            client
                .request("GET", "/ws", &fields, b"")
                .await
                .unwrap()
                .status,
            426
        );
    }
    a.behave(Behavior::Echo);
    assert_eq!(client.get("/plain").await.unwrap().status, 200);
}

#[tokio::test]
async fn an_upgrade_that_is_not_asked_for_is_not_forwarded() {
    let a = Endpoint::with("a", Behavior::Bytes(2)).await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    for fields in [
        &[("Upgrade", "websocket")][..],
        &[
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAM"),
        ],
    ] {
        assert_eq!(
            client
                .request("GET", "/", fields, b"")
                .await
                .unwrap()
                .status,
            200
        );
    }
    for request in a.received() {
        assert_eq!(request.values("upgrade"), [] as [&str; 0], "{request:?}");
    }
}

#[tokio::test]
async fn a_tunnel_whose_endpoint_resets_ends_without_another_byte() {
    let a = Endpoint::with("a", Behavior::ResetTunnel).await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    assert_eq!(
        client
            .request("GET", "/ws", &fields, b"")
            .await
            .unwrap()
            .status,
        101
    );
    client.send(b"x").await.unwrap();
    client.expect_close().await;
    assert_eq!(edge.log_of("/ws").await["status"], 101);
}

#[tokio::test]
async fn bytes_right_behind_the_heads_of_an_upgrade_are_part_of_the_tunnel() {
    let head =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let steps = vec![
        Step::Send(format!("{head}early words").into()),
        Step::AwaitClose,
    ];
    let a = Endpoint::with("a", Behavior::Script(steps)).await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    let request =
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    for door in DOORS {
        let mut client = house.enter(door).await;
        client.send(request.as_bytes()).await.unwrap();
        assert_eq!(client.head().await.unwrap().status, 101);
        let mut early = Vec::new();
        while early.len() < b"early words".len() {
            early.extend(client.read_some().await.unwrap());
        }
        assert_eq!(early, b"early words", "{door:?}");
    }
    a.behave(Behavior::Echo);
    for door in DOORS {
        let mut client = house.enter(door).await;
        let eager = format!("{request}eager words");
        client.send(eager.as_bytes()).await.unwrap();
        assert_eq!(client.head().await.unwrap().status, 101);
        let mut echo = Vec::new();
        while echo.len() < b"eager words".len() {
            let bytes = client.read_some().await.unwrap();
            assert!(!bytes.is_empty(), "{door:?}: closed after {echo:?}");
            echo.extend(bytes);
        }
        assert_eq!(echo, b"eager words", "{door:?}");
    }
}

#[tokio::test]
async fn a_tunnel_that_one_side_closes_leaves_nothing() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    for door in DOORS {
        for is_reset in [false, true] {
            let mut client = house.enter(door).await;
            let response = client.request("GET", "/ws", &fields, b"").await.unwrap();
            assert_eq!(response.status, 101);
            client.send(b"x").await.unwrap();
            assert_eq!(client.read_some().await.unwrap(), b"x");
            if is_reset {
                client.reset().unwrap();
            } else {
                client.finish_sending().await.unwrap();
                client.expect_close().await;
            }
            house.edge.expect_nothing_left().await;
            wait_until("the endpoint to see the end", async || {
                (a.open_connections() == 0).then_some(())
            })
            .await;
        }
    }
}
