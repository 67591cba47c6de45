//! Heads, answers and chunks as bytes, written anew from what was parsed. Never leaves framing or
//! connection options to what the other side sent.

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};

use super::edits::Edits;
use super::fields::Field;
use super::known::Known;
use super::response::has_no_body;
use super::{Framing, RequestHead, ResponseHead};
use crate::pipeline::{Answer, Fields as _, Head, HeaderEdit};

/// Towards the client: whether the connection goes on after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    KeepAlive,
    Close,
    /// It becomes a tunnel: the response is a 101.
    Upgrade,
}

/// What the engine decided about a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseNote {
    /// Towards the client.
    pub(crate) framing: Framing,
    pub(crate) connection: Connection,
    /// Whether the client must be told that the connection stays open.
    pub(crate) is_http10_client: bool,
}

/// Appends a request head for an endpoint: origin-form and HTTP/1.1. `edits` are applied to what is
/// left without hop-by-hop fields. `target` stands in place of the client's path and query. With `upgrades` the client's wish for another protocol goes on.
pub(crate) fn request_head(
    out: &mut Vec<u8>,
    head: &RequestHead<'_>,
    target: Option<&str>,
    edits: &[HeaderEdit],
    framing: Framing,
    upgrades: bool,
) {
    let buffer = head.fields().buffer;
    let message = head.message;
    let edits = Edits::new(edits);
    put(out, head.method().as_str().as_bytes());
    out.push(b' ');
    match target {
        Some(target) => put(out, target.as_bytes()),
        None => {
            put(out, head.path().as_bytes());
            if let Some(query) = head.query() {
                out.push(b'?');
                put(out, query.as_bytes());
            }
        }
    }
    put(out, b" HTTP/1.1\r\n");
    if !edits.replaces_name(&header::HOST) {
        line(out, b"Host", host(head));
    }
    let mut kept = Kept::new(buffer);
    for field in head.fields().table.iter() {
        let is_ours = match field.known {
            Known::Host | Known::ProxyAuthorization => true,
            // HTTP/1.0 clients cannot wait for 100 (RFC 9110, 10.1.1).
            Known::Expect => !message.expects_continue() || head.version() == Version::HTTP_10,
            _ => message.options.removes(buffer, field),
        };
        if !is_ours && !edits.replaces(buffer, field) {
            kept.field(out, field);
        }
    }
    kept.flush(out);
    edits.write(out);
    let upgrade = message.upgrade().filter(|_| upgrades);
    if message.takes_trailers {
        line(out, b"TE", b"trailers");
    }
    match (upgrade, message.takes_trailers) {
        (Some(_), true) => line(out, b"Connection", b"upgrade, TE"),
        (Some(_), false) => line(out, b"Connection", b"upgrade"),
        (None, true) => line(out, b"Connection", b"TE"),
        (None, false) => {}
    }
    if let Some(field) = upgrade {
        line(out, b"Upgrade", field.value.of(buffer));
    }
    put_framing(out, framing);
    put(out, b"\r\n");
}

/// Appends a response head for the client.
pub(crate) fn response_head(
    out: &mut Vec<u8>,
    head: &ResponseHead<'_>,
    edits: &[HeaderEdit],
    note: ResponseNote,
) {
    let edits = Edits::new(edits);
    status_line(out, head.status(), reason(head));
    end_to_end(out, head, Some(&edits));
    edits.write(out);
    let announced = announced_length(head, note).map(Framing::Length);
    put_framing(out, announced.unwrap_or(note.framing));
    match note.connection {
        Connection::Close => line(out, b"Connection", b"close"),
        Connection::KeepAlive if note.is_http10_client => line(out, b"Connection", b"keep-alive"),
        Connection::KeepAlive => {}
        Connection::Upgrade => {
            line(out, b"Connection", b"upgrade");
            if let Some(field) = head.message.upgrade() {
                line(out, b"Upgrade", field.value.of(head.fields().buffer));
            }
        }
    }
    put(out, b"\r\n");
}

/// The same head as fields, for a client whose protocol knows none of its connection. `None` where only
/// text can say it: of a tunnel, or with a name that is none elsewhere.
pub(crate) fn response_fields(
    head: &ResponseHead<'_>,
    edits: &[HeaderEdit],
    note: ResponseNote,
) -> Option<HeaderMap> {
    if note.connection == Connection::Upgrade {
        return None;
    }
    let buffer = head.fields().buffer;
    let mut fields = HeaderMap::with_capacity(head.fields().len() + edits.len());
    let edits = Edits::new(edits);
    for field in head.fields().table.iter() {
        if !head.message.options.removes(buffer, field) && !edits.replaces(buffer, field) {
            let name = HeaderName::from_bytes(field.name.of(buffer)).ok()?;
            fields.append(name, HeaderValue::from_bytes(field.value.of(buffer)).ok()?);
        }
    }
    edits.added(|name, value| {
        fields.append(name.clone(), value.clone());
    });
    if let Some(bytes) = announced_length(head, note) {
        fields.append(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    Some(fields)
}

/// Appends an interim response (100, 103) for the client.
pub(crate) fn interim_head(out: &mut Vec<u8>, head: &ResponseHead<'_>) {
    status_line(out, head.status(), reason(head));
    end_to_end(out, head, None);
    put(out, b"\r\n");
}

/// Appends a response of our own, with its body unless it answers HEAD.
pub(crate) fn answer(out: &mut Vec<u8>, answer: &Answer, is_head: bool, closes: bool) {
    let reason = answer.status.canonical_reason().unwrap_or_default();
    status_line(out, answer.status, reason.as_bytes());
    for (name, value) in &answer.headers {
        line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    if !has_no_body(answer.status) {
        put_framing(out, Framing::Length(answer.body.len() as u64));
    }
    if closes {
        line(out, b"Connection", b"close");
    }
    put(out, b"\r\n");
    if !is_head && !has_no_body(answer.status) {
        put(out, &answer.body);
    }
}

/// Appends what goes before the data of a chunk; [`CHUNK_END`] goes behind it. `bytes` is not 0.
pub(crate) fn chunk_start(out: &mut Vec<u8>, bytes: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut shift = (usize::BITS - bytes.leading_zeros()).saturating_sub(1) / 4 * 4;
    loop {
        out.push(DIGITS[(bytes >> shift) & 0xf]);
        if shift == 0 {
            break;
        }
        shift -= 4;
    }
    put(out, b"\r\n");
}

/// Ends a chunk.
pub(crate) const CHUNK_END: &[u8] = b"\r\n";

/// Appends the last chunk, and trailers as [`super::BodyDecoder::trailers`] gives them.
pub(crate) fn last_chunk(out: &mut Vec<u8>, trailers: &[u8]) {
    put(out, b"0\r\n");
    put(out, trailers);
    put(out, b"\r\n");
}

/// One field line.
#[inline]
pub(super) fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    put(out, name);
    put(out, b": ");
    put(out, value);
    put(out, b"\r\n");
}

/// The endpoint's fields that are meant for the client.
fn end_to_end(out: &mut Vec<u8>, head: &ResponseHead<'_>, edits: Option<&Edits<'_>>) {
    let buffer = head.fields().buffer;
    let mut kept = Kept::new(buffer);
    for field in head.fields().table.iter() {
        let is_removed = head.message.options.removes(buffer, field)
            || edits.is_some_and(|edits| edits.replaces(buffer, field));
        if !is_removed {
            kept.field(out, field);
        }
    }
    kept.flush(out);
}

/// Field lines on their way from one head to the next. Neighbours that were sent just as we would
/// write them go in one piece.
struct Kept<'a> {
    buffer: &'a [u8],
    run: Range<usize>,
}

impl<'a> Kept<'a> {
    fn new(buffer: &'a [u8]) -> Self {
        Self { buffer, run: 0..0 }
    }

    #[inline]
    fn field(&mut self, out: &mut Vec<u8>, field: &Field) {
        match field.as_written(self.buffer) {
            Some(whole) if whole.start == self.run.end => self.run.end = whole.end,
            Some(whole) => {
                self.flush(out);
                self.run = whole;
            }
            None => {
                self.flush(out);
                line(out, field.name.of(self.buffer), field.value.of(self.buffer));
            }
        }
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        put(out, &self.buffer[std::mem::take(&mut self.run)]);
    }
}

fn status_line(out: &mut Vec<u8>, status: StatusCode, reason: &[u8]) {
    put(out, b"HTTP/1.1 ");
    put(out, status.as_str().as_bytes());
    out.push(b' ');
    put(out, reason);
    put(out, b"\r\n");
}

/// The endpoint's words if they are plain ones, else the usual ones.
fn reason<'a>(head: &ResponseHead<'a>) -> &'a [u8] {
    let sent = head.line.reason.of(head.fields().buffer);
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
    if !sent.is_empty() && sent.iter().all(is_plain) {
        return sent;
    }
    let usual = head.status().canonical_reason();
    usual.unwrap_or_default().as_bytes()
}

/// Of the target, else the field's. Only HTTP/1.0 may have neither.
fn host<'a>(head: &'a RequestHead<'_>) -> &'a [u8] {
    match (head.authority(), head.message.host) {
        (Some(authority), _) => authority.as_bytes(),
        (None, Some(field)) => field.value.of(head.fields().buffer),
        (None, None) => b"",
    }
}

/// The length that the client hears of.
fn announced_length(head: &ResponseHead<'_>, note: ResponseNote) -> Option<u64> {
    match note.framing {
        Framing::Length(bytes) => Some(bytes),
        // What a body would have had: the answer to HEAD, or 304 (RFC 9110, 8.6).
        Framing::None if may_announce(head.status()) => head.message.content_length,
        Framing::None | Framing::Chunked | Framing::UntilClose => None,
    }
}

/// Whether a response without a body may say how long one would be (RFC 9110, 8.6).
fn may_announce(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT
}

fn put_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(bytes) => {
            put(out, b"Content-Length: ");
            put_decimal(out, bytes);
            put(out, b"\r\n");
        }
        Framing::Chunked => line(out, b"Transfer-Encoding", b"chunked"),
        Framing::None | Framing::UntilClose => {}
    }
}

fn put_decimal(out: &mut Vec<u8>, mut number: u64) {
    // The longest u64 has 20 digits.
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    put(out, &digits[at..]);
}

#[inline]
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
}
