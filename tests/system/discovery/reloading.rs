//! Endpoints that are found while the configuration is replaced.

use super::*;

#[tokio::test]
async fn sources_and_reloads_do_not_disturb_each_other() {
    const ROUNDS: usize = 30;
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let setup = with_sources(json!([{ "file": "endpoints.yaml" }]));
    let file = setup.directory().join("endpoints.yaml");
    replace(&file, &list(&[&a]));
    let edge = setup.start().await;
    let load = gently(&edge);
    for round in 0..ROUNDS {
        // Seldom seen before the next one: reloads and looks at the file come in any order.
        replace(&file, &list(&[[&a, &b][round % 2]]));
        let mut next = edge.config();
        next["routes"][0]["response_headers"] = json!({ "set": { "x-round": round.to_string() } });
        edge.reload(&next).await;
        load.wait_for(5).await;
    }
    replace(&file, &list(&[&a, &b]));
    wait_for_endpoints(&edge, &by_address([&a, &b])).await;
    edge.reload(&edge.config()).await;
    wait_for_endpoints(&edge, &by_address([&a, &b])).await;
    load.wait_for(20).await;
    let shots = load.finish().await;
    assert!(failures(&shots).is_empty(), "{:?}", failures(&shots));
    // Not only the list: both are asked by what the last reload has put into force.
    let before = (a.requests(), b.requests());
    for _ in 0..4 {
        assert_eq!(edge.get("/").await.status, 200);
    }
    assert!(a.requests() > before.0 && b.requests() > before.1);
}
