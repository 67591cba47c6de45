//! What the driver tells engines, and what they tell it. Plain facts: never decides.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};

use super::HeaderEdit;
use super::admit::X_REQUEST_ID;
use super::date::date;
use crate::config::{UpstreamTimeouts, Words};
use crate::dialling::Via;
use crate::outcome::Cause;

/// Where and how to try now.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Where to connect.
    pub address: SocketAddr,
    /// Deadlines towards the endpoint.
    pub timeouts: UpstreamTimeouts,
    /// Pooled connections of different keys must not be shared.
    pub cluster_key: u64,
    /// How to connect.
    pub via: Via,
    /// 1 for the first attempt.
    pub number: u32,
}

/// What to do with a response head from the endpoint.
#[derive(Debug)]
pub enum ResponseStep {
    /// Send it to the client with these edits.
    Deliver(Vec<HeaderEdit>),
    /// Throw it away and make another attempt.
    Retry,
    /// Throw it away, body and all, and send this.
    Instead(Box<Answer>),
}

/// A response of our own. To a HEAD request send the head alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status line.
    pub status: StatusCode,
    /// Everything but framing: `content-length` and `connection` are the engine's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A problem document (RFC 9457), or the operator's words.
    pub body: Bytes,
    /// Whether the connection must be closed after it (HTTP/1) because its state is in doubt.
    pub close: bool,
}

impl Answer {
    /// By which it can be found in the log.
    pub(super) fn request_id(&self) -> Option<&HeaderValue> {
        let mut fields = self.headers.iter();
        fields
            .find(|(name, _)| *name == X_REQUEST_ID)
            .map(|(_, id)| id)
    }

    /// The same as it leaves, which says when (RFC 9110, 6.6.1).
    pub(crate) fn dated(mut self) -> Self {
        if self.headers.iter().all(|(name, _)| *name != DATE) {
            self.headers.push((DATE, date()));
        }
        self
    }

    /// The same, with another `Retry-After`.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.headers.retain(|(name, _)| *name != RETRY_AFTER);
        self.headers.push((RETRY_AFTER, seconds.into()));
        self
    }

    /// The same with these edits.
    pub(super) fn edited(mut self, edits: Vec<HeaderEdit>) -> Self {
        for edit in edits {
            match edit {
                HeaderEdit::Append(name, value) => self.headers.push((name, value)),
                HeaderEdit::Remove(name) => self.headers.retain(|(known, _)| *known != name),
                HeaderEdit::Set(name, value) => {
                    self.headers.retain(|(known, _)| *known != name);
                    self.headers.push((name, value));
                }
            }
        }
        self
    }

    /// The same in other words.
    pub(super) fn in_words(mut self, words: &Words) -> Self {
        self.headers.retain(|(name, _)| *name != CONTENT_TYPE);
        let content_type = words.content_type.clone();
        self.headers.push((CONTENT_TYPE, content_type));
        self.body = words.body.clone();
        self
    }
}

/// What was really written to the client.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    /// Status sent; `None` when nothing was.
    pub status: Option<StatusCode>,
    /// Body bytes sent.
    pub response_bytes: u64,
    /// What cut the exchange short, if anything did.
    pub failure: Option<Cause>,
}
