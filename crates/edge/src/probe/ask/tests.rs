//! One probe against real sockets: every way it can fail, and what must not fail it.

use std::time::Duration;

use portcullis_testkit::fault::FullBacklog;
use portcullis_testkit::{Authority, Behavior, Endpoint, Step, TlsEndpoint, free_port};

use super::*;
use crate::pipeline::fake;

impl Target {
    /// An endpoint without a name.
    pub(in crate::probe) fn at(address: SocketAddr) -> Self {
        let name = ServerName::from(address.ip());
        Self {
            address,
            name,
            preamble: None,
        }
    }
}

/// A check of `/check`, where scripted endpoints obey their script.
fn check(keys: &str) -> HealthCheck {
    let path = if keys.contains("path:") {
        ""
    } else {
        "path: /check, "
    };
    fake::health_check_with(&format!("{path}{keys}"))
}

async fn probe_with(keys: &str, endpoint: SocketAddr) -> Finding {
    probe(&check(keys), &Target::at(endpoint)).await
}

/// What a check finds in exactly this answer.
async fn found_in(keys: &str, answer: &str) -> Finding {
    let behavior = Behavior::raw_then_close(answer.replace('\n', "\r\n"));
    let endpoint = Endpoint::with("a", behavior).await;
    probe_with(keys, endpoint.address()).await
}

fn trouble(finding: Finding) -> Trouble {
    match finding {
        Finding::Failed(failure) => failure.trouble,
        other => panic!("{other:?}"),
    }
}

fn text(finding: Finding) -> String {
    match finding {
        Finding::Failed(failure) => failure.to_string(),
        other => panic!("{other:?}"),
    }
}

const OK: &str = "HTTP/1.1 200 OK\nx-ready: yes\ncontent-length: 8\n\nall good";

#[tokio::test]
async fn expected_answer_passes() {
    for keys in [
        "",
        "expect: 200",
        "headers: {x-ready: 'yes'}",
        "headers: {X-Ready: '*'}",
        "body: all",
        "body: good, headers: {x-ready: 'yes'}",
    ] {
        assert_eq!(found_in(keys, OK).await, Finding::Passed, "{keys}");
    }
    let chunked = "HTTP/1.1 204 No\n\n";
    assert_eq!(found_in("", chunked).await, Finding::Passed);
    let chunked = "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n4\nall \n4\ngood\n0\n\n";
    assert_eq!(found_in("body: all good", chunked).await, Finding::Passed);
    let closed = "HTTP/1.0 200 OK\n\nall good";
    assert_eq!(found_in("body: all good", closed).await, Finding::Passed);
    let hinted = format!("HTTP/1.1 103 Early Hints\nlink: x\n\n{OK}");
    assert_eq!(found_in("body: all good", &hinted).await, Finding::Passed);
    let head = "HTTP/1.1 200 OK\ncontent-length: 8\n\n";
    assert_eq!(found_in("method: HEAD", head).await, Finding::Passed);
}

#[tokio::test]
async fn other_answers_are_told_apart() {
    let answer = |status: &str| format!("HTTP/1.1 {status}\ncontent-length: 0\n\n");
    for (keys, answer, expected) in [
        ("", answer("500 No"), "answered 500"),
        ("", answer("301 Moved\nlocation: /"), "answered 301"),
        (
            "expect: 204",
            OK.to_owned(),
            "answered 200: not an expected status",
        ),
        (
            "",
            answer("503 No\nx-health-cause: database"),
            "its dependency database is down: answered 503",
        ),
        (
            "",
            answer("503 No\nx-health-cause: Not \u{7f} A Name"),
            "answer is not HTTP: field value",
        ),
        (
            "",
            answer("503 No\nx-health-cause: Not a name"),
            "answered 503",
        ),
        (
            "headers: {x-ready: 'no'}",
            OK.to_owned(),
            "a header is not the expected one: x-ready",
        ),
        (
            "headers: {x-other: '*'}",
            OK.to_owned(),
            "a header is not the expected one: x-other",
        ),
        (
            "body: bad",
            OK.to_owned(),
            "the body is not the expected one",
        ),
        ("", "SSH-2.0-OpenSSH\n".to_owned(), "not HTTP"),
        ("", answer("101 Switching Protocols"), "not HTTP"),
        ("", answer("103 Early Hints").repeat(12), "interim"),
        ("", "HTTP/1.1 200".to_owned(), "broke off: in its head"),
        (
            "",
            "HTTP/1.1 200 OK\ncontent-length: 9\n\n{}".to_owned(),
            "broke off",
        ),
        ("", String::new(), "broke before the answer"),
        (
            "",
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\nnope".to_owned(),
            "not HTTP: body",
        ),
        (
            "",
            format!("HTTP/1.1 200 OK\nx: {}", "x".repeat(40_000)),
            "too large",
        ),
    ] {
        let text = text(found_in(keys, &answer).await);
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[tokio::test]
async fn draining_is_heard_whatever_the_status() {
    for status in ["200 OK", "503 No"] {
        let answer = format!("HTTP/1.1 {status}\nx-health-cause: draining\ncontent-length: 0\n\n");
        assert_eq!(found_in("", &answer).await, Finding::Draining);
    }
}

#[tokio::test]
async fn obstacles_on_the_way_are_told_apart() {
    let nobody = free_port();
    assert_eq!(
        trouble(probe_with("", nobody.address()).await),
        Trouble::Refused
    );
    let full = FullBacklog::start().await;
    let late = probe_with("timeout: 100ms, interval: 1s", full.address());
    assert_eq!(trouble(late.await), Trouble::ConnectTimeout);
    let nowhere = "224.0.0.1:9".parse().unwrap();
    assert_eq!(
        trouble(probe_with("", nowhere).await),
        Trouble::ConnectFailed
    );
    let resetting = Endpoint::with("a", Behavior::ResetBeforeAnswer).await;
    assert_eq!(
        trouble(probe_with("", resetting.address()).await),
        Trouble::Reset
    );
}

#[tokio::test]
async fn one_deadline_covers_all_of_a_probe() {
    let pause = Duration::from_millis(20);
    let trickle = |bytes: &[u8]| Behavior::Script(vec![Step::SendBytewise(bytes.to_vec(), pause)]);
    let head = "HTTP/1.1 200 OK\r\nx: ".to_owned() + &"x".repeat(2_000);
    let body = "HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n".to_owned() + &"x".repeat(2_000);
    for behavior in [
        Behavior::Hang,
        Behavior::HangMidBody,
        Behavior::SlowHead(Duration::from_millis(50)),
        trickle(head.as_bytes()),
        trickle(body.as_bytes()),
    ] {
        let endpoint = Endpoint::with("a", behavior.clone()).await;
        let started = std::time::Instant::now();
        let found = probe_with("timeout: 200ms, interval: 1s", endpoint.address()).await;
        assert_eq!(trouble(found), Trouble::Timeout, "{behavior:?}");
        assert!(started.elapsed() < Duration::from_secs(2), "{behavior:?}");
    }
}

#[tokio::test]
async fn only_the_beginning_of_a_large_body_is_looked_at() {
    let head = "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n";
    let chunk = format!("8000\n{}\n", "x".repeat(0x8000));
    // Ends neither as a body nor as a connection.
    let endless = |beginning: &str| {
        let text = format!("{head}{beginning}{}", chunk.repeat(4)).replace('\n', "\r\n");
        Behavior::Script(vec![
            Step::Receive,
            Step::Send(text.into_bytes()),
            Step::AwaitClose,
        ])
    };
    let endpoint = Endpoint::with("a", endless("5\nready\n")).await;
    assert_eq!(probe_with("", endpoint.address()).await, Finding::Passed);
    let found = probe_with("body: ready", endpoint.address()).await;
    assert_eq!(found, Finding::Passed);
    endpoint.behave(endless(&format!("{}5\nready\n", chunk.repeat(2))));
    let found = probe_with("body: ready", endpoint.address()).await;
    assert_eq!(trouble(found), Trouble::BodyMismatch);
}

#[tokio::test]
async fn request_is_what_the_check_says() {
    let endpoint = Endpoint::start("a").await;
    let keys = "host: auth.example.com, method: HEAD, request_headers: {X-Purpose: check}";
    assert_eq!(probe_with(keys, endpoint.address()).await, Finding::Passed);
    let plain = probe_with("path: '/check?deep=1'", endpoint.address()).await;
    assert_eq!(plain, Finding::Passed);
    let received = endpoint.received();
    let [first, second] = received.as_slice() else {
        panic!("{received:?}")
    };
    assert_eq!(
        (first.method.as_str(), first.target.as_str()),
        ("HEAD", "/check")
    );
    assert_eq!(first.values("host"), ["auth.example.com"]);
    assert_eq!(first.values("user-agent"), ["portcullis-health-check"]);
    assert_eq!(first.values("x-purpose"), ["check"]);
    assert_eq!(
        (second.method.as_str(), second.target.as_str()),
        ("GET", "/check?deep=1")
    );
    assert_eq!(second.values("host"), [endpoint.address().to_string()]);
}

#[tokio::test]
async fn another_port_may_be_probed_and_connecting_may_be_enough() {
    let silent = Endpoint::with("a", Behavior::Hang).await;
    let good = Endpoint::start("b").await;
    let port = format!("port: {}", good.address().port());
    assert_eq!(probe_with(&port, silent.address()).await, Finding::Passed);
    let tcp = fake::health_check_with("type: tcp");
    assert_eq!(
        probe(&tcp, &Target::at(silent.address())).await,
        Finding::Passed
    );
    let nobody = free_port();
    assert_eq!(
        trouble(probe(&tcp, &Target::at(nobody.address())).await),
        Trouble::Refused
    );
}

fn tls_keys(authority: &Authority, keys: &str) -> String {
    let ca = authority.root_file();
    format!("tls: {{ ca: '{}', {keys} }}", ca.display())
}

#[tokio::test]
async fn certificate_is_verified_for_its_name() {
    let authority = Authority::new();
    let endpoint = TlsEndpoint::start(&authority.issue("a", &["auth.internal", "127.0.0.1"])).await;
    let named = tls_keys(&authority, "server_name: auth.internal");
    let by_host = format!("host: 'auth.internal:443', {}", tls_keys(&authority, ""));
    let by_address = tls_keys(&authority, "");
    for keys in [&named, &by_host, &by_address] {
        let found = probe_with(keys, endpoint.address()).await;
        assert_eq!(found, Finding::Passed, "{keys}");
    }
    let names = endpoint.server_names();
    let name = Some("auth.internal".to_owned());
    assert_eq!(names, [name.clone(), name, None]);
    let tcp = format!("type: tcp, {named}");
    let tcp = fake::health_check_with(&tcp);
    assert_eq!(
        probe(&tcp, &Target::at(endpoint.address())).await,
        Finding::Passed
    );
}

#[tokio::test]
async fn certificate_that_does_not_hold_fails_the_probe() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = TlsEndpoint::start(&authority.issue("a", &["auth.internal"])).await;
    let expired = TlsEndpoint::start(&authority.issue_expired("b", &["auth.internal"])).await;
    let plain = Endpoint::with("c", Behavior::CloseAfterAccept).await;
    let keys = |authority| tls_keys(authority, "server_name: auth.internal");
    let other_name = tls_keys(&authority, "server_name: other.internal");
    for (keys, endpoint, expected) in [
        (other_name, good.address(), "not valid for name"),
        (keys(&stranger), good.address(), "invalid peer certificate"),
        (keys(&authority), expired.address(), "xpired"),
        (keys(&authority), plain.address(), "no secure connection"),
    ] {
        let found = probe_with(&keys, endpoint).await;
        let Finding::Failed(failure) = &found else {
            panic!("{expected}: {found:?}")
        };
        assert_eq!(failure.trouble, Trouble::Tls);
        let text = failure.to_string();
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let unverified = probe_with("tls: { verify: false }", expired.address()).await;
    assert_eq!(unverified, Finding::Passed);
}

#[tokio::test]
async fn handshake_that_never_comes_ends_by_the_deadline() {
    let silent = Endpoint::with("a", Behavior::StopReading).await;
    let keys = "timeout: 100ms, interval: 1s, tls: { verify: false }";
    let found = probe_with(keys, silent.address()).await;
    assert_eq!(trouble(found), Trouble::Timeout);
}
