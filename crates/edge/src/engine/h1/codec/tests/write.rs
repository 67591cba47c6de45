//! What is written: hop-by-hop fields, edits, framing, targets, answers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::*;
use crate::pipeline::{Answer, HeaderEdit};

const NOTE: ResponseNote = ResponseNote {
    framing: Framing::Length(2),
    connection: Connection::KeepAlive,
    is_http10_client: false,
};

/// The request as an endpoint would get it.
fn forwarded(bytes: &[u8], edits: &[HeaderEdit]) -> String {
    let parser = read_request(bytes).unwrap();
    let mut out = Vec::new();
    let upgrades = parser.asks_for_upgrade();
    request_head(
        &mut out,
        &parser.head(bytes),
        None,
        edits,
        parser.framing(),
        upgrades,
    );
    show(&out).replace("\\r\\n", "|")
}

/// The fields of a request, beside `Host`, as an endpoint would get them.
fn forwarded_fields(fields: &[u8]) -> String {
    let head = forwarded(&get(fields), &[]);
    let fields = head.strip_prefix("GET / HTTP/1.1|Host: a.test|").unwrap();
    fields.strip_suffix('|').unwrap().to_owned()
}

/// The response as a client would get it; with HTTP/2 it gets the same fields.
fn delivered(bytes: &[u8], edits: &[HeaderEdit], note: ResponseNote) -> String {
    let parser = read_response(bytes).unwrap();
    let head = parser.head(bytes);
    let mut out = Vec::new();
    response_head(&mut out, &head, edits, note);
    let fields = response_fields(&head, edits, note);
    assert_eq!(
        fields.is_none(),
        note.connection == Connection::Upgrade,
        "tunnels are text"
    );
    if let Some(fields) = fields {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        assert_eq!(by_name(fields.collect()), written_fields(&out));
    }
    show(&out).replace("\\r\\n", "|")
}

/// Of a response as text, without those of the connection.
fn written_fields(text: &[u8]) -> Vec<(String, Vec<u8>)> {
    let of_connection = ["connection", "transfer-encoding"];
    let lines = text.split(|&byte| byte == b'\n').skip(1);
    let fields = lines.filter_map(|line| {
        let line = line.strip_suffix(b"\r")?;
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = String::from_utf8(line[..colon].to_ascii_lowercase()).unwrap();
        let is_kept = !of_connection.contains(&name.as_str());
        is_kept.then(|| (name, line[colon + 2..].to_vec()))
    });
    by_name(fields.collect())
}

/// Only the order of fields with one name means anything (RFC 9110, 5.3).
fn by_name(mut fields: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

fn set(name: &'static str, value: &'static str) -> HeaderEdit {
    HeaderEdit::Set(
        HeaderName::from_static(name),
        HeaderValue::from_static(value),
    )
}

fn append(name: &'static str, value: &'static str) -> HeaderEdit {
    HeaderEdit::Append(
        HeaderName::from_static(name),
        HeaderValue::from_static(value),
    )
}

fn remove(name: &'static str) -> HeaderEdit {
    HeaderEdit::Remove(HeaderName::from_static(name))
}

#[test]
fn target_is_written_in_origin_form_with_its_host_first() {
    for (head, expected) in [
        (
            &b"GET /a?b HTTP/1.1\r\nX: y\r\nHost: h\r\n\r\n"[..],
            "GET /a?b HTTP/1.1|Host: h|X: y||",
        ),
        (b"GET /? HTTP/1.0\r\n\r\n", "GET /? HTTP/1.1|Host: ||"),
        (
            b"GET http://t:1/a?b HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /a?b HTTP/1.1|Host: t:1||",
        ),
        (b"GET http://t HTTP/1.0\r\n\r\n", "GET / HTTP/1.1|Host: t||"),
        (
            b"GET http://t?b HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /?b HTTP/1.1|Host: t||",
        ),
        (
            b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
            "OPTIONS * HTTP/1.1|Host: h||",
        ),
        (
            b"OPTIONS http://t HTTP/1.1\r\nHost: t\r\n\r\n",
            "OPTIONS * HTTP/1.1|Host: t||",
        ),
        (
            b"\r\nGET / HTTP/1.1\r\nHost: h\r\nHost: g\r\n\r\n",
            "GET / HTTP/1.1|Host: h||",
        ),
    ] {
        assert_eq!(forwarded(head, &[]), expected);
    }
}

#[test]
fn names_keep_their_case_and_values_lose_the_space_around() {
    let fields = forwarded_fields(b"X-MiXed:\t a  b \r\nx-empty: \r\nx-mixed:c\r\n");
    assert_eq!(fields, "X-MiXed: a  b|x-empty: |x-mixed: c|");
}

#[test]
fn what_is_for_this_connection_goes_no_further() {
    for (fields, expected) in [
        ("Connection: close\r\n", ""),
        (
            "Connection: keep-alive, X-A\r\nX-A: 1\r\nx-a: 2\r\nX-AB: 3\r\n",
            "X-AB: 3|",
        ),
        ("X-A: 1\r\nconnection: x-a\r\n", ""),
        (
            "Connection: X-B\r\nConnection: x-A\r\nX-A: 1\r\nX-B: 2\r\n",
            "",
        ),
        (
            "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n",
            "",
        ),
        ("Proxy-Authorization: Basic x\r\n", ""),
        (
            "HTTP2-Settings: AA\r\nUpgrade: h2c\r\nConnection: upgrade\r\n",
            "",
        ),
        ("Upgrade: websocket\r\n", ""),
        ("TE: gzip\r\n", ""),
        ("Expect: 200-ok\r\n", ""),
        ("Expect: 100-continue\r\n", "Expect: 100-continue|"),
        ("Trailer: X-T\r\n", "Trailer: X-T|"),
    ] {
        assert_eq!(forwarded_fields(fields.as_bytes()), expected, "{fields}");
    }
}

#[test]
fn connection_cannot_remove_what_others_vouched_for() {
    for name in [
        "Authorization",
        "Cookie",
        "Content-Type",
        "Content-Encoding",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X_Forwarded_Host",
        "X-Real-IP",
        "X-Request-Id",
        "Forwarded",
        "Via",
        "Traceparent",
        "Cache-Control",
    ] {
        let fields = format!("Connection: close, {name}\r\n{name}: v\r\n");
        assert_eq!(forwarded_fields(fields.as_bytes()), format!("{name}: v|"));
    }
    let framed = forwarded_fields(b"Connection: Host, Content-Length\r\nContent-Length: 5\r\n");
    assert_eq!(framed, "Content-Length: 5|");
    let edits = [set("x-forwarded-for", "us")];
    let head = get(b"Connection: close, X-Forwarded-For\r\nX-Forwarded-For: me\r\n");
    assert_eq!(
        forwarded(&head, &edits),
        "GET / HTTP/1.1|Host: a.test|x-forwarded-for: us||"
    );
}

#[test]
fn what_goes_on_about_the_next_connection_is_ours() {
    for (fields, expected) in [
        (
            "TE: trailers, gzip\r\nConnection: TE\r\n",
            "TE: trailers|Connection: TE|",
        ),
        (
            "TE: trailers\r\nTE: gzip\r\n",
            "TE: trailers|Connection: TE|",
        ),
        (
            "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
            "Connection: upgrade|Upgrade: websocket|",
        ),
        (
            "Upgrade: websocket\r\nConnection: Upgrade, TE\r\nTE: trailers\r\n",
            "TE: trailers|Connection: upgrade, TE|Upgrade: websocket|",
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked|",
        ),
        ("content-length: 007\r\nX: y\r\n", "X: y|Content-Length: 7|"),
        ("Content-Length: 0\r\n", "Content-Length: 0|"),
    ] {
        assert_eq!(forwarded_fields(fields.as_bytes()), expected, "{fields}");
    }
}

#[test]
fn an_old_client_does_not_make_an_endpoint_wait() {
    let head = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(
        forwarded(head, &[]),
        "POST / HTTP/1.1|Host: |Content-Length: 1||"
    );
}

#[test]
fn upgrade_stops_here_unless_the_engine_lets_it_pass() {
    let bytes = get(b"Connection: upgrade\r\nUpgrade: websocket\r\n");
    let parser = read_request(&bytes).unwrap();
    let mut out = Vec::new();
    request_head(
        &mut out,
        &parser.head(&bytes),
        None,
        &[],
        Framing::None,
        false,
    );
    assert_eq!(show(&out), "GET / HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\n");
}

#[test]
fn edits_are_applied_in_their_order() {
    let fields = b"A: 1\r\na: 2\r\nB: 3\r\nC: 4\r\n";
    for (edits, expected) in [
        (vec![], "A: 1|a: 2|B: 3|C: 4|"),
        (vec![set("a", "9")], "B: 3|C: 4|a: 9|"),
        (vec![append("a", "9")], "A: 1|a: 2|B: 3|C: 4|a: 9|"),
        (vec![remove("a"), remove("c"), remove("d")], "B: 3|"),
        (vec![set("a", "8"), set("a", "9")], "B: 3|C: 4|a: 9|"),
        (vec![set("a", "8"), remove("a")], "B: 3|C: 4|"),
        (
            vec![remove("a"), append("a", "8"), append("a", "9")],
            "B: 3|C: 4|a: 8|a: 9|",
        ),
        (vec![append("a", "8"), set("a", "9")], "B: 3|C: 4|a: 9|"),
        (
            vec![append("d", "8"), remove("d"), append("d", "9")],
            "A: 1|a: 2|B: 3|C: 4|d: 9|",
        ),
    ] {
        let head = forwarded(&get(fields), &edits);
        assert_eq!(
            head,
            format!("GET / HTTP/1.1|Host: a.test|{expected}|"),
            "{edits:?}"
        );
        let response = [b"HTTP/1.1 200 OK\r\n", &fields[..], b"\r\n"].concat();
        let note = ResponseNote {
            framing: Framing::UntilClose,
            ..NOTE
        };
        let head = delivered(&response, &edits, note);
        assert_eq!(head, format!("HTTP/1.1 200 OK|{expected}|"), "{edits:?}");
    }
}

#[test]
fn edits_reach_host_and_expect() {
    let head = get(b"Expect: 100-continue\r\n");
    let edits = [set("host", "b.test"), HeaderEdit::Remove(header::EXPECT)];
    assert_eq!(forwarded(&head, &edits), "GET / HTTP/1.1|host: b.test||");
}

#[test]
fn more_edits_than_usual_change_what_they_name_and_nothing_else() {
    let name = |n: usize| format!("x-field-{n}-name");
    let fields: String = (0..18)
        .map(|n| format!("{}: {n}\r\n", name(n).to_uppercase()))
        .collect();
    let remove = |n| HeaderEdit::Remove(name(n).parse().unwrap());
    let edits: Vec<_> = (0..200).filter(|n| n % 3 != 0).map(remove).collect();
    let kept: String = (0..18)
        .filter(|n| n % 3 == 0)
        .map(|n| format!("{}: {n}|", name(n).to_uppercase()))
        .collect();
    let head = forwarded(&get(fields.as_bytes()), &edits);
    assert_eq!(head, format!("GET / HTTP/1.1|Host: a.test|{kept}|"));
}

#[test]
fn response_is_written_with_framing_of_ours() {
    let head = b"HTTP/1.0 200 Fine\r\nConnection: close, x-a\r\nX-A: 1\r\nServer: s\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(
        delivered(head, &[], NOTE),
        "HTTP/1.1 200 Fine|Server: s|Content-Length: 2||"
    );
    for (framing, connection, is_http10_client, expected) in [
        (
            Framing::Chunked,
            Connection::Close,
            false,
            "Transfer-Encoding: chunked|Connection: close|",
        ),
        (
            Framing::UntilClose,
            Connection::Close,
            true,
            "Connection: close|",
        ),
        (
            Framing::Length(0),
            Connection::KeepAlive,
            true,
            "Content-Length: 0|Connection: keep-alive|",
        ),
        (
            Framing::Length(u64::MAX),
            Connection::KeepAlive,
            false,
            "Content-Length: 18446744073709551615|",
        ),
    ] {
        let note = ResponseNote {
            framing,
            connection,
            is_http10_client,
        };
        let written = delivered(b"HTTP/1.1 200 OK\r\n\r\n", &[], note);
        assert_eq!(written, format!("HTTP/1.1 200 OK|{expected}|"));
    }
}

#[test]
fn reason_is_the_endpoints_if_it_is_plain() {
    let note = ResponseNote {
        framing: Framing::UntilClose,
        ..NOTE
    };
    for (line, expected) in [
        (&b"HTTP/1.1 200 Fine by me"[..], "HTTP/1.1 200 Fine by me"),
        (b"HTTP/1.1 200 f\xc3\xadn", "HTTP/1.1 200 OK"),
        (b"HTTP/1.1 200 a\tb", "HTTP/1.1 200 OK"),
        (b"HTTP/1.1 200", "HTTP/1.1 200 OK"),
        (b"HTTP/1.0 599 ", "HTTP/1.1 599 "),
    ] {
        let head = [line, b"\r\n\r\n"].concat();
        assert_eq!(delivered(&head, &[], note), format!("{expected}||"));
    }
}

#[test]
fn length_is_announced_only_where_a_body_could_be() {
    let note = ResponseNote {
        framing: Framing::None,
        ..NOTE
    };
    for (status, expected) in [
        ("200", "Content-Length: 7|"),
        ("304", "Content-Length: 7|"),
        ("204", ""),
        ("101", ""),
    ] {
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: 7\r\n\r\n");
        let written = delivered(head.as_bytes(), &[], note);
        assert_eq!(written, format!("HTTP/1.1 {status} x|{expected}|"));
    }
    let chunked = b"HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(delivered(chunked, &[], note), "HTTP/1.1 204 x||");
}

#[test]
fn switch_of_protocols_is_passed_on() {
    let note = ResponseNote {
        framing: Framing::None,
        connection: Connection::Upgrade,
        is_http10_client: false,
    };
    let head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: Upgrade, x\r\nX: 1\r\nSec-WebSocket-Accept: a\r\n\r\n";
    assert_eq!(
        delivered(head, &[], note),
        "HTTP/1.1 101 Switching Protocols|Sec-WebSocket-Accept: a|Connection: upgrade|Upgrade: websocket||"
    );
}

#[test]
fn interim_heads_carry_no_framing() {
    let bytes =
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: close\r\nContent-Length: 3\r\n\r\n";
    let parser = read_response(bytes).unwrap();
    let mut out = Vec::new();
    interim_head(&mut out, &parser.head(bytes));
    assert_eq!(
        show(&out),
        "HTTP/1.1 103 Early Hints\\r\\nLink: </a>\\r\\n\\r\\n"
    );
}

#[test]
fn answers_are_complete_messages() {
    let ours = Answer {
        status: StatusCode::NOT_FOUND,
        headers: vec![(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))],
        body: Bytes::from_static(b"no"),
        close: false,
    };
    let head = "HTTP/1.1 404 Not Found|content-type: text/plain|Content-Length: 2|";
    for (is_head, closes, expected) in [
        (false, false, format!("{head}|no")),
        (false, true, format!("{head}Connection: close||no")),
        (true, false, format!("{head}|")),
    ] {
        let mut out = b"before ".to_vec();
        answer(&mut out, &ours, is_head, closes);
        let written = show(&out).replace("\\r\\n", "|");
        assert_eq!(written, format!("before {expected}"));
    }
}
