//! Requests to compare engines with: known attacks, and random ones, most of them damaged. Never
//! random but by the seed.

use fastrand::Rng;

use super::Case;

/// Heads and bodies that proxies have disagreed on, in the literature and in the wild. `@` stands
/// for a request line and a `Host`.
const ATTACKS: [&str; 64] = [
    "@Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
    "@Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX",
    "@Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "@Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "@Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "@Transfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n",
    "@Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "@Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx",
    "@Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "@Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "@Transfer-Encoding: cHuNkEd\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "@Transfer-Encoding:chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "@Transfer-Encoding:\tchunked\t\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "@Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "@Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n",
    "@Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "@Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "@ Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "@X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "@X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "@X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "@X: y\r\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "@Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "@Transfer_Encoding: chunked\r\nContent-Length: 1\r\n\r\nx",
    "@Transfer-Encoding:\r\nContent-Length: 1\r\n\r\nx",
    "@Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "@Content-Length: 1, 1\r\n\r\nx",
    "@Content-Length: 1\r\nContent-Length: 5\r\n\r\nxyzab",
    "@Content-Length: 01\r\n\r\nx",
    "@Content-Length: 0x1\r\n\r\nx",
    "@Content-Length: 1 \r\n\r\nx",
    "@Content-Length: 1 0\r\n\r\nx",
    "@Content-Length: \"1\"\r\n\r\nx",
    "@Content-Length: 1.0\r\n\r\nx",
    "@Content-Length: \r\n\r\n",
    "@Content-Length:\x0b1\r\n\r\nx",
    "@Content-Length: 18446744073709551617\r\n\r\nx",
    "@Content-Length : 1\r\n\r\nx",
    "@Content_Length: 1\r\n\r\n",
    "@Connection: Content-Length\r\nContent-Length: 1\r\n\r\nx",
    "@Connection: close, X-Forwarded-For, Host\r\n\r\n",
    "@Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "@Connection: keep-alive, Authorization\r\nAuthorization: x\r\n\r\n",
    "@Connection: ,, x,\r\nX: y\r\n\r\n",
    "@Transfer-Encoding: chunked\r\n\r\n01\r\nx\r\n0\r\n\r\n",
    "@Transfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n0\r\n\r\n",
    "@Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
    "@Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
    "@Transfer-Encoding: chunked\r\n\r\n1;\nx\r\nx\r\n0\r\n\r\n",
    "@Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
    "@Transfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n",
    "@Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nContent-Length: 9\r\nHost: evil\r\n\r\n",
    "@Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nx\r\n0\r\n\r\n",
    "@Transfer-Encoding: chunked\r\n\r\n;\r\n\r\n",
    "@Host: b.example\r\n\r\n",
    "@X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\r\n",
    "@X-Auth-Subject: root\r\nx_auth_subject: root\r\nProxy: http://evil/\r\n\r\n",
    "@Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx",
    "@Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAM\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "GET http://evil.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "GET //evil.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: a.example/b\r\n\r\n",
];

pub(super) fn attacks() -> Vec<Case> {
    let start = "POST /attack HTTP/1.1\r\nHost: a.example\r\n";
    let attacks = ATTACKS.iter().enumerate();
    attacks
        .map(|(position, text)| Case {
            origin: format!("attack {position}"),
            bytes: text.replacen('@', start, 1).into_bytes(),
        })
        .collect()
}

/// The request of a seed: well-formed for one seed of four, else damaged.
pub(super) fn random(seed: u64) -> Case {
    let mut rng = Rng::with_seed(seed);
    let mut bytes = well_formed(&mut rng);
    if rng.u8(..4) > 0 {
        for _ in 0..rng.usize(1..4) {
            damage(&mut bytes, &mut rng);
        }
    }
    Case {
        origin: format!("SEED={seed}"),
        bytes,
    }
}

fn well_formed(rng: &mut Rng) -> Vec<u8> {
    let method = pick(
        rng,
        &[
            "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "BREW",
        ],
    );
    let target = pick(
        rng,
        &[
            "/",
            "/a/b",
            "/a?b=c&d",
            "/%2e%2e/a",
            "//a",
            "/a;b",
            "/\"<>`{}|^",
            "/?",
            "/a#b",
            "/~!$&'()*+,=:@",
        ],
    );
    let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    bytes.extend(
        pick(
            rng,
            &[
                "Host: a.example\r\n",
                "host:a.example:80\r\n",
                "HOST:  A.example \r\n",
            ],
        )
        .bytes(),
    );
    for _ in 0..rng.usize(..4) {
        bytes.extend(pick_bytes(rng, FIELDS));
    }
    if rng.u8(..3) == 0 {
        bytes.extend(pick_bytes(rng, CONNECTION_FIELDS));
    }
    match rng.u8(..4) {
        0 => {
            let length = rng.usize(..40);
            bytes.extend(format!("Content-Length: {length}\r\n\r\n").bytes());
            bytes.extend((0..length).map(|_| rng.alphanumeric() as u8));
        }
        1 => {
            bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for _ in 0..rng.usize(..4) {
                let length = rng.usize(1..20);
                let extension = pick(rng, &["", "", ";a", ";a=b", ";a=\"b c\""]);
                bytes.extend(format!("{length:x}{extension}\r\n").bytes());
                bytes.extend((0..length).map(|_| rng.alphanumeric() as u8));
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n");
            bytes.extend(pick(rng, &["", "", "X-T: 1\r\n"]).bytes());
            bytes.extend(b"\r\n");
        }
        _ => bytes.extend(b"\r\n"),
    }
    bytes
}

/// Fields whose meaning, if any, both engines must agree on.
const FIELDS: &[&[u8]] = &[
    b"Accept: */*\r\n",
    b"X-Empty:\r\n",
    b"X-Space: a  b\tc\r\n",
    b"X-High: \xc3\xa9\xff\r\n",
    b"x-twice: 1\r\nX-Twice: 2\r\n",
    b"Cookie: a=b; c=d\r\nCookie: e=f\r\n",
    b"X-Forwarded-For: 6.6.6.6\r\n",
    b"X-Forwarded-Proto: https\r\n",
    b"X-Auth-Subject: root\r\n",
    b"X_Real_IP: 6.6.6.6\r\n",
    b"Forwarded: for=6.6.6.6\r\n",
    b"Via: 1.0 a\r\n",
    b"Range: bytes=0-1\r\n",
    b"!#$%&'*+-.^_`|~09az: token\r\n",
    b"Content-Type: text/plain\r\n",
    b"Max-Forwards: 0\r\n",
    b"Authorization: Basic eDp5\r\n",
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
];

/// Fields that end at the edge.
const CONNECTION_FIELDS: &[&[u8]] = &[
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: x-hop\r\nX-Hop: 1\r\n",
    b"Connection: X-Hop, close\r\nx-hop: 1\r\n",
    b"Keep-Alive: timeout=5\r\n",
    b"Proxy-Connection: keep-alive\r\n",
    b"Proxy-Authorization: Basic eDp5\r\n",
    b"TE: trailers\r\n",
    b"TE: gzip\r\n",
    b"Trailer: X-T\r\n",
    b"Upgrade: websocket\r\n",
];

/// Lines and bytes that framing hangs on.
const SPLINTERS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"0",
    b"\r\n\r\n",
    b"\r\n ",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Host: b\r\n",
    b"HTTP/1.0",
    b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"Expect: 100-continue\r\n",
    b"0\r\n\r\n",
    b"ffff",
];

fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.usize(..=bytes.len());
    match rng.u8(..8) {
        0 if at < bytes.len() => bytes[at] = rng.u8(..),
        1 if at < bytes.len() => {
            bytes.remove(at);
        }
        2 => bytes.truncate(at.max(1)),
        3 if at < bytes.len() => bytes[at] ^= 0x20,
        4 => {
            // A line twice.
            let start = bytes[..at]
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |end| end + 1);
            let end = bytes[at..]
                .iter()
                .position(|&byte| byte == b'\n')
                .map_or(bytes.len(), |end| at + end + 1);
            let line = bytes[start..end].to_vec();
            bytes.splice(start..start, line);
        }
        5 => {
            // In front of a line, where it is most likely to be understood.
            let start = bytes[..at]
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |end| end + 1);
            let splinter = pick_bytes(rng, SPLINTERS);
            bytes.splice(start..start, splinter.iter().copied());
        }
        _ => {
            let splinter = pick_bytes(rng, SPLINTERS);
            bytes.splice(at..at, splinter.iter().copied());
        }
    }
}

fn pick<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    from[rng.usize(..from.len())]
}

fn pick_bytes(rng: &mut Rng, from: &'static [&'static [u8]]) -> &'static [u8] {
    from[rng.usize(..from.len())]
}
