//! HTTP/2 frames and header blocks as bytes, right or wrong. Never checks what it is given.

/// A kind of frame (RFC 9113 6).
pub const DATA: u8 = 0x0;
/// A kind of frame (RFC 9113 6).
pub const HEADERS: u8 = 0x1;
/// A kind of frame (RFC 9113 6).
pub const PRIORITY: u8 = 0x2;
/// A kind of frame (RFC 9113 6).
pub const RST_STREAM: u8 = 0x3;
/// A kind of frame (RFC 9113 6).
pub const SETTINGS: u8 = 0x4;
/// A kind of frame (RFC 9113 6).
pub const PUSH_PROMISE: u8 = 0x5;
/// A kind of frame (RFC 9113 6).
pub const PING: u8 = 0x6;
/// A kind of frame (RFC 9113 6).
pub const GOAWAY: u8 = 0x7;
/// A kind of frame (RFC 9113 6).
pub const WINDOW_UPDATE: u8 = 0x8;
/// A kind of frame (RFC 9113 6).
pub const CONTINUATION: u8 = 0x9;

/// Flag of SETTINGS and PING.
pub const ACK: u8 = 0x1;
/// Flag of DATA and HEADERS.
pub const END_STREAM: u8 = 0x1;
/// Flag of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 0x4;
/// Flag of DATA and HEADERS.
pub const PADDED: u8 = 0x8;
/// Flag of HEADERS.
pub const PRIORITIZED: u8 = 0x20;
/// A whole request in one frame.
pub const WHOLE: u8 = END_STREAM | END_HEADERS;

/// An error code (RFC 9113 7).
pub const NO_ERROR: u32 = 0x0;
/// An error code (RFC 9113 7).
pub const PROTOCOL_ERROR: u32 = 0x1;
/// An error code (RFC 9113 7).
pub const FLOW_CONTROL_ERROR: u32 = 0x3;
/// An error code (RFC 9113 7).
pub const STREAM_CLOSED: u32 = 0x5;
/// An error code (RFC 9113 7).
pub const FRAME_SIZE_ERROR: u32 = 0x6;
/// An error code (RFC 9113 7).
pub const REFUSED_STREAM: u32 = 0x7;
/// An error code (RFC 9113 7).
pub const CANCEL: u32 = 0x8;
/// An error code (RFC 9113 7).
pub const COMPRESSION_ERROR: u32 = 0x9;
/// An error code (RFC 9113 7).
pub const ENHANCE_YOUR_CALM: u32 = 0xb;

/// What a client begins with (RFC 9113 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Whom requests here are for.
pub const HOST: &str = "app.example";

/// A frame as bytes.
///
/// # Panics
/// When the payload is longer than its length can say.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short payload")
        .to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Settings as a frame.
pub fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let pairs = pairs.iter();
    let payload: Vec<u8> = pairs
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// RST_STREAM.
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// WINDOW_UPDATE.
pub fn window(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// A header block of literal fields that enter no table.
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        text(&mut bytes, name.as_ref());
        text(&mut bytes, value.as_ref());
    }
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &[u8]) {
    if text.len() < 127 {
        bytes.push(text.len() as u8);
    } else {
        bytes.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            bytes.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        bytes.push(rest as u8);
    }
    bytes.extend(text);
}

/// The pseudo-header fields of a request.
pub fn request<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", HOST),
        (":path", path),
    ]
}

/// A whole GET on a stream.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &block(&request("GET", path)))
}

/// A POST whose body is still to come.
pub fn post(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(&request("POST", path)))
}
