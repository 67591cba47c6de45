//! What the codec takes, what it refuses, and what it writes. Never opens a socket.

mod body;
mod request;
mod response;
mod write;

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    bytes: 4096,
    fields: 20,
    target_bytes: 512,
};

const MALFORMED: HeadError = HeadError::Malformed("");

/// The parser behind a complete request head, or why there is none. Panics if more is wanted.
fn read_request(bytes: &[u8]) -> Result<RequestParser, HeadError> {
    let mut parser = RequestParser::default();
    match parser.advance(bytes, &LIMITS).map_err(kind)? {
        Some(_) => Ok(parser),
        None => panic!("wants more than {:?}", String::from_utf8_lossy(bytes)),
    }
}

fn read_response(bytes: &[u8]) -> Result<ResponseParser, HeadError> {
    let mut parser = ResponseParser::default();
    match parser.advance(bytes, &LIMITS).map_err(kind)? {
        Some(_) => Ok(parser),
        None => panic!("wants more than {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// The error without its text.
fn kind(error: HeadError) -> HeadError {
    match error {
        HeadError::Malformed(_) => MALFORMED,
        other => other,
    }
}

/// `GET /` with these field lines, each with its line end, beside `Host`.
fn get(fields: &[u8]) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: a.test\r\n", fields, b"\r\n"].concat()
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
