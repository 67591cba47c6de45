//! Response heads (RFC 9112, 4). Never trusts an endpoint more than a client: a head that could be
//! read in two ways is refused.

use std::ops::Range;

use http::{StatusCode, Version};

use super::fields::{FieldsView, Span};
use super::line::{Line, LineReader, is_value};
use super::message::{Message, Rules};
use super::{Framing, HeadError, HeadLimits};

/// Reads response heads, one after the other.
#[derive(Debug, Default)]
pub(crate) struct ResponseParser {
    reader: LineReader,
    stage: Stage,
    line: StatusLine,
    message: Message,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    StatusLine,
    Fields,
    Done,
}

/// A response head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseHead<'a> {
    pub(super) line: &'a StatusLine,
    pub(super) message: &'a Message,
    fields: FieldsView<'a>,
}

impl ResponseParser {
    /// Forgets the head, keeps the memory.
    pub(crate) fn reset(&mut self) {
        self.reader = LineReader::default();
        self.stage = Stage::StatusLine;
        self.message.clear();
    }

    /// Reads on, like [`super::RequestParser::advance`]. `limits.target_bytes` means nothing here.
    pub(crate) fn advance(
        &mut self,
        buffer: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<usize>, HeadError> {
        let window = limits.window(buffer);
        while self.stage != Stage::Done {
            match self.reader.next(window) {
                Line::Whole(line) => self.take(window, line, limits)?,
                Line::Open(line) => {
                    self.check_beginning(&window[line])?;
                    let is_all = window.len() == buffer.len();
                    return if is_all {
                        Ok(None)
                    } else {
                        Err(HeadError::TooLarge)
                    };
                }
                Line::Broken(_) => return Err(HeadError::Malformed("bare CR or LF")),
            }
        }
        Ok(Some(self.reader.position()))
    }

    /// The head that [`Self::advance`] found complete; `buffer` still begins with it.
    pub(crate) fn head<'a>(&'a self, buffer: &'a [u8]) -> ResponseHead<'a> {
        ResponseHead {
            line: &self.line,
            message: &self.message,
            fields: self.message.view(buffer),
        }
    }

    /// The status sent.
    pub(crate) fn status(&self) -> StatusCode {
        self.line.status
    }

    /// How the body is framed (RFC 9112, 6.3), which depends on what was asked.
    pub(crate) fn framing(&self, request_is_head: bool) -> Framing {
        if request_is_head || has_no_body(self.line.status) {
            return Framing::None;
        }
        self.message.framing().unwrap_or(Framing::UntilClose)
    }

    /// Whether the endpoint takes another request on this connection once the body has ended.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.message.keeps_alive(self.line.version)
    }

    /// Whether the connection speaks another protocol from here on.
    pub(crate) fn is_upgrade(&self) -> bool {
        self.line.status == StatusCode::SWITCHING_PROTOCOLS
            && self.line.version == Version::HTTP_11
            && self.message.upgrade().is_some()
    }

    fn take(
        &mut self,
        window: &[u8],
        line: Range<usize>,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        match (self.stage, line.is_empty()) {
            (Stage::StatusLine, _) => {
                self.line = StatusLine::read(window, line)?;
                self.stage = Stage::Fields;
            }
            (Stage::Fields, true) => self.stage = Stage::Done,
            (Stage::Fields, false) => {
                let rules = Rules {
                    version: self.line.version,
                    fields_max: limits.fields,
                    repeats_length: true,
                };
                self.message.field(window, line, rules)?;
            }
            (Stage::Done, _) => {}
        }
        Ok(())
    }

    /// Whoever speaks another protocol is found out by the first bytes.
    fn check_beginning(&self, line: &[u8]) -> Result<(), HeadError> {
        let known = line.len().min(PROTOCOL.len());
        if self.stage == Stage::StatusLine && line[..known] != PROTOCOL[..known] {
            return Err(HeadError::Malformed("version"));
        }
        Ok(())
    }
}

impl<'a> ResponseHead<'a> {
    /// The status sent.
    pub(crate) fn status(&self) -> StatusCode {
        self.line.status
    }

    /// The field lines.
    pub(crate) fn fields(&self) -> &FieldsView<'a> {
        &self.fields
    }
}

#[derive(Debug, Default)]
pub(super) struct StatusLine {
    pub(super) version: Version,
    pub(super) status: StatusCode,
    pub(super) reason: Span,
}

impl StatusLine {
    /// `HTTP/1.x 200 Reason`. The space behind the status is required, but many endpoints leave it
    /// out with the reason, and nothing can be misread then.
    fn read(window: &[u8], line: Range<usize>) -> Result<Self, HeadError> {
        let text = &window[line.clone()];
        let version = match text.get(..VERSION_BYTES) {
            Some(b"HTTP/1.1 ") => Version::HTTP_11,
            Some(b"HTTP/1.0 ") => Version::HTTP_10,
            _ => return Err(HeadError::Malformed("version")),
        };
        let status_end = VERSION_BYTES + 3;
        let status = text
            .get(VERSION_BYTES..status_end)
            .and_then(|digits| StatusCode::from_bytes(digits).ok())
            .filter(|status| status.as_u16() < 600)
            .ok_or(HeadError::Malformed("status"))?;
        let reason = match &text[status_end..] {
            [] => line.end,
            [b' ', reason @ ..] if is_value(reason) => line.start + status_end + 1,
            _ => return Err(HeadError::Malformed("reason")),
        };
        Ok(Self {
            version,
            status,
            reason: Span::new(reason..line.end),
        })
    }
}

/// Statuses that end with the head, whatever it says (RFC 9112, 6.3).
pub(super) fn has_no_body(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

const PROTOCOL: &[u8] = b"HTTP/1.";
const VERSION_BYTES: usize = "HTTP/1.1 ".len();
