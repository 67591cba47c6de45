//! What must hold of any bytes whatever: a fuzzer and a seeded test throw them at these functions.
//! Never compiled into the program.

use std::fmt::Debug;

use http::Method;

use super::body::BodyError;
use super::fields::FieldsView;
use super::known::Known;
use super::{
    BodyDecoder, CHUNK_END, Connection, Framing, HeadError, HeadLimits, RequestHead, RequestParser,
    ResponseHead, ResponseNote, ResponseParser, chunk_start, interim_head, last_chunk,
    request_head, response_head,
};
use crate::pipeline::{Fields, Head};

/// Small, so that short inputs reach them.
const LIMITS: HeadLimits = HeadLimits {
    bytes: 1024,
    fields: 16,
    target_bytes: 200,
};

/// What we write may be longer than what we read, by fields of our own.
const WRITTEN: HeadLimits = HeadLimits {
    bytes: 4096,
    fields: 32,
    target_bytes: 400,
};

/// Reads `bytes` as a request: the verdict must not depend on how they arrive, and what is written
/// must be read as the same request.
pub fn request(bytes: &[u8]) {
    let read = |cuts: &[usize]| {
        let mut parser = RequestParser::default();
        let verdict = verdict(bytes, cuts, |buffer| parser.advance(buffer, &LIMITS));
        (parser, verdict)
    };
    let (parser, verdict) = read(&[bytes.len()]);
    for cuts in arrivals(bytes.len()) {
        let (other, again) = read(&cuts);
        assert_eq!(verdict, again, "cut at {cuts:?}");
        if verdict.is_complete() {
            assert_same(&parser.head(bytes), &other.head(bytes));
        }
    }
    let Verdict::Complete(length) = verdict else {
        return;
    };
    assert!(length <= LIMITS.bytes && parser.head(bytes).fields().len() <= LIMITS.fields);
    request_survives(&parser, bytes);
    body(&bytes[length..], parser.framing());
}

/// Reads `bytes` as a response, like [`request`].
pub fn response(bytes: &[u8]) {
    let read = |cuts: &[usize]| {
        let mut parser = ResponseParser::default();
        let verdict = verdict(bytes, cuts, |buffer| parser.advance(buffer, &LIMITS));
        (parser, verdict)
    };
    let (parser, verdict) = read(&[bytes.len()]);
    for cuts in arrivals(bytes.len()) {
        let (other, again) = read(&cuts);
        assert_eq!(verdict, again, "cut at {cuts:?}");
        if verdict.is_complete() {
            assert_same(&parser.head(bytes), &other.head(bytes));
        }
    }
    let Verdict::Complete(length) = verdict else {
        return;
    };
    assert!(length <= LIMITS.bytes && parser.head(bytes).fields().len() <= LIMITS.fields);
    for request_is_head in [false, true] {
        response_survives(&parser, bytes, request_is_head);
    }
    body(&bytes[length..], parser.framing(false));
}

/// Reads `bytes` as a chunked body, like [`request`].
pub fn chunked_body(bytes: &[u8]) {
    body(bytes, Framing::Chunked);
}

/// What a parser says of some bytes; why they are malformed may depend on how they arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Complete(usize),
    Incomplete,
    Malformed,
    TooLarge,
    TargetTooLong,
}

impl Verdict {
    fn is_complete(self) -> bool {
        matches!(self, Self::Complete(_))
    }
}

fn verdict(
    bytes: &[u8],
    cuts: &[usize],
    mut advance: impl FnMut(&[u8]) -> Result<Option<usize>, HeadError>,
) -> Verdict {
    for &end in cuts {
        match advance(&bytes[..end]) {
            Ok(None) => {}
            Ok(Some(length)) => return Verdict::Complete(length),
            Err(HeadError::Malformed(_)) => return Verdict::Malformed,
            Err(HeadError::TooLarge) => return Verdict::TooLarge,
            Err(HeadError::TargetTooLong) => return Verdict::TargetTooLong,
        }
    }
    Verdict::Incomplete
}

/// Ways for so many bytes to arrive: one by one, and in two pieces.
fn arrivals(length: usize) -> impl Iterator<Item = Vec<usize>> {
    let step = (length / 16).max(1);
    let pieces = (0..length).step_by(step).map(move |cut| vec![cut, length]);
    std::iter::once((0..=length).collect()).chain(pieces)
}

fn assert_same(one: &impl Debug, other: &impl Debug) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

fn request_survives(parser: &RequestParser, bytes: &[u8]) {
    let head = parser.head(bytes);
    if head.method() == Method::CONNECT {
        return;
    }
    let written = written_request(parser, &head);
    let mut reader = RequestParser::default();
    let length = reader.advance(&written, &WRITTEN);
    assert_eq!(length, Ok(Some(written.len())), "{written:?}");
    let copy = reader.head(&written);
    assert_eq!(copy.method(), head.method());
    assert_eq!((copy.path(), copy.query()), (head.path(), head.query()));
    assert_eq!(
        copy.authority().unwrap_or_default(),
        head.authority().unwrap_or_default()
    );
    assert_eq!(reader.framing(), parser.framing());
    assert_eq!(reader.asks_for_upgrade(), parser.asks_for_upgrade());
    assert_eq!(reader.expects_continue(), parser.expects_continue());
    assert_nothing_added(copy.fields(), head.fields());
    assert_eq!(written_request(&reader, &copy), written);
}

fn written_request(parser: &RequestParser, head: &RequestHead<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let upgrades = parser.asks_for_upgrade();
    request_head(&mut out, head, None, &[], parser.framing(), upgrades);
    out
}

fn response_survives(parser: &ResponseParser, bytes: &[u8], request_is_head: bool) {
    let head = parser.head(bytes);
    let written = written_response(parser, &head, request_is_head);
    let mut reader = ResponseParser::default();
    let length = reader.advance(&written, &WRITTEN);
    assert_eq!(length, Ok(Some(written.len())), "{written:?}");
    let copy = reader.head(&written);
    assert_eq!(copy.status(), head.status());
    let framing = parser.framing(request_is_head);
    assert_eq!(reader.framing(request_is_head), framing);
    assert_eq!(reader.is_upgrade(), parser.is_upgrade());
    assert_nothing_added(copy.fields(), head.fields());
    let again = written_response(&reader, &copy, request_is_head);
    assert_eq!(again, written);

    let mut interim = Vec::new();
    interim_head(&mut interim, &head);
    reader.reset();
    let length = reader.advance(&interim, &WRITTEN);
    assert_eq!(length, Ok(Some(interim.len())), "{interim:?}");
}

fn written_response(
    parser: &ResponseParser,
    head: &ResponseHead<'_>,
    request_is_head: bool,
) -> Vec<u8> {
    let note = ResponseNote {
        framing: parser.framing(request_is_head),
        connection: match (parser.is_upgrade(), parser.keeps_alive()) {
            (true, _) => Connection::Upgrade,
            (false, true) => Connection::KeepAlive,
            (false, false) => Connection::Close,
        },
        is_http10_client: false,
    };
    let mut out = Vec::new();
    response_head(&mut out, head, &[], note);
    out
}

/// Every field that the codec does not write by itself was sent, in that order.
fn assert_nothing_added(written: &FieldsView<'_>, sent: &FieldsView<'_>) {
    let mut sent_fields = sent.table.iter();
    for field in written.table.iter().filter(|f| f.known == Known::Other) {
        let (name, value) = (
            field.name.of(written.buffer),
            field.value.of(written.buffer),
        );
        let was_sent = sent_fields.any(|other| {
            other.name.of(sent.buffer) == name && other.value.of(sent.buffer) == value
        });
        assert!(was_sent, "{name:?}: {value:?}");
    }
}

/// What became of a body.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    payload: Vec<u8>,
    consumed: usize,
    trailers: Vec<u8>,
    is_done: bool,
}

fn body(bytes: &[u8], framing: Framing) {
    let whole = decode(bytes, &[bytes.len()], framing);
    for cuts in arrivals(bytes.len()) {
        let again = decode(bytes, &cuts, framing);
        assert_eq!(kind(&whole), kind(&again), "cut at {cuts:?}");
    }
    let Ok(reading) = whole else { return };
    assert!(reading.consumed <= bytes.len() && reading.payload.len() <= reading.consumed);
    assert!(reading.is_done || reading.consumed == bytes.len());
    if framing == Framing::Chunked && reading.is_done {
        let mut written = Vec::new();
        if !reading.payload.is_empty() {
            chunk_start(&mut written, reading.payload.len());
            written.extend_from_slice(&reading.payload);
            written.extend_from_slice(CHUNK_END);
        }
        last_chunk(&mut written, &reading.trailers);
        let copy = decode(&written, &[written.len()], framing);
        let expected = Reading {
            consumed: written.len(),
            ..reading
        };
        assert_eq!(copy, Ok(expected));
    }
}

/// Why a body is malformed may depend on how it arrives; that it is may not.
fn kind(reading: &Result<Reading, BodyError>) -> Result<&Reading, BodyError> {
    match reading {
        Ok(reading) => Ok(reading),
        Err(BodyError::Malformed(_)) => Err(BodyError::Malformed("")),
        Err(error) => Err(*error),
    }
}

fn decode(bytes: &[u8], cuts: &[usize], framing: Framing) -> Result<Reading, BodyError> {
    let mut decoder = BodyDecoder::new(framing);
    let (mut payload, mut consumed) = (Vec::new(), 0);
    for &end in cuts {
        let mut input = bytes[consumed..end].to_vec();
        let decoded = decoder.decode(&mut input)?;
        assert!(decoded.data <= decoded.consumed);
        let rest = &input[decoded.consumed..];
        assert_eq!(rest, &bytes[consumed + decoded.consumed..end]);
        assert!(rest.is_empty() || decoder.is_done());
        payload.extend_from_slice(&input[..decoded.data]);
        consumed += decoded.consumed;
    }
    let is_done = decoder.is_done();
    let may_end = is_done || framing == Framing::UntilClose;
    assert_eq!(decoder.finish().is_ok(), may_end);
    Ok(Reading {
        payload,
        consumed,
        trailers: decoder.trailers().to_vec(),
        is_done,
    })
}
