//! Endpoints that send what HTTP/2 forbids or what nobody could bear: their requests get 502 under a
//! name, and no other is hurt.

use std::time::Duration;

use portcullis_testkit::wait_until;
use serde_json::json;

use super::Setup;
use super::raw::*;

/// What it sends instead of an answer, and what that is called.
struct Wrong {
    name: &'static str,
    outcome: &'static str,
    frames: fn(u32) -> Vec<u8>,
}

const fn malformed(name: &'static str, frames: fn(u32) -> Vec<u8>) -> Wrong {
    Wrong {
        name,
        outcome: "failed_endpoint_malformed",
        frames,
    }
}

/// A head that holds no more than it.
fn head(stream: u32, fields: &[Vec<u8>]) -> Vec<u8> {
    frame(HEADERS, HEAD | END, stream, &fields.concat())
}

fn ok() -> Vec<u8> {
    vec![STATUS_200]
}

const WRONG: &[Wrong] = &[
    malformed("no status", |s| head(s, &[field(b"a", b"b")])),
    malformed("two of them", |s| head(s, &[ok(), ok()])),
    malformed("no number", |s| head(s, &[field(b":status", b"abc")])),
    malformed("four digits", |s| head(s, &[field(b":status", b"2000")])),
    malformed("switching protocols", |s| {
        head(s, &[field(b":status", b"101")])
    }),
    malformed("a pseudo-field that is none", |s| {
        head(s, &[ok(), field(b":other", b"x")])
    }),
    malformed("a pseudo-field too late", |s| {
        head(s, &[field(b"a", b"b"), ok()])
    }),
    malformed("capitals", |s| head(s, &[ok(), field(b"Abc", b"d")])),
    malformed("a space in a name", |s| {
        head(s, &[ok(), field(b"a b", b"d")])
    }),
    malformed("a line break in a name", |s| {
        head(s, &[ok(), field(b"a\r\nset-cookie", b"d")])
    }),
    malformed("a line break in a value", |s| {
        head(s, &[ok(), field(b"a", b"b\r\nset-cookie: c=d")])
    }),
    malformed("an empty name", |s| head(s, &[ok(), field(b"", b"d")])),
    malformed("connection", |s| {
        head(s, &[ok(), field(b"connection", b"close")])
    }),
    malformed("transfer-encoding", |s| {
        head(s, &[ok(), field(b"transfer-encoding", b"chunked")])
    }),
    malformed("a length and nothing", |s| {
        head(s, &[ok(), field(b"content-length", b"5")])
    }),
    malformed("a length that is none", |s| {
        head(s, &[ok(), field(b"content-length", b"5x")])
    }),
    malformed("two lengths", |s| {
        let lengths = [
            field(b"content-length", b"0"),
            field(b"content-length", b"1"),
        ];
        head(s, &[ok(), lengths.concat()])
    }),
    malformed("300 fields", |s| {
        head(s, &[ok(), field(b"a", b"b").repeat(300)])
    }),
    malformed("a large field", |s| {
        let mut block = ok();
        block.extend(field(b"a", &[b'x'; 80_000]));
        let mut frames = frame(HEADERS, END, s, &block[..16_000]);
        for piece in block[16_000..64_000].chunks(16_000) {
            frames.extend(frame(CONTINUATION, 0, s, piece));
        }
        frames.extend(frame(CONTINUATION, 0, s, &block[64_000..80_000]));
        frames.extend(frame(CONTINUATION, HEAD, s, &block[80_000..]));
        frames
    }),
    malformed("a small bomb of HPACK", |s| {
        // 4,000 bytes that the table keeps, and then are named 8,000 times.
        let mut kept = field(b"a", &[b'x'; 4000]);
        kept[0] = 0x40;
        head(s, &[ok(), kept, vec![0xbe; 8000]])
    }),
    malformed("a head without end", |s| {
        let mut frames = frame(HEADERS, 0, s, &ok());
        for _ in 0..2000 {
            frames.extend(frame(CONTINUATION, 0, s, &field(b"a", &[b'x'; 8000])));
        }
        frames
    }),
    malformed("heads without end", |s| {
        let hint = frame(HEADERS, HEAD, s, &field(b":status", b"103"));
        hint.repeat(100)
    }),
    malformed("an index that is none", |s| head(s, &[vec![0xff; 8]])),
    malformed("a table beyond all bounds", |s| {
        head(s, &[vec![0x3f, 0xff, 0xff, 0xff, 0x7f], ok()])
    }),
    malformed("a body without a head", |s| frame(DATA, END, s, b"body")),
    malformed("a body on no stream", |_| frame(DATA, 0, 0, b"body")),
    malformed("a head on no stream", |_| head(0, &[ok()])),
    malformed("a head on a stream of its own", |_| head(2, &[ok()])),
    malformed("a promise", |s| {
        frame(PUSH_PROMISE, HEAD, s, &[0, 0, 0, 2, 0x82, 0x84])
    }),
    malformed("a frame that is too long", |s| {
        frame(DATA, 0, s, &[0; 20_000])
    }),
    malformed("a reset that is too short", |s| {
        frame(RST_STREAM, 0, s, &[0; 3])
    }),
    malformed("a window beyond all bounds", |_| {
        frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])
    }),
    malformed("settings beyond all bounds", |_| {
        frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff])
    }),
    malformed("an answer of HTTP/1.1", |_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
    }),
    Wrong {
        name: "a reset",
        outcome: "failed_endpoint_reset",
        frames: |s| frame(RST_STREAM, 0, s, &[0, 0, 0, 2]),
    },
    Wrong {
        name: "a farewell for cause",
        outcome: "failed_endpoint_reset",
        frames: |s| {
            // It has begun with this one, whatever it is.
            let mut goodbye = s.to_be_bytes().to_vec();
            goodbye.extend([0, 0, 0, 11]);
            [
                frame(GOAWAY, 0, 0, &goodbye),
                frame(RST_STREAM, 0, s, &[0, 0, 0, 2]),
            ]
            .concat()
        },
    },
];

/// Does what the body says.
fn answer(stream: u32, body: &[u8]) -> Option<Vec<u8>> {
    let number: Option<usize> = std::str::from_utf8(body).unwrap().parse().ok();
    Some(match number {
        Some(number) => (WRONG[number].frames)(stream),
        None => head(stream, &[ok()]),
    })
}

#[tokio::test]
async fn whatever_is_no_answer_over_http2_is_502_under_a_name() {
    let raw = RawH2::start(&[], answer).await;
    let edge = Setup::for_h2c(raw.address())
        .set("clusters.main.ejection", json!("off"))
        .set("clusters.main.timeouts", json!({ "read": "5s" }))
        .start()
        .await;
    for (number, wrong) in WRONG.iter().enumerate() {
        let mut client = edge.connect().await;
        let path = format!("/{number}");
        let body = number.to_string();
        let answer = client.request("POST", &path, &[], body.as_bytes());
        let answer = tokio::time::timeout(Duration::from_secs(4), answer).await;
        let status = answer.expect(wrong.name).expect(wrong.name).status;
        assert_eq!(status, 502, "{}", wrong.name);
        let line = edge.log_of(&path).await;
        assert_eq!(line["outcome"], wrong.outcome, "{}", wrong.name);
        let fine = client.request("POST", "/fine", &[], b"fine").await;
        assert_eq!(fine.unwrap().status, 200, "after {}", wrong.name);
    }
}

#[tokio::test]
async fn a_bad_answer_leaves_the_others_on_its_connection_alone() {
    // The first waits until another has got what breaks a rule of its own stream.
    let raw = RawH2::start(&[], |stream, body| {
        Some(match body {
            b"wait" => Vec::new(),
            _ => {
                let bad = head(stream, &[ok(), field(b"connection", b"close")]);
                [bad, head(stream - 2, &[ok()])].concat()
            }
        })
    })
    .await;
    let edge = Setup::for_h2c(raw.address()).start().await;
    let mut waits = edge.connect().await;
    let waiting = tokio::spawn(async move { waits.request("POST", "/a", &[], b"wait").await });
    wait_until("it is there", async || {
        let new = [("kind", "new")];
        let made = edge.metric("portcullis_edge_endpoint_connections_total", &new);
        (made.await > 0.0).then_some(())
    })
    .await;
    let mut bad = edge.connect().await;
    assert_eq!(
        bad.request("POST", "/b", &[], b"bad").await.unwrap().status,
        502
    );
    assert_eq!(waiting.await.unwrap().unwrap().status, 200);
    assert_eq!(
        edge.log_of("/b").await["outcome"],
        "failed_endpoint_malformed"
    );
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_was_said_is_not_whole() {
    let raw = RawH2::start(&[], |stream, body| {
        let length = field(b"content-length", b"5");
        let begun = frame(HEADERS, HEAD, stream, &[ok(), length].concat());
        Some([begun, frame(DATA, END, stream, body)].concat())
    })
    .await;
    let edge = Setup::for_h2c(raw.address()).start().await;
    for (body, outcome) in [
        (&b"1234"[..], "failed_endpoint_truncated"),
        (b"12345", "served"),
        (b"123456", "failed_endpoint_truncated"),
    ] {
        let mut client = edge.connect().await;
        let path = format!("/{}", body.len());
        let answer = client.request("POST", &path, &[], body).await;
        assert_eq!(answer.is_ok(), outcome == "served", "{answer:?}");
        assert_eq!(edge.log_of(&path).await["outcome"], outcome);
    }
}

#[tokio::test]
async fn an_endpoint_that_takes_no_requests_gets_no_connections() {
    let raw = RawH2::start(&[(3, 0)], answer).await;
    let edge = Setup::for_h2c(raw.address())
        .set("clusters.main.retries", json!(0))
        .set("clusters.main.ejection", json!("off"))
        .start()
        .await;
    for _ in 0..5 {
        assert_eq!(edge.get("/").await.status, 502);
    }
    edge.wait_for_outcome("failed_endpoint_refused", 5).await;
}

#[tokio::test]
async fn a_whole_answer_stays_whole_when_the_rest_of_the_request_is_declined() {
    // RFC 9113, 8.1: NO_ERROR after the end means "enough".
    let raw = RawH2::start(&[], |stream, _| {
        let begun = frame(HEADERS, HEAD, stream, &ok());
        let whole = [begun, frame(DATA, END, stream, b"whole")].concat();
        Some([whole, frame(RST_STREAM, 0, stream, &[0; 4])].concat())
    })
    .await;
    let edge = Setup::for_h2c(raw.address()).start().await;
    let mut client = edge.connect().await;
    for _ in 0..3 {
        let answer = client.request("POST", "/", &[], b"x").await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"whole"[..]));
    }
}
