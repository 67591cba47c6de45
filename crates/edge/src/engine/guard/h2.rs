//! Counts HTTP/2 frames that a client sends and judges their rate. Never decodes a header block or
//! changes a byte.

use std::time::{Duration, Instant};

/// Length of the client connection preface (RFC 9113 3.4).
const PREFACE_BYTES: usize = 24;
/// Length of a frame header (RFC 9113 4.1).
const FRAME_HEADER_BYTES: usize = 9;
/// Counters start anew after this long.
const WINDOW: Duration = Duration::from_secs(10);
/// Streams reset by the client in one window: rapid reset (CVE-2023-44487) needs thousands.
const MAX_RESETS: u32 = 100;
/// PING frames in one window; keep-alive needs one.
const MAX_PINGS: u32 = 100;
/// SETTINGS frames in one window; a connection needs two.
const MAX_SETTINGS: u32 = 50;
/// CONTINUATION frames of one header block; 32 KiB of header need two (CVE-2024-27316).
const MAX_CONTINUATIONS: u32 = 20;
/// Frames that carry nothing (empty DATA, unknown types, PRIORITY) in one window.
const MAX_USELESS: u32 = 1_000;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Why a client's frames are no longer read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abuse {
    /// Too many RST_STREAM frames in a window.
    Resets,
    /// Too many PING frames in a window.
    Pings,
    /// Too many SETTINGS frames in a window.
    Settings,
    /// Too many CONTINUATION frames in one header block.
    Continuations,
    /// Too many frames without effect in a window.
    Useless,
}

/// Follows the frames of one connection across reads of any size.
#[derive(Debug)]
pub(crate) struct FrameScanner {
    preface_left: usize,
    header: [u8; FRAME_HEADER_BYTES],
    header_filled: usize,
    payload_left: usize,
    ends_header_block: bool,
    in_header_block: bool,
    continuations: u32,
    highest_stream: u32,
    streams_opened: u64,
    window_start: Instant,
    resets: u32,
    pings: u32,
    settings: u32,
    useless: u32,
}

impl FrameScanner {
    /// Starts before the preface.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            preface_left: PREFACE_BYTES,
            header: [0; FRAME_HEADER_BYTES],
            header_filled: 0,
            payload_left: 0,
            ends_header_block: false,
            in_header_block: false,
            continuations: 0,
            highest_stream: 0,
            streams_opened: 0,
            window_start: now,
            resets: 0,
            pings: 0,
            settings: 0,
            useless: 0,
        }
    }

    /// Whether the client still owes the preface or the rest of a header block: the header
    /// deadline runs.
    pub(crate) fn awaits_header(&self) -> bool {
        self.preface_left > 0 || self.in_header_block
    }

    /// Whether a header block has begun and not ended.
    pub(crate) fn is_in_header_block(&self) -> bool {
        self.in_header_block
    }

    /// Request streams opened so far.
    pub(crate) fn streams_opened(&self) -> u64 {
        self.streams_opened
    }

    /// Takes the next bytes from the client.
    pub(crate) fn advance(&mut self, mut input: &[u8], now: Instant) -> Result<(), Abuse> {
        if now.saturating_duration_since(self.window_start) >= WINDOW {
            self.window_start = now;
            (self.resets, self.pings, self.settings, self.useless) = (0, 0, 0, 0);
        }
        while !input.is_empty() {
            if self.preface_left > 0 {
                input = skip(input, &mut self.preface_left);
            } else if self.payload_left > 0 {
                input = skip(input, &mut self.payload_left);
                if self.payload_left == 0 {
                    self.end_payload();
                }
            } else {
                input = self.fill_header(input);
                if self.header_filled == FRAME_HEADER_BYTES {
                    self.header_filled = 0;
                    self.begin_frame()?;
                }
            }
        }
        Ok(())
    }

    fn fill_header<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let wanted = FRAME_HEADER_BYTES - self.header_filled;
        let (taken, rest) = input.split_at(wanted.min(input.len()));
        self.header[self.header_filled..self.header_filled + taken.len()].copy_from_slice(taken);
        self.header_filled += taken.len();
        rest
    }

    fn begin_frame(&mut self) -> Result<(), Abuse> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = self.header;
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        self.payload_left = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let is_empty = self.payload_left == 0;
        match kind {
            HEADERS => {
                if stream > self.highest_stream {
                    self.highest_stream = stream;
                    self.streams_opened += 1;
                }
                self.continuations = 0;
                self.in_header_block = true;
                self.ends_header_block = flags & END_HEADERS != 0;
            }
            CONTINUATION => {
                self.ends_header_block = flags & END_HEADERS != 0;
                count(
                    &mut self.continuations,
                    MAX_CONTINUATIONS,
                    Abuse::Continuations,
                )?;
            }
            RST_STREAM => count(&mut self.resets, MAX_RESETS, Abuse::Resets)?,
            PING => count(&mut self.pings, MAX_PINGS, Abuse::Pings)?,
            SETTINGS => count(&mut self.settings, MAX_SETTINGS, Abuse::Settings)?,
            DATA if !is_empty || flags & END_STREAM != 0 => {}
            WINDOW_UPDATE => {}
            DATA | PRIORITY => count(&mut self.useless, MAX_USELESS, Abuse::Useless)?,
            _ => count(&mut self.useless, MAX_USELESS, Abuse::Useless)?,
        }
        if is_empty {
            self.end_payload();
        }
        Ok(())
    }

    fn end_payload(&mut self) {
        if self.in_header_block && self.ends_header_block {
            self.in_header_block = false;
            self.ends_header_block = false;
        }
    }
}

fn count(counter: &mut u32, limit: u32, abuse: Abuse) -> Result<(), Abuse> {
    *counter += 1;
    if *counter > limit { Err(abuse) } else { Ok(()) }
}

fn skip<'a>(input: &'a [u8], left: &mut usize) -> &'a [u8] {
    let taken = input.len().min(*left);
    *left -= taken;
    &input[taken..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    fn after_preface(now: Instant) -> FrameScanner {
        let mut scanner = FrameScanner::new(now);
        scanner
            .advance(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now)
            .unwrap();
        scanner
    }

    #[test]
    fn preface_is_awaited_first() {
        let now = Instant::now();
        let mut scanner = FrameScanner::new(now);
        scanner.advance(b"PRI * HTTP/2.0", now).unwrap();
        assert!(scanner.awaits_header());
        scanner.advance(b"\r\n\r\nSM\r\n\r\n", now).unwrap();
        assert!(!scanner.awaits_header());
    }

    #[test]
    fn header_block_is_awaited_until_its_last_byte() {
        let now = Instant::now();
        let mut scanner = after_preface(now);
        let mut bytes = frame(HEADERS, 0, 1, b"abc");
        bytes.extend(frame(CONTINUATION, END_HEADERS, 1, b"def"));
        for byte in &bytes {
            scanner.advance(&[*byte], now).unwrap();
            let _ = scanner.awaits_header();
        }
        assert!(!scanner.awaits_header());
        assert_eq!(scanner.streams_opened(), 1);
        scanner.advance(&frame(HEADERS, 0, 3, b"abc"), now).unwrap();
        assert!(scanner.awaits_header());
    }

    #[test]
    fn trailers_do_not_open_a_stream() {
        let now = Instant::now();
        let mut scanner = after_preface(now);
        scanner
            .advance(&frame(HEADERS, END_HEADERS, 1, b"a"), now)
            .unwrap();
        scanner
            .advance(&frame(HEADERS, END_HEADERS | END_STREAM, 1, b"a"), now)
            .unwrap();
        assert_eq!(scanner.streams_opened(), 1);
    }

    #[test]
    fn each_flood_is_named_and_forgotten_after_the_window() {
        let start = Instant::now();
        for (kind, limit, abuse) in [
            (RST_STREAM, MAX_RESETS, Abuse::Resets),
            (PING, MAX_PINGS, Abuse::Pings),
            (SETTINGS, MAX_SETTINGS, Abuse::Settings),
            (PRIORITY, MAX_USELESS, Abuse::Useless),
            (0xbe, MAX_USELESS, Abuse::Useless),
        ] {
            let mut scanner = after_preface(start);
            for _ in 0..limit {
                scanner.advance(&frame(kind, 0, 1, b"1234"), start).unwrap();
            }
            assert_eq!(
                scanner.advance(&frame(kind, 0, 1, b"1234"), start),
                Err(abuse)
            );
            scanner
                .advance(&frame(kind, 0, 1, b"1234"), start + WINDOW)
                .unwrap();
        }
    }

    #[test]
    fn endless_header_block_is_cut() {
        let now = Instant::now();
        let mut scanner = after_preface(now);
        scanner.advance(&frame(HEADERS, 0, 1, b"a"), now).unwrap();
        for _ in 0..MAX_CONTINUATIONS {
            scanner
                .advance(&frame(CONTINUATION, 0, 1, b"a"), now)
                .unwrap();
        }
        let last = scanner.advance(&frame(CONTINUATION, 0, 1, b"a"), now);
        assert_eq!(last, Err(Abuse::Continuations));
    }

    #[test]
    fn empty_data_flood_is_cut_but_large_uploads_are_not() {
        let now = Instant::now();
        let mut scanner = after_preface(now);
        for _ in 0..10_000 {
            scanner
                .advance(&frame(DATA, 0, 1, b"payload"), now)
                .unwrap();
        }
        let result =
            (0..=MAX_USELESS).try_for_each(|_| scanner.advance(&frame(DATA, 0, 1, b""), now));
        assert_eq!(result, Err(Abuse::Useless));
    }
}
