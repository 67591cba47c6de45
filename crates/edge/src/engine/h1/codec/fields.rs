//! Header fields as positions in the buffer that the head was read from. Never copies a name or a
//! value, and never allocates once the table has grown to the usual size.

use std::ops::Range;

use http::HeaderName;

use super::HeadError;
use super::known::{Known, Tag};
use super::line::{is_token_byte, is_value, trim};
use crate::pipeline::Fields;

/// Positions of some bytes in the buffer of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Heads are shorter than 4 GiB: parsers look at no more.
    #[inline]
    pub(super) fn new(range: Range<usize>) -> Self {
        Self {
            start: range.start as u32,
            end: range.end as u32,
        }
    }

    /// Where `part` lies in `buffer`, of which it is a part.
    #[inline]
    pub(super) fn within(buffer: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr().addr() - buffer.as_ptr().addr();
        Self::new(start..start + part.len())
    }

    #[inline]
    pub(super) fn of(self, buffer: &[u8]) -> &[u8] {
        &buffer[self.start as usize..self.end as usize]
    }

    #[inline]
    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// One field line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: Span,
    pub(super) value: Span,
    pub(super) tag: Tag,
    pub(super) known: Known,
}

impl Field {
    /// `line` of `window` as a field (RFC 9112, 5).
    #[inline]
    pub(super) fn parse(window: &[u8], line: Range<usize>) -> Result<Self, HeadError> {
        let text = &window[line.clone()];
        let colon = text.iter().position(|&byte| !is_token_byte(byte));
        let Some(colon) = colon.filter(|&at| at > 0 && text[at] == b':') else {
            return Err(HeadError::Malformed("field name"));
        };
        let (name, behind) = (&text[..colon], &text[colon + 1..]);
        let value = trim(behind);
        if !is_value(value) {
            return Err(HeadError::Malformed("field value"));
        }
        let tag = Tag::of(name);
        Ok(Self {
            name: Span::new(line.start..line.start + colon),
            value: Span::within(window, value),
            tag,
            known: Known::of(name, tag),
        })
    }

    /// The whole line, with its end, where it was sent just as we would write it.
    #[inline]
    pub(super) fn as_written(&self, buffer: &[u8]) -> Option<Range<usize>> {
        let (name, value) = (self.name.range(), self.value.range());
        let whole = name.start..value.end + 2;
        let is_ours = buffer.get(name.end..value.start) == Some(b": ")
            && buffer.get(value.end..whole.end) == Some(b"\r\n");
        is_ours.then_some(whole)
    }

    /// Whether both are one name. `text` is lower-case.
    #[inline]
    pub(super) fn is_named(&self, buffer: &[u8], tag: Tag, text: &[u8]) -> bool {
        self.tag == tag && self.name.of(buffer).eq_ignore_ascii_case(text)
    }
}

/// Few heads have more fields: the table takes memory once.
const FIELDS_USUAL: usize = 24;

/// The fields of one head, in order. Reused from head to head.
#[derive(Debug, Default)]
pub(super) struct FieldTable {
    fields: Vec<Field>,
    /// Bits of all names: most names that are asked for are absent, and one look shows it.
    names: u64,
}

impl FieldTable {
    pub(super) fn clear(&mut self) {
        self.fields.clear();
        self.names = 0;
    }

    #[inline]
    pub(super) fn push(
        &mut self,
        window: &[u8],
        line: Range<usize>,
        fields_max: usize,
    ) -> Result<Field, HeadError> {
        if self.fields.len() >= fields_max {
            return Err(HeadError::TooLarge);
        }
        let field = Field::parse(window, line)?;
        if self.fields.capacity() == 0 {
            self.fields.reserve(FIELDS_USUAL);
        }
        self.names |= field.tag.bit();
        self.fields.push(field);
        Ok(field)
    }

    /// The fields among which one with this tag is, if any is.
    #[inline]
    fn candidates(&self, tag: Tag) -> &[Field] {
        match self.names & tag.bit() {
            0 => &[],
            _ => &self.fields,
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Field> {
        self.fields.iter()
    }
}

/// The fields of a complete head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldsView<'a> {
    pub(super) buffer: &'a [u8],
    pub(super) table: &'a FieldTable,
}

impl FieldsView<'_> {
    /// Names and values of all fields, in order.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let fields = self.table.iter();
        fields.map(|field| (field.name.of(self.buffer), field.value.of(self.buffer)))
    }
}

impl Fields for FieldsView<'_> {
    fn len(&self) -> usize {
        self.table.fields.len()
    }

    fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        self.all(name).next()
    }

    fn all(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> {
        let text = name.as_str().as_bytes();
        let tag = Tag::of(text);
        let fields = self.table.candidates(tag).iter();
        fields
            .filter(move |field| field.is_named(self.buffer, tag, text))
            .map(|field| field.value.of(self.buffer))
    }

    fn names(&self) -> impl Iterator<Item = &[u8]> {
        let fields = self.table.fields.iter();
        fields.map(|field| field.name.of(self.buffer))
    }
}
