//! The preface, frames and their sizes: RFC 9113, sections 3, 4, 5.5, 6.1 to 6.4, 6.6 to 6.8 and 7.

use super::super::frames::*;
use super::Expected::{Goaway, Malformed, Nothing, Reset, Status};
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = preface();
    cases.extend(sizes());
    cases.extend(extensions());
    cases.extend(data_and_headers());
    cases.extend(small_frames());
    cases
}

fn bare(
    section: &'static str,
    title: &'static str,
    bytes: &[Vec<u8>],
    expected: super::Expected,
) -> Case {
    Case {
        is_greeted: false,
        ..case(section, title, bytes, expected)
    }
}

fn ask(stream: u32, flags: u8, method: &str) -> Vec<u8> {
    frame(HEADERS, flags, stream, &block(&request(method, "/")))
}

fn preface() -> Vec<Case> {
    let wrong = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let greeting = [PREFACE.to_vec(), settings(&[])];
    vec![
        bare(
            "3.4",
            "preface, settings and a request in one packet",
            &[greeting.concat(), get(1, "/")],
            Status(1, 200),
        ),
        bare(
            "3.4",
            "a request before the settings were acknowledged",
            &[greeting.concat(), get(1, "/"), frame(SETTINGS, ACK, 0, b"")],
            Status(1, 200),
        ),
        bare(
            "3.4",
            "first frame is not SETTINGS",
            &[wrong, get(1, "/")],
            Goaway(&[PROTOCOL_ERROR]),
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let huge = block(&[("x-huge", vec![b'a'; 16_400])]);
    let body = |length: usize| frame(DATA, END_STREAM, 1, &vec![b'x'; length]);
    vec![
        case(
            "4.1",
            "unknown type",
            &[frame(0x16, 0, 0, b"what")],
            Nothing,
        ),
        case(
            "4.1",
            "undefined flags",
            &[frame(PING, 0x16, 0, b"12345678")],
            Nothing,
        ),
        case(
            "4.1",
            "reserved bit of the stream",
            &[frame(PING, 0, 0x8000_0000, b"12345678")],
            Nothing,
        ),
        case(
            "4.2",
            "DATA of 16,384 bytes",
            &[post(1, "/"), body(16_384)],
            Status(1, 200),
        ),
        case(
            "4.2",
            "DATA beyond the frame size",
            &[post(1, "/late"), body(16_385)],
            Reset(1, &[FRAME_SIZE_ERROR]),
        ),
        case(
            "4.2",
            "HEADERS beyond the frame size",
            &[frame(HEADERS, WHOLE, 1, &huge)],
            Goaway(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "4.3",
            "PRIORITY inside a header block",
            &[ask(1, END_STREAM, "GET"), frame(PRIORITY, 0, 1, &[0; 5])],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "4.3",
            "HEADERS of another stream inside a header block",
            &[ask(1, END_STREAM, "GET"), get(3, "/")],
            Goaway(&[PROTOCOL_ERROR]),
        ),
    ]
}

fn extensions() -> Vec<Case> {
    vec![
        case(
            "5.5",
            "unknown frame on a stream",
            &[
                post(1, "/"),
                frame(0x16, 0xff, 1, b"what"),
                frame(DATA, END_STREAM, 1, b"x"),
            ],
            Status(1, 200),
        ),
        case(
            "5.5",
            "unknown frame inside a header block",
            &[ask(1, END_STREAM, "GET"), frame(0x16, 0, 1, b"what")],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "7",
            "GOAWAY with an unknown code",
            &[frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff])],
            Goaway(&[NO_ERROR, PROTOCOL_ERROR]),
        ),
        case(
            "7",
            "RST_STREAM with an unknown code",
            &[post(1, "/late"), reset(1, 0xff)],
            Nothing,
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn data_and_headers() -> Vec<Case> {
    let padded = |pad: u8, rest: usize| [&[pad][..], &vec![0; rest]].concat();
    let fields = block(&request("GET", "/"));
    let with = |before: &[u8], after: &[u8]| [before, &fields, after].concat();
    let prioritized = with(&[0, 0, 0, 0, 255], b"");
    let both = with(&[3, 0x80, 0, 0, 0, 255], b"\0\0\0");
    vec![
        case(
            "6.1",
            "DATA",
            &[post(1, "/"), frame(DATA, END_STREAM, 1, b"test")],
            Status(1, 200),
        ),
        case(
            "6.1",
            "several DATA",
            &[
                post(1, "/"),
                frame(DATA, 0, 1, b"te"),
                frame(DATA, END_STREAM, 1, b"st"),
            ],
            Status(1, 200),
        ),
        case(
            "6.1",
            "DATA with padding",
            &[
                post(1, "/"),
                frame(DATA, END_STREAM | PADDED, 1, b"\x03test\0\0\0"),
            ],
            Status(1, 200),
        ),
        case(
            "6.1",
            "DATA of padding alone",
            &[
                post(1, "/"),
                frame(DATA, END_STREAM | PADDED, 1, &padded(5, 5)),
            ],
            Status(1, 200),
        ),
        case(
            "6.1",
            "DATA on stream 0",
            &[frame(DATA, END_STREAM, 0, b"test")],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.1",
            "padding as long as the payload",
            &[
                post(1, "/late"),
                frame(DATA, END_STREAM | PADDED, 1, &padded(6, 5)),
            ],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.1",
            "padding without a length",
            &[post(1, "/late"), frame(DATA, END_STREAM | PADDED, 1, b"")],
            Goaway(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
        ),
        case("6.2", "HEADERS", &[get(1, "/")], Status(1, 200)),
        case(
            "6.2",
            "HEADERS with padding",
            &[frame(HEADERS, WHOLE | PADDED, 1, &with(&[4], &[0; 4]))],
            Status(1, 200),
        ),
        case(
            "6.2",
            "HEADERS with a priority",
            &[frame(HEADERS, WHOLE | PRIORITIZED, 1, &prioritized)],
            Status(1, 200),
        ),
        case(
            "6.2",
            "HEADERS with padding and priority",
            &[frame(HEADERS, WHOLE | PADDED | PRIORITIZED, 1, &both)],
            Status(1, 200),
        ),
        case(
            "6.2",
            "HEADERS on stream 0",
            &[get(0, "/")],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.2",
            "HEADERS whose padding is too long",
            &[frame(HEADERS, WHOLE | PADDED, 1, &with(&[255], b""))],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.2",
            "HEADERS too short for a priority",
            &[frame(HEADERS, WHOLE | PRIORITIZED, 1, b"\0\0")],
            Goaway(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
        ),
        case(
            "6.2",
            "empty HEADERS",
            &[frame(HEADERS, WHOLE, 1, b"")],
            Malformed(1),
        ),
        case(
            "6.6",
            "PUSH_PROMISE of a client",
            &[
                get(1, "/"),
                frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
            ],
            Goaway(&[PROTOCOL_ERROR]),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn small_frames() -> Vec<Case> {
    let priority = |stream: u32, on: u32, weight: u8| {
        let payload = [&on.to_be_bytes()[..], &[weight]].concat();
        frame(PRIORITY, 0, stream, &payload)
    };
    vec![
        case("6.3", "PRIORITY of weight 1", &[priority(1, 0, 0)], Nothing),
        case(
            "6.3",
            "PRIORITY of weight 256",
            &[priority(1, 0, 255)],
            Nothing,
        ),
        case(
            "6.3",
            "PRIORITY on another stream",
            &[priority(3, 1, 0)],
            Nothing,
        ),
        case(
            "6.3",
            "exclusive PRIORITY",
            &[priority(3, 0x8000_0001, 0)],
            Nothing,
        ),
        case(
            "6.3",
            "PRIORITY before its HEADERS",
            &[priority(1, 99, 0), get(1, "/")],
            Status(1, 200),
        ),
        case(
            "6.3",
            "PRIORITY on stream 0",
            &[priority(0, 1, 0)],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.3",
            "PRIORITY of another length",
            &[post(1, "/late"), frame(PRIORITY, 0, 1, &[0; 4])],
            Reset(1, &[FRAME_SIZE_ERROR]),
        ),
        case(
            "6.4",
            "RST_STREAM",
            &[post(1, "/late"), reset(1, CANCEL)],
            Nothing,
        ),
        case(
            "6.4",
            "RST_STREAM on stream 0",
            &[reset(0, CANCEL)],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.4",
            "RST_STREAM of another length",
            &[post(1, "/late"), frame(RST_STREAM, 0, 1, &[0; 3])],
            Goaway(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "6.7",
            "PING is answered",
            &[frame(PING, 0, 0, b"12345678")],
            Nothing,
        ),
        case(
            "6.7",
            "PING ACK of nothing",
            &[frame(PING, ACK, 0, b"12345678")],
            Nothing,
        ),
        case(
            "6.7",
            "PING on a stream",
            &[frame(PING, 0, 1, b"12345678")],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.7",
            "PING of another length",
            &[frame(PING, 0, 0, b"123456")],
            Goaway(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "6.8",
            "GOAWAY on a stream",
            &[frame(GOAWAY, 0, 1, &[0; 8])],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.8",
            "GOAWAY too short",
            &[frame(GOAWAY, 0, 0, &[0; 7])],
            Goaway(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
        ),
        case(
            "6.8",
            "GOAWAY after a request, which is answered",
            &[get(1, "/"), frame(GOAWAY, 0, 0, &[0; 8])],
            Status(1, 200),
        ),
    ]
}
