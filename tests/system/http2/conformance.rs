//! HTTP/2 by its letter: one case for each rule that a client may break, in the order of RFC 9113 and
//! RFC 7541, and for each that it may use. Never about rates.

mod control;
mod framing;
mod hpack;
mod messages;
mod states;

use portcullis_testkit::{Authority, Behavior, Endpoint};
use serde_json::json;

use super::frames::{
    FRAME_SIZE_ERROR, GOAWAY, PROTOCOL_ERROR, RST_STREAM, Raw, STREAM_CLOSED, Way, get,
};
use crate::harness::Edge;
use crate::native::Setup;

/// What the edge has to do.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// The connection ends with one of these codes.
    Goaway(&'static [u32]),
    /// The stream is reset with one of these codes, or the connection ends with it.
    Reset(u32, &'static [u32]),
    /// The request is answered with 400 or reset as a protocol error, and no endpoint hears of it.
    Malformed(u32),
    /// This status.
    Status(u32, u16),
    /// Nothing: the connection goes on as if nothing had been said.
    Nothing,
}

/// One rule.
struct Case {
    section: &'static str,
    title: &'static str,
    /// After the greeting, unless the case is about that.
    is_greeted: bool,
    /// The first piece is answered, on stream 1, before the next.
    is_answered: bool,
    /// What is sent; a piece follows when everything before was taken.
    pieces: Vec<Vec<u8>>,
    expected: Expected,
}

fn case(section: &'static str, title: &'static str, bytes: &[Vec<u8>], expected: Expected) -> Case {
    Case {
        section,
        title,
        is_greeted: true,
        is_answered: false,
        pieces: vec![bytes.concat()],
        expected,
    }
}

impl Case {
    /// What is sent when everything before was taken.
    fn then(mut self, bytes: &[Vec<u8>]) -> Case {
        self.pieces.push(bytes.concat());
        self
    }

    /// Lets the first piece be answered before the next.
    fn answered(mut self) -> Case {
        self.is_answered = true;
        self
    }

    async fn run(&self, edge: &Edge, authority: &Authority, way: Way) -> Result<(), String> {
        let mut raw = if self.is_greeted {
            Raw::open(edge, authority, way).await
        } else {
            Raw::silent(edge, authority, way).await
        };
        for (number, piece) in self.pieces.iter().enumerate() {
            if number > 0 {
                if self.is_answered {
                    raw.body(1).await;
                    raw.seen.clear();
                }
                raw.settle().await.ok_or("closed between two pieces")?;
            }
            raw.send(piece).await;
        }
        match self.expected {
            Expected::Goaway(codes) => match raw.farewell().await {
                Some(code) if codes.contains(&code) => Ok(()),
                other => Err(format!("farewell {other:?}")),
            },
            Expected::Reset(stream, codes) => {
                let found = raw
                    .until(|frame| {
                        let is_reset = frame.kind == RST_STREAM && frame.stream == stream;
                        (is_reset || frame.kind == GOAWAY) && codes.contains(&frame.code())
                    })
                    .await;
                found.map(|_| ()).ok_or(format!("saw {:?}", raw.seen))
            }
            Expected::Malformed(stream) => {
                match raw.status(stream).await {
                    Ok(400) => {}
                    Ok(other) => return Err(format!("status {other}")),
                    Err(_) => {}
                }
                let codes = raw.seen.iter().filter(|f| f.kind == RST_STREAM);
                let known = [PROTOCOL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR, 0];
                let strange = codes
                    .map(super::frames::Frame::code)
                    .find(|c| !known.contains(c));
                strange.map_or(Ok(()), |code| Err(format!("reset with {code}")))
            }
            Expected::Status(stream, status) => match raw.status(stream).await {
                Ok(other) if other == status => Ok(()),
                other => Err(format!("{other:?}")),
            },
            Expected::Nothing => {
                raw.settle().await.ok_or("closed")?;
                raw.send(&get(0x7fff_fff1, "/after")).await;
                match raw.status(0x7fff_fff1).await {
                    Ok(200) => Ok(()),
                    other => Err(format!("then {other:?}")),
                }
            }
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = framing::cases();
    cases.extend(control::cases());
    cases.extend(states::cases());
    cases.extend(messages::cases());
    cases.extend(hpack::cases());
    cases
}

async fn edge(endpoint: &Endpoint, authority: &Authority) -> Edge {
    let identity = authority.issue("app", &["app.example"]);
    let certificates = json!([{ "cert": identity.cert, "key": identity.key }]);
    let keys = json!({ "tls": { "certificates": certificates } });
    Setup::new(&[endpoint])
        .set("listeners.0.http2.cleartext", json!(true))
        .listener("tls", &keys)
        .start()
        .await
}

#[tokio::test]
async fn every_rule_of_http2_is_kept_over_tls_and_in_the_clear() {
    let (a, authority) = (Endpoint::with("a", Behavior::Echo).await, Authority::new());
    let edge = edge(&a, &authority).await;
    let cases = cases();
    assert!(cases.len() >= 140, "only {} cases", cases.len());
    let mut failed = Vec::new();
    for way in [Way::Clear, Way::Tls] {
        for case in &cases {
            let before = a.requests();
            if let Err(what) = case.run(&edge, &authority, way).await {
                failed.push(format!("{way:?} {} {}: {what}", case.section, case.title));
            }
            if matches!(case.expected, Expected::Malformed(_)) && a.requests() != before {
                // A body that turns out to be wrong may have had a right head.
                let heard = a.received().pop().unwrap();
                if heard.target != "/late" {
                    failed.push(format!(
                        "{way:?} {} {}: reached the endpoint",
                        case.section, case.title
                    ));
                }
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    edge.expect_nothing_left().await;
}
