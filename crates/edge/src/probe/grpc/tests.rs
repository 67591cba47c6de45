//! The gRPC health protocol against real sockets, and its messages byte by byte.

use std::time::Instant;

use portcullis_testkit::grpc::{GrpcEndpoint, Reply};
use portcullis_testkit::{Authority, Behavior, Endpoint};

use super::*;
use crate::config::HealthCheck;
use crate::pipeline::fake;
use crate::probe::ask::{Target, probe};

fn check(keys: &str) -> HealthCheck {
    fake::health_check_with(&format!("type: grpc, {keys}"))
}

async fn found(reply: Reply, keys: &str) -> Finding {
    let endpoint = GrpcEndpoint::start(reply, None).await;
    probe(&check(keys), &Target::at(endpoint.address())).await
}

fn text(finding: Finding) -> String {
    match finding {
        Finding::Failed(failure) => failure.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_serving_service_passes() {
    for keys in ["", "service: shop.Orders"] {
        let endpoint = GrpcEndpoint::start(Reply::Serving, None).await;
        let finding = probe(&check(keys), &Target::at(endpoint.address())).await;
        assert_eq!(finding, Finding::Passed, "{keys}");
        let name = keys.strip_prefix("service: ").unwrap_or_default();
        assert_eq!(endpoint.services(), [name]);
    }
}

#[tokio::test]
async fn other_states_and_answers_are_told_apart() {
    for (reply, expected) in [
        (Reply::NotServing, "not the expected one: NOT_SERVING"),
        (Reply::State(0), "not the expected one: UNKNOWN"),
        (Reply::State(3), "not the expected one: SERVICE_UNKNOWN"),
        (
            Reply::Status(5),
            "not the expected one: the service is unknown there",
        ),
        (
            Reply::Status(12),
            "not the expected one: no health service there",
        ),
        (Reply::Status(14), "not the expected one: grpc-status 14"),
        (Reply::Status(0), "no gRPC: no message"),
        (Reply::Http(404), "answered 404"),
        (
            Reply::Message(vec![0, 0, 0, 0, 9, 8, 1]),
            "no gRPC: its message",
        ),
        (
            Reply::Message(vec![1, 0, 0, 0, 2, 8, 1]),
            "no gRPC: its message",
        ),
        (
            Reply::Message(vec![0; 5_000]),
            "no gRPC: its message is too long",
        ),
        (Reply::WithoutStatus, "no gRPC: no grpc-status"),
    ] {
        let told = format!("{reply:?}");
        let text = text(found(reply, "").await);
        assert!(text.contains(expected), "{told}: {text}");
    }
}

#[tokio::test]
async fn what_speaks_no_http2_fails() {
    let garbage = Endpoint::with("a", Behavior::raw_then_close("garbage")).await;
    for endpoint in [Endpoint::start("a").await, garbage] {
        let found = probe(&check(""), &Target::at(endpoint.address())).await;
        assert!(matches!(found, Finding::Failed(_)), "{found:?}");
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let began = Instant::now();
    let keys = "interval: 300ms, timeout: 300ms";
    let silent = Endpoint::with("a", Behavior::Hang).await;
    let found = [
        found(Reply::Silence, keys).await,
        probe(&check(keys), &Target::at(silent.address())).await,
    ];
    for found in found {
        assert_eq!(text(found), "no answer in time");
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn over_tls_the_certificate_is_verified() {
    let authority = Authority::new();
    let identity = authority.issue("grpc", &["health.internal"]);
    let endpoint = GrpcEndpoint::start(Reply::Serving, Some(&identity)).await;
    let ca = authority.root_file();
    let keys = |name| format!("tls: {{ ca: {}, server_name: {name} }}", ca.display());
    let right = probe(
        &check(&keys("health.internal")),
        &Target::at(endpoint.address()),
    )
    .await;
    assert_eq!(right, Finding::Passed);
    let wrong = probe(
        &check(&keys("other.internal")),
        &Target::at(endpoint.address()),
    )
    .await;
    assert!(text(wrong).starts_with("no secure connection"));
}

#[test]
fn names_are_framed_as_protobuf_has_it() {
    assert_eq!(message("").as_ref(), [0, 0, 0, 0, 0]);
    assert_eq!(message("ab").as_ref(), [0, 0, 0, 0, 4, 10, 2, b'a', b'b']);
    let long = message(&"a".repeat(200));
    assert_eq!(long.get(..8), Some(&[0, 0, 0, 0, 203, 10, 0xc8, 1][..]));
}

#[test]
fn messages_of_any_bytes_are_read_without_harm() {
    for (bytes, expected) in [
        (&[][..], Some(0)),
        (&[8, 1], Some(1)),
        (&[8, 2, 8, 1], Some(1)),
        (&[0x12, 2, 8, 9, 8, 1], Some(1)),
        (&[0x11, 0, 0, 0, 0, 0, 0, 0, 0, 8, 1], Some(1)),
        (&[0x15, 0, 0, 0, 0, 8, 1], Some(1)),
        (&[8], None),
        (&[0x12, 200, 1], None),
        (&[0x0b], None),
        (&[0xff; 12], None),
    ] {
        assert_eq!(field_1(bytes), expected, "{bytes:?}");
    }
    let mut random = fastrand::Rng::new();
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..random.usize(..30)).map(|_| random.u8(..)).collect();
        field_1(&bytes);
        framed(&bytes);
    }
}
