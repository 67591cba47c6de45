//! Endpoints in files and directories.

use portcullis_testkit::Behavior;

use super::*;

#[tokio::test]
async fn endpoints_of_a_file_come_and_go_under_load() {
    let (a, b, c) = (
        Endpoint::start("a").await,
        Endpoint::start("b").await,
        Endpoint::start("c").await,
    );
    let setup = with_sources(json!([{ "file": "endpoints.yaml" }]));
    let file = setup.directory().join("endpoints.yaml");
    replace(&file, &list(&[&a]));
    let edge = setup.start().await;
    let load = gently(&edge);
    load.wait_for(20).await;
    replace(&file, &list(&[&b, &c]));
    wait_for_endpoints(&edge, &by_address([&b, &c])).await;
    load.wait_for_endpoints(2).await;
    let before = a.requests();
    load.wait_for(20).await;
    assert_eq!(a.requests(), before, "it is gone");
    // One that is written with its own share comes on top of them.
    let both = format!(
        "- {}\n- {{ address: '{}', weight: 7 }}\n",
        b.address(),
        a.address()
    );
    replace(&file, &both);
    wait_for_endpoints(&edge, &by_address([&a, &b])).await;
    load.wait_for_endpoints(2).await;
    let shots = load.finish().await;
    assert!(failures(&shots).is_empty(), "{:?}", failures(&shots));
    let labels = [("cluster", "main")];
    edge.wait_for_metric("portcullis_edge_discovery_endpoints", &labels, 2.0)
        .await;
    assert_eq!(
        edge.metric("portcullis_edge_discovery_failures_total", &labels)
            .await,
        0.0
    );
}

#[tokio::test]
async fn what_came_and_went_is_in_the_audit() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let setup = with_sources(json!([{ "file": "endpoints.yaml" }]));
    let file = setup.directory().join("endpoints.yaml");
    replace(&file, &list(&[&a]));
    let edge = setup.start().await;
    wait_for_endpoints(&edge, &[&a]).await;
    replace(&file, &list(&[&b]));
    let wanted = json!({
        "endpoints": 1,
        "added": [b.address().to_string()],
        "removed": [a.address().to_string()],
    });
    let (entry, revision) = wait_until("the change in the audit", async || {
        let audit = client::get(edge.admin(), "/v1/audit").await.ok()?.json();
        let mut entries = audit["entries"].as_array()?.iter();
        let entry = entries.find(|entry| entry["after"] == wanted)?.clone();
        Some((entry, audit["revision"].clone()))
    })
    .await;
    assert_eq!(entry["who"], "discovery");
    assert_eq!(entry["what"], "clusters/main/endpoints");
    assert_eq!(entry["before"], json!({ "endpoints": 1 }));
    assert_eq!(
        (&entry["outcome"], &entry["revision"]),
        (&json!("done"), &revision)
    );
}

#[tokio::test]
async fn a_file_that_is_bad_or_gone_changes_nothing() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let setup = with_sources(json!([{ "file": "endpoints.yaml" }]));
    let file = setup.directory().join("endpoints.yaml");
    replace(&file, &list(&[&a]));
    let edge = setup.start().await;
    let load = gently(&edge);
    let half = format!("[\"{}\", \"127.0.", b.address());
    let mut failed = 0.0;
    for (text, problem) in [
        (half.as_str(), "endpoints.yaml:1:"),
        ("- 127.0.0.1\n", "endpoints.yaml:1:3: `address`"),
        ("[]", "it knows of no endpoint"),
    ] {
        replace(&file, text);
        wait_until(problem, async || {
            let told = source(&edge).await["problem"].as_str()?.contains(problem);
            told.then_some(())
        })
        .await;
        failed += 1.0;
        let labels = [("cluster", "main")];
        let failures = edge
            .metric("portcullis_edge_discovery_failures_total", &labels)
            .await;
        assert!(failures >= failed, "{failures} of {failed}");
    }
    fs::remove_file(&file).unwrap();
    wait_until("the file to be missed", async || {
        let told = source(&edge).await["problem"].as_str()?.contains("no file");
        told.then_some(())
    })
    .await;
    assert_eq!(source(&edge).await["endpoints"], 1);
    wait_for_endpoints(&edge, &[&a]).await;
    load.wait_for(20).await;
    // What a writer finishes later is taken then.
    fs::write(&file, list(&[&b])).unwrap();
    wait_for_endpoints(&edge, &[&b]).await;
    let told = source(&edge).await;
    assert_eq!(told["problem"], Value::Null, "{told}");
    assert!(
        edge.metric(
            "portcullis_edge_discovery_age_seconds",
            &[("cluster", "main")]
        )
        .await
            < 60.0
    );
    let shots = load.finish().await;
    assert!(failures(&shots).is_empty(), "{:?}", failures(&shots));
}

#[tokio::test]
async fn a_directory_of_files_is_one_source_beside_what_is_written() {
    let (a, b, c) = (
        Endpoint::start("a").await,
        Endpoint::start("b").await,
        Endpoint::start("c").await,
    );
    let setup = Setup::new(&[&a]).set("clusters.main.discover", json!([{ "file": "pool" }]));
    let pool = setup.directory().join("pool");
    fs::create_dir(&pool).unwrap();
    let edge = setup.start().await;
    wait_for_endpoints(&edge, &[&a]).await;
    replace(&pool.join("one.yaml"), &list(&[&b, &a]));
    wait_for_endpoints(&edge, &[&a, &b]).await;
    replace(&pool.join("two.json"), &list(&[&c]));
    let [first, second] = by_address([&b, &c]);
    wait_for_endpoints(&edge, &[&a, first, second]).await;
    fs::remove_file(pool.join("one.yaml")).unwrap();
    wait_for_endpoints(&edge, &[&a, &c]).await;
}

#[tokio::test]
async fn what_is_said_of_a_source_counts_for_its_endpoints() {
    for (key, value, expected) in [
        // Of 8 requests in turn: written with weight 1, found with another.
        ("weight", json!(3), [2, 6]),
        ("priority", json!(1), [8, 0]),
        ("zone", json!("here"), [0, 8]),
    ] {
        let (written, found) = (
            Endpoint::start("written").await,
            Endpoint::start("found").await,
        );
        let setup = Setup::new(&[&written])
            .set(
                "clusters.main.discover",
                json!([{ "file": "found.json", key: value }]),
            )
            .set("clusters.main.slow_start", json!("0s"))
            .set("zone", json!("here"));
        replace(&setup.directory().join("found.json"), &list(&[&found]));
        let edge = setup.start().await;
        wait_for_endpoints(&edge, &[&written, &found]).await;
        for _ in 0..8 {
            assert_eq!(edge.get("/").await.status, 200);
        }
        assert_eq!([written.requests(), found.requests()], expected, "{key}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_found_takes_as_many_requests_as_its_source_says() {
    let a = Endpoint::with("a", Behavior::Hang).await;
    let setup = with_sources(json!([{ "file": "found.json", "max_requests": 1 }]))
        .set("clusters.main.queue", json!("off"));
    replace(&setup.directory().join("found.json"), &list(&[&a]));
    let edge = setup.start().await;
    let mut first = edge.connect().await;
    first
        .send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    wait_until("the first request", async || {
        (a.requests() == 1).then_some(())
    })
    .await;
    assert_eq!(edge.get("/").await.status, 503);
}

#[tokio::test]
async fn a_cluster_takes_no_more_than_its_bound() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let setup = with_sources(json!([{ "file": "found.json" }]))
        .set("clusters.main.max_endpoints", json!(1));
    replace(&setup.directory().join("found.json"), &list(&[&a, &b]));
    let edge = setup.start().await;
    let [first, _] = by_address([&a, &b]);
    wait_for_endpoints(&edge, &[first]).await;
    assert_eq!(source(&edge).await["endpoints"], 2, "it said more");
}

#[tokio::test]
async fn readiness_waits_for_sources_but_not_for_ever() {
    let a = Endpoint::start("a").await;
    let found = json!({ "discover": [{ "file": "found.json" }], "discover_timeout": "2s" });
    let setup = Setup::new(&[&a]).set("clusters.found", found);
    let mut edge = setup.start_unready().await;
    let told = client::get(edge.admin(), "/readyz").await.unwrap();
    assert_eq!(told.status, 503);
    let reasons = told.json()["reasons"].clone();
    assert_eq!(
        reasons,
        json!(["the endpoints of a cluster are not found yet"])
    );
    edge.wait_for_admin("/readyz", 200).await;

    let patient = json!({ "discover": [{ "file": "found.json" }], "discover_timeout": "1h" });
    let setup = Setup::new(&[&a]).set("clusters.found", patient);
    let file = setup.directory().join("found.json");
    let mut edge = setup.start_unready().await;
    edge.wait_for_admin("/readyz", 503).await;
    replace(&file, &list(&[&a]));
    edge.wait_for_admin("/readyz", 200).await;
}
