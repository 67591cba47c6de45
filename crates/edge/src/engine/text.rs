//! A request as text of HTTP/1.1, for the native path, whoever has its client. Never lets the end of a
//! body be mistaken: its framing is ours.

use bytes::{BufMut as _, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Version};

use super::h1::responses::HeadLimits;

/// The body is not as long as was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// What the native path is to read, and what is still to come.
#[derive(Debug)]
pub(super) struct RequestText {
    pending: BytesMut,
    framing: Framing,
    is_done: bool,
    /// Nobody takes any more.
    is_given_up: bool,
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Length(u64),
    Chunked,
}

impl RequestText {
    /// `is_done`: there is no body.
    pub(super) fn new(head: &Parts, is_done: bool) -> Self {
        let length = head.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let framing = match (is_done, length) {
            (true, _) => Framing::Length(0),
            (false, Some(bytes)) => Framing::Length(bytes),
            (false, None) => Framing::Chunked,
        };
        let mut pending = BytesMut::with_capacity(HEAD_BYTES_USUAL);
        put_head(&mut pending, head);
        match framing {
            Framing::Length(0) if length.is_none() => {}
            Framing::Length(bytes) => put_field(
                &mut pending,
                CONTENT_LENGTH.as_str(),
                bytes.to_string().as_bytes(),
            ),
            Framing::Chunked => put_field(&mut pending, TRANSFER_ENCODING.as_str(), b"chunked"),
        }
        pending.put_slice(b"\r\n");
        Self {
            pending,
            framing,
            is_done,
            is_given_up: false,
        }
    }

    pub(super) fn pending(&mut self) -> &mut BytesMut {
        &mut self.pending
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether the body is through, so that only the client's leaving is of interest.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether the client is to be listened to.
    pub(super) fn is_wanting(&self) -> bool {
        self.pending.is_empty() && !self.is_given_up
    }

    /// The native path wants no more of the body.
    pub(super) fn give_up(&mut self) {
        self.pending.clear();
        self.is_given_up = true;
    }

    /// Some of the body.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<(), Broken> {
        match &mut self.framing {
            _ if piece.is_empty() => {}
            Framing::Length(left) => {
                let rest = left.checked_sub(piece.len() as u64);
                *left = rest.ok_or(Broken)?;
                self.pending.put_slice(piece);
            }
            Framing::Chunked => {
                let size = format!("{:x}\r\n", piece.len());
                self.pending.reserve(size.len() + piece.len() + 2);
                self.pending.put_slice(size.as_bytes());
                self.pending.put_slice(piece);
                self.pending.put_slice(b"\r\n");
            }
        }
        Ok(())
    }

    /// There is no more of the body. Trailers go where they can be told from it.
    pub(super) fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Broken> {
        match self.framing {
            _ if self.is_done => return Ok(()),
            Framing::Length(0) => {}
            Framing::Length(_) => return Err(Broken),
            Framing::Chunked => {
                self.pending.put_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    put_field(&mut self.pending, name.as_str(), value.as_bytes());
                }
                self.pending.put_slice(b"\r\n");
            }
        }
        self.is_done = true;
        Ok(())
    }
}

fn put_head(out: &mut BytesMut, head: &Parts) {
    out.put_slice(head.method.as_str().as_bytes());
    out.put_u8(b' ');
    match head.uri.path_and_query() {
        Some(target) => out.put_slice(target.as_str().as_bytes()),
        None => out.put_u8(b'/'),
    }
    out.put_slice(b" HTTP/1.1\r\n");
    let authority = head.uri.authority().map(|one| one.as_str().as_bytes());
    let host = authority.or_else(|| Some(head.headers.get(HOST)?.as_bytes()));
    put_field(out, HOST.as_str(), host.unwrap_or_default());
    for (name, value) in &head.headers {
        if !is_ours(name, head.version) && !is_named(name, head) {
            put_field(out, name.as_str(), value.as_bytes());
        }
    }
    put_cookies(out, head);
    let takes_trailers = head.headers.get(TE).is_some_and(|te| te == "trailers");
    if takes_trailers {
        out.put_slice(b"te: trailers\r\nconnection: te\r\n");
    }
}

/// HTTP/2 may send cookies in pieces; HTTP/1.1 has one field for all (RFC 9113, 8.2.3).
fn put_cookies(out: &mut BytesMut, head: &Parts) {
    let mut cookies = head.headers.get_all(COOKIE).iter();
    let Some(first) = cookies.next() else {
        return;
    };
    out.put_slice(b"cookie: ");
    out.put_slice(first.as_bytes());
    for cookie in cookies {
        out.put_slice(b"; ");
        out.put_slice(cookie.as_bytes());
    }
    out.put_slice(b"\r\n");
}

/// Whether `Connection` says that a field goes no further (RFC 9110, 7.6.1).
fn is_named(name: &HeaderName, head: &Parts) -> bool {
    head.headers.get_all(CONNECTION).iter().any(|value| {
        let mut options = value.as_bytes().split(|&byte| byte == b',');
        options.any(|option| {
            option
                .trim_ascii()
                .eq_ignore_ascii_case(name.as_str().as_bytes())
        })
    })
}

/// Fields of one connection, and those that are written apart. Over HTTP/2 nobody waits for an interim
/// answer.
fn is_ours(name: &HeaderName, version: Version) -> bool {
    let is_hop = [
        CONNECTION,
        CONTENT_LENGTH,
        COOKIE,
        HOST,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    is_hop.contains(name)
        || ["keep-alive", "proxy-connection", "http2-settings"].contains(&name.as_str())
        || (*name == EXPECT && version == Version::HTTP_2)
}

/// Values of a [`http::HeaderMap`] hold no line break.
fn put_field(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

const HEAD_BYTES_USUAL: usize = 1024;

/// Of answers as text: they come from our own codec, which keeps bounds of its own.
pub(super) const ANSWER_LIMITS: HeadLimits = HeadLimits {
    bytes: 1024 * 1024,
    fields: 512,
    target_bytes: 0,
};
