//! Bodies: lengths, chunks, extensions, trailers.

use super::super::body::{BodyError, Decoded};
use super::*;

/// Payload, what was used up, and the decoder.
fn decode(bytes: &[u8], framing: Framing) -> Result<(Vec<u8>, usize, BodyDecoder), BodyError> {
    let mut decoder = BodyDecoder::new(framing);
    let mut input = bytes.to_vec();
    let Decoded { consumed, data } = decoder.decode(&mut input)?;
    input.truncate(data);
    Ok((input, consumed, decoder))
}

fn chunked(bytes: &[u8]) -> Result<(Vec<u8>, usize, BodyDecoder), BodyError> {
    decode(bytes, Framing::Chunked)
}

#[test]
fn body_ends_after_its_length() {
    let (payload, consumed, decoder) = decode(b"hellorest", Framing::Length(5)).unwrap();
    assert_eq!((payload.as_slice(), consumed), (&b"hello"[..], 5));
    assert!(decoder.is_done());
    let (payload, _, mut decoder) = decode(b"hell", Framing::Length(5)).unwrap();
    assert_eq!(payload, b"hell");
    assert!(!decoder.is_done());
    assert_eq!(decoder.finish(), Err(BodyError::Truncated));
}

#[test]
fn no_body_takes_nothing() {
    for framing in [Framing::None, Framing::Length(0)] {
        let (payload, consumed, mut decoder) = decode(b"next", framing).unwrap();
        assert_eq!((payload.len(), consumed), (0, 0));
        assert!(decoder.is_done());
        assert_eq!(decoder.finish(), Ok(()));
    }
}

#[test]
fn body_until_close_ends_with_the_connection() {
    let (payload, consumed, mut decoder) = decode(b"all", Framing::UntilClose).unwrap();
    assert_eq!((payload.as_slice(), consumed), (&b"all"[..], 3));
    assert!(!decoder.is_done());
    assert_eq!(decoder.finish(), Ok(()));
    assert!(decoder.is_done());
    let decoded = decoder.decode(&mut [1, 2]).unwrap();
    assert_eq!(decoded, Decoded::default());
}

#[test]
fn chunks_are_joined_in_place() {
    for (bytes, expected) in [
        (&b"5\r\nhello\r\n0\r\n\r\n"[..], &b"hello"[..]),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (
            b"000000000000000a\r\n0123456789\r\n0000\r\n\r\n",
            b"0123456789",
        ),
        (b"1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n", b"abcdef"),
        (b"5;a=b;c=\"d e\"\r\nhello\r\n0;x\r\n\r\n", b"hello"),
        (b"0\r\n\r\n", b""),
        (b"4\r\n\r\n\0\n\r\n0\r\n\r\n", b"\r\n\0\n"),
    ] {
        let (payload, consumed, decoder) = chunked(&[bytes, b"next"].concat()).unwrap();
        assert_eq!((payload.as_slice(), consumed), (expected, bytes.len()));
        assert!(decoder.is_done() && decoder.trailers().is_empty());
    }
}

#[test]
fn chunked_body_that_ends_early_is_truncated() {
    let whole = b"5;x\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for end in 0..whole.len() {
        let (_, consumed, mut decoder) = chunked(&whole[..end]).unwrap();
        assert_eq!(consumed, end);
        assert_eq!(decoder.finish(), Err(BodyError::Truncated), "after {end}");
    }
}

#[test]
fn chunks_against_the_grammar_are_refused() {
    for bytes in [
        &b"-1\r\n"[..],
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"0_5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5 ;a\r\nhello\r\n",
        b"5z\r\nhello\r\n",
        b"G\r\nhello\r\n",
        b"\r\nhello\r\n",
        b";a\r\nhello\r\n",
        b"\"5\"\r\nhello\r\n",
        b"5,5\r\nhello\r\n",
        b"5\0\r\nhello\r\n",
        b"10000000000000005\r\nhello\r\n",
        b"00000000000000005\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\rhello\r\n",
        b"5\r\r\nhello\r\n",
        b"5\r\nhello\n",
        b"5\r\nhello\rX",
        b"5\r\nhelloXX",
        b"3\r\nhello\r\n",
        b"6\r\nhello\r\n0\r\n\r\n",
        b"5;a\nhello\r\n",
        b"5;a\x00b\r\nhello\r\n",
        b"5;\rA\r\nhello\r\n",
        b"5;a=\"\r\n\"\r\nhello\r\n",
        b"0\n\n",
        b"0\r\n\n",
        b"0\r\n\rX",
        b"0\r\nX Y\r\n\r\n",
        b"0\r\nX\r\n\r\n",
        b"0\r\n: x\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX: y\r\n z\r\n\r\n",
        b"0\r\nX: a\nY: b\r\n\r\n",
        b"0\r\nX: a\0\r\n\r\n",
        b"0\r\nX: a\rb\r\n\r\n",
    ] {
        let refused = chunked(bytes).map(|(payload, ..)| payload);
        assert!(
            matches!(refused, Err(BodyError::Malformed(_))),
            "{}: {refused:?}",
            show(bytes)
        );
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let extension = |bytes: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(bytes));
    assert!(chunked(extension(255).as_bytes()).is_ok());
    assert_eq!(
        chunked(extension(256).as_bytes()).err(),
        Some(BodyError::TooLarge)
    );
    let trailer = |bytes: usize| format!("0\r\nX:{}\r\n\r\n", "x".repeat(bytes));
    assert!(chunked(trailer(8190).as_bytes()).is_ok());
    assert_eq!(
        chunked(trailer(8191).as_bytes()).err(),
        Some(BodyError::TooLarge)
    );
    let trailers = |count| format!("0\r\n{}\r\n", "X: y\r\n".repeat(count));
    assert!(chunked(trailers(64).as_bytes()).is_ok());
    assert_eq!(
        chunked(trailers(65).as_bytes()).err(),
        Some(BodyError::TooLarge)
    );
}

#[test]
fn trailers_that_would_come_too_late_are_dropped() {
    let kept = [
        "Grpc-Status: 0",
        "X-Checksum: a:b",
        "Server-Timing: x",
        "ETag: \"1\"",
        "X-Empty: ",
    ];
    let dropped = [
        "Transfer-Encoding: chunked",
        "Content-Length: 5",
        "content-type: text/html",
        "Content_Length: 5",
        "Host: evil.test",
        "Connection: close",
        "Authorization: Basic x",
        "Cookie: a=b",
        "Set-Cookie: a=b",
        "X-Forwarded-For: 1.2.3.4",
        "x_forwarded_host: a",
        "X-Real-IP: 1.2.3.4",
        "X-Auth-Subject: root",
        "x_auth_roles: admin",
        "X-Request-Id: 1",
        "X-Served-By: me",
        "Forwarded: for=me",
        "Cache-Control: public",
        "Trailer: X",
        "TE: trailers",
        "Upgrade: h2c",
        "Proxy-Authorization: x",
        "If-Match: *",
        "Expect: 100-continue",
        "Location: /",
    ];
    let lines: Vec<_> = kept.iter().chain(&dropped).copied().collect();
    let bytes = format!("1\r\na\r\n0\r\n{}\r\n\r\n", lines.join("\r\n"));
    let (_, consumed, decoder) = chunked(bytes.as_bytes()).unwrap();
    assert_eq!(consumed, bytes.len());
    let expected = format!("{}\r\n", kept.join("\r\n"));
    assert_eq!(show(decoder.trailers()), show(expected.as_bytes()));
}

#[test]
fn chunks_are_written_as_they_are_read() {
    for bytes in [1, 9, 15, 16, 17, 255, 256, 4096, 65_535, 65_536] {
        let data = vec![b'x'; bytes];
        let mut out = Vec::new();
        chunk_start(&mut out, data.len());
        out.extend_from_slice(&data);
        out.extend_from_slice(CHUNK_END);
        assert!(out.starts_with(format!("{bytes:x}\r\n").as_bytes()));
        last_chunk(&mut out, b"A: b\r\n");
        let (payload, consumed, decoder) = chunked(&out).unwrap();
        assert_eq!((payload, consumed), (data, out.len()));
        assert_eq!(decoder.trailers(), b"A: b\r\n");
    }
}
