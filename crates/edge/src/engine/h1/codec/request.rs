//! Request heads (RFC 9112, 3). Never judges a host or a path: that is the pipeline's.

use std::ops::Range;

use http::{Method, Version};
use memchr::{memchr, memchr2};

use super::fields::{FieldsView, Span};
use super::line::{Line, LineReader, is_target, is_token_byte};
use super::message::{Message, Rules};
use super::{Framing, HeadError, HeadLimits};
use crate::pipeline::Head;

/// The longest registered method has 17 characters; http keeps up to 15 without memory of its own.
const METHOD_BYTES_MAX: usize = 32;

/// Reads request heads, one after the other.
#[derive(Debug, Default)]
pub(crate) struct RequestParser {
    reader: LineReader,
    stage: Stage,
    line: RequestLine,
    message: Message,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    RequestLine,
    /// One empty line was skipped (RFC 9112, 2.2).
    AfterEmptyLine,
    Fields,
    Done,
}

/// A request head: the parts of its first line, and its fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestHead<'a> {
    pub(super) line: &'a RequestLine,
    pub(super) message: &'a Message,
    fields: FieldsView<'a>,
    path: &'a str,
    query: Option<&'a str>,
    authority: Option<&'a str>,
}

impl RequestParser {
    /// Forgets the head, keeps the memory.
    pub(crate) fn reset(&mut self) {
        self.reader = LineReader::default();
        self.stage = Stage::RequestLine;
        self.message.clear();
    }

    /// Reads on. `buffer` begins with the first byte of the head and only grows between calls.
    /// `Some`: the head is complete and so many bytes long; what is behind it was not looked at.
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
                    self.check_beginning(&window[line], limits)?;
                    let is_all = window.len() == buffer.len();
                    return if is_all {
                        Ok(None)
                    } else {
                        Err(HeadError::TooLarge)
                    };
                }
                Line::Broken(line) => {
                    self.check_beginning(&window[line], limits)?;
                    return Err(HeadError::Malformed("bare CR or LF"));
                }
            }
        }
        Ok(Some(self.reader.position()))
    }

    /// The head that [`Self::advance`] found complete; `buffer` still begins with it.
    pub(crate) fn head<'a>(&'a self, buffer: &'a [u8]) -> RequestHead<'a> {
        let target = self.line.target;
        let host = || std::str::from_utf8(self.message.host?.value.of(buffer)).ok();
        RequestHead {
            line: &self.line,
            message: &self.message,
            fields: self.message.view(buffer),
            path: target.path(buffer, &self.line.method),
            query: text(target.query, buffer).strip_prefix('?'),
            authority: target.authority(buffer).or_else(host),
        }
    }

    /// How the body is framed; never [`Framing::UntilClose`].
    pub(crate) fn framing(&self) -> Framing {
        self.message.framing().unwrap_or(Framing::None)
    }

    /// Whether the client means to send another request on this connection.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.message.keeps_alive(self.line.version)
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(crate) fn expects_continue(&self) -> bool {
        self.line.version == Version::HTTP_11 && self.message.expects_continue()
    }

    /// Whether the client asks for another protocol: `Upgrade` alone does not, `Connection` must
    /// name it (RFC 9110, 7.8). `h2c` does not count.
    pub(crate) fn asks_for_upgrade(&self) -> bool {
        self.line.version == Version::HTTP_11 && self.message.upgrade().is_some()
    }

    /// The same where nothing stands between the request and the other protocol: no body.
    pub(crate) fn wants_another_protocol(&self) -> bool {
        self.asks_for_upgrade() && self.framing() == Framing::None
    }

    fn take(
        &mut self,
        window: &[u8],
        line: Range<usize>,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        match (self.stage, line.is_empty()) {
            (Stage::RequestLine, true) => self.stage = Stage::AfterEmptyLine,
            (Stage::AfterEmptyLine, true) => return Err(HeadError::Malformed("empty lines")),
            (Stage::RequestLine | Stage::AfterEmptyLine, false) => {
                self.line.read(window, line, limits)?;
                self.stage = Stage::Fields;
            }
            (Stage::Fields, true) => self.stage = Stage::Done,
            (Stage::Fields, false) => {
                let rules = Rules {
                    version: self.line.version,
                    fields_max: limits.fields,
                    repeats_length: false,
                };
                self.message.field(window, line, rules)?;
            }
            (Stage::Done, _) => {}
        }
        Ok(())
    }

    /// What can be said of a line before it has ended.
    fn check_beginning(&self, line: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
        match self.stage {
            Stage::RequestLine | Stage::AfterEmptyLine => split(line, limits).map(|_| ()),
            Stage::Fields | Stage::Done => Ok(()),
        }
    }
}

/// The path is `*` for `OPTIONS *` and empty for CONNECT. A `Host` that is no text is no authority.
impl<'a> Head for RequestHead<'a> {
    type Fields = FieldsView<'a>;

    fn method(&self) -> &Method {
        &self.line.method
    }

    fn version(&self) -> Version {
        self.line.version
    }

    fn path(&self) -> &str {
        self.path
    }

    fn query(&self) -> Option<&str> {
        self.query
    }

    fn authority(&self) -> Option<&str> {
        self.authority
    }

    fn fields(&self) -> &FieldsView<'a> {
        &self.fields
    }
}

#[derive(Debug, Default)]
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) version: Version,
    target: Target,
}

impl RequestLine {
    fn read(
        &mut self,
        window: &[u8],
        line: Range<usize>,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        let text = &window[line.clone()];
        let Parts {
            method_end: Some(method_end),
            target_end: Some(target_end),
        } = split(text, limits)?
        else {
            return Err(HeadError::Malformed("request line"));
        };
        self.version = match &text[target_end + 1..] {
            b"HTTP/1.1" => Version::HTTP_11,
            b"HTTP/1.0" => Version::HTTP_10,
            _ => return Err(HeadError::Malformed("version")),
        };
        self.method =
            Method::from_bytes(&text[..method_end]).map_err(|_| HeadError::Malformed("method"))?;
        let target = line.start + method_end + 1..line.start + target_end;
        self.target = Target::read(window, target, &self.method)?;
        Ok(())
    }
}

/// Where the spaces of a request line are, as far as it has arrived.
struct Parts {
    method_end: Option<usize>,
    target_end: Option<usize>,
}

/// Finds the parts of a request line, or of the beginning of one. Goes from left to right, so that
/// the verdict on a beginning is the verdict on the whole.
fn split(line: &[u8], limits: &HeadLimits) -> Result<Parts, HeadError> {
    let found = line.iter().position(|&byte| !is_token_byte(byte));
    let method_end = found.unwrap_or(line.len());
    let is_ended = found.is_some();
    if method_end > METHOD_BYTES_MAX || (is_ended && (method_end == 0 || line[method_end] != b' '))
    {
        return Err(HeadError::Malformed("method"));
    }
    if !is_ended {
        return Ok(Parts {
            method_end: None,
            target_end: None,
        });
    }
    let target = &line[method_end + 1..];
    let target_bytes = memchr(b' ', target);
    if target_bytes.unwrap_or(target.len()) > limits.target_bytes {
        return Err(HeadError::TargetTooLong);
    }
    Ok(Parts {
        method_end: Some(method_end),
        target_end: target_bytes.map(|bytes| method_end + 1 + bytes),
    })
}

/// Where the parts of a target are.
#[derive(Clone, Copy, Debug, Default)]
struct Target {
    form: Form,
    authority: Span,
    path: Span,
    /// With the question mark before it; empty if there is none.
    query: Span,
}

/// RFC 9112, 3.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Origin,
    Absolute,
    Authority,
    Asterisk,
}

impl Target {
    fn read(window: &[u8], target: Range<usize>, method: &Method) -> Result<Self, HeadError> {
        let bytes = &window[target.clone()];
        if bytes.is_empty() || !is_target(bytes) {
            return Err(HeadError::Malformed("target"));
        }
        let (form, authority, path) = if *method == Method::CONNECT {
            (Form::Authority, target.clone(), target.end)
        } else if bytes[0] == b'/' {
            (Form::Origin, target.start..target.start, target.start)
        } else if bytes == b"*" && *method == Method::OPTIONS {
            (Form::Asterisk, target.start..target.start, target.end)
        } else {
            let start = scheme_bytes(bytes).ok_or(HeadError::Malformed("target"))?;
            let behind = &bytes[start..];
            let end = start + memchr2(b'/', b'?', behind).unwrap_or(behind.len());
            let authority = target.start + start..target.start + end;
            (Form::Absolute, authority, target.start + end)
        };
        let query = memchr(b'?', &window[path..target.end]);
        let query = query.map_or(target.end, |at| path + at);
        Ok(Self {
            form,
            authority: Span::new(authority),
            path: Span::new(path..query),
            query: Span::new(query..target.end),
        })
    }

    fn path<'a>(&self, buffer: &'a [u8], method: &Method) -> &'a str {
        match self.form {
            Form::Asterisk => "*",
            // How OPTIONS asks a proxy about the server as a whole (RFC 9112, 3.2.4).
            Form::Absolute
                if self.path.is_empty() && self.query.is_empty() && *method == Method::OPTIONS =>
            {
                "*"
            }
            Form::Absolute if self.path.is_empty() => "/",
            Form::Origin | Form::Absolute | Form::Authority => text(self.path, buffer),
        }
    }

    fn authority<'a>(&self, buffer: &'a [u8]) -> Option<&'a str> {
        match self.form {
            Form::Absolute | Form::Authority => Some(text(self.authority, buffer)),
            Form::Origin | Form::Asterisk => None,
        }
    }
}

/// Length of `http://` or `https://` in front of an absolute form.
fn scheme_bytes(target: &[u8]) -> Option<usize> {
    let begins = |scheme: &&[u8]| {
        let start = target.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    schemes
        .iter()
        .find(|s| begins(s))
        .map(|scheme| scheme.len())
}

fn text(span: Span, buffer: &[u8]) -> &str {
    std::str::from_utf8(span.of(buffer)).expect("the target was found to be ASCII")
}
