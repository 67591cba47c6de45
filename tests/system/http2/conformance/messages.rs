//! What makes a request: RFC 9113, section 8.

use super::super::frames::*;
use super::Expected::{Malformed, Reset, Status};
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = pseudo_fields();
    cases.extend(fields());
    cases.extend(bodies());
    cases
}

fn whole(fields: &[(&str, &str)]) -> Vec<Vec<u8>> {
    vec![frame(HEADERS, WHOLE, 1, &block(fields))]
}

fn with(more: &[(&'static str, &'static str)]) -> Vec<Vec<u8>> {
    let mut fields = request("GET", "/");
    fields.extend(more);
    whole(&fields)
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn pseudo_fields() -> Vec<Case> {
    let all = request("GET", "/");
    let without = |name: &str| {
        let kept: Vec<_> = all.iter().copied().filter(|(n, _)| *n != name).collect();
        whole(&kept)
    };
    let changed = |name: &str, value: &'static str| {
        let changed: Vec<_> = all
            .iter()
            .map(|&(n, v)| (n, if n == name { value } else { v }))
            .collect();
        whole(&changed)
    };
    let late = whole(&[all[0], all[1], ("x-early", "1"), all[2], all[3]]);
    vec![
        case(
            "8.3",
            "unknown pseudo-field",
            &with(&[(":test", "ok")]),
            Malformed(1),
        ),
        case(
            "8.3",
            "pseudo-field of responses",
            &with(&[(":status", "200")]),
            Malformed(1),
        ),
        case("8.3", "pseudo-field after a field", &late, Malformed(1)),
        case(
            "8.3",
            "protocol without an agreement",
            &with(&[(":protocol", "websocket")]),
            Malformed(1),
        ),
        case("8.3.1", "empty path", &changed(":path", ""), Malformed(1)),
        case("8.3.1", "no method", &without(":method"), Malformed(1)),
        case("8.3.1", "no scheme", &without(":scheme"), Malformed(1)),
        case("8.3.1", "no path", &without(":path"), Malformed(1)),
        case(
            "8.3.1",
            "no authority and no host",
            &without(":authority"),
            Malformed(1),
        ),
        case(
            "8.3.1",
            "two methods",
            &with(&[(":method", "GET")]),
            Malformed(1),
        ),
        case(
            "8.3.1",
            "two schemes",
            &with(&[(":scheme", "http")]),
            Malformed(1),
        ),
        case("8.3.1", "two paths", &with(&[(":path", "/")]), Malformed(1)),
        case(
            "8.3.1",
            "two authorities",
            &with(&[(":authority", HOST)]),
            Malformed(1),
        ),
        case(
            "8.3.1",
            "path without a slash",
            &changed(":path", "index"),
            Malformed(1),
        ),
        case(
            "8.5",
            "CONNECT with a path",
            &changed(":method", "CONNECT"),
            Malformed(1),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn fields() -> Vec<Case> {
    let host_alone = whole(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        ("host", HOST),
    ]);
    vec![
        case(
            "8.2",
            "upper case",
            &with(&[("X-TEST", "ok")]),
            Malformed(1),
        ),
        case(
            "8.2",
            "space in a name",
            &with(&[("x test", "ok")]),
            Malformed(1),
        ),
        case(
            "8.2",
            "colon in a name",
            &with(&[("x:test", "ok")]),
            Malformed(1),
        ),
        case("8.2", "empty name", &with(&[("", "ok")]), Malformed(1)),
        case(
            "8.2",
            "line feed in a value",
            &with(&[("x-test", "a\nb")]),
            Malformed(1),
        ),
        case(
            "8.2",
            "carriage return in a value",
            &with(&[("x-test", "a\rb")]),
            Malformed(1),
        ),
        case(
            "8.2",
            "zero byte in a value",
            &with(&[("x-test", "a\0b")]),
            Malformed(1),
        ),
        case(
            "8.2.2",
            "connection",
            &with(&[("connection", "keep-alive")]),
            Malformed(1),
        ),
        case(
            "8.2.2",
            "keep-alive",
            &with(&[("keep-alive", "1")]),
            Malformed(1),
        ),
        case(
            "8.2.2",
            "proxy-connection",
            &with(&[("proxy-connection", "keep-alive")]),
            Malformed(1),
        ),
        case(
            "8.2.2",
            "upgrade",
            &with(&[("upgrade", "h2c")]),
            Malformed(1),
        ),
        case(
            "8.2.2",
            "transfer-encoding",
            &with(&[("transfer-encoding", "chunked")]),
            Malformed(1),
        ),
        case(
            "8.2.2",
            "te other than trailers",
            &with(&[("te", "trailers, deflate;q=0.5")]),
            Malformed(1),
        ),
        case(
            "8.2.2",
            "te: trailers",
            &with(&[("te", "trailers")]),
            Status(1, 200),
        ),
        case(
            "8.2.3",
            "cookies in crumbs",
            &with(&[("cookie", "a=1"), ("cookie", "b=2")]),
            Status(1, 200),
        ),
        case("8.3.1", "host alone", &host_alone, Status(1, 200)),
        case("8.1", "HEAD", &whole(&request("HEAD", "/")), Status(1, 200)),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn bodies() -> Vec<Case> {
    let lengthy = |length: &'static str, flags: u8| {
        let mut fields = request("POST", "/late");
        fields.push(("content-length", length));
        frame(HEADERS, flags, 1, &block(&fields))
    };
    let open = || post(1, "/late");
    let trailers = |fields: &[(&str, &str)], flags| frame(HEADERS, flags, 1, &block(fields));
    let data = |flags, bytes: &[u8]| frame(DATA, flags, 1, bytes);
    vec![
        case(
            "8.1",
            "a second HEADERS that ends nothing",
            &[
                open(),
                data(0, b"x"),
                trailers(&[("x-t", "1")], END_HEADERS),
            ],
            Malformed(1),
        ),
        case(
            "8.1",
            "trailers",
            &[
                post(1, "/"),
                data(0, b"x"),
                trailers(&[("x-t", "1")], WHOLE),
            ],
            Status(1, 200),
        ),
        case(
            "8.1",
            "trailers with a pseudo-field",
            &[
                open(),
                data(0, b"x"),
                trailers(&[(":method", "GET")], WHOLE),
            ],
            Malformed(1),
        ),
        case(
            "8.1",
            "trailers with an indexed pseudo-field",
            &[open(), data(0, b"x"), frame(HEADERS, WHOLE, 1, b"\x82")],
            Malformed(1),
        ),
        case(
            "8.1",
            "trailers with a connection field",
            &[
                open(),
                data(0, b"x"),
                trailers(&[("connection", "close")], WHOLE),
            ],
            Malformed(1),
        ),
        case(
            "8.1.1",
            "content-length as said",
            &[lengthy("4", END_HEADERS), data(END_STREAM, b"test")],
            Status(1, 200),
        ),
        case(
            "8.1.1",
            "content-length and less",
            &[lengthy("4", END_HEADERS), data(END_STREAM, b"tes")],
            Malformed(1),
        ),
        case(
            "8.1.1",
            "content-length and more",
            &[lengthy("4", END_HEADERS), data(END_STREAM, b"tests")],
            Malformed(1),
        ),
        case(
            "8.1.1",
            "content-length and more in several DATA",
            &[
                lengthy("4", END_HEADERS),
                data(0, b"tes"),
                data(END_STREAM, b"ts"),
            ],
            Malformed(1),
        ),
        case(
            "8.1.1",
            "content-length and no DATA",
            &[lengthy("4", WHOLE)],
            Malformed(1),
        ),
        case(
            "8.1.1",
            "content-length that is no number",
            &[lengthy("four", END_HEADERS), data(END_STREAM, b"test")],
            Malformed(1),
        ),
        case(
            "8.1.1",
            "content-length with a sign",
            &[lengthy("+4", END_HEADERS), data(END_STREAM, b"test")],
            Malformed(1),
        ),
        case(
            "8.1.1",
            "content-length, less and trailers",
            &[
                lengthy("4", END_HEADERS),
                data(0, b"tes"),
                trailers(&[("x-t", "1")], WHOLE),
            ],
            Malformed(1),
        ),
        case(
            "6.9.1",
            "more DATA than the stream's window",
            &overflow(),
            Reset(1, &[FLOW_CONTROL_ERROR]),
        ),
    ]
}

/// More than any window, in one go.
fn overflow() -> Vec<Vec<u8>> {
    let mut frames = vec![post(1, "/late")];
    frames.extend((0..80).map(|_| frame(DATA, 0, 1, &[b'x'; 16_384])));
    frames
}
