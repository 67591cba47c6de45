//! HTTP/1.1 messages from bytes and back (RFC 9112), strictly. Never does IO, reads a clock or
//! passes on bytes that it did not understand.
//!
//! A message that two parsers could read in two ways is refused, not repaired: bare CR or LF,
//! folded lines, white space before a colon, two framings, a length that is not plain digits. What
//! goes on is written anew from what was parsed.
//!
//! Parsers are fed a buffer that grows, and answer the same however the bytes were cut.

use crate::outcome::Cause;

mod body;
mod chunked;
mod edits;
mod fields;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod hop;
mod known;
mod line;
mod message;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use body::{BodyDecoder, trailers};
pub(crate) use request::{RequestHead, RequestParser};
pub(crate) use response::{ResponseHead, ResponseParser};
pub(crate) use write::{
    CHUNK_END, Connection, ResponseNote, answer, chunk_start, interim_head, last_chunk,
    request_head, response_fields, response_head,
};

/// How much of a head is read before it is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// From the first byte to the empty line, both included.
    pub(crate) bytes: usize,
    /// Header fields.
    pub(crate) fields: usize,
    /// Request target as sent.
    pub(crate) target_bytes: usize,
}

impl HeadLimits {
    /// What of `buffer` may be looked at: a verdict never depends on bytes beyond the limit.
    fn window<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        &buffer[..buffer.len().min(self.bytes).min(u32::MAX as usize)]
    }
}

/// Why a head is refused. Nothing may be read from its connection after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// Against the grammar; the text is for a log.
    Malformed(&'static str),
    /// More bytes or fields than the limits allow.
    TooLarge,
    /// The request target alone is longer than the limits allow.
    TargetTooLong,
}

impl HeadError {
    /// What a client hears of it.
    pub(crate) fn cause(self) -> Cause {
        match self {
            Self::Malformed(_) => Cause::HeadMalformed,
            Self::TooLarge => Cause::HeadTooLarge,
            Self::TargetTooLong => Cause::TargetTooLong,
        }
    }
}

/// Where the body of a message ends (RFC 9112, 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk and its trailers.
    Chunked,
    /// With the connection; responses only.
    UntilClose,
}
