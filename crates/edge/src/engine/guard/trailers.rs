//! Finds pseudo-header fields in the trailers of a request, which the codec behind lets pass (RFC 9113
//! 8.1). Never decodes a value, and never changes a byte.

use super::frames::{Frame, HEADERS, PADDED, PRIORITIZED};

/// What is kept of a trailer section; a larger one is looked at so far.
const BLOCK_BYTES_MAX: usize = 16 << 10;
/// The static table begins with the pseudo-header fields (RFC 7541, appendix A).
const LAST_PSEUDO_INDEX: usize = 14;
/// The first seven bits of a Huffman code that begins with a colon.
const HUFFMAN_COLON: u8 = 0b101_1100;

/// The field block at hand.
#[derive(Debug, Default)]
pub(super) struct Trailers {
    block: Vec<u8>,
    /// Where the fragment of the frame at hand begins.
    fragment: usize,
}

impl Trailers {
    /// Takes a piece of the payload of HEADERS or CONTINUATION.
    pub(super) fn take(&mut self, piece: &[u8]) {
        let room = BLOCK_BYTES_MAX.saturating_sub(self.block.len());
        self.block
            .extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// A frame is complete: what is not field block goes.
    pub(super) fn end_frame(&mut self, frame: Frame) {
        if frame.kind == HEADERS {
            let mut fragment = &self.block[self.fragment..];
            let mut padding = 0;
            if let (true, [length, rest @ ..]) = (frame.has(PADDED), fragment) {
                padding = usize::from(*length);
                fragment = rest;
            }
            if frame.has(PRIORITIZED) {
                fragment = fragment.get(5..).unwrap_or_default();
            }
            let kept = fragment.len().saturating_sub(padding);
            let fragment = fragment[..kept].to_vec();
            self.block.truncate(self.fragment);
            self.block.extend(fragment);
        }
        self.fragment = self.block.len();
    }

    /// The field block is complete. `true`: it has a pseudo-header field.
    pub(super) fn end(self) -> bool {
        has_pseudo_field(&self.block)
    }
}

/// Names that are in the dynamic table are not known here. What is not well-formed is the codec's to
/// refuse.
fn has_pseudo_field(block: &[u8]) -> bool {
    let mut rest = block;
    while let Some(&first) = rest.first() {
        let (prefix, is_literal) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let is_size = first & 0xe0 == 0x20;
        let Some(index) = number(&mut rest, prefix) else {
            return false;
        };
        if !is_size && (1..=LAST_PSEUDO_INDEX).contains(&index) {
            return true;
        }
        if is_literal {
            let name = if index == 0 {
                text(&mut rest)
            } else {
                Some(false)
            };
            match (name, text(&mut rest)) {
                (Some(true), _) => return true,
                (Some(false), Some(_)) => {}
                _ => return false,
            }
        }
    }
    false
}

/// An integer with a prefix of so many bits (RFC 7541 5.1).
fn number(rest: &mut &[u8], prefix: u32) -> Option<usize> {
    let (&first, mut bytes) = rest.split_first()?;
    let most = (1_usize << prefix) - 1;
    let mut value = usize::from(first) & most;
    if value == most {
        for shift in [0, 7, 14, 21] {
            let (&next, after) = bytes.split_first()?;
            bytes = after;
            value += usize::from(next & 0x7f) << shift;
            if next & 0x80 == 0 {
                *rest = bytes;
                return Some(value);
            }
        }
        return None;
    }
    *rest = bytes;
    Some(value)
}

/// Skips a text (RFC 7541 5.2); says whether it begins with a colon.
fn text(rest: &mut &[u8]) -> Option<bool> {
    let is_huffman = rest.first()? & 0x80 != 0;
    let length = number(rest, 7)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(match text.first() {
        Some(&first) if is_huffman => first >> 1 == HUFFMAN_COLON,
        first => first == Some(&b':'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::guard::frames::{CONTINUATION, END_HEADERS};

    #[test]
    fn every_way_to_write_a_pseudo_field_is_found_behind_ordinary_ones() {
        // An update of the table's size, indexed, and literal with known and new names.
        let ordinary = b"\x3f\xe1\x1f\x90\x00\x03x-a\x01b\x0f\x10\x01c\x40\x82\xf2\xb4\x00";
        assert!(!has_pseudo_field(ordinary));
        for pseudo in [
            &b"\x82"[..],
            b"\x42\x01x",
            b"\x04\x01x",
            b"\x00\x05:path\x01/",
            b"\x10\x07:status\x03200",
            b"\x00\x84\xb9\x58\xd3\x3f\x01/",
        ] {
            assert!(has_pseudo_field(pseudo), "{pseudo:x?}");
            assert!(
                has_pseudo_field(&[ordinary, pseudo].concat()),
                "{pseudo:x?}"
            );
        }
    }

    #[test]
    fn damaged_blocks_are_read_to_their_damage() {
        let block = b"\x3f\xe1\x1f\x90\x00\x03x-a\x01b\xff\xff\xff\xff\xff\xff\x01";
        for length in 0..block.len() {
            assert!(!has_pseudo_field(&block[..length]));
        }
        assert!(!has_pseudo_field(block));
    }

    #[test]
    fn padding_and_priority_are_no_fields() {
        let mut trailers = Trailers::default();
        let frame = |kind, flags, length| Frame {
            length,
            kind,
            flags,
            stream: 1,
        };
        trailers.take(b"\x02\x82\x82\x82\x82\x82\x00\x03x-a\x82\x82");
        trailers.end_frame(frame(HEADERS, PADDED | PRIORITIZED, 13));
        trailers.take(b"\x01b");
        trailers.end_frame(frame(CONTINUATION, END_HEADERS, 2));
        assert!(!trailers.end());
        let mut trailers = Trailers::default();
        trailers.take(b"\x82");
        trailers.end_frame(frame(HEADERS, END_HEADERS, 1));
        assert!(trailers.end());
    }
}
