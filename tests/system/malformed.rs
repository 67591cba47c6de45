//! Requests that are not HTTP: 400, a closed connection, a log line and a metric each.

use portcullis_testkit::Endpoint;
use serde_json::json;

use super::Setup;

/// What breaks the rules, and why; sent as it stands.
const MALFORMED: [(&str, &[u8]); 19] = [
    (
        "not HTTP",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n",
    ),
    ("no version", b"GET /\r\nHost: a\r\n\r\n"),
    ("bad version", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n"),
    ("bad method", b"G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no host", b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n"),
    ("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("bad host", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    (
        "field without colon",
        b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    ),
    (
        "space before colon",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
    ),
    (
        "folded field",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
    ),
    (
        "NUL in a field",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    ),
    (
        "control in the target",
        b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "two lengths",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    ),
    (
        "negative length",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    ),
    (
        "signed length",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
    ),
    (
        "huge length",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    ),
    (
        "unknown coding",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked not last",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked in 1.0",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
];

#[tokio::test]
async fn a_malformed_request_is_400_closed_logged_and_counted() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut wrong = Vec::new();
    for (why, bytes) in MALFORMED {
        let mut client = edge.connect().await;
        client.send(bytes).await.unwrap();
        // Another request behind it must not be answered: nobody knows where it begins.
        let _ = client
            .send(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        let answer = client.read_to_end().await.map_err(|e| e.to_string());
        let text = answer.map_or_else(|e| e, |b| String::from_utf8_lossy(&b).into_owned());
        if !text.starts_with("HTTP/1.1 400 ") || text.matches("HTTP/1.1 ").count() != 1 {
            wrong.push(format!("{why}: {text:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(a.requests(), 0, "nothing malformed reaches an endpoint");
    let count = u32::try_from(MALFORMED.len()).unwrap();
    edge.wait_for_outcome("client_malformed", count).await;
    let lines = edge.wait_for_log(MALFORMED.len(), |_| true).await;
    for line in lines {
        assert_eq!(
            (&line["outcome"], &line["status"]),
            (&json!("client_malformed"), &json!(400))
        );
        assert!(
            line["client"].as_str().unwrap().starts_with("127.0.0.1"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn two_framings_at_once_are_read_as_chunked_and_never_reused() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    let framed = "Content-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let bytes = format!("POST /both HTTP/1.1\r\nHost: a\r\n{framed}{smuggled}");
    client.send(bytes.as_bytes()).await.unwrap();
    // RFC 9112, 6.1 leaves the choice: refuse, or believe the chunks and close.
    let answer = String::from_utf8_lossy(&client.read_to_end().await.unwrap()).into_owned();
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    for received in a.received() {
        assert_eq!(
            (received.target.as_str(), received.body.as_slice()),
            ("/both", &b""[..])
        );
        assert_eq!(
            received.values("content-length").len(),
            0,
            "one framing goes upstream"
        );
    }
}

#[tokio::test]
async fn a_malformed_chunk_ends_the_connection() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    for chunk in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "5 \nhello",
    ] {
        let mut client = edge.connect().await;
        let head = "POST /chunk HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client
            .send(format!("{head}{chunk}").as_bytes())
            .await
            .unwrap();
        let answer = String::from_utf8_lossy(&client.read_to_end().await.unwrap()).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{chunk:?}: {answer}"
        );
    }
    assert_eq!(a.requests(), 0, "the endpoint never got a whole request");
    edge.wait_for_log(4, |line| line["outcome"] == "client_body_malformed")
        .await;
}

#[tokio::test]
async fn connect_and_trace_are_405() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    for request in [
        "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = edge.connect().await;
        client.send(request.as_bytes()).await.unwrap();
        assert_eq!(client.response().await.unwrap().status, 405, "{request}");
    }
    edge.wait_for_outcome("client_method", 2).await;
    edge.wait_for_log(2, |line| line["outcome"] == "client_method")
        .await;
    assert_eq!(a.requests(), 0);
}

#[tokio::test]
async fn control_characters_cannot_forge_a_log_line() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let agent = "kit\u{1b}[31m\",\"outcome\":\"forged\"";
    let fields = [("User-Agent", agent)];
    let _ = edge
        .connect()
        .await
        .request("GET", "/%0d%0a%22", &fields, b"")
        .await;
    let line = edge.wait_for_log(1, |_| true).await.remove(0);
    assert_ne!(line["outcome"], "forged");
    let raw = std::fs::read(edge.directory().join("access.log")).unwrap();
    assert!(raw.iter().all(|&byte| byte >= 0x20 || byte == b'\n'));
}

#[tokio::test]
async fn a_request_in_small_pieces_is_well_formed() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    for byte in b"POST /pieces HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" {
        client.send(&[*byte]).await.unwrap();
    }
    let response = client.response().await.unwrap();
    assert_eq!(response.json()["body"], "abc");
}
