//! Request heads: request line, field lines, target forms, framing, connection options, limits.

use http::{Method, Version, header};

use super::*;
use crate::pipeline::{Fields, Head};

#[test]
fn ordinary_request_is_read() {
    let buffer = b"POST /a/b?c=d HTTP/1.1\r\nHost: a.test\r\nX-One:\t 1 \r\nx-ONE:\r\nContent-Length: 5\r\n\r\nhello";
    let mut parser = RequestParser::default();
    let length = parser.advance(buffer, &LIMITS).unwrap().unwrap();
    assert_eq!(&buffer[length..], b"hello");
    assert_eq!(parser.framing(), Framing::Length(5));
    assert!(parser.keeps_alive());
    let head = parser.head(buffer);
    assert_eq!(head.method(), Method::POST);
    assert_eq!(head.version(), Version::HTTP_11);
    assert_eq!((head.path(), head.query()), ("/a/b", Some("c=d")));
    assert_eq!(head.authority(), Some("a.test"));
    assert_eq!(head.fields().len(), 4);
    let one = "x-one".parse().unwrap();
    assert_eq!(head.fields().first(&one), Some(&b"1"[..]));
    assert_eq!(head.fields().all(&one).next_back(), Some(&b""[..]));
    assert!(!head.fields().has(&header::COOKIE));
    let names: Vec<_> = head.fields().names().collect();
    assert_eq!(names, [&b"Host"[..], b"X-One", b"x-ONE", b"Content-Length"]);
}

#[test]
fn parser_is_reused_without_a_trace() {
    let mut parser = RequestParser::default();
    let chunked = get(b"Transfer-Encoding: chunked\r\nConnection: close, x-a\r\nX-A: 1\r\nExpect: 100-continue\r\nTE: trailers\r\nUpgrade: x\r\n");
    parser.advance(&chunked, &LIMITS).unwrap();
    parser.reset();
    let plain = get(b"X-A: 2\r\n");
    assert_eq!(parser.advance(&plain, &LIMITS), Ok(Some(plain.len())));
    let fresh = read_request(&plain).unwrap();
    assert_eq!(
        format!("{:?}", parser.head(&plain)),
        format!("{:?}", fresh.head(&plain))
    );
    assert!(parser.keeps_alive() && !parser.expects_continue());
}

#[test]
fn request_lines_against_the_grammar_are_refused() {
    for line in [
        &b"GET  / HTTP/1.1"[..],
        b"GET /  HTTP/1.1",
        b"GET\t/\tHTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET /",
        b"GET / ",
        b"GET",
        b"GET HTTP/1.1",
        b"GET  HTTP/1.1",
        b"GET / HTTP/1.2",
        b"GET / HTTP/2.0",
        b"GET / HTTP/0.9",
        b"GET / HTTP/01.1",
        b"GET / HTTP/1.10",
        b"GET / HTTP/1.1x",
        b"GET / http/1.1",
        b"GET / HTTP/1,1",
        b"PRI * HTTP/2.0",
        b"G(T / HTTP/1.1",
        b"G\x01T / HTTP/1.1",
        b"G\xc3\xa9T / HTTP/1.1",
        b"GET: / HTTP/1.1",
        b"GET /\0 HTTP/1.1",
        b"GET /\x01 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET /a\tb HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET * HTTP/1.1",
        b"OPTIONS ** HTTP/1.1",
        b"GET a/b HTTP/1.1",
        b"GET a.test:80 HTTP/1.1",
        b"GET ftp://a.test/ HTTP/1.1",
        b"GET http:/a.test/ HTTP/1.1",
        b"GET http:a HTTP/1.1",
        b"GET ?a HTTP/1.1",
        b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01",
    ] {
        let head = [line, b"\r\nHost: a.test\r\n\r\n"].concat();
        assert_eq!(read_request(&head).err(), Some(MALFORMED), "{}", show(line));
    }
}

#[test]
fn line_ends_other_than_crlf_are_refused() {
    for head in [
        &b"GET / HTTP/1.1\nHost: a.test\n\n"[..],
        b"GET / HTTP/1.1\r\nHost: a.test\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\rX\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /\nHTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET / HTTP/1.1\rHost: a.test\r\r",
        b"GET / HTTP/1.1\n\rHost: a.test\r\n\r\n",
        b"\nGET / HTTP/1.1\r\n\r\n",
        b"\rGET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(read_request(head).err(), Some(MALFORMED), "{}", show(head));
    }
}

#[test]
fn field_lines_against_the_grammar_are_refused() {
    for line in [
        &b"X : a"[..],
        b"X\t: a",
        b"Foo",
        b": v",
        b":",
        b" X: a",
        b"\tX: a",
        b"X: a\r\n b",
        b"X:\r\n\tb",
        b"X\x01: v",
        b"X\0: v",
        b"X\x7f: v",
        b"X\x85: v",
        b"X\xef: v",
        b"X(): v",
        b"X@Y: v",
        b"X Y: v",
        b"\"X\": v",
        b"X: a\0b",
        b"X: \x01",
        b"X: \x0b",
        b"X: a\x7f",
        b"X: \x1b[0m",
        b"Transfer-\r\nEncoding: chunked",
        b"Content-Length : 5",
    ] {
        let head = get(&[line, b"\r\n"].concat());
        assert_eq!(read_request(&head).err(), Some(MALFORMED), "{}", show(line));
        let first = [b"GET / HTTP/1.1\r\n", line, b"\r\nHost: a.test\r\n\r\n"].concat();
        assert_eq!(
            read_request(&first).err(),
            Some(MALFORMED),
            "{}",
            show(line)
        );
    }
}

/// Method, path, query and authority of a head; `-` for what is not there.
fn parts(head: &[u8]) -> String {
    let parser = read_request(head).unwrap_or_else(|e| panic!("{}: {e:?}", show(head)));
    let read = parser.head(head);
    let (query, authority) = (read.query(), read.authority());
    [
        read.method().as_str(),
        read.path(),
        query.unwrap_or("-"),
        authority.unwrap_or("-"),
    ]
    .join(" ")
}

#[test]
fn every_form_of_target_is_taken_apart() {
    for (line, expected) in [
        ("GET /", "GET / - h"),
        ("GET /?", "GET /  h"),
        ("GET /a?b?c/d", "GET /a b?c/d h"),
        ("GET //a/../%00|{}", "GET //a/../%00|{} - h"),
        ("OPTIONS *", "OPTIONS * - h"),
        ("OPTIONS http://b", "OPTIONS * - b"),
        ("OPTIONS http://b/", "OPTIONS / - b"),
        ("GET http://b", "GET / - b"),
        ("GET HTTPS://b:1/c?d", "GET /c d b:1"),
        ("GET http://b?c/d", "GET / c/d b"),
        ("GET http://u:p@b/", "GET / - u:p@b"),
        ("GET http:///a", "GET /a - "),
        ("CONNECT b:443", "CONNECT  - b:443"),
        ("VERSION-CONTROL /", "VERSION-CONTROL / - h"),
        ("UPDATEREDIRECTREF /", "UPDATEREDIRECTREF / - h"),
        ("get /", "get / - h"),
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(parts(head.as_bytes()), expected, "{line}");
    }
}

#[test]
fn unusual_but_proper_heads_are_read() {
    for (head, expected) in [
        (&b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], "GET / - h"),
        (b"GET / HTTP/1.0\r\n\r\n", "GET / - -"),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / - "),
        (b"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n", "GET / - -"),
        (
            b"GET / HTTP/1.1\r\n!#$%&'*+-.^_`|~1aZ: caf\xe9\t\"\r\n\r\n",
            "GET / - -",
        ),
    ] {
        assert_eq!(parts(head), expected, "{}", show(head));
    }
}

#[test]
fn only_one_empty_line_may_come_first() {
    let head = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    assert_eq!(read_request(head).err(), Some(MALFORMED));
}

#[test]
fn framing_is_one_plain_length_or_chunked() {
    for (fields, framing) in [
        (&b""[..], Framing::None),
        (b"Content-Length: 0\r\n", Framing::Length(0)),
        (b"content-length:\t7 \r\n", Framing::Length(7)),
        (b"Content-Length: 010\r\n", Framing::Length(10)),
        (
            b"Content-Length: 9223372036854775813\r\n",
            Framing::Length(9_223_372_036_854_775_813),
        ),
        (b"Transfer-Encoding: chunked\r\n", Framing::Chunked),
        (b"tRANSFER-eNCODING:\tcHuNkEd\t\r\n", Framing::Chunked),
        (
            b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
            Framing::Chunked,
        ),
        (
            b"Connection: Content-Length\r\nContent-Length: 5\r\n",
            Framing::Length(5),
        ),
        (
            b"Transfer_Encoding: chunked\r\nContent_Length: 5\r\n",
            Framing::None,
        ),
    ] {
        let parser = read_request(&get(fields)).unwrap();
        assert_eq!(parser.framing(), framing, "{}", show(fields));
    }
}

#[test]
fn framing_that_can_be_read_in_two_ways_is_refused() {
    for fields in [
        &b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"[..],
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\ncontent-length: 6\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nX: y\r\n Transfer-Encoding: chunked\r\n",
    ] {
        let head = get(fields);
        assert_eq!(
            read_request(&head).err(),
            Some(MALFORMED),
            "{}",
            show(fields)
        );
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(read_request(old).err(), Some(MALFORMED));
}

#[test]
fn lengths_that_are_not_plain_digits_are_refused() {
    for value in [
        &b""[..],
        b"+5",
        b"-5",
        b"-0",
        b"0x5",
        b"5 5",
        b"5x",
        b"5.0",
        b"1_0",
        b"5,",
        b"5, 5",
        b"5, 0",
        b"\"5\"",
        b"5;",
        b"5\0",
        b"\x0b5",
        b"\xa05",
        b"5\t0",
        b"5e0",
        b"\xef\xbc\x95",
        b"18446744073709551621",
        b"00000000000000000005",
        b"1111111111111111111111111111111111111",
    ] {
        let head = get(&[b"Content-Length: ", value, b"\r\n"].concat());
        assert_eq!(
            read_request(&head).err(),
            Some(MALFORMED),
            "{}",
            show(value)
        );
    }
}

#[test]
fn disguised_transfer_codings_are_refused() {
    for value in [
        &b""[..],
        b"xchunked",
        b"chunkedx",
        b"identity",
        b"gzip",
        b"gzip, chunked",
        b"identity, chunked",
        b"chunked, identity",
        b"chunked, chunked",
        b",chunked",
        b"chunked,",
        b"\"chunked\"",
        b"chunked;a=b",
        b"chunked\0",
        b"\x0bchunked",
        b"\x0cchunked",
        b"\xa0chunked",
        b"\xffchunked",
        b"chun\xe2\x84\xaaed",
        b"chunked\r",
        b"\r\n chunked",
        b"chu nked",
    ] {
        let head = get(&[b"Transfer-Encoding: ", value, b"\r\n"].concat());
        assert_eq!(
            read_request(&head).err(),
            Some(MALFORMED),
            "{}",
            show(value)
        );
    }
}

#[test]
fn limits_count_from_the_first_byte_and_hold_at_the_edge() {
    let field = |bytes: usize| {
        let value = vec![b'a'; bytes];
        get(&[b"X: ", &value[..], b"\r\n"].concat())
    };
    let fixed = field(0).len();
    let full = field(LIMITS.bytes - fixed);
    assert_eq!(full.len(), LIMITS.bytes);
    assert!(read_request(&full).is_ok());
    assert!(read_request(&[&full[..], b"GET / HTTP/1.1\r\n"].concat()).is_ok());
    let long = field(LIMITS.bytes - fixed + 1);
    assert_eq!(read_request(&long).err(), Some(HeadError::TooLarge));
    let endless = field(1 << 20);
    assert_eq!(read_request(&endless).err(), Some(HeadError::TooLarge));

    let fields = |count| get(&b"X: y\r\n".repeat(count));
    assert!(read_request(&fields(LIMITS.fields - 1)).is_ok());
    let many = read_request(&fields(LIMITS.fields));
    assert_eq!(many.err(), Some(HeadError::TooLarge));
}

#[test]
fn target_has_a_limit_of_its_own() {
    let head = |bytes: usize| {
        let target = "/".repeat(bytes);
        format!("GET {target} HTTP/1.1\r\n\r\n").into_bytes()
    };
    assert!(read_request(&head(LIMITS.target_bytes)).is_ok());
    for bytes in [LIMITS.target_bytes + 1, 100_000] {
        let refused = read_request(&head(bytes)).err();
        assert_eq!(refused, Some(HeadError::TargetTooLong), "{bytes}");
    }
}

#[test]
fn hopeless_beginnings_are_refused_before_the_line_ends() {
    let advance = |bytes: &[u8]| {
        RequestParser::default()
            .advance(bytes, &LIMITS)
            .map_err(kind)
    };
    for bytes in [
        &b"\x16"[..],
        b" ",
        b"(",
        b"GET\0",
        b"\n",
        b"\rG",
        b"GET / HTTP/1.1\rX",
        &[b'A'; 33],
    ] {
        assert_eq!(advance(bytes), Err(MALFORMED), "{}", show(bytes));
    }
    let target = [b"GET ", &[b'/'; 513][..]].concat();
    assert_eq!(advance(&target), Err(HeadError::TargetTooLong));
    let field = [b"GET / HTTP/1.1\r\nX: ", &[b'a'; 4096][..]].concat();
    assert_eq!(advance(&field), Err(HeadError::TooLarge));
    for bytes in [
        &b""[..],
        b"G",
        b"\r",
        b"\r\n",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\n\r",
    ] {
        assert_eq!(advance(bytes), Ok(None), "{}", show(bytes));
    }
}

#[test]
fn connection_stays_open_as_version_and_options_say() {
    for (version, options, stays) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: a, CLOSE ,\r\n", false),
        (
            "1.1",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
        ("1.0", "Proxy-Connection: keep-alive\r\n", false),
    ] {
        let head = format!("GET / HTTP/{version}\r\nHost: a.test\r\n{options}\r\n");
        let parser = read_request(head.as_bytes()).unwrap();
        assert_eq!(parser.keeps_alive(), stays, "{head}");
    }
}

#[test]
fn connection_options_are_bounded() {
    let head = |count: usize| get(format!("Connection: {}\r\n", ",x".repeat(count)).as_bytes());
    assert!(read_request(&head(32)).is_ok());
    assert_eq!(read_request(&head(33)).err(), Some(MALFORMED));
}

#[test]
fn client_waits_for_continue_only_if_it_says_exactly_that() {
    for (version, fields, waits) in [
        ("1.1", "Expect: 100-continue\r\n", true),
        ("1.1", "expect: 100-Continue\r\n", true),
        ("1.0", "Expect: 100-continue\r\n", false),
        ("1.1", "Expect: 200-ok\r\n", false),
        ("1.1", "Expect: y 100-continue\r\n", false),
        ("1.1", "Expect: 100-continue, y\r\n", false),
        (
            "1.1",
            "Expect: 100-continue\r\nExpect: 100-continue\r\n",
            false,
        ),
    ] {
        let head = format!("GET / HTTP/{version}\r\nHost: a.test\r\n{fields}\r\n");
        let parser = read_request(head.as_bytes()).unwrap();
        assert_eq!(parser.expects_continue(), waits, "{head}");
    }
}

#[test]
fn upgrade_needs_both_fields_and_is_never_h2c() {
    for (version, fields, asks) in [
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", true),
        (
            "1.1",
            "Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n",
            true,
        ),
        (
            "1.0",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            false,
        ),
        ("1.1", "Upgrade: websocket\r\n", false),
        ("1.1", "Connection: Upgrade\r\n", false),
        ("1.1", "Connection: Upgrade\r\nUpgrade:\r\n", false),
        (
            "1.1",
            "Connection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n",
            false,
        ),
        (
            "1.1",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
            false,
        ),
        (
            "1.1",
            "Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n",
            false,
        ),
    ] {
        let head = format!("GET / HTTP/{version}\r\nHost: a.test\r\n{fields}\r\n");
        let parser = read_request(head.as_bytes()).unwrap();
        assert_eq!(parser.asks_for_upgrade(), asks, "{head}");
    }
}
