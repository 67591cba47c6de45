//! Finds HTTP/2 frames in bytes that come in pieces of any size, of either direction. Never keeps
//! more of a frame than its header and the code it may begin with.

use bytes::{BufMut, BytesMut};

/// Length of the client connection preface (RFC 9113 3.4).
pub(super) const PREFACE_BYTES: usize = 24;
/// Length of a frame header (RFC 9113 4.1).
const HEADER_BYTES: usize = 9;

pub(super) const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
pub(super) const PRIORITY: u8 = 0x2;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
pub(super) const PING: u8 = 0x6;
pub(super) const GOAWAY: u8 = 0x7;
pub(super) const WINDOW_UPDATE: u8 = 0x8;
pub(super) const CONTINUATION: u8 = 0x9;
/// On SETTINGS and PING.
pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITIZED: u8 = 0x20;

/// Error codes (RFC 9113 7).
pub(super) const NO_ERROR: u32 = 0x0;
pub(super) const PROTOCOL_ERROR: u32 = 0x1;
pub(super) const FLOW_CONTROL_ERROR: u32 = 0x3;
pub(super) const STREAM_CLOSED: u32 = 0x5;
pub(super) const FRAME_SIZE_ERROR: u32 = 0x6;
pub(super) const REFUSED_STREAM: u32 = 0x7;
pub(super) const ENHANCE_YOUR_CALM: u32 = 0xb;

/// A frame, without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Frame {
    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What the next bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A frame header is complete.
    Begin(Frame),
    /// Its payload is, too.
    End(Frame),
}

/// Where a stream of frames stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    header: [u8; HEADER_BYTES],
    filled: usize,
    /// The frame at hand, once its header is complete.
    frame: Option<Frame>,
    payload_left: usize,
    /// The first bytes of the payload: all of RST_STREAM, the fixed part of GOAWAY.
    head: [u8; 8],
}

impl Frames {
    /// Whether the next byte begins a frame.
    pub(super) fn is_between(&self) -> bool {
        self.filled == 0 && self.frame.is_none()
    }

    /// Whether the next byte is payload, if there is more of it.
    pub(super) fn is_in_payload(&self) -> bool {
        self.frame.is_some()
    }

    /// Bytes of payload that the frame at hand still lacks; 0 between frames.
    pub(super) fn payload_left(&self) -> usize {
        self.payload_left
    }

    /// Takes bytes up to the next event; the rest is for the next call. `None`: there are no more.
    pub(super) fn advance(&mut self, input: &mut &[u8]) -> Option<Event> {
        let Some(frame) = self.frame else {
            let wanted = HEADER_BYTES - self.filled;
            let taken = take(input, wanted);
            self.header[self.filled..self.filled + taken.len()].copy_from_slice(taken);
            self.filled += taken.len();
            return (self.filled == HEADER_BYTES).then(|| self.begin());
        };
        let taken = take(input, self.payload_left);
        let seen = frame.length - self.payload_left;
        for (slot, &byte) in self.head.iter_mut().skip(seen).zip(taken) {
            *slot = byte;
        }
        self.payload_left -= taken.len();
        if self.payload_left > 0 {
            return None;
        }
        self.frame = None;
        self.filled = 0;
        Some(Event::End(frame))
    }

    /// How the payload of a frame that has just ended begins, as far as there is any.
    pub(super) fn payload_head(&self) -> [u8; 8] {
        self.head
    }

    /// The error code of a RST_STREAM or GOAWAY that has just ended.
    pub(super) fn error_code(&self, frame: Frame) -> u32 {
        let [c0, c1, c2, c3, d0, d1, d2, d3] = self.head;
        u32::from_be_bytes(match frame.kind {
            GOAWAY => [d0, d1, d2, d3],
            _ => [c0, c1, c2, c3],
        })
    }

    fn begin(&mut self) -> Event {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = self.header;
        let frame = Frame {
            length: u32::from_be_bytes([0, l0, l1, l2]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        };
        self.payload_left = frame.length;
        self.frame = Some(frame);
        Event::Begin(frame)
    }
}

/// A GOAWAY.
pub(super) fn goaway(last_stream: u32, code: u32) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + 8);
    bytes.put_slice(&[0, 0, 8, GOAWAY, 0, 0, 0, 0, 0]);
    bytes.put_u32(last_stream);
    bytes.put_u32(code);
    bytes
}

fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(frames: &mut Frames, mut input: &[u8]) -> Vec<Event> {
        std::iter::from_fn(|| frames.advance(&mut input)).collect()
    }

    #[test]
    fn frames_are_found_in_single_bytes_as_in_one_piece() {
        let bytes = [
            &[0, 0, 4, RST_STREAM, 0, 0, 0, 0, 5, 0, 0, 0, 7][..],
            &[0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0],
        ]
        .concat();
        let mut frames = Frames::default();
        let whole = events(&mut frames, &bytes);
        assert_eq!(whole.len(), 4);
        let [_, Event::End(reset), ..] = whole[..] else {
            panic!("{whole:?}");
        };
        assert_eq!(frames.error_code(reset), 7);
        let mut frames = Frames::default();
        let single: Vec<Event> = bytes
            .iter()
            .flat_map(|byte| events(&mut frames, &[*byte]))
            .collect();
        assert_eq!(single, whole);
    }

    #[test]
    fn goaway_is_a_whole_frame() {
        let mut frames = Frames::default();
        let mut bytes = goaway(9, ENHANCE_YOUR_CALM);
        bytes[2] += 6;
        bytes.put_slice(b"reason");
        let ended = events(&mut frames, &bytes);
        let [_, Event::End(farewell)] = ended[..] else {
            panic!("{ended:?}");
        };
        assert!(frames.is_between());
        assert_eq!(frames.error_code(farewell), ENHANCE_YOUR_CALM);
    }
}
