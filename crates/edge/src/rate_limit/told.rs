//! What clients are told of a limit. Never asks one.

use std::time::Duration;

use http::HeaderValue;
use portcullis_traffic::rate::{Rate, Verdict};

use crate::config;

/// A limit's own rate in the words of answers. They are the same in almost all of them, and were a third of
/// what telling a client of a limit costs.
#[derive(Debug)]
pub(crate) struct Announced {
    name: String,
    known: Option<Words>,
}

/// Of one rate.
#[derive(Debug)]
struct Words {
    rate: Rate,
    policy: HeaderValue,
    limit: HeaderValue,
}

impl Announced {
    pub(super) fn new(limit: &config::RateLimit) -> Self {
        let words = |rate: Rate| {
            Some(Words {
                rate,
                policy: policy(&limit.name, rate)?,
                limit: rate.burst().into(),
            })
        };
        Self {
            name: limit.name.clone(),
            known: limit.rate.and_then(words),
        }
    }

    /// The item of `RateLimit-Policy` for a rate, the limit's own or another that holds for this request.
    /// `None` if the name cannot be said in a field.
    pub(crate) fn policy(&self, rate: Rate) -> Option<HeaderValue> {
        match &self.known {
            Some(known) if known.rate == rate => Some(known.policy.clone()),
            _ => policy(&self.name, rate),
        }
    }

    /// What `RateLimit` says of the request.
    pub(crate) fn left(&self, verdict: &Verdict) -> Option<HeaderValue> {
        let seconds = whole_seconds(verdict.reset_after);
        item(
            &self.name,
            [("r", verdict.remaining.into()), ("t", seconds)],
        )
    }

    /// What `RateLimit-Limit` says.
    pub(crate) fn limit(&self, verdict: &Verdict) -> HeaderValue {
        match &self.known {
            Some(known) if known.rate.burst() == verdict.limit => known.limit.clone(),
            _ => verdict.limit.into(),
        }
    }
}

fn policy(name: &str, rate: Rate) -> Option<HeaderValue> {
    let window = whole_seconds(rate.window()).max(1);
    item(name, [("q", rate.burst().into()), ("w", window)])
}

/// An item of a list of structured fields (RFC 9651, 3.1). Without `format!`: every request needs one.
fn item(name: &str, parameters: [(&str, u64); 2]) -> Option<HeaderValue> {
    let mut text = Vec::with_capacity(name.len() + ROOM_FOR_PARAMETERS);
    text.push(b'"');
    text.extend_from_slice(name.as_bytes());
    text.push(b'"');
    let mut digits = itoa::Buffer::new();
    for (key, value) in parameters {
        text.push(b';');
        text.extend_from_slice(key.as_bytes());
        text.push(b'=');
        text.extend_from_slice(digits.format(value).as_bytes());
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
}

/// Rounded up: whoever waits for so long has waited long enough.
pub(crate) fn whole_seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

/// Two numbers, their keys and the quotes.
const ROOM_FOR_PARAMETERS: usize = 2 + 2 * (3 + 20);
