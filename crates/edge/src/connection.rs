//! What is known of one accepted connection; shared by guard, engine and exchanges. Never does IO.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use http::HeaderValue;
use portcullis_traffic::route::PathRules;

use crate::config::{self, ClientPolicies, ClientTimeouts, FrameLimits, Limits};
use crate::listener::Departure;
use crate::metrics::{ListenerMetrics, Metrics};
use crate::state::Seat;
pub use crate::tls::identity::ClientIdentity;

/// Whoever connected just before the edge drains, or another process takes over, has this long for a first
/// request: it is on its way, and nobody could know better.
pub(crate) const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// One accepted connection.
#[derive(Debug)]
pub struct Connection {
    /// Unique within the process; ties log lines together.
    pub id: u64,
    /// Where it was accepted.
    pub listener: Arc<ListenerContext>,
    /// The TCP peer: the client itself, or a proxy in front of us.
    pub client: SocketAddr,
    /// Our end, or what a proxy in front says that the client connected to.
    pub local: SocketAddr,
    /// What the handshake agreed on; `None` on a plain connection.
    pub tls: Option<TlsFacts>,
    /// When it was accepted.
    pub opened: Instant,
    /// Exchanges begun on it.
    pub requests: AtomicU64,
    /// It began with the HTTP/2 preface, without TLS.
    pub has_preface: bool,
    /// The peer's address as forwarding headers say it, made once.
    pub client_text: HeaderValue,
}

impl Connection {
    /// A connection that has carried nothing yet.
    pub fn new(
        id: u64,
        listener: Arc<ListenerContext>,
        client: SocketAddr,
        local: SocketAddr,
        tls: Option<TlsFacts>,
        opened: Instant,
    ) -> Self {
        let client_text = HeaderValue::from_str(&client.ip().to_canonical().to_string())
            .expect("addresses are visible ASCII");
        Self {
            id,
            listener,
            client,
            local,
            tls,
            opened,
            requests: AtomicU64::new(0),
            has_preface: false,
            client_text,
        }
    }

    /// The port that the client connected to.
    pub(crate) fn port_text(&self) -> HeaderValue {
        match self.local.port() {
            // A header of PROXY may leave it open.
            port if port == self.listener.port || port == 0 => self.listener.port_text.clone(),
            port => HeaderValue::from(port),
        }
    }

    /// Whether ALPN or a client's prior knowledge chose HTTP/2; everything else speaks HTTP/1.
    pub fn is_h2(&self) -> bool {
        self.has_preface || self.tls.as_ref().and_then(|tls| tls.alpn) == Some("h2")
    }
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// Cipher suite, IANA name.
    pub cipher: &'static str,
    /// Group that keys were agreed on in; `none` where the session was resumed without.
    pub key_exchange: &'static str,
    /// Whether an earlier session goes on.
    pub is_resumed: bool,
    /// Server name the client asked for, lower case.
    pub server_name: Option<String>,
    /// Protocol chosen by ALPN.
    pub alpn: Option<&'static str>,
    /// The rules for client certificates that it was let in by, by position; `None` asked for none.
    pub policy: Option<usize>,
    /// Who showed a certificate.
    pub client: Option<Arc<ClientIdentity>>,
}

/// What all connections of one listener share.
#[derive(Debug)]
pub struct ListenerContext {
    /// Unique; the `listener` label in logs and metrics.
    pub name: String,
    /// Where snapshots keep this listener's counters.
    pub index: usize,
    /// Keeps that number its own for as long as it has connections.
    #[expect(dead_code, reason = "it is there to be held")]
    seat: Option<Arc<Seat>>,
    /// Whether its door is closed: connections end politely after the exchange at hand.
    departure: Arc<Departure>,
    /// Sizes and counts.
    pub limits: Limits,
    /// Deadlines towards the client.
    pub timeouts: ClientTimeouts,
    /// What HTTP/2 clients may send that is not a request.
    pub frames: FrameLimits,
    /// Whether HTTP/2 may come without TLS.
    pub takes_cleartext_http2: bool,
    /// Which server names ask for which client certificates.
    pub client_policies: ClientPolicies,
    /// Fields that make browsers careful, on routes that say nothing of them.
    pub security_headers: Option<config::SecurityHeaders>,
    /// The port of https that everybody is sent to.
    pub redirect_to_https: Option<u16>,
    /// What becomes of odd paths.
    pub paths: PathRules,
    /// Whether this listener terminates TLS.
    pub is_tls: bool,
    /// Bound port, for `X-Forwarded-Port`.
    pub port: u16,
    /// The same as a header value, made once.
    pub port_text: HeaderValue,
    /// Connection counters, resolved once.
    pub metrics: ListenerMetrics,
}

impl ListenerContext {
    /// `index` is where snapshots keep what they count, `port` the one really bound.
    pub fn new(listener: &config::Listener, index: usize, port: u16, metrics: &Metrics) -> Self {
        Self {
            name: listener.name.clone(),
            index,
            seat: None,
            departure: Arc::default(),
            limits: listener.limits.clone(),
            timeouts: listener.timeouts.clone(),
            frames: listener.http2.frames,
            takes_cleartext_http2: listener.http2.cleartext,
            client_policies: listener
                .tls
                .as_ref()
                .map(|tls| ClientPolicies::new(&tls.client_auth))
                .unwrap_or_default(),
            security_headers: listener.security_headers.clone(),
            redirect_to_https: listener.redirect_to_https,
            paths: listener.paths,
            is_tls: listener.tls.is_some(),
            port,
            port_text: HeaderValue::from(port),
            metrics: metrics.listener(&listener.name),
        }
    }
    /// The same for a listener that may be replaced: it keeps its number, and ends with its door.
    pub(crate) fn seated(
        listener: &config::Listener,
        seat: &Arc<Seat>,
        port: u16,
        metrics: &Metrics,
        departure: &Arc<Departure>,
    ) -> Self {
        Self {
            seat: Some(Arc::clone(seat)),
            departure: Arc::clone(departure),
            ..Self::new(listener, seat.number, port, metrics)
        }
    }

    /// Whether its connections shall end.
    pub(crate) fn is_closing(&self) -> bool {
        self.departure.has_begun()
    }

    /// Resolves when they shall.
    pub(crate) async fn departs(&self) {
        self.departure.begun().await;
    }
}
