//! What request and response heads have in common: fields, framing and connection options. Never
//! guesses: what contradicts itself is malformed.

use std::ops::Range;

use http::Version;

use super::fields::{Field, FieldTable, FieldsView};
use super::hop::Options;
use super::known::Known;
use super::line::{decimal, elements};
use super::{Framing, HeadError};

/// Everything behind the first line of a head. Reused from head to head.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) fields: FieldTable,
    pub(super) options: Options,
    pub(super) content_length: Option<u64>,
    pub(super) is_chunked: bool,
    pub(super) host: Option<Field>,
    upgrade: Single,
    expect: Single,
    /// `TE` has `trailers`: the sender understands them.
    pub(super) takes_trailers: bool,
}

/// A field that is acted on only if there is one and it says what we know.
#[derive(Clone, Copy, Debug, Default)]
enum Single {
    #[default]
    Absent,
    Usable(Field),
    Unusable,
}

/// What a field is read under.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) version: Version,
    pub(super) fields_max: usize,
    /// Responses only: the same length said twice is one length. Of requests it is an attack.
    pub(super) repeats_length: bool,
}

impl Message {
    pub(super) fn clear(&mut self) {
        self.fields.clear();
        self.options.clear();
        self.content_length = None;
        self.is_chunked = false;
        self.host = None;
        self.upgrade = Single::Absent;
        self.expect = Single::Absent;
        self.takes_trailers = false;
    }

    /// Reads one field line.
    #[inline]
    pub(super) fn field(
        &mut self,
        window: &[u8],
        line: Range<usize>,
        rules: Rules,
    ) -> Result<(), HeadError> {
        let field = self.fields.push(window, line, rules.fields_max)?;
        if field.known == Known::Other {
            return Ok(());
        }
        self.note(window, field, rules)
    }

    fn note(&mut self, window: &[u8], field: Field, rules: Rules) -> Result<(), HeadError> {
        let value = field.value.of(window);
        match field.known {
            Known::Connection => self.options.read(window, field)?,
            Known::ContentLength => self.note_length(value, rules)?,
            Known::TransferEncoding => self.note_encoding(value, rules)?,
            Known::Host if self.host.is_none() => self.host = Some(field),
            Known::Expect => {
                let is_known = value.eq_ignore_ascii_case(b"100-continue");
                self.expect.note(field, is_known);
            }
            // HTTP/2 in clear would carry requests past us that nobody checks.
            Known::Upgrade => {
                let is_h2c = elements(value).any(|name| name.eq_ignore_ascii_case(b"h2c"));
                self.upgrade.note(field, !is_h2c && !value.is_empty());
            }
            Known::Te => {
                self.takes_trailers |=
                    elements(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
            }
            _ => {}
        }
        Ok(())
    }

    fn note_length(&mut self, value: &[u8], rules: Rules) -> Result<(), HeadError> {
        let length = decimal(value).ok_or(HeadError::Malformed("content length"))?;
        let agrees = match self.content_length {
            Some(other) => rules.repeats_length && other == length,
            None => true,
        };
        if !agrees || self.is_chunked {
            return Err(HeadError::Malformed("two framings"));
        }
        self.content_length = Some(length);
        Ok(())
    }

    fn note_encoding(&mut self, value: &[u8], rules: Rules) -> Result<(), HeadError> {
        if self.is_chunked || self.content_length.is_some() {
            return Err(HeadError::Malformed("two framings"));
        }
        // HTTP/1.0 knows no transfer codings; whoever sends one has been translated badly
        // (RFC 9112, 6.1).
        if rules.version != Version::HTTP_11 || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadError::Malformed("transfer encoding"));
        }
        self.is_chunked = true;
        Ok(())
    }

    /// What the fields alone say.
    pub(super) fn framing(&self) -> Option<Framing> {
        if self.is_chunked {
            return Some(Framing::Chunked);
        }
        self.content_length.map(Framing::Length)
    }

    /// Whether the sender will take another message on this connection (RFC 9112, 9.3).
    pub(super) fn keeps_alive(&self, version: Version) -> bool {
        !self.options.closes && (version == Version::HTTP_11 || self.options.keeps_alive)
    }

    pub(super) fn expects_continue(&self) -> bool {
        matches!(self.expect, Single::Usable(_))
    }

    /// `Upgrade`, if `Connection` names it as well.
    pub(super) fn upgrade(&self) -> Option<Field> {
        match self.upgrade {
            Single::Usable(field) if self.options.upgrades => Some(field),
            _ => None,
        }
    }

    pub(super) fn view<'a>(&'a self, buffer: &'a [u8]) -> FieldsView<'a> {
        FieldsView {
            buffer,
            table: &self.fields,
        }
    }
}

impl Single {
    fn note(&mut self, field: Field, is_usable: bool) {
        *self = match self {
            Self::Absent if is_usable => Self::Usable(field),
            _ => Self::Unusable,
        };
    }
}
