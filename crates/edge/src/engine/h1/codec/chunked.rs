//! The chunked transfer coding (RFC 9112, 7.1). Never passes on a chunk extension, or a trailer
//! that means something to whoever frames, routes or authorises.

use memchr::memchr;

use super::body::{BodyError, Decoded};
use super::fields::Field;
use super::hop;
use super::line::is_value;

/// Extensions of one chunk. We drop them, so their only use is to keep us busy.
const EXTENSION_BYTES_MAX: usize = 256;
const TRAILER_BYTES_MAX: usize = 8 * 1024;
const TRAILER_FIELDS_MAX: usize = 64;
/// As many hexadecimal digits are a `u64`.
const SIZE_DIGITS_MAX: u8 = 16;

/// Follows one chunked body to its end.
#[derive(Debug)]
pub(super) struct ChunkedDecoder {
    state: State,
    /// Only bodies with trailers need one.
    trailers: Option<Box<Trailers>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        bytes: u64,
        digits: u8,
    },
    Extension {
        bytes: u64,
        length: usize,
    },
    SizeLf {
        bytes: u64,
    },
    Data {
        remaining: u64,
    },
    DataCr,
    DataLf,
    /// At the beginning of a line behind the last chunk.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

#[derive(Debug, Default)]
struct Trailers {
    /// The line that is arriving.
    line: Vec<u8>,
    /// Field lines that may travel on.
    ready: Vec<u8>,
    bytes: usize,
    fields: usize,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self {
            state: NEXT_CHUNK,
            trailers: None,
        }
    }
}

impl ChunkedDecoder {
    /// See [`super::BodyDecoder::decode`].
    pub(super) fn decode(&mut self, input: &mut [u8]) -> Result<Decoded, BodyError> {
        let (mut consumed, mut data) = (0, 0);
        while consumed < input.len() && self.state != State::Done {
            let rest = &input[consumed..];
            consumed += match self.state {
                State::Data { remaining } => {
                    let taken =
                        usize::try_from(remaining).map_or(rest.len(), |n| n.min(rest.len()));
                    input.copy_within(consumed..consumed + taken, data);
                    data += taken;
                    self.state = match remaining - taken as u64 {
                        0 => State::DataCr,
                        remaining => State::Data { remaining },
                    };
                    taken
                }
                State::Extension { bytes, length } => self.pass_extension(rest, bytes, length)?,
                _ => {
                    self.state = self.after(rest[0])?;
                    1
                }
            };
        }
        Ok(Decoded { consumed, data })
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    pub(super) fn trailers(&self) -> &[u8] {
        match &self.trailers {
            Some(trailers) => &trailers.ready,
            None => &[],
        }
    }

    /// Passes what has come of the extension of a chunk of `bytes` bytes, of which `length` were passed before.
    fn pass_extension(
        &mut self,
        input: &[u8],
        bytes: u64,
        length: usize,
    ) -> Result<usize, BodyError> {
        let most = EXTENSION_BYTES_MAX - length;
        let end = memchr(b'\r', &input[..input.len().min(most + 1)]);
        let passed = end.unwrap_or(input.len().min(most));
        if !is_value(&input[..passed]) {
            return Err(BodyError::Malformed("chunk syntax"));
        }
        if end.is_some() {
            self.state = State::SizeLf { bytes };
            return Ok(passed + 1);
        }
        if input.len() > most {
            return Err(BodyError::TooLarge);
        }
        self.state = State::Extension {
            bytes,
            length: length + passed,
        };
        Ok(passed)
    }

    /// The state behind one byte that is neither payload nor of an extension.
    fn after(&mut self, byte: u8) -> Result<State, BodyError> {
        Ok(match (self.state, byte) {
            (State::Size { bytes, digits }, b'\r') if digits > 0 => State::SizeLf { bytes },
            (State::Size { bytes, digits }, b';') if digits > 0 => {
                State::Extension { bytes, length: 1 }
            }
            (State::Size { bytes, digits }, _) => next_digit(bytes, digits, byte)?,
            (State::SizeLf { bytes: 0 }, b'\n') => State::TrailerStart,
            (State::SizeLf { bytes }, b'\n') => State::Data { remaining: bytes },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => NEXT_CHUNK,
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::EndLf, b'\n') => State::Done,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerStart | State::Trailer, _) if is_value(&[byte]) => {
                self.trailers.get_or_insert_default().push(byte)?;
                State::Trailer
            }
            (State::TrailerLf, b'\n') => {
                self.trailers.get_or_insert_default().end_line()?;
                State::TrailerStart
            }
            _ => return Err(BodyError::Malformed("chunk syntax")),
        })
    }
}

fn next_digit(bytes: u64, digits: u8, byte: u8) -> Result<State, BodyError> {
    let digit = char::from(byte).to_digit(16);
    match digit {
        Some(digit) if digits < SIZE_DIGITS_MAX => Ok(State::Size {
            bytes: bytes << 4 | u64::from(digit),
            digits: digits + 1,
        }),
        _ => Err(BodyError::Malformed("chunk size")),
    }
}

impl Trailers {
    fn push(&mut self, byte: u8) -> Result<(), BodyError> {
        self.bytes += 1;
        if self.bytes > TRAILER_BYTES_MAX {
            return Err(BodyError::TooLarge);
        }
        self.line.push(byte);
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), BodyError> {
        self.fields += 1;
        if self.fields > TRAILER_FIELDS_MAX {
            return Err(BodyError::TooLarge);
        }
        let field = Field::parse(&self.line, 0..self.line.len())
            .map_err(|_| BodyError::Malformed("trailer"))?;
        let name = field.name.of(&self.line);
        if hop::may_come_late(name) {
            self.ready.extend_from_slice(name);
            self.ready.extend_from_slice(b": ");
            self.ready.extend_from_slice(field.value.of(&self.line));
            self.ready.extend_from_slice(b"\r\n");
        }
        self.line.clear();
        Ok(())
    }
}

const NEXT_CHUNK: State = State::Size {
    bytes: 0,
    digits: 0,
};
