//! From the first byte on a TLS port to a session, a tunnel, or what the client is told instead.
//! Never looks at a request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::cork::Corked;
use super::hello::{NoHello, Rewound, read_client_hello};
use super::passthrough::Passing;
use super::{Http1Engine, Listener};
use crate::connection::{ClientIdentity, TlsFacts};
use crate::engine::{TlsOverTcp, linger, refusal, to_http1};
use crate::outcome::Cause;
use crate::pipeline::{self, Told};

/// Why a handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// The client said nothing and left, as load balancers do to see whether we live.
    Silent,
    /// It was not done in time.
    Timeout,
    /// The client left or broke off.
    Broken,
    PlainHttp,
    NotTls,
    HelloTooLarge,
    UnknownName,
    /// None was shown where one is required.
    NoClientCertificate,
    BadClientCertificate,
    /// Versions, suites or messages do not fit.
    Protocol,
}

impl Failure {
    /// As metrics say it.
    fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::PlainHttp => "plain_http",
            Self::NotTls => "not_tls",
            Self::HelloTooLarge => "hello_too_large",
            Self::UnknownName => "unknown_name",
            Self::NoClientCertificate => "no_client_certificate",
            Self::BadClientCertificate => "bad_client_certificate",
            Self::Protocol => "protocol",
        }
    }

    /// As the access log says it; `None` is not worth a line.
    fn cause(self) -> Option<Cause> {
        match self {
            Self::Silent => None,
            Self::Timeout => Some(Cause::HandshakeTimeout),
            Self::PlainHttp => Some(Cause::PlainHttp),
            Self::UnknownName => Some(Cause::UnknownName),
            Self::NoClientCertificate | Self::BadClientCertificate => {
                Some(Cause::ClientCertificate)
            }
            Self::Broken | Self::NotTls | Self::HelloTooLarge | Self::Protocol => {
                Some(Cause::Handshake)
            }
        }
    }

    /// What the client is told, unless the handshake did so itself, or in HTTP.
    fn alert(self) -> Option<Bytes> {
        match self {
            Self::UnknownName => Some(Bytes::from_static(&UNRECOGNIZED_NAME)),
            Self::HelloTooLarge => Some(Bytes::from_static(&DECODE_ERROR)),
            _ => None,
        }
    }
}

impl Listener {
    /// Terminates TLS. `None`: the connection was passed through, or came to nothing.
    pub(super) async fn open(
        &self,
        mut stream: TcpStream,
        client: SocketAddr,
        local: SocketAddr,
    ) -> Option<(TlsOverTcp, TlsFacts)> {
        let started = Instant::now();
        let deadline = tokio::time::Instant::from_std(started + self.context.timeouts.handshake);
        let fail = |failure, name: Option<String>| {
            self.count_failure(failure, name, (client, local), started)
        };
        let hello = match timeout_at(deadline, read_client_hello(&mut stream)).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(no_hello)) => {
                let (failure, alert) = told(no_hello);
                let words = fail(failure, None);
                Box::pin(part(stream, alert.or(words))).await;
                return None;
            }
            Err(_late) => {
                fail(Failure::Timeout, None);
                return None;
            }
        };
        let name = hello.server_name;
        if let Some(cluster) = self.passthrough.cluster(name.as_deref()) {
            // A raw tunnel has no polite end: when the edge drains it may use all the time.
            let stream = Rewound::new(hello.seen, stream);
            let mut connection = self.connection(client, local, None);
            connection.opened = started;
            let listener = &self.context.name;
            let name = name.as_deref();
            let passing = Passing::new(&self.edge, connection, listener, cluster, name);
            Box::pin(passing.run(stream)).await;
            return None;
        }
        let terminator = self.tls.as_ref();
        let Some(choice) = terminator.and_then(|tls| tls.choose(name.as_deref())) else {
            let words = fail(Failure::UnknownName, name);
            Box::pin(part(stream, words)).await;
            return None;
        };
        let handshake = StartHandshake::from_parts(hello.accepted, Corked::new(stream))
            .into_stream(choice.config);
        match timeout_at(deadline, handshake.into_fallible()).await {
            Ok(Ok(mut session)) => {
                let sends_chain = self.context.client_policies.sends_chain(choice.policy);
                let facts = facts(&session, choice.policy, sends_chain);
                let facts = facts.filter(|facts| !is_over(facts));
                let Some(facts) = facts else {
                    fail(Failure::BadClientCertificate, name);
                    return None;
                };
                if !self.settle(&mut session, &facts, deadline).await {
                    fail(Failure::Broken, name);
                    return None;
                }
                self.context.metrics.handshakes_ok.inc();
                self.context.metrics.tls.began(&facts);
                Some((Box::new(session), facts))
            }
            Ok(Err((error, stream))) => {
                let client = || self.edge.shown(client);
                tracing::debug!(client = client(), listener = %self.context.name, %error, "TLS handshake failed");
                fail(why(&error), name);
                let stream = spoken_out(stream).await;
                Box::pin(part(stream, None)).await;
                None
            }
            Err(_late) => {
                fail(Failure::Timeout, name);
                None
            }
        }
    }

    /// Lets the end of a handshake leave with the first answer, or at once: in TLS 1.2 the client waits for
    /// it, and only a native engine says that it waits for the client. `false`: it could not be sent.
    async fn settle(
        &self,
        session: &mut TlsStream<Corked<TcpStream>>,
        facts: &TlsFacts,
        deadline: tokio::time::Instant,
    ) -> bool {
        session.get_mut().0.release();
        if facts.version == "TLSv1.3" && matches!(self.http1, Http1Engine::Native(_)) {
            return true;
        }
        matches!(timeout_at(deadline, session.flush()).await, Ok(Ok(())))
    }

    /// Counts it and writes its line; what the client is told.
    fn count_failure(
        &self,
        failure: Failure,
        server_name: Option<String>,
        (client, local): (SocketAddr, SocketAddr),
        started: Instant,
    ) -> Option<Bytes> {
        let metrics = &self.context.metrics;
        metrics.handshakes_failed.inc();
        metrics.tls.failed(failure.name());
        let cause = failure.cause()?;
        let mut connection = self.connection(client, local, None);
        connection.opened = started;
        let answer = (cause == Cause::PlainHttp).then(|| refusal(&self.edge, cause));
        let told = answer.as_ref().map(Told::from).unwrap_or_default();
        let name = server_name.as_deref();
        pipeline::report_handshake(&self.edge, &connection, cause, told, name);
        let words = answer.map(|answer| to_http1(&answer).freeze());
        words.or_else(|| failure.alert())
    }
}

/// The socket behind a handshake that failed, once the alert that says why was sent.
async fn spoken_out(mut stream: Corked<TcpStream>) -> TcpStream {
    stream.release();
    // Who does not take it, misses it.
    let _ = tokio::time::timeout(LAST_WORD, stream.flush()).await;
    stream.into_inner()
}

/// Gives the client the last word or alert, and time to read it: closing at once with something
/// unread would reset the connection and destroy it.
async fn part(mut stream: TcpStream, words: Option<Bytes>) {
    if let Some(words) = words {
        let sent = tokio::time::timeout(LAST_WORD, stream.write_all(&words)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
    linger(&mut stream).await;
}

/// A hello that cannot be, and what to say to it.
fn told(no_hello: NoHello) -> (Failure, Option<Bytes>) {
    let failure = match no_hello {
        NoHello::Silent => Failure::Silent,
        NoHello::Broken => Failure::Broken,
        NoHello::PlainHttp => Failure::PlainHttp,
        NoHello::NotTls => Failure::NotTls,
        NoHello::TooLarge => Failure::HelloTooLarge,
        NoHello::Malformed(alert) => return (Failure::Protocol, Some(alert.into())),
    };
    (failure, None)
}

fn why(error: &io::Error) -> Failure {
    let said = error.get_ref().and_then(|inner| inner.downcast_ref());
    match said {
        Some(rustls::Error::AlertReceived(_)) | None => Failure::Broken,
        Some(rustls::Error::NoCertificatesPresented) => Failure::NoClientCertificate,
        Some(
            rustls::Error::InvalidCertificate(_) | rustls::Error::InvalidCertRevocationList(_),
        ) => Failure::BadClientCertificate,
        Some(_) => Failure::Protocol,
    }
}

/// A fatal alert in clear text (RFC 8446, 6), as it is before keys are agreed on.
const fn alert(description: u8) -> [u8; 7] {
    [0x15, 3, 3, 0, 2, 2, description]
}

static DECODE_ERROR: [u8; 7] = alert(50);
static UNRECOGNIZED_NAME: [u8; 7] = alert(112);
/// A full socket buffer on a new connection is not worth waiting for.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Whether the certificate of a client has ended since its session began: only then was it looked
/// at.
fn is_over(facts: &TlsFacts) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
    let client = facts.client.as_ref();
    client.is_some_and(|client| client.not_after_unix_seconds < now)
}

/// `None`: the client showed a certificate that nobody could be told of.
fn facts<S>(stream: &TlsStream<S>, policy: Option<usize>, sends_chain: bool) -> Option<TlsFacts> {
    let (_, session) = stream.get_ref();
    let client = ClientIdentity::of(session.peer_certificates(), sends_chain).ok()?;
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "unknown",
    };
    let cipher = session
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
        .unwrap_or("unknown");
    let group = session.negotiated_key_exchange_group();
    let alpn = match session.alpn_protocol() {
        Some(b"h2") => Some("h2"),
        Some(b"http/1.1") => Some("http/1.1"),
        _ => None,
    };
    Some(TlsFacts {
        version,
        cipher,
        key_exchange: group
            .and_then(|group| group.name().as_str())
            .unwrap_or("none"),
        is_resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        server_name: session.server_name().map(str::to_ascii_lowercase),
        alpn,
        policy,
        client: client.map(Arc::new),
    })
}
