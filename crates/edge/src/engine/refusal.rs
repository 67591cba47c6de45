//! Answers to requests that no exchange exists for, as HTTP/1.1 bytes. Never keeps a connection
//! open.

use bytes::{BufMut, BytesMut};

use crate::outcome::Cause;
use crate::pipeline::{self, Answer};
use crate::state::Edge;

/// What to tell a client whose request never became an exchange.
pub(crate) fn refusal(edge: &Edge, cause: Cause) -> Answer {
    pipeline::answer_unparsed(edge, cause).dated()
}

/// The answer as the last bytes of an HTTP/1.1 connection.
pub(crate) fn to_http1(answer: &Answer) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(256 + answer.body.len());
    let reason = answer.status.canonical_reason().unwrap_or_default();
    bytes.put(format!("HTTP/1.1 {} {reason}\r\n", answer.status.as_u16()).as_bytes());
    for (name, value) in &answer.headers {
        bytes.put(name.as_str().as_bytes());
        bytes.put(&b": "[..]);
        bytes.put(value.as_bytes());
        bytes.put(&b"\r\n"[..]);
    }
    let framing = format!(
        "content-length: {}\r\nconnection: close\r\n\r\n",
        answer.body.len()
    );
    bytes.put(framing.as_bytes());
    bytes.put(answer.body.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderValue, StatusCode, header};

    use super::*;

    #[test]
    fn refusal_is_a_complete_message_that_closes() {
        let answer = Answer {
            status: StatusCode::REQUEST_TIMEOUT,
            headers: vec![(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))],
            body: Bytes::from_static(b"late"),
            close: true,
        };
        assert_eq!(
            to_http1(&answer),
            "HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain\r\ncontent-length: 4\r\nconnection: close\r\n\r\nlate"
        );
    }
}
