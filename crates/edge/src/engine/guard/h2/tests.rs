//! What the scanner lets pass and what it refuses, and by which name. Never needs a socket.

use super::*;

const LIMITS: FrameLimits = FrameLimits {
    resets: 100,
    stream_errors: 7,
    pings: 90,
    settings: 50,
    continuations: 20,
    idle: 1_000,
};

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn after_preface(now: Instant) -> Scanner {
    let mut scanner = Scanner::new(LIMITS, now);
    let settings = frame(SETTINGS, 0, 0, b"");
    let greeting = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat();
    scanner.receive(&greeting, now).unwrap();
    scanner.counts = Counts::default();
    scanner
}

#[test]
fn preface_is_awaited_first() {
    let now = Instant::now();
    let mut scanner = Scanner::new(LIMITS, now);
    scanner.receive(b"PRI * HTTP/2.0", now).unwrap();
    assert!(scanner.awaits_header());
    scanner.receive(b"\r\n\r\nSM\r\n\r\n", now).unwrap();
    assert!(scanner.awaits_header());
    scanner.receive(&frame(SETTINGS, 0, 0, b""), now).unwrap();
    assert!(!scanner.awaits_header());
}

#[test]
fn header_block_is_awaited_until_its_last_byte() {
    let now = Instant::now();
    let mut scanner = after_preface(now);
    let mut bytes = frame(HEADERS, 0, 1, b"abc");
    bytes.extend(frame(CONTINUATION, END_HEADERS, 1, b"def"));
    let (last, first) = bytes.split_last().unwrap();
    for byte in first {
        scanner.receive(&[*byte], now).unwrap();
    }
    assert!(scanner.awaits_header());
    scanner.receive(&[*last], now).unwrap();
    assert!(!scanner.awaits_header());
    assert_eq!(scanner.streams_opened(), 1);
    scanner.receive(&frame(HEADERS, 0, 3, b"abc"), now).unwrap();
    assert!(scanner.awaits_header());
}

#[test]
fn trailers_do_not_open_a_stream() {
    let now = Instant::now();
    let mut scanner = after_preface(now);
    for flags in [END_HEADERS, END_HEADERS | END_STREAM] {
        let block = frame(HEADERS, flags, 1, b"a");
        scanner.receive(&block, now).unwrap();
    }
    assert_eq!(scanner.streams_opened(), 1);
}

#[test]
fn each_flood_is_named_and_forgotten_after_the_window() {
    let start = Instant::now();
    for (kind, length, limit, abuse) in [
        (RST_STREAM, 4, LIMITS.resets, Abuse::Resets),
        (PING, 8, LIMITS.pings, Abuse::Pings),
        (SETTINGS, 6, LIMITS.settings, Abuse::Settings),
        (PRIORITY, 5, LIMITS.idle, Abuse::IdleFrames),
        (WINDOW_UPDATE, 4, LIMITS.idle, Abuse::IdleFrames),
        (0xbe, 3, LIMITS.idle, Abuse::IdleFrames),
    ] {
        let mut scanner = after_preface(start);
        let bytes = frame(kind, 0, 1, &vec![0; length]);
        for _ in 0..limit {
            scanner.receive(&bytes, start).unwrap();
        }
        assert_eq!(scanner.receive(&bytes, start), Err(abuse.into()));
        scanner.receive(&bytes, start + WINDOW).unwrap();
    }
}

#[test]
fn what_is_refused_opens_no_stream() {
    let now = Instant::now();
    let mut scanner = after_preface(now);
    scanner
        .receive(&frame(HEADERS, END_HEADERS, 1, b"a"), now)
        .unwrap();
    let flood = (0..=LIMITS.resets).map(|n| 3 + 2 * n).flat_map(|stream| {
        let mut pair = frame(HEADERS, END_HEADERS, stream, b"a");
        pair.extend(frame(RST_STREAM, 0, stream, b"1234"));
        pair
    });
    let flood: Vec<u8> = flood.collect();
    assert_eq!(scanner.receive(&flood, now), Err(Abuse::Resets.into()));
    assert_eq!((scanner.streams_opened(), scanner.highest_stream()), (1, 1));
}

#[test]
fn endless_header_block_is_cut() {
    let now = Instant::now();
    let mut scanner = after_preface(now);
    scanner.receive(&frame(HEADERS, 0, 1, b"a"), now).unwrap();
    let more = frame(CONTINUATION, 0, 1, b"a");
    for _ in 0..LIMITS.continuations {
        scanner.receive(&more, now).unwrap();
    }
    assert_eq!(
        scanner.receive(&more, now),
        Err(Abuse::Continuations.into())
    );
}

#[test]
fn empty_data_flood_is_cut_but_large_uploads_are_not() {
    let now = Instant::now();
    let mut scanner = after_preface(now);
    for _ in 0..10_000 {
        scanner
            .receive(&frame(DATA, 0, 1, b"payload"), now)
            .unwrap();
    }
    let empty = frame(DATA, 0, 1, b"");
    let result = (0..=LIMITS.idle).try_for_each(|_| scanner.receive(&empty, now));
    assert_eq!(result, Err(Abuse::IdleFrames.into()));
}

#[test]
fn windows_may_be_opened_for_what_was_sent() {
    let now = Instant::now();
    let mut scanner = after_preface(now);
    let update = frame(WINDOW_UPDATE, 0, 1, b"\0\0\x01\0");
    for _ in 0..1_000 {
        assert_eq!(scanner.send(&frame(DATA, 0, 1, &[0; 1_024])), None);
        for _ in 0..8 {
            scanner.receive(&update, now).unwrap();
        }
    }
    let result = (0..=LIMITS.idle).try_for_each(|_| scanner.receive(&update, now));
    assert_eq!(result, Err(Abuse::IdleFrames.into()));
}

#[test]
fn mistakes_that_make_us_reset_count_and_our_own_resets_do_not() {
    let now = Instant::now();
    let mut scanner = after_preface(now);
    let reset = |code: u8| frame(RST_STREAM, 0, 1, &[0, 0, 0, code]);
    for _ in 0..LIMITS.stream_errors {
        scanner.send(&reset(PROTOCOL_ERROR as u8));
        scanner.send(&reset(NO_ERROR as u8));
        scanner
            .receive(&frame(PING, 0, 0, b"12345678"), now)
            .unwrap();
    }
    scanner.send(&reset(STREAM_CLOSED as u8));
    let next = scanner.receive(&frame(PING, 0, 0, b"12345678"), now);
    assert_eq!(next, Err(Abuse::StreamErrors.into()));
}

#[test]
fn a_header_list_that_the_codec_refuses_counts_as_ten_mistakes() {
    let now = Instant::now();
    let mut scanner = after_preface(now);
    let lone = frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x48\x03431");
    scanner.limits.stream_errors = 10;
    scanner.send(&lone);
    assert!(!scanner.has_found());
    scanner.send(&lone);
    assert!(scanner.has_found(), "before the client says anything more");
    assert_eq!(scanner.receive(b"", now), Err(Abuse::StreamErrors.into()));
}

#[test]
fn farewells_of_the_codec_are_seen() {
    let mut scanner = after_preface(Instant::now());
    let goaway = |code: u8| frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, code]);
    assert_eq!(scanner.send(&goaway(0)), None);
    assert_eq!(scanner.send(&goaway(1)), Some(Abuse::Protocol));
    let calm = goaway(ENHANCE_YOUR_CALM as u8);
    assert_eq!(scanner.send(&calm[..10]), None);
    assert!(!scanner.is_between_sent_frames());
    assert_eq!(scanner.send(&calm[10..]), Some(Abuse::Codec));
    assert!(scanner.is_between_sent_frames());
}

#[test]
fn frames_of_another_size_and_another_beginning_are_refused_by_the_right_name() {
    let now = Instant::now();
    for (kind, flags, length) in [
        (RST_STREAM, 0, 3),
        (PING, 0, 9),
        (SETTINGS, 0, 7),
        (SETTINGS, ACK, 6),
        (WINDOW_UPDATE, 0, 5),
        (GOAWAY, 0, 7),
        (PRIORITY, 0, 4),
    ] {
        let refused = after_preface(now).receive(&frame(kind, flags, 1, &vec![0; length]), now);
        assert_eq!(refused, Err(Refusal::protocol(FRAME_SIZE_ERROR)), "{kind}");
    }
    let mut scanner = Scanner::new(LIMITS, now);
    let opening = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &frame(PING, 0, 0, &[0; 8])[..],
    ]
    .concat();
    let refused = scanner.receive(&opening, now);
    assert_eq!(refused, Err(Refusal::protocol(PROTOCOL_ERROR)));
}

#[test]
fn resets_go_out_apart_from_the_answers_before_them() {
    let now = Instant::now();
    let answer = |stream| {
        let head = frame(HEADERS, END_HEADERS, stream, b"\x88");
        [head, frame(DATA, END_STREAM, stream, b"too much")].concat()
    };
    let resets = [
        frame(RST_STREAM, 0, 1, &[0; 4]),
        frame(RST_STREAM, 0, 5, &[0; 4]),
    ]
    .concat();
    let written = [answer(1), resets.clone(), answer(3)].concat();
    // However they are cut; a reset is known by its fourth byte.
    for cut in 1..written.len() {
        let mut scanner = after_preface(now);
        let mut pieces: Vec<Vec<u8>> = vec![Vec::new()];
        for mut rest in [&written[..cut], &written[cut..]] {
            while !rest.is_empty() {
                let piece = scanner.piece(rest);
                assert!(!piece.is_empty());
                if scanner.begins_apart(rest) {
                    pieces.push(Vec::new());
                }
                pieces.last_mut().unwrap().extend(piece);
                scanner.send(piece);
                rest = &rest[piece.len()..];
            }
        }
        assert_eq!(pieces.concat(), written);
        let boundary = answer(1).len();
        if !(boundary + 1..boundary + 4).contains(&cut) {
            assert_eq!(pieces[0], answer(1), "{cut}");
        }
    }
}

#[test]
fn no_more_is_looked_at_than_goes_out_together() {
    let scanner = after_preface(Instant::now());
    let reset = frame(RST_STREAM, 0, 1, &[0; 4]);
    let many = reset.repeat(2 * PIECE_BYTES / reset.len());
    let piece = scanner.piece(&many);
    assert!((PIECE_BYTES..PIECE_BYTES + reset.len()).contains(&piece.len()));
    assert_eq!(piece.len() % reset.len(), 0, "it ends with a frame");
    let long = frame(DATA, 0, 1, &[0; 2 * PIECE_BYTES]);
    assert_eq!(scanner.piece(&long), long, "and a frame is not cut");
}
