//! Tells the codec's own answers from the engine's, by frames alone. The codec answers a header list
//! beyond its limit with 431 and tells nobody. Never decodes a header block: the codec's holds a status
//! and nothing else, which its first bytes tell, while every answer of the engine has more fields.

use super::frames::{END_STREAM, Frame, HEADERS, RST_STREAM};

/// Follows what goes to one client.
#[derive(Debug, Default)]
pub(super) struct OwnAnswers {
    /// Streams whose answer has begun and not ended: what may follow on these are trailers. As many as
    /// the client may have open.
    begun: Vec<u32>,
    refused: u32,
}

impl OwnAnswers {
    /// A frame for the client is complete, whose payload begins so. Whether the codec refuses a
    /// request with it.
    pub(super) fn send(&mut self, frame: Frame, payload: [u8; 8]) -> bool {
        let is_begun = self.begun.contains(&frame.stream);
        match frame.kind {
            HEADERS if !frame.has(END_STREAM) && is_begun => {}
            HEADERS if !frame.has(END_STREAM) => self.begun.push(frame.stream),
            HEADERS if !is_begun && is_one_field(frame.length, payload) => {
                self.refused += 1;
                return true;
            }
            RST_STREAM => self.forget(frame.stream),
            _ if is_begun && frame.has(END_STREAM) => self.forget(frame.stream),
            _ => {}
        }
        false
    }

    /// Nothing more goes out on this stream.
    pub(super) fn forget(&mut self, stream: u32) {
        if let Some(at) = self.begun.iter().position(|begun| *begun == stream) {
            self.begun.swap_remove(at);
        }
    }

    /// Requests that the codec answered since the last call.
    pub(super) fn take(&mut self) -> u32 {
        std::mem::take(&mut self.refused)
    }
}

/// A block of one field (RFC 7541, 6): indexed, or a status of three digits written out.
fn is_one_field(length: usize, [first, second, ..]: [u8; 8]) -> bool {
    match length {
        1 => first & 0x80 != 0,
        2 => first == 0xff && second & 0x80 == 0,
        // Its name is the eighth of the static table; the digits are three bytes in both codings.
        5 => matches!(first, 0x08 | 0x18 | 0x48) && second & 0x7f == 3,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::{DATA, END_HEADERS};
    use super::*;

    const WHOLE: u8 = END_HEADERS | END_STREAM;

    fn seen(answers: &mut OwnAnswers, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> u32 {
        let frame = Frame {
            length: payload.len(),
            kind,
            flags,
            stream,
        };
        let mut begin = [0; 8];
        let kept = payload.len().min(8);
        begin[..kept].copy_from_slice(&payload[..kept]);
        answers.send(frame, begin);
        answers.take()
    }

    #[test]
    fn a_lone_status_is_the_codecs_own_answer() {
        let lone: [&[u8]; 6] = [
            b"\x48\x83\x69\x90\xff",
            b"\x48\x03431",
            b"\x08\x03431",
            b"\xbe",
            b"\xff\x00",
            b"\xff\x18",
        ];
        for payload in lone {
            let mut answers = OwnAnswers::default();
            assert_eq!(seen(&mut answers, HEADERS, WHOLE, 1, payload), 1);
            assert_eq!(answers.take(), 0, "each is told once");
        }
        let engine: [&[u8]; 4] = [
            b"\x88\xbf",
            b"\x89\xbf\xbe",
            b"\xfe\xfd\xfc\xfb\xfa",
            b"\x48\x03204\xbe",
        ];
        for payload in engine {
            let mut answers = OwnAnswers::default();
            assert_eq!(seen(&mut answers, HEADERS, WHOLE, 1, payload), 0);
        }
    }

    #[test]
    fn trailers_of_one_field_are_none_and_nothing_is_kept_of_what_has_ended() {
        let mut answers = OwnAnswers::default();
        for (kind, flags, stream, payload) in [
            (HEADERS, END_HEADERS, 1, &b"\x88\xbf"[..]),
            (HEADERS, END_HEADERS, 1, b"\x88\xbf"),
            (DATA, 0, 1, b"body"),
            (HEADERS, WHOLE, 1, b"\xbe"),
            (HEADERS, END_HEADERS, 3, b"\x88\xbf"),
            (DATA, END_STREAM, 3, b""),
            (HEADERS, END_HEADERS, 5, b"\x88\xbf"),
            (RST_STREAM, 0, 5, b"\0\0\0\x08"),
            (HEADERS, END_HEADERS, 7, b"\x88\xbf"),
        ] {
            assert_eq!(seen(&mut answers, kind, flags, stream, payload), 0);
        }
        answers.forget(7);
        assert!(answers.begun.is_empty());
    }
}
