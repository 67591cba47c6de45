//! Message bodies, decoded where they lie. Never keeps a byte of them.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Framing;
use super::chunked::ChunkedDecoder;

/// Why a body is refused. Nothing may be read from its connection after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Against the grammar of chunks; the text is for a log.
    Malformed(&'static str),
    /// Chunk extensions or trailers beyond our bounds.
    TooLarge,
    /// The connection ended before the body did.
    Truncated,
}

/// What one call did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Input bytes used up.
    pub(crate) consumed: usize,
    /// Payload bytes, now at the front of the input.
    pub(crate) data: usize,
}

/// Follows one body to its end.
#[derive(Debug)]
pub(crate) struct BodyDecoder {
    state: State,
}

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
    Closed,
}

impl BodyDecoder {
    /// A decoder of a body framed so.
    pub(crate) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None => State::Length(0),
            Framing::Length(bytes) => State::Length(bytes),
            Framing::Chunked => State::Chunked(ChunkedDecoder::default()),
            Framing::UntilClose => State::UntilClose,
        };
        Self { state }
    }

    /// Takes as much of `input` as belongs to the body and moves the payload to its front. Bytes
    /// from `consumed` on are left as they were.
    pub(crate) fn decode(&mut self, input: &mut [u8]) -> Result<Decoded, BodyError> {
        let taken = match &mut self.state {
            State::Chunked(chunks) => return chunks.decode(input),
            State::Length(remaining) => {
                let taken = usize::try_from(*remaining).map_or(input.len(), |n| n.min(input.len()));
                *remaining -= taken as u64;
                taken
            }
            State::UntilClose => input.len(),
            State::Closed => 0,
        };
        Ok(Decoded {
            consumed: taken,
            data: taken,
        })
    }

    /// Whether all of the body has been decoded.
    pub(crate) fn is_done(&self) -> bool {
        match &self.state {
            State::Length(remaining) => *remaining == 0,
            State::Chunked(chunks) => chunks.is_done(),
            State::UntilClose => false,
            State::Closed => true,
        }
    }

    /// The connection has ended: that is the end of a body that has no other.
    pub(crate) fn finish(&mut self) -> Result<(), BodyError> {
        if matches!(self.state, State::UntilClose) {
            self.state = State::Closed;
        }
        if self.is_done() {
            Ok(())
        } else {
            Err(BodyError::Truncated)
        }
    }

    /// Trailer fields that may travel on, ready to send; mostly none.
    pub(crate) fn trailers(&self) -> &[u8] {
        match &self.state {
            State::Chunked(chunks) => chunks.trailers(),
            State::Length(_) | State::UntilClose | State::Closed => &[],
        }
    }
}

/// What [`BodyDecoder::trailers`] gives, field by field.
pub(crate) fn trailers(lines: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines.split(|&byte| byte == b'\n') {
        let mut parts = line.trim_ascii_end().splitn(2, |&byte| byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            continue;
        };
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    map
}
