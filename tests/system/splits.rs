//! Shares of several clusters: their sizes, and that a user stays. Never changes them at run time.

use portcullis_testkit::Endpoint;
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;

async fn edge(blue: &Endpoint, green: &Endpoint, percent: u16, by: &str) -> Edge {
    let split: Value = json!([
        { "cluster": "main", "weight": 100 - percent },
        { "cluster": "green", "weight": percent },
    ]);
    Setup::new(&[blue])
        .cluster("green", &[green])
        .set(
            "routes.0",
            json!({ "name": "all", "split": split, "split_by": by }),
        )
        .start()
        .await
}

/// Which endpoint each of these users reaches.
async fn seen(edge: &Edge, users: usize) -> Vec<String> {
    let mut client = edge.connect().await;
    let mut seen = Vec::new();
    for user in 0..users {
        let user = format!("user-{user}");
        let fields = [("X-User", user.as_str())];
        seen.push(
            client
                .request("GET", "/", &fields, b"")
                .await
                .unwrap()
                .endpoint(),
        );
    }
    seen
}

#[tokio::test]
async fn users_stay_while_the_canary_grows() {
    let (blue, green) = (
        Endpoint::start("blue").await,
        Endpoint::start("green").await,
    );
    const USERS: usize = 200;
    let mut before = vec!["blue".to_owned(); USERS];
    for (percent, range) in [(5, 1..25), (20, 20..65), (100, 200..201)] {
        let edge = edge(&blue, &green, percent, "header:X-User").await;
        let now = seen(&edge, USERS).await;
        assert_eq!(now, seen(&edge, USERS).await, "a second look");
        let moved = before
            .iter()
            .zip(&now)
            .filter(|(before, now)| before != now);
        assert!(moved.clone().all(|(_, now)| now == "green"), "{percent} %");
        let count = now.iter().filter(|name| *name == "green").count();
        assert!(range.contains(&count), "{count} at {percent} %");
        before = now;
    }
}

#[tokio::test]
async fn a_cookie_of_ours_keeps_a_user_with_a_version() {
    let (blue, green) = (
        Endpoint::start("blue").await,
        Endpoint::start("green").await,
    );
    let edge = edge(&blue, &green, 50, "cookie").await;
    let mut count = 0;
    for _ in 0..60 {
        let mut client = edge.connect().await;
        let first = client.get("/").await.unwrap();
        let set = first.field("set-cookie").unwrap().to_owned();
        assert!(
            set.starts_with("portcullis_split=") && set.contains("HttpOnly"),
            "{set}"
        );
        let pair = set.split(';').next().unwrap();
        for _ in 0..2 {
            let fields = [("Cookie", pair)];
            let again = client.request("GET", "/", &fields, b"").await.unwrap();
            assert_eq!(again.endpoint(), first.endpoint());
            assert_eq!(again.field("set-cookie"), None, "it has one");
            assert_eq!(
                again.echoed("cookie"),
                [""; 0],
                "none of the endpoint's business"
            );
        }
        let cookies = format!("theme=dark; {pair}; lang=en");
        let fields = [("Cookie", cookies.as_str())];
        let again = client.request("GET", "/", &fields, b"").await.unwrap();
        assert_eq!(again.echoed("cookie"), ["theme=dark; lang=en"]);
        count += usize::from(first.endpoint() == "green");
    }
    assert!((12..48).contains(&count), "{count} of 60");
    let line = edge.wait_for_log(240, |line| line["route"] == "all").await;
    assert!(line.iter().any(|line| line["cluster"] == "green"));
    assert!(
        edge.metric("portcullis_edge_requests_total", &[("cluster", "green")])
            .await
            > 0.0
    );
}

#[tokio::test]
async fn a_forged_cookie_reaches_nothing_without_a_weight() {
    let (blue, green) = (
        Endpoint::start("blue").await,
        Endpoint::start("green").await,
    );
    let edge = edge(&blue, &green, 0, "cookie").await;
    let mut client = edge.connect().await;
    for forged in ["green", "ffffffffffffffff", "0000000000000000", "%00", ""] {
        let cookie = format!("portcullis_split={forged}");
        let fields = [("Cookie", cookie.as_str())];
        let response = client.request("GET", "/", &fields, b"").await.unwrap();
        assert_eq!(response.endpoint(), "blue", "{forged}");
    }
    assert_eq!(green.requests(), 0);
}
