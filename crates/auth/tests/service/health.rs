//! The health family in every documented shape, the common headers, and metrics.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{EMAIL, Installation};

fn is_iso(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 24 && text.ends_with('Z') && text.as_bytes()[10] == b'T'
}

#[tokio::test]
async fn health_answers_in_every_documented_shape() {
    let installation = Installation::new().await;
    let instance = installation.start("api-1").await;
    let response = instance.get("/health").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.field("content-type"), Some("application/json"));
    let json = response.json();
    assert_eq!(json["status"], "healthy");
    assert_eq!(json["service"], "Auth Server");
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["environment"], "test");
    assert!(json["timestamp"].is_f64() && json["timestamp"].as_f64().unwrap() > 1.7e9);
    assert_eq!(
        (&json["ok"], &json["success"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(json["data"]["status"], "healthy");
    assert!(is_iso(&json["data"]["timestamp"]) && json["data"]["uptime"].is_u64());
    assert_eq!(json["data"]["version"], json["version"]);
}

#[tokio::test]
async fn the_name_version_and_environment_that_are_set_are_told() {
    let installation = Installation::new().await;
    let set = [
        ("APP_NAME", "Accounts"),
        ("APP_VERSION", "7.8.9"),
        ("APP_ENV", "staging"),
    ];
    let instance = installation.start_with("a", &set).await;
    for path in ["/health", "/health/detailed"] {
        let json = instance.get(path).await.json();
        for (field, value) in [
            ("service", "Accounts"),
            ("version", "7.8.9"),
            ("environment", "staging"),
        ] {
            assert_eq!(json[field], value, "{field} of {path}");
        }
    }
    assert_eq!(instance.get("/ready").await.json()["version"], "7.8.9");
}

/// The median at rest; what holds under load is measured by the cluster bench.
#[tokio::test]
async fn health_answers_in_milliseconds() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let mut connection = instance.connect().await;
    for (path, most) in [("/health", 10), ("/health/detailed", 100)] {
        let mut took = Vec::new();
        for _ in 0..51 {
            let started = Instant::now();
            assert_eq!(connection.get(path).await.unwrap().status, 200);
            took.push(started.elapsed());
        }
        took.sort_unstable();
        let median = took[took.len() / 2];
        assert!(median < Duration::from_millis(most), "{path}: {median:?}");
    }
}

#[tokio::test]
async fn detailed_health_names_every_dependency() {
    let installation = Installation::new().await;
    let instance = installation.start("api-1").await;
    let response = instance.get("/health/detailed").await;
    assert_eq!(response.status, 200);
    let json = response.json();
    assert_eq!(
        json["checks"],
        json!({ "database": "healthy", "shared_state": "healthy" })
    );
    assert_eq!(
        (&json["status"], &json["data"]["status"]),
        (&json!("healthy"), &json!("healthy"))
    );
    for field in ["service", "version", "environment"] {
        assert!(json[field].is_string(), "{field}");
    }
    assert!(json["timestamp"].is_f64() && is_iso(&json["data"]["timestamp"]));
    assert_eq!(
        json["data"]["services"]["shared_state"]["status"],
        "healthy"
    );
    let store = &json["data"]["services"]["sqlite"];
    assert_eq!(store["status"], "healthy");
    for metric in ["total", "active", "idle"] {
        assert!(store["metrics"][metric].is_u64(), "{json}");
    }
}

#[tokio::test]
async fn readiness_and_liveness_answer_under_both_names() {
    let installation = Installation::new().await;
    let instance = installation.start("api-1").await;
    for path in ["/health/ready", "/ready"] {
        let response = instance.get(path).await;
        let json = response.json();
        assert_eq!((response.status, &json["ready"]), (200, &json!(true)));
        assert_eq!(
            (&json["instanceId"], &json["loadBalancerReady"]),
            (&json!("api-1"), &json!(true))
        );
        assert!(is_iso(&json["timestamp"]) && json["version"].is_string());
    }
    for path in ["/health/live", "/alive"] {
        let response = instance.get(path).await;
        let json = response.json();
        assert_eq!((response.status, &json["alive"]), (200, &json!(true)));
        assert!(is_iso(&json["timestamp"]));
    }
}

#[tokio::test]
async fn load_balancer_health_tells_memory_and_dependencies() {
    let installation = Installation::new().await;
    let instance = installation.start("api-1").await;
    let json = instance.get("/api/v1/load-balancer/health").await.json();
    assert_eq!(
        (&json["status"], &json["instanceId"]),
        (&json!("healthy"), &json!("api-1"))
    );
    assert!(is_iso(&json["timestamp"]));
    assert!(json["responseTime"].as_str().unwrap().ends_with("ms") && json["uptime"].is_u64());
    assert_eq!(json["loadBalancer"]["ready"], true);
    assert_eq!(json["loadBalancer"]["stateless"], true);
    for kind in ["sessionStore", "cacheStore"] {
        assert_eq!(json["loadBalancer"][kind], "sqlite", "{kind}");
    }
    for dependency in ["database", "shared_state"] {
        assert_eq!(json["dependencies"][dependency], "healthy", "{dependency}");
    }
    let memory = &json["resources"]["memory"];
    assert!(memory["used"].as_str().unwrap().ends_with("MB"));
    assert!(memory["total"].as_str().unwrap().ends_with("MB"));
    assert!(memory["percentage"].as_str().unwrap().ends_with('%'));
}

#[tokio::test]
async fn every_answer_says_who_answered_and_how_fast() {
    let installation = Installation::new().await;
    let instance = installation.start("api-1").await;
    for path in ["/health", "/nowhere", "/api/v1/auth/verify", "/metrics"] {
        let response = instance.get(path).await;
        assert_eq!(response.field("x-instance-id"), Some("api-1"), "{path}");
        assert_eq!(response.field("x-stateless"), Some("true"));
        assert_eq!(response.field("x-load-balancer-ready"), Some("true"));
        assert_eq!(response.field("x-session-shared"), Some("true"));
        assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.field("cache-control"), Some("no-store"));
        assert!(response.field("x-response-time").unwrap().ends_with("ms"));
        assert_eq!(response.field("x-request-id").unwrap().len(), 32);
        assert_eq!(
            response.field("x-served-by"),
            None,
            "that one is the edge's"
        );
    }
}

#[tokio::test]
async fn a_harmless_request_id_is_echoed_and_another_replaced() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let mut connection = instance.connect().await;
    let mut echoed = async |id: &str| {
        let fields = [("X-Request-Id", id)];
        let response = connection
            .request("GET", "/health", &fields, b"")
            .await
            .unwrap();
        response.field("x-request-id").unwrap().to_owned()
    };
    assert_eq!(echoed("abc-123").await, "abc-123");
    assert_ne!(
        echoed("{\"level\":\"ERROR\"}").await,
        "{\"level\":\"ERROR\"}"
    );
}

#[tokio::test]
async fn sec_i07_metrics_name_routes_and_never_raw_paths() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    instance.register_and_login().await;
    instance.try_login(EMAIL, "not the password").await;
    for n in 0..50 {
        instance.get(&format!("/probe-{n}")).await;
    }
    let response = instance.get("/metrics").await;
    assert_eq!(
        response.field("content-type"),
        Some("text/plain; version=0.0.4")
    );
    let text = response.text();
    assert!(text.contains("endpoint=\"/api/v1/auth/register\",method=\"POST\",status=\"202\"} 1"));
    assert!(
        text.contains("endpoint=\"unmatched\",method=\"GET\",status=\"404\"} 50"),
        "{text}"
    );
    assert!(!text.contains("/probe-") && !text.contains("ada"));
    for (use_case, ending) in [
        ("register", "done"),
        ("login", "done"),
        ("login", "refused"),
    ] {
        let labels = format!("{{ending=\"{ending}\",use_case=\"{use_case}\"}} 1");
        let line = format!("portcullis_auth_use_cases_total{labels}");
        assert!(text.contains(&line), "{line} in\n{text}");
    }
    assert!(text.contains("portcullis_auth_dependency_up{dependency=\"database\"} 1"));
}
