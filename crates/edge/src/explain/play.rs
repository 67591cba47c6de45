//! Plays the engine for a request that nobody has sent: the same parser, and the same calls of the exchange in
//! the same order, up to the first attempt. Never decides anything itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_traffic::route::normalize_host;
use portcullis_traffic::select::Why;

use super::asked::Asked;
use crate::cluster::{Endpoint, Rehearsed, Would};
use crate::connection::{Connection, ListenerContext, TlsFacts};
use crate::engine::requests::{HeadLimits, RequestParser};
use crate::outcome::Cause;
use crate::pipeline::{Answer, Exchange, Head, HeaderEdit};

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nothing is read from its connection.
    Refused,
    /// It is no request.
    Unreadable(Cause),
    /// The edge answers.
    Answered(Box<Answer>),
    /// It waits in line for an endpoint.
    Waits {
        before: usize,
        for_at_most: Duration,
    },
    /// It goes here.
    Reaches(Arc<Endpoint>, Why),
}

/// What becomes of a request whose head was read.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) ended: Ended,
    /// Of whom its endpoint was chosen.
    pub(super) rehearsed: Option<Rehearsed>,
    /// What is changed of its head on the way.
    pub(super) edits: Vec<HeaderEdit>,
}

impl Decided {
    fn answered(answer: Answer, rehearsed: Option<Rehearsed>) -> Self {
        Self {
            ended: Ended::Answered(Box::new(answer)),
            rehearsed,
            edits: Vec::new(),
        }
    }
}

/// The connection that a request would come by.
pub(super) fn connection(
    listener: &Arc<ListenerContext>,
    asked: &Asked,
    now: Instant,
) -> Arc<Connection> {
    let named = asked.server_name.as_deref();
    let named = named.or_else(|| asked.host().map(normalize_host));
    let tls = listener.is_tls.then(|| TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS13_AES_256_GCM_SHA384",
        key_exchange: "X25519MLKEM768",
        is_resumed: false,
        server_name: named.map(str::to_ascii_lowercase),
        alpn: None,
        policy: listener.client_policies.of(named),
        client: None,
    });
    let mut local = asked.client;
    local.set_ip(match asked.client.is_ipv4() {
        true => std::net::Ipv4Addr::LOCALHOST.into(),
        false => std::net::Ipv6Addr::LOCALHOST.into(),
    });
    local.set_port(listener.port);
    let listener = Arc::clone(listener);
    Arc::new(Connection::new(0, listener, asked.client, local, tls, now))
}

/// Reads a head within the limits of its listener.
pub(super) fn read(bytes: &[u8], listener: &ListenerContext) -> Result<RequestParser, Cause> {
    let limits = HeadLimits {
        bytes: listener.limits.header_bytes,
        fields: listener.limits.header_count,
        target_bytes: listener.limits.target_bytes,
    };
    let mut parser = RequestParser::default();
    match parser.advance(bytes, &limits) {
        Ok(Some(length)) if length == bytes.len() => Ok(parser),
        Ok(_) => Err(Cause::HeadMalformed),
        Err(error) => Err(error.cause()),
    }
}

/// What becomes of it.
pub(super) fn decide(
    exchange: &mut Exchange,
    parser: &RequestParser,
    bytes: &[u8],
    asked: &Asked,
    now: Instant,
) -> Decided {
    let head = parser.head(bytes);
    if let Err(answer) = exchange.on_request(&head) {
        return Decided::answered(answer, None);
    }
    if parser.wants_another_protocol() && exchange.is_http2_upstream() {
        let answer = exchange.on_failure(Cause::NoUpgrade);
        return Decided::answered(answer, None);
    }
    exchange.suppose_tried(&asked.tried);
    let (rehearsed, answer) = exchange.rehearse_attempt(now);
    if let Some(answer) = answer {
        return Decided::answered(answer, rehearsed);
    }
    let ended = match rehearsed.as_ref().map(|rehearsed| &rehearsed.would) {
        Some(Would::Have(endpoint, why)) => Ended::Reaches(Arc::clone(endpoint), *why),
        Some(Would::Wait {
            before,
            for_at_most,
        }) => Ended::Waits {
            before: *before,
            for_at_most: *for_at_most,
        },
        Some(Would::Fail(_)) | None => Ended::Unreadable(Cause::Internal),
    };
    let edits = match &ended {
        Ended::Reaches(..) => exchange.on_forward(&head),
        _ => Vec::new(),
    };
    Decided {
        ended,
        rehearsed,
        edits,
    }
}

/// The host that a request is for.
pub(super) fn host(head: &impl Head) -> &str {
    head.authority().unwrap_or_default()
}
