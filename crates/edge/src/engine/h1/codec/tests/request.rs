//! Request heads: line syntax, target forms, framing, connection options, limits.

use http::{HeaderValue, Method, Version, header};

use super::super::*;
use crate::pipeline::{Fields, Head, HeaderEdit};

pub(super) const LIMITS: HeadLimits = HeadLimits {
    bytes: 4096,
    fields: 20,
    target_bytes: 512,
};

#[test]
fn ordinary_request_is_read_and_written() {
    let buffer =
        b"POST /a/b?c=d HTTP/1.1\r\nHost: a.test\r\nX-One:  1 \r\nX-Two: 2\r\nContent-Length: 5\r\nConnection: x-two\r\n\r\nhello";
    let mut parser = RequestParser::default();
    let length = parser.advance(buffer, &LIMITS).unwrap().unwrap();
    assert_eq!(&buffer[length..], b"hello");
    assert_eq!(parser.framing(), Framing::Length(5));
    let head = parser.head(buffer);
    assert_eq!(head.method(), Method::POST);
    assert_eq!(head.version(), Version::HTTP_11);
    assert_eq!((head.path(), head.query()), ("/a/b", Some("c=d")));
    assert_eq!(head.authority(), Some("a.test"));
    assert_eq!(head.fields().len(), 5);
    let mut out = Vec::new();
    let edits = [HeaderEdit::Set(header::VIA, HeaderValue::from_static("us"))];
    request_head(&mut out, &head, &edits, Framing::Length(5), false);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "POST /a/b?c=d HTTP/1.1\r\nHost: a.test\r\nX-One: 1\r\nvia: us\r\nContent-Length: 5\r\n\r\n"
    );
}
