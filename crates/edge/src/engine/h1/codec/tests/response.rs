//! Response heads: status line, field lines, framing, connection options.

use http::StatusCode;

use super::*;

fn ok(fields: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\n", fields, b"\r\n"].concat()
}

#[test]
fn status_lines_are_read() {
    for (line, status) in [
        (&b"HTTP/1.1 200 OK"[..], 200),
        (b"HTTP/1.0 404 Not Found", 404),
        (b"HTTP/1.1 204 ", 204),
        (b"HTTP/1.1 204", 204),
        (b"HTTP/1.1 599 odd\tr\xe9ason", 599),
        (b"HTTP/1.1 100 Continue", 100),
    ] {
        let head = [line, b"\r\n\r\n"].concat();
        assert_eq!(read_response(&head).unwrap().status().as_u16(), status);
    }
}

#[test]
fn malformed_heads_are_refused() {
    for head in [
        &b"HTTP/1.1\r\n\r\n"[..],
        b"HTTP/1.1 \r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 99\r\n\r\n",
        b"HTTP/1.1 099 x\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 600 x\r\n\r\n",
        b"HTTP/1.1 2000 x\r\n\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"HTTP/1.1 200\tOK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 +20 OK\r\n\r\n",
        b"HTTP/1.1 -20 OK\r\n\r\n",
        b"HTTP/1.2 200 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b" HTTP/1.1 200 OK\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"<html>",
        b"HTTP/1.1 200 OK\0\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 200 OK\r\nX: a\n\r\n",
        b"HTTP/1.1 200 OK\r\n\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n X: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \x08\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: empty\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\xff: a\r\n\r\n",
    ] {
        assert_eq!(read_response(head).err(), Some(MALFORMED), "{}", show(head));
    }
}

#[test]
fn framing_depends_on_request_status_and_fields() {
    let framing = |head: &[u8], request_is_head| {
        let parser = read_response(head).unwrap();
        parser.framing(request_is_head)
    };
    let length = ok(b"Content-Length: 3\r\n");
    let chunked = ok(b"Transfer-Encoding: Chunked\r\n");
    for (head, expected) in [
        (&length, Framing::Length(3)),
        (&chunked, Framing::Chunked),
        (&ok(b""), Framing::UntilClose),
        (
            &ok(b"Content-Length: 3\r\nContent-Length: 03\r\n"),
            Framing::Length(3),
        ),
    ] {
        assert_eq!(framing(head, false), expected, "{}", show(head));
        assert_eq!(framing(head, true), Framing::None, "{}", show(head));
    }
    for status in ["100", "103", "101", "204", "304"] {
        for fields in [
            "",
            "Content-Length: 3\r\n",
            "Transfer-Encoding: chunked\r\n",
        ] {
            let head = format!("HTTP/1.1 {status} x\r\n{fields}\r\n");
            assert_eq!(framing(head.as_bytes(), false), Framing::None, "{head}");
        }
    }
}

#[test]
fn framing_that_can_be_read_in_two_ways_is_refused() {
    for fields in [
        &b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"[..],
        b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: 3, 3\r\n",
        b"Content-Length: 3,4\r\n",
        b"Content-Length: -3\r\n",
        b"Content-Length:\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let head = ok(fields);
        assert_eq!(
            read_response(&head).err(),
            Some(MALFORMED),
            "{}",
            show(fields)
        );
    }
    let old = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(read_response(old).err(), Some(MALFORMED));
}

#[test]
fn limits_hold() {
    let large = ok(&[b"X: ", &[b'a'; 5000][..], b"\r\n"].concat());
    assert_eq!(read_response(&large).err(), Some(HeadError::TooLarge));
    let many = ok(&b"X: y\r\n".repeat(LIMITS.fields + 1));
    assert_eq!(read_response(&many).err(), Some(HeadError::TooLarge));
    let reason = [b"HTTP/1.1 200 ", &[b'a'; 5000][..], b"\r\n\r\n"].concat();
    assert_eq!(read_response(&reason).err(), Some(HeadError::TooLarge));
}

#[test]
fn connection_stays_open_as_version_and_options_say() {
    for (head, stays) in [
        ("HTTP/1.1 200 OK\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", true),
    ] {
        let parser = read_response(head.as_bytes()).unwrap();
        assert_eq!(parser.keeps_alive(), stays, "{head}");
    }
}

#[test]
fn protocol_is_switched_only_in_so_many_words() {
    for (head, switches) in [
        (
            "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            true,
        ),
        ("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", false),
        ("HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n", false),
        (
            "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.0 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 200 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            false,
        ),
    ] {
        let parser = read_response(head.as_bytes()).unwrap();
        assert_eq!(parser.is_upgrade(), switches, "{head}");
    }
}

#[test]
fn parser_is_reused_without_a_trace() {
    let mut parser = ResponseParser::default();
    let chunked = ok(b"Transfer-Encoding: chunked\r\nConnection: close\r\n");
    parser.advance(&chunked, &LIMITS).unwrap();
    parser.reset();
    let plain = b"HTTP/1.1 404 Not Found\r\n\r\n";
    assert_eq!(parser.advance(plain, &LIMITS), Ok(Some(plain.len())));
    assert_eq!(parser.status(), StatusCode::NOT_FOUND);
    assert_eq!(parser.framing(false), Framing::UntilClose);
    assert!(parser.keeps_alive());
}
