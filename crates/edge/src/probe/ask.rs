//! One probe: connects, shakes hands, asks. Never takes longer than its deadline, and never keeps a
//! connection.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use portcullis_traffic::containment::Trouble;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::answer;
use super::finding::{Failure, Finding};
use super::grpc;
use crate::config::{CheckMethod, CheckTls, HealthCheck, HttpQuestion, Question};
use crate::engine::{Bridge, connect_with};
use crate::outcome::Cause;

/// Who is probed.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// What its certificate is for: the name of its host, else its address.
    pub(super) name: ServerName<'static>,
    /// What the connection begins with.
    pub(super) preamble: Option<Bytes>,
}

/// Probes an endpoint once.
pub(super) async fn probe(check: &HealthCheck, target: &Target) -> Finding {
    let deadline = Instant::now() + check.timeout;
    let found = connect_and_ask(check, target, deadline).await;
    found.unwrap_or_else(Finding::Failed)
}

async fn connect_and_ask(
    check: &HealthCheck,
    target: &Target,
    deadline: Instant,
) -> Result<Finding, Failure> {
    let endpoint = target.address;
    let mut address = endpoint;
    if let Some(port) = check.port {
        address.set_port(port.get());
    }
    let host = match &check.question {
        Question::Connect => None,
        Question::Http(question) => question.host.as_deref(),
        Question::Grpc(question) => question.host.as_deref(),
    };
    let is_secure = check.tls.is_some();
    let connected = connect_with(address, target.preamble.as_deref(), check.timeout).await;
    let stream = connected.map_err(|cause| Failure::of(not_connected(cause)))?;
    let Some(tls) = &check.tls else {
        return speak(stream, check, endpoint, is_secure, deadline).await;
    };
    let name = server_name(tls, host, &target.name);
    let connector = TlsConnector::from(Arc::clone(&tls.live.current().client));
    let shaken = timeout_at(deadline, connector.connect(name, stream)).await;
    let stream = shaken
        .map_err(|_elapsed| Failure::with(Trouble::Timeout, "in the TLS handshake"))?
        .map_err(|error| Failure::with(Trouble::Tls, error))?;
    speak(stream, check, endpoint, is_secure, deadline).await
}

/// In the protocol of the check.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
    check: &HealthCheck,
    endpoint: SocketAddr,
    is_secure: bool,
    deadline: Instant,
) -> Result<Finding, Failure> {
    if !check.is_http2 {
        return ask(stream, check, endpoint, deadline).await;
    }
    let bridged = timeout_at(deadline, Bridge::alone(stream, is_secure)).await;
    let bridge = bridged
        .map_err(|_elapsed| Failure::of(Trouble::Timeout))?
        .map_err(|_cause| Failure::with(Trouble::Malformed, "it does not speak HTTP/2"))?;
    ask(bridge, check, endpoint, deadline).await
}

async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    check: &HealthCheck,
    endpoint: SocketAddr,
    deadline: Instant,
) -> Result<Finding, Failure> {
    let answered = timeout_at(deadline, async {
        match &check.question {
            Question::Connect => Ok(Finding::Passed),
            Question::Http(question) => {
                let sent = stream.write_all(&request(question, endpoint)).await;
                sent.map_err(|error| Failure::with(Trouble::Reset, error))?;
                answer::judge(question, &mut stream).await
            }
            Question::Grpc(question) => {
                let is_tls = check.tls.is_some();
                grpc::ask(&mut stream, question, endpoint, is_tls, check.timeout).await
            }
        }
    });
    let found = answered
        .await
        .map_err(|_elapsed| Failure::of(Trouble::Timeout))?;
    if found.is_ok() {
        // Says goodbye in TLS, so that the endpoint logs no broken connection.
        let _ = timeout_at(deadline, stream.shutdown()).await;
    }
    found
}

fn not_connected(cause: Cause) -> Trouble {
    match cause {
        Cause::ConnectRefused => Trouble::Refused,
        Cause::ConnectTimeout => Trouble::ConnectTimeout,
        _ => Trouble::ConnectFailed,
    }
}

/// The name given, else the check's host if it is a name or an address, else the endpoint's own. What
/// goes for requests goes for their checks, whatever host these ask for.
fn server_name(
    tls: &CheckTls,
    host: Option<&str>,
    own: &ServerName<'static>,
) -> ServerName<'static> {
    let of_host = || {
        let host = host.filter(|_| !tls.is_as_requests)?;
        let name = match host.rsplit_once(':') {
            Some((name, _port)) if !host.ends_with(']') => name,
            _ => host,
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(name.to_owned()).ok()
    };
    let given = tls.server_name.clone().or_else(of_host);
    given.unwrap_or_else(|| own.clone())
}

/// The whole request: a hundred bytes, made anew each time. Every part was checked when the configuration was read.
fn request(question: &HttpQuestion, endpoint: SocketAddr) -> Vec<u8> {
    let method = match question.method {
        CheckMethod::Get => "GET",
        CheckMethod::Head => "HEAD",
    };
    let address;
    let host = match &question.host {
        Some(host) => host,
        None => {
            address = endpoint.to_string();
            &address
        }
    };
    let path = &question.path;
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\nConnection: close\r\n"
    )
    .into_bytes();
    for (name, value) in &question.request_headers {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// Endpoints may tell probes from people by it.
pub(super) const USER_AGENT: &str = "portcullis-health-check";

#[cfg(test)]
mod tests;
