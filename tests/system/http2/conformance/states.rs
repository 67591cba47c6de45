//! What a stream may take in which state, and which numbers it may have: RFC 9113, sections 5.1 to 5.4.

use super::super::frames::*;
use super::Expected::{Goaway, Nothing, Reset, Status};
use super::{Case, case};

const CLOSED: &[u32] = &[STREAM_CLOSED];
const CLOSED_OR_WRONG: &[u32] = &[STREAM_CLOSED, PROTOCOL_ERROR];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = idle();
    cases.extend(half_closed());
    cases.extend(closed());
    cases.extend(numbers());
    cases
}

fn data(stream: u32) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, b"x")
}

fn priority(stream: u32, on: u32) -> Vec<u8> {
    let payload = [&on.to_be_bytes()[..], &[0]].concat();
    frame(PRIORITY, 0, stream, &payload)
}

fn idle() -> Vec<Case> {
    let rest = frame(CONTINUATION, END_HEADERS, 1, &block(&request("GET", "/")));
    vec![
        case("5.1", "idle: DATA", &[data(1)], Goaway(&[PROTOCOL_ERROR])),
        case(
            "5.1",
            "idle: RST_STREAM",
            &[reset(1, CANCEL)],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "5.1",
            "idle: WINDOW_UPDATE",
            &[window(1, 100)],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "5.1",
            "idle: CONTINUATION",
            &[rest],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case("5.1", "idle: PRIORITY", &[priority(1, 0)], Nothing),
    ]
}

fn half_closed() -> Vec<Case> {
    let whole = get(1, "/late");
    vec![
        case(
            "5.1",
            "half-closed: DATA",
            &[whole.clone(), data(1)],
            Reset(1, CLOSED_OR_WRONG),
        ),
        case(
            "5.1",
            "half-closed: HEADERS",
            &[whole.clone(), get(1, "/late")],
            Reset(1, CLOSED_OR_WRONG),
        ),
        case(
            "5.1",
            "half-closed: CONTINUATION",
            &[whole.clone(), frame(CONTINUATION, END_HEADERS, 1, b"")],
            Reset(1, CLOSED_OR_WRONG),
        ),
        case(
            "5.1",
            "half-closed: WINDOW_UPDATE",
            &[whole.clone(), window(1, 100)],
            Status(1, 200),
        ),
        case(
            "5.1",
            "half-closed: PRIORITY",
            &[whole.clone(), priority(1, 3)],
            Status(1, 200),
        ),
        case(
            "5.1",
            "half-closed: RST_STREAM",
            &[whole, reset(1, CANCEL)],
            Nothing,
        ),
    ]
}

fn closed() -> Vec<Case> {
    let gone = [post(1, "/late"), reset(1, CANCEL)];
    let after = |next: Vec<u8>| [gone[0].clone(), gone[1].clone(), next];
    let rest = frame(CONTINUATION, END_HEADERS, 1, &block(&request("GET", "/")));
    vec![
        case("5.1", "reset: DATA", &after(data(1)), Reset(1, CLOSED)),
        case(
            "5.1",
            "reset: HEADERS",
            &after(get(1, "/late")),
            Reset(1, CLOSED_OR_WRONG),
        ),
        case(
            "5.1",
            "reset: CONTINUATION",
            &after(rest.clone()),
            Reset(1, CLOSED_OR_WRONG),
        ),
        case("5.1", "reset: PRIORITY", &after(priority(1, 3)), Nothing),
        case("5.1", "reset: WINDOW_UPDATE", &after(window(1, 1)), Nothing),
        case(
            "5.1",
            "reset: RST_STREAM",
            &after(reset(1, CANCEL)),
            Nothing,
        ),
        case(
            "5.1",
            "answered: DATA",
            &[get(1, "/"), get(3, "/")],
            Reset(1, CLOSED),
        )
        .answered()
        .then(&[data(1)]),
        case(
            "5.1",
            "answered: HEADERS",
            &[get(1, "/")],
            Reset(1, CLOSED_OR_WRONG),
        )
        .answered()
        .then(&[get(1, "/late")]),
        case(
            "5.1",
            "answered: CONTINUATION",
            &[get(1, "/")],
            Reset(1, CLOSED_OR_WRONG),
        )
        .answered()
        .then(&[rest]),
        case("5.1", "answered: PRIORITY", &[get(1, "/")], Nothing)
            .answered()
            .then(&[priority(1, 3)]),
        case("5.1", "answered: WINDOW_UPDATE", &[get(1, "/")], Nothing)
            .answered()
            .then(&[window(1, 9)]),
        case("5.1", "answered: RST_STREAM", &[get(1, "/")], Nothing)
            .answered()
            .then(&[reset(1, CANCEL)]),
    ]
}

fn numbers() -> Vec<Case> {
    let self_dependent = [
        &1_u32.to_be_bytes()[..],
        &[255],
        &block(&request("GET", "/late")),
    ]
    .concat();
    let many: Vec<Vec<u8>> = (0..150)
        .map(|number| post(2 * number + 1, "/late"))
        .collect();
    vec![
        case(
            "5.1.1",
            "even number",
            &[get(2, "/late")],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "5.1.1",
            "smaller number",
            &[post(5, "/late"), get(3, "/late")],
            Goaway(&[PROTOCOL_ERROR]),
        ),
        case(
            "5.1.1",
            "numbers may be left out",
            &[get(1, "/"), get(99, "/")],
            Status(99, 200),
        ),
        case(
            "5.1.2",
            "more streams than were allowed",
            &many,
            Reset(299, &[REFUSED_STREAM, PROTOCOL_ERROR]),
        ),
        case(
            "5.3.1",
            "HEADERS that depend on themselves",
            &[frame(HEADERS, WHOLE | PRIORITIZED, 1, &self_dependent)],
            Reset(1, &[PROTOCOL_ERROR]),
        ),
        case(
            "5.3.1",
            "PRIORITY that depends on itself",
            &[post(1, "/late"), priority(1, 1)],
            Reset(1, &[PROTOCOL_ERROR]),
        ),
        case(
            "5.4.1",
            "a connection error ends the connection",
            &[frame(PING, 0, 0, b"short"), get(1, "/late")],
            Goaway(&[FRAME_SIZE_ERROR]),
        ),
    ]
}
