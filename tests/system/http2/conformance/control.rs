//! Settings, windows and continued header blocks: RFC 9113, sections 6.5, 6.9 and 6.10.

use super::super::frames::*;
use super::Expected::{Goaway, Nothing, Reset, Status};
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = settings_frames();
    cases.extend(windows());
    cases.extend(continuations());
    cases
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn settings_frames() -> Vec<Case> {
    vec![
        case("6.5", "SETTINGS", &[settings(&[(3, 100)])], Nothing),
        case("6.5", "SETTINGS without any", &[settings(&[])], Nothing),
        case(
            "6.5",
            "SETTINGS ACK with a payload",
            &[frame(SETTINGS, ACK, 0, &[0; 6])],
            Goaway(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "6.5",
            "SETTINGS on a stream",
            &[frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 100])],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.5",
            "SETTINGS of another length",
            &[frame(SETTINGS, 0, 0, &[0, 3, 0])],
            Goaway(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "6.5.2",
            "ENABLE_PUSH of 2",
            &[settings(&[(2, 2)])],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.5.2",
            "INITIAL_WINDOW_SIZE beyond its range",
            &[settings(&[(4, 1 << 31)])],
            Goaway(&[FLOW_CONTROL_ERROR, PROTOCOL_ERROR]),
        ),
        case(
            "6.5.2",
            "MAX_FRAME_SIZE below its range",
            &[settings(&[(5, 16_383)])],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.5.2",
            "MAX_FRAME_SIZE beyond its range",
            &[settings(&[(5, 1 << 24)])],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.5.2",
            "unknown setting",
            &[settings(&[(0xff, 1)])],
            Nothing,
        ),
        case(
            "6.5.2",
            "a large header table",
            &[settings(&[(1, u32::MAX)])],
            Nothing,
        ),
        case(
            "6.5.3",
            "the last of two values counts",
            &[settings(&[(4, 0), (4, 65_535)]), get(1, "/")],
            Status(1, 200),
        ),
        case(
            "6.5.3",
            "a value changes while a request is open",
            &[
                post(1, "/"),
                settings(&[(4, 1)]),
                settings(&[(4, 65_535)]),
                frame(DATA, END_STREAM, 1, b"x"),
            ],
            Status(1, 200),
        ),
        case(
            "8.4",
            "a client that forbids push",
            &[settings(&[(2, 0)]), get(1, "/")],
            Status(1, 200),
        ),
    ]
}

fn windows() -> Vec<Case> {
    let full = window(0, 0x7fff_ffff);
    vec![
        case(
            "6.9",
            "WINDOW_UPDATE of the connection",
            &[window(0, 1)],
            Nothing,
        ),
        case(
            "6.9",
            "WINDOW_UPDATE of a stream",
            &[post(1, "/"), window(1, 1), frame(DATA, END_STREAM, 1, b"x")],
            Status(1, 200),
        ),
        case(
            "6.9",
            "WINDOW_UPDATE of nothing",
            &[window(0, 0)],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.9",
            "WINDOW_UPDATE of nothing on a stream",
            &[post(1, "/late"), window(1, 0)],
            Reset(1, &[PROTOCOL_ERROR]),
        ),
        case(
            "6.9",
            "WINDOW_UPDATE of another length",
            &[frame(WINDOW_UPDATE, 0, 0, &[0; 3])],
            Goaway(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "6.9.1",
            "the connection's window overflows",
            &[full.clone(), full],
            Goaway(&[FLOW_CONTROL_ERROR]),
        ),
        case(
            "6.9.1",
            "a stream's window overflows",
            &[
                post(1, "/late"),
                window(1, 0x7fff_ffff),
                window(1, 0x7fff_ffff),
            ],
            Reset(1, &[FLOW_CONTROL_ERROR]),
        ),
        case(
            "6.9.2",
            "INITIAL_WINDOW_SIZE makes a stream's window overflow",
            &[
                post(1, "/late"),
                window(1, 0x7fff_0000),
                settings(&[(4, 0x7fff_ffff)]),
            ],
            Reset(1, &[FLOW_CONTROL_ERROR]),
        ),
        case(
            "6.9.2",
            "a window that became negative grows again",
            &[settings(&[(4, 0)]), get(1, "/"), settings(&[(4, 65_535)])],
            Status(1, 200),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn continuations() -> Vec<Case> {
    let whole = block(&request("GET", "/"));
    let (first, rest) = whole.split_at(9);
    let (second, third) = rest.split_at(9);
    let begin = |flags: u8| frame(HEADERS, flags, 1, first);
    let go_on = |flags: u8, piece: &[u8]| frame(CONTINUATION, flags, 1, piece);
    vec![
        case(
            "6.10",
            "one CONTINUATION",
            &[begin(END_STREAM), go_on(END_HEADERS, rest)],
            Status(1, 200),
        ),
        case(
            "6.10",
            "two CONTINUATION",
            &[
                begin(END_STREAM),
                go_on(0, second),
                go_on(END_HEADERS, third),
            ],
            Status(1, 200),
        ),
        case(
            "6.10",
            "an empty CONTINUATION",
            &[begin(END_STREAM), go_on(0, rest), go_on(END_HEADERS, b"")],
            Status(1, 200),
        ),
        case(
            "6.10",
            "DATA inside a header block",
            &[begin(END_STREAM), frame(DATA, 0, 1, b"x")],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.10",
            "PING inside a header block",
            &[begin(END_STREAM), frame(PING, 0, 0, b"12345678")],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.10",
            "CONTINUATION on stream 0",
            &[begin(END_STREAM), frame(CONTINUATION, END_HEADERS, 0, rest)],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.10",
            "CONTINUATION on another stream",
            &[begin(END_STREAM), frame(CONTINUATION, END_HEADERS, 3, rest)],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.10",
            "CONTINUATION after a whole block",
            &[post(1, "/late"), go_on(END_HEADERS, rest)],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.10",
            "CONTINUATION after the last one",
            &[begin(0), go_on(END_HEADERS, rest), go_on(END_HEADERS, b"")],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.10",
            "CONTINUATION after DATA",
            &[
                post(1, "/late"),
                frame(DATA, 0, 1, b"x"),
                go_on(END_HEADERS, rest),
            ],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.10",
            "CONTINUATION out of nothing",
            &[go_on(END_HEADERS, rest)],
            Goaway(&[PROTOCOL_ERROR]),
        ),
    ]
}
