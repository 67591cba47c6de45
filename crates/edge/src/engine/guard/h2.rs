//! Counts what an HTTP/2 client sends, and what it makes us send, and judges the rate. Never decodes a
//! header block or changes a byte.

use std::time::{Duration, Instant};

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Event, FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR, Frame, Frames, GOAWAY, HEADERS, NO_ERROR, PING, PREFACE_BYTES, PRIORITY,
    PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE,
};
use super::own_answers::OwnAnswers;
use super::trailers::Trailers;
use super::turn::Work;
use crate::config::FrameLimits;

/// Counters start anew after this long.
const WINDOW: Duration = Duration::from_secs(10);
/// A client may open its windows again this often for a DATA frame of ours, and once more for so
/// many bytes of it: some read in small pieces.
const UPDATES_PER_FRAME: u64 = 4;
const BYTES_PER_UPDATE: u64 = 256;
/// Where a frame says what it is.
const KIND_AT: usize = 3;
/// Frames that go out together are looked at up to here.
const PIECE_BYTES: usize = 4096;
/// A header list beyond the limit counts as so many broken requests: each field of it was decoded.
const MISTAKES_PER_LIST: u32 = 10;

/// Why a client's frames are no longer read: the `why` of metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abuse {
    /// Too many RST_STREAM frames in a window (rapid reset, CVE-2023-44487).
    Resets,
    /// Too many streams in a window that we had to reset (CVE-2025-8671).
    StreamErrors,
    /// Too many PING frames in a window.
    Pings,
    /// Too many SETTINGS frames in a window.
    Settings,
    /// Too many CONTINUATION frames in one header block (CVE-2024-27316).
    Continuations,
    /// Too many frames without effect in a window.
    IdleFrames,
    /// The codec's own limits: resets before we could look, memory of tiny frames.
    Codec,
    /// A connection error of another kind: no flood, but the end as well.
    Protocol,
}

impl Abuse {
    /// All of them, in declaration order.
    pub(crate) const ALL: [Self; 8] = [
        Self::Resets,
        Self::StreamErrors,
        Self::Pings,
        Self::Settings,
        Self::Continuations,
        Self::IdleFrames,
        Self::Codec,
        Self::Protocol,
    ];

    /// As metrics and logs say it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Resets => "resets",
            Self::StreamErrors => "stream_errors",
            Self::Pings => "pings",
            Self::Settings => "settings",
            Self::Continuations => "continuations",
            Self::IdleFrames => "idle_frames",
            Self::Codec => "codec",
            Self::Protocol => "protocol",
        }
    }
}

/// The end of a connection, and what is said about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Why, for us.
    pub(crate) why: Abuse,
    /// Why, for the client: the code of GOAWAY.
    pub(crate) code: u32,
}

impl Refusal {
    fn protocol(code: u32) -> Self {
        Self {
            why: Abuse::Protocol,
            code,
        }
    }
}

impl From<Abuse> for Refusal {
    fn from(why: Abuse) -> Self {
        Self {
            why,
            code: ENHANCE_YOUR_CALM,
        }
    }
}

/// Follows one connection across reads and writes of any size.
#[derive(Debug)]
pub(crate) struct Scanner {
    limits: FrameLimits,
    preface_left: usize,
    received: Frames,
    sent: Frames,
    ends_header_block: bool,
    in_header_block: bool,
    /// The header block at hand, if it is the second of its stream.
    trailers: Option<Box<Trailers>>,
    continuations: u32,
    highest_stream: u32,
    streams_opened: u64,
    /// The last two, before the bytes that were refused.
    accepted: (u32, u64),
    /// Of header blocks, as frames announced them.
    header_bytes: u64,
    window_start: Instant,
    counts: Counts,
    /// Window updates that DATA frames of ours still allow.
    updates_owed: u64,
    /// The client has sent its first SETTINGS.
    has_settings: bool,
    /// Found while looking at what we send.
    found: Option<Abuse>,
    own_answers: OwnAnswers,
}

#[derive(Debug, Default)]
struct Counts {
    resets: u32,
    stream_errors: u32,
    pings: u32,
    settings: u32,
    idle: u32,
}

impl Scanner {
    /// Starts before the preface.
    pub(crate) fn new(limits: FrameLimits, now: Instant) -> Self {
        Self {
            limits,
            preface_left: PREFACE_BYTES,
            received: Frames::default(),
            sent: Frames::default(),
            ends_header_block: false,
            in_header_block: false,
            trailers: None,
            continuations: 0,
            highest_stream: 0,
            streams_opened: 0,
            accepted: (0, 0),
            header_bytes: 0,
            window_start: now,
            counts: Counts::default(),
            updates_owed: 0,
            has_settings: false,
            found: None,
            own_answers: OwnAnswers::default(),
        }
    }

    /// Whether the client still owes its greeting or the rest of a header block: the header
    /// deadline runs.
    pub(crate) fn awaits_header(&self) -> bool {
        self.preface_left > 0 || !self.has_settings || self.in_header_block
    }

    /// Whether a header block has begun and not ended.
    pub(crate) fn is_in_header_block(&self) -> bool {
        self.in_header_block
    }

    /// Request streams opened so far, in bytes that were let through.
    pub(crate) fn streams_opened(&self) -> u64 {
        self.accepted.1
    }

    /// The last of them.
    pub(crate) fn highest_stream(&self) -> u32 {
        self.accepted.0
    }

    /// What the client has asked for.
    pub(super) fn work(&self) -> Work {
        Work {
            streams: self.streams_opened(),
            header_bytes: self.header_bytes,
        }
    }

    /// Bytes that the frame being received still lacks.
    pub(crate) fn payload_left(&self) -> usize {
        self.received.payload_left()
    }

    /// Whether another frame may be sent before the engine goes on.
    pub(crate) fn is_between_sent_frames(&self) -> bool {
        self.sent.is_between()
    }

    /// Takes the next bytes from the client. What is refused is not let through.
    pub(crate) fn receive(&mut self, mut input: &[u8], now: Instant) -> Result<(), Refusal> {
        if let Some(abuse) = self.found {
            return Err(abuse.into());
        }
        if now.saturating_duration_since(self.window_start) >= WINDOW {
            self.window_start = now;
            self.counts = Counts::default();
        }
        let skipped = self.preface_left.min(input.len());
        self.preface_left -= skipped;
        input = &input[skipped..];
        loop {
            let before = input;
            let is_payload = self.received.is_in_payload();
            let event = self.received.advance(&mut input);
            if let (true, Some(trailers)) = (is_payload && self.in_header_block, &mut self.trailers)
            {
                trailers.take(&before[..before.len() - input.len()]);
            }
            let Some(event) = event else {
                break;
            };
            match event {
                Event::Begin(frame) => self.begin(frame)?,
                Event::End(frame) if self.in_header_block => self.end_of_block(frame)?,
                Event::End(frame) if frame.kind == SETTINGS && !frame.has(ACK) => {
                    self.has_settings = true;
                }
                Event::End(_) => {}
            }
        }
        self.accepted = (self.highest_stream, self.streams_opened);
        Ok(())
    }

    fn begin(&mut self, frame: Frame) -> Result<(), Refusal> {
        check_length(frame)?;
        if !self.has_settings && frame.kind != SETTINGS {
            // The client's part of the greeting (RFC 9113 3.4).
            return Err(Refusal::protocol(PROTOCOL_ERROR));
        }
        self.count(frame).map_err(Refusal::from)
    }

    /// A frame of a header block is complete.
    fn end_of_block(&mut self, frame: Frame) -> Result<(), Refusal> {
        if let Some(trailers) = &mut self.trailers {
            trailers.end_frame(frame);
        }
        if !self.ends_header_block {
            return Ok(());
        }
        self.in_header_block = false;
        self.ends_header_block = false;
        match self.trailers.take().map(|trailers| trailers.end()) {
            Some(true) => Err(Refusal::protocol(PROTOCOL_ERROR)),
            _ => Ok(()),
        }
    }

    fn count(&mut self, frame: Frame) -> Result<(), Abuse> {
        let (limits, counts) = (self.limits, &mut self.counts);
        if matches!(frame.kind, HEADERS | CONTINUATION) {
            self.header_bytes += frame.length as u64;
        }
        match frame.kind {
            HEADERS => {
                if frame.stream > self.highest_stream {
                    self.highest_stream = frame.stream;
                    self.streams_opened += 1;
                } else {
                    self.trailers = Some(Box::default());
                }
                self.continuations = 0;
                self.in_header_block = true;
                self.ends_header_block = frame.has(END_HEADERS);
                Ok(())
            }
            CONTINUATION => {
                self.ends_header_block = frame.has(END_HEADERS);
                let counter = &mut self.continuations;
                count(counter, limits.continuations, Abuse::Continuations)
            }
            RST_STREAM => {
                self.own_answers.forget(frame.stream);
                count(&mut counts.resets, limits.resets, Abuse::Resets)
            }
            PING => count(&mut counts.pings, limits.pings, Abuse::Pings),
            SETTINGS if frame.has(ACK) => count(&mut counts.idle, limits.idle, Abuse::IdleFrames),
            SETTINGS => count(&mut counts.settings, limits.settings, Abuse::Settings),
            DATA if frame.length > 0 || frame.has(END_STREAM) => Ok(()),
            WINDOW_UPDATE if self.updates_owed > 0 => {
                self.updates_owed -= 1;
                Ok(())
            }
            _ => count(&mut counts.idle, limits.idle, Abuse::IdleFrames),
        }
    }

    /// Requests whose header list the codec found too large, and said so, since the last call.
    pub(crate) fn take_too_large(&mut self) -> u32 {
        self.own_answers.take()
    }

    /// Whether what is to be sent goes out apart from what was sent before. An answer that comes in one
    /// TLS record with the reset behind it is lost on curl 7.88.
    pub(crate) fn begins_apart(&self, output: &[u8]) -> bool {
        self.sent.is_between() && is_reset(output) == Some(true)
    }

    /// How much of it goes out in one piece: frames that are all resets, or none of them. Looks no
    /// further than it must, since it is asked again for as long as the client takes nothing.
    pub(crate) fn piece<'o>(&self, output: &'o [u8]) -> &'o [u8] {
        let begins_apart = self.begins_apart(output);
        let (mut frames, mut rest) = (self.sent.clone(), output);
        loop {
            let taken = output.len() - rest.len();
            let is_other = is_reset(rest).is_some_and(|reset| reset != begins_apart);
            if frames.is_between() && (is_other || taken >= PIECE_BYTES) {
                return &output[..taken];
            }
            if frames.advance(&mut rest).is_none() {
                return output;
            }
        }
    }

    /// Takes the next bytes for the client, all of which go out. `Some`: with them the codec gives up
    /// this client by itself.
    pub(crate) fn send(&mut self, mut output: &[u8]) -> Option<Abuse> {
        let mut farewell = None;
        while let Some(event) = self.sent.advance(&mut output) {
            let Event::End(frame) = event else {
                continue;
            };
            if self.own_answers.send(frame, self.sent.payload_head()) {
                self.count_mistakes(MISTAKES_PER_LIST);
            }
            match frame.kind {
                DATA => {
                    let bytes = frame.length as u64;
                    self.updates_owed += UPDATES_PER_FRAME + bytes / BYTES_PER_UPDATE;
                }
                RST_STREAM if is_clients_mistake(self.sent.error_code(frame)) => {
                    self.count_mistakes(1);
                }
                GOAWAY => match self.sent.error_code(frame) {
                    NO_ERROR => {}
                    ENHANCE_YOUR_CALM => farewell = Some(Abuse::Codec),
                    _ => farewell = Some(Abuse::Protocol),
                },
                _ => {}
            }
        }
        farewell
    }

    fn count_mistakes(&mut self, mistakes: u32) {
        self.counts.stream_errors = self.counts.stream_errors.saturating_add(mistakes);
        if self.counts.stream_errors > self.limits.stream_errors {
            self.found = Some(Abuse::StreamErrors);
        }
    }

    /// Whether the client is to be given up, though it may say nothing more.
    pub(crate) fn has_found(&self) -> bool {
        self.found.is_some()
    }
}

/// Whether a frame that begins here is a RST_STREAM, if that is to be seen.
fn is_reset(frame: &[u8]) -> Option<bool> {
    frame.get(KIND_AT).map(|kind| *kind == RST_STREAM)
}

/// Frames of a fixed size have it (RFC 9113 4.2): the codec behind would call another one a protocol
/// error.
fn check_length(frame: Frame) -> Result<(), Refusal> {
    let is_right = match frame.kind {
        RST_STREAM | WINDOW_UPDATE => frame.length == 4,
        PING => frame.length == 8,
        GOAWAY => frame.length >= 8,
        PRIORITY => frame.length == 5,
        SETTINGS if frame.has(ACK) => frame.length == 0,
        SETTINGS => frame.length.is_multiple_of(6),
        _ => true,
    };
    if is_right {
        Ok(())
    } else {
        Err(Refusal::protocol(FRAME_SIZE_ERROR))
    }
}

/// Whether a stream is reset with this for what the client did, not for what its endpoint did.
fn is_clients_mistake(code: u32) -> bool {
    matches!(
        code,
        PROTOCOL_ERROR | FLOW_CONTROL_ERROR | STREAM_CLOSED | FRAME_SIZE_ERROR | REFUSED_STREAM
    )
}

fn count(counter: &mut u32, limit: u32, abuse: Abuse) -> Result<(), Abuse> {
    *counter += 1;
    if *counter > limit { Err(abuse) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
