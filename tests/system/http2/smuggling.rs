//! HTTP/2 requests that would be two, or others, when written as HTTP/1.1. What an endpoint gets is one
//! clean request or nothing, whatever the client said.

mod recorder;

use portcullis_testkit::Authority;
use serde_json::json;

use self::recorder::Recorder;
use super::frames::*;
use crate::harness::Edge;
use crate::native::Setup;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What may come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Nothing of it.
    Refused,
    /// One clean request, or nothing.
    Clean,
    /// One clean request with this line in its head.
    Line(&'static str),
    /// One clean request without anything like this.
    Without(&'static str),
}
use Expected::{Clean, Line, Refused, Without};

struct Case {
    title: String,
    fields: Fields,
    data: Vec<&'static [u8]>,
    expected: Expected,
}

fn start(method: &str, path: &[u8]) -> Fields {
    let pairs = [
        (":method", method.as_bytes()),
        (":scheme", b"http"),
        (":authority", HOST.as_bytes()),
        (":path", path),
    ];
    let pairs = pairs.into_iter();
    pairs
        .map(|(n, v)| (n.as_bytes().to_vec(), v.to_vec()))
        .collect()
}

fn case(title: &str, fields: Fields, data: &[&'static [u8]], expected: Expected) -> Case {
    Case {
        title: title.to_owned(),
        fields,
        data: data.to_vec(),
        expected,
    }
}

/// A GET with further fields.
fn with(more: &[(&str, &str)], expected: Expected) -> Case {
    let mut fields = start("GET", b"/");
    let pairs = more.iter();
    fields.extend(pairs.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())));
    case(&format!("{more:?}"), fields, &[], expected)
}

/// A POST with further fields and a body that would be a request of its own.
fn post_with(more: &[(&str, &str)], expected: Expected) -> Case {
    let mut case = with(more, expected);
    case.fields[0].1 = b"POST".to_vec();
    case.data = vec![
        b"0\r\n\r\n",
        b"GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n",
    ];
    case
}

fn replaced(name: &str, value: &[u8], expected: Expected) -> Case {
    let mut fields = start("GET", b"/");
    for field in &mut fields {
        if field.0 == name.as_bytes() {
            field.1 = value.to_vec();
        }
    }
    let title = format!("{name} is {:?}", String::from_utf8_lossy(value));
    case(&title, fields, &[], expected)
}

fn cases() -> Vec<Case> {
    let mut cases = heads();
    cases.extend(targets());
    cases.extend(authorities());
    cases.extend(framings());
    cases
}

/// Every byte that a name or a value may not hold, and what would be a line of its own.
fn heads() -> Vec<Case> {
    let mut cases = Vec::new();
    for byte in (0..=0x20).chain([b':', b'(', b'"', b'/', b'@', b'A', 0x7f, 0x80, 0xff]) {
        let mut fields = start("GET", b"/");
        fields.push((vec![b'x', byte, b'y'], b"1".to_vec()));
        cases.push(case(
            &format!("name with byte {byte:#x}"),
            fields,
            &[],
            Refused,
        ));
    }
    for byte in (0..0x20).chain([0x7f]).filter(|byte| *byte != b'\t') {
        let mut fields = start("GET", b"/");
        fields.push((b"x-test".to_vec(), vec![b'a', byte, b'b']));
        cases.push(case(
            &format!("value with byte {byte:#x}"),
            fields,
            &[],
            Refused,
        ));
    }
    let smuggled = "1\r\nhost: evil\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: evil\r\n\r\n";
    cases.extend([
        with(&[("x-test", smuggled)], Refused),
        with(&[("x-test\r\nx-evil: 1\r\ny", "1")], Refused),
        with(&[("x-test: 1\r\ntransfer-encoding", "chunked")], Refused),
        with(&[("transfer-encoding:chunked\r\nx", "1")], Refused),
        with(&[("", "1")], Refused),
        with(&[("x-test", " \t padded \t ")], Clean),
        with(&[("x-test", "")], Clean),
        with(&[("x-test", "caf\u{e9}")], Clean),
        with(
            &[
                ("cookie", "a=1"),
                ("x-between", "1"),
                ("cookie", "b=2"),
                ("cookie", "c=3"),
            ],
            Line("cookie: a=1; b=2; c=3"),
        ),
        with(&[("cookie", "a=1")], Line("cookie: a=1")),
        with(&[("te", "trailers")], Clean),
        with(&[("te", "gzip")], Refused),
        with(&[("te", "trailers, chunked")], Refused),
        with(&[("te", "chunked")], Refused),
        with(&[("connection", "close")], Refused),
        with(&[("connection", "x-forwarded-for")], Refused),
        with(&[("proxy-connection", "keep-alive")], Refused),
        with(&[("keep-alive", "timeout=5")], Refused),
        with(&[("upgrade", "websocket")], Refused),
        with(&[("upgrade", "h2c"), ("http2-settings", "AAM")], Refused),
        with(&[("http2-settings", "AAM")], Without("http2-settings")),
        with(&[("x_forwarded_for", "6.6.6.6")], Without("6.6.6.6")),
        with(&[("x-forwarded-for", "6.6.6.6")], Without("6.6.6.6")),
        with(&[("expect", "100-continue")], Without("expect")),
    ]);
    cases
}

fn targets() -> Vec<Case> {
    let path = |value: &[u8], expected| replaced(":path", value, expected);
    vec![
        path(b"/a b", Refused),
        path(b"/ HTTP/1.1\r\nHost: evil\r\n\r\nGET /smuggled", Refused),
        path(b"/\r\nx-evil: 1", Refused),
        path(b"/\nx-evil: 1", Refused),
        path(b"/\rx", Refused),
        path(b"/\0x", Refused),
        path(b"/\tx", Refused),
        path(b"/\x7f", Refused),
        path(b"/?q=a b", Refused),
        path(b"/?q=\r\n\r\n", Refused),
        path(b"/#fragment", Clean),
        path(b"*", Refused),
        path(b"", Refused),
        path(b"index", Refused),
        path(b"http://evil/", Refused),
        path(b"http://app.example/", Refused),
        path(b"//evil/x", Line("GET //evil/x HTTP/1.1")),
        path(b"/a/../b", Clean),
        path(b"/caf\xc3\xa9", Clean),
        path(b"/\xff", Clean),
        replaced(
            ":method",
            b"GET / HTTP/1.1\r\nHost: evil\r\n\r\nGET",
            Refused,
        ),
        replaced(":method", b"GET /x", Refused),
        replaced(":method", b"G\tT", Refused),
        replaced(":method", b"G\0T", Refused),
        replaced(":method", b"", Refused),
        replaced(":method", b"get", Clean),
        replaced(":method", b"PRI", Clean),
        replaced(":method", b"CONNECT", Refused),
        replaced(":method", b"TRACE", Refused),
        replaced(":scheme", b"http://evil/?", Refused),
        replaced(":scheme", b"ht tp", Refused),
        replaced(":scheme", b"http\r\nx: y", Refused),
        replaced(":scheme", b"", Refused),
        replaced(":scheme", b"https", Line("x-forwarded-proto: http")),
        replaced(":scheme", b"gopher", Refused),
    ]
}

fn authorities() -> Vec<Case> {
    let authority = |value: &[u8]| replaced(":authority", value, Refused);
    let mut two_hosts = with(&[("host", HOST), ("host", HOST)], Clean);
    two_hosts.fields.remove(2);
    vec![
        authority(b"evil\r\nx-evil: 1"),
        authority(b"evil example"),
        authority(b"evil/path"),
        authority(b"evil?x"),
        authority(b"evil#x"),
        authority(b"user@evil"),
        authority(b"evil:80:80"),
        authority(b"evil\0"),
        authority(b""),
        authority(b"a,b"),
        replaced(":authority", b"APP.example", Clean),
        replaced(":authority", b"app.example:80", Clean),
        with(&[("host", HOST)], Line("host: app.example")),
        with(&[("host", "evil")], Refused),
        with(&[("host", "app.example:8080")], Refused),
        with(&[("host", "evil\r\nx: y")], Refused),
        with(&[("host", HOST), ("host", "evil")], Refused),
        two_hosts,
        with(&[("host", "")], Refused),
    ]
}

fn framings() -> Vec<Case> {
    let length = |value: &'static str| post_with(&[("content-length", value)], Refused);
    let mut exact = post_with(&[("content-length", "4")], Line("content-length: 4"));
    exact.data = vec![b"te", b"st"];
    let mut unsaid = post_with(&[], Clean);
    unsaid.data = vec![b"0\r\n\r\n", b"GET /smuggled HTTP/1.1\r\n\r\n"];
    let mut twice = post_with(&[("content-length", "4"), ("content-length", "4")], Clean);
    twice.data = vec![b"test"];
    let mut listed = post_with(&[("content-length", "4, 4")], Clean);
    listed.data = vec![b"test"];
    let mut get_with_body = with(&[], Clean);
    get_with_body.data = vec![b"GET /smuggled HTTP/1.1\r\nhost: evil\r\n\r\n"];
    let mut get_of_nothing = with(&[("content-length", "5")], Refused);
    get_of_nothing.data = Vec::new();
    vec![
        post_with(&[("content-length", "0")], Clean),
        length("1"),
        length("1000"),
        length("-1"),
        length("+43"),
        length("0x2b"),
        length("43, 5"),
        length("18446744073709551659"),
        length(""),
        length("4 3"),
        post_with(
            &[("content-length", "43"), ("content-length", "0")],
            Refused,
        ),
        post_with(&[("transfer-encoding", "chunked")], Refused),
        post_with(&[("transfer-encoding", "identity")], Refused),
        post_with(
            &[("transfer-encoding", "chunked"), ("content-length", "5")],
            Refused,
        ),
        post_with(&[("transfer_encoding", "chunked")], Clean),
        post_with(&[("content_length", "0")], Clean),
        exact,
        unsaid,
        twice,
        listed,
        get_with_body,
        get_of_nothing,
    ]
}

async fn ask(edge: &Edge, authority: &Authority, case: &Case) -> Result<u16, String> {
    let mut raw = Raw::open(edge, authority, Way::Clear).await;
    let flags = if case.data.is_empty() {
        WHOLE
    } else {
        END_HEADERS
    };
    let mut bytes = frame(HEADERS, flags, 1, &block(&case.fields));
    for (number, data) in case.data.iter().enumerate() {
        let is_last = number + 1 == case.data.len();
        bytes.extend(frame(DATA, u8::from(is_last) * END_STREAM, 1, data));
    }
    raw.send(&bytes).await;
    raw.status(1).await
}

/// What is wrong with what the endpoint got; `None` if nothing is.
fn judge(case: &Case, got: &[Vec<u8>]) -> Option<String> {
    let smuggled = |bytes: &Vec<u8>| recorder::find_flaw(bytes.as_slice());
    if let Some(flaw) = got.iter().find_map(smuggled) {
        return Some(flaw);
    }
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let heads: Vec<String> = got.iter().map(text).collect();
    match case.expected {
        _ if heads.len() > 1 => Some(format!("{} requests", heads.len())),
        Refused if !heads.is_empty() => Some(format!("passed: {:?}", heads[0])),
        Line(_) | Without(_) if heads.is_empty() => Some("refused".to_owned()),
        Line(line) if !heads[0].lines().any(|l| l.eq_ignore_ascii_case(line)) => {
            Some(format!("no line {line:?} in {:?}", heads[0]))
        }
        Without(what) if heads[0].to_ascii_lowercase().contains(what) => {
            Some(format!("{what:?} in {:?}", heads[0]))
        }
        _ => None,
    }
}

/// Which case a request belongs to.
const MARK: &str = "x-case";

#[tokio::test]
async fn no_request_over_http2_becomes_two_or_another_over_http1() {
    let (recorder, authority) = (Recorder::start().await, Authority::new());
    let edge = Setup::for_addresses(&[recorder.address()])
        .set("listeners.0.http2.cleartext", json!(true))
        .set("clusters.main.ejection", json!("off"))
        .start()
        .await;
    let mut cases = cases();
    let (mut wrong, mut served) = (Vec::new(), 0);
    for (number, case) in cases.iter_mut().enumerate() {
        let mark = (MARK.as_bytes().to_vec(), number.to_string().into_bytes());
        case.fields.push(mark);
        let answer = ask(&edge, &authority, case).await;
        served += usize::from(answer == Ok(200));
        if matches!(answer, Ok(500..)) {
            wrong.push(format!("{}: answered {answer:?}", case.title));
        }
    }
    edge.expect_nothing_left().await;
    let records = recorder.take(served).await;
    for (number, case) in cases.iter().enumerate() {
        let got = records
            .iter()
            .filter(|bytes| recorder::mark(bytes, MARK) == Some(number.to_string()));
        // Who broke its body had a right head: what came of it is no whole request for any endpoint.
        let got: Vec<Vec<u8>> = got
            .filter(|bytes| recorder::is_whole(bytes))
            .cloned()
            .collect();
        if let Some(what) = judge(case, &got) {
            wrong.push(format!("{}: {what}", case.title));
        }
    }
    let unmarked = records
        .iter()
        .find(|bytes| recorder::mark(bytes, MARK).is_none());
    assert!(unmarked.is_none(), "{unmarked:?}");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
