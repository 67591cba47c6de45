//! Reads the answer to a probe and judges it. Never reads more than its bounds, and never waits:
//! the deadline is the caller's.

use http::{HeaderName, StatusCode};
use memchr::memmem;
use portcullis_token::headers::HEALTH_CAUSE;
use portcullis_traffic::containment::{DependencyName, Trouble};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::finding::{Failure, Finding};
use crate::config::{CheckMethod, ExpectedHeader, HttpQuestion};
use crate::engine::responses::{BodyDecoder, HeadError, HeadLimits, ResponseHead, ResponseParser};
use crate::pipeline::{Fields, announces_draining};

/// Reads one answer to its end, or as far as it is looked at.
pub(super) async fn judge(
    question: &HttpQuestion,
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Finding, Failure> {
    let mut parser = ResponseParser::default();
    let mut buffer = Vec::with_capacity(BUFFER_BYTES_USUAL);
    for _ in 0..=INTERIM_MAX {
        let head_bytes = read_head(stream, &mut parser, &mut buffer).await?;
        if !parser.status().is_informational() {
            if let Some(finding) = judge_head(question, &parser.head(&buffer))? {
                return Ok(finding);
            }
            buffer.drain(..head_bytes);
            let framing = parser.framing(question.method == CheckMethod::Head);
            let body = read_body(stream, BodyDecoder::new(framing), buffer).await?;
            return judge_body(question, &body);
        }
        if parser.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(malformed("another protocol, unasked"));
        }
        buffer.drain(..head_bytes);
        parser.reset();
    }
    Err(malformed("too many interim answers"))
}

/// `None` while only the body can tell.
fn judge_head(
    question: &HttpQuestion,
    head: &ResponseHead<'_>,
) -> Result<Option<Finding>, Failure> {
    let fields = head.fields();
    if announces_draining(fields) {
        return Ok(Some(Finding::Draining));
    }
    let status = head.status().as_u16();
    if !question.expect.contains(&status) {
        return Err(named_cause(fields).map_or_else(
            || Failure::with(Trouble::Status(status), "not an expected status"),
            |name| {
                let answered = format_args!("answered {status}");
                Failure::with(Trouble::Dependency(name), answered)
            },
        ));
    }
    let missed = question
        .headers
        .iter()
        .find(|header| !is_met(header, fields));
    match missed {
        Some(header) => Err(Failure::with(Trouble::HeaderMismatch, &header.name)),
        None => Ok(None),
    }
}

fn judge_body(question: &HttpQuestion, body: &[u8]) -> Result<Finding, Failure> {
    match &question.body {
        Some(text) if memmem::find(body, text.as_bytes()).is_none() => {
            Err(Failure::of(Trouble::BodyMismatch))
        }
        _ => Ok(Finding::Passed),
    }
}

fn is_met(expected: &ExpectedHeader, fields: &impl Fields) -> bool {
    match &expected.value {
        Some(value) => fields.all(&expected.name).any(|sent| sent == value),
        None => fields.first(&expected.name).is_some(),
    }
}

/// What the endpoint says it cannot reach.
pub(super) fn named_cause(fields: &impl Fields) -> Option<DependencyName> {
    let cause = fields.first(&HeaderName::from_static(HEALTH_CAUSE))?;
    DependencyName::new(std::str::from_utf8(cause).ok()?)
}

/// Reads until a head is complete and says how long it is. More may be in the buffer.
async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    parser: &mut ResponseParser,
    buffer: &mut Vec<u8>,
) -> Result<usize, Failure> {
    loop {
        match parser.advance(buffer, &LIMITS) {
            Ok(Some(head_bytes)) => return Ok(head_bytes),
            Ok(None) => {}
            Err(HeadError::Malformed(what)) => return Err(malformed(what)),
            Err(HeadError::TooLarge | HeadError::TargetTooLong) => {
                return Err(malformed("its head is too large"));
            }
        }
        match stream.read_buf(buffer).await {
            Ok(0) if buffer.is_empty() => return Err(Failure::of(Trouble::Reset)),
            Ok(0) => return Err(Failure::with(Trouble::Truncated, "in its head")),
            Ok(_) => {}
            Err(error) => return Err(Failure::with(Trouble::Reset, error)),
        }
    }
}

/// The first bytes of a body, or all of it. `raw` begins with what has arrived of it.
async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    mut decoder: BodyDecoder,
    mut raw: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let mut raw_bytes = raw.len();
    loop {
        let decoded = decoder
            .decode(&mut raw)
            .map_err(|error| Failure::with(Trouble::Malformed, format_args!("body: {error:?}")))?;
        body.extend_from_slice(&raw[..decoded.data]);
        raw.drain(..decoded.consumed);
        // What lies beyond is not looked at, and need not end.
        if decoder.is_done() || body.len() >= BODY_BYTES_MAX || raw_bytes >= RAW_BYTES_MAX {
            body.truncate(BODY_BYTES_MAX);
            return Ok(body);
        }
        if decoded.consumed > 0 && !raw.is_empty() {
            continue;
        }
        match stream.read_buf(&mut raw).await {
            Ok(0) => {
                let ended = decoder.finish();
                ended.map_err(|_truncated| Failure::of(Trouble::Truncated))?;
                return Ok(body);
            }
            Ok(read) => raw_bytes += read,
            Err(error) => return Err(Failure::with(Trouble::Truncated, error)),
        }
    }
}

fn malformed(what: &str) -> Failure {
    Failure::with(Trouble::Malformed, what)
}

const LIMITS: HeadLimits = HeadLimits {
    bytes: 32 * 1024,
    fields: 100,
    target_bytes: 0,
};
/// Most answers to health checks fit, head and body.
const BUFFER_BYTES_USUAL: usize = 2 * 1024;
/// How much of a body is looked at.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The same with the framing of chunks, which could be most of it.
const RAW_BYTES_MAX: usize = 1024 * 1024;
/// Answers such as 103 before the one that counts.
const INTERIM_MAX: usize = 8;
