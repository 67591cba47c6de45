//! Connects to endpoints for requests that ask for an upgrade, through a stream whose first read
//! waits one turn. Never used for any other request: theirs keep pingora's own connector.
//!
//! pingora sends "the request body has ended" through a channel and takes it for the end of the
//! tunnel when it has already read the 101 (pingora-proxy `proxy_h1.rs`, `send_body_to1` under
//! `was_upgraded`). Both are ready at once when an endpoint answers quickly, and a coin decides: a
//! tenth of all WebSockets to an endpoint on the same machine ended before their first byte. A read
//! that is not ready at first lets the end of the body go before it, always.
//!
//! Here a tunnel ends, too, that may not last any longer: its reads say that the endpoint has ended.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::prelude::{Error, ErrorType, Result};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use thiserror::Error as ThisError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watch::Watch;
use crate::dialling::Via;
use crate::engine::dial::{EndpointStream, dial};
use crate::outcome::Cause;
use crate::pipeline::Attempt;

/// Makes connections for upgrades. The deadline is pingora's total connection timeout.
#[derive(Debug)]
pub(super) struct PatientConnector {
    via: Via,
    timeout: Duration,
}

impl PatientConnector {
    pub(super) fn new(attempt: &Attempt) -> Self {
        Self {
            via: attempt.via.clone(),
            timeout: attempt.timeouts.connect,
        }
    }
}

/// What stood in the way, for whoever hears of pingora's error.
#[derive(Clone, Copy, Debug, ThisError)]
#[error("no connection for an upgrade: {0:?}")]
pub(super) struct NotDialled(pub(super) Cause);

#[async_trait]
impl L4Connect for PatientConnector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let target = address.as_inet().ok_or_else(|| {
            Error::explain(ErrorType::InternalError, "endpoints have IP addresses")
        })?;
        let dialled = dial(*target, &self.via, self.timeout).await;
        let stream = dialled.map_err(|cause| {
            let kind = ErrorType::ConnectError;
            Error::because(kind, "connecting for an upgrade", NotDialled(cause))
        })?;
        let patient = PatientStream {
            stream,
            has_waited: false,
            watch: Watch::of_this_request(),
        };
        Ok(VirtualSocketStream::new(Box::new(patient)).into())
    }
}

#[derive(Debug)]
struct PatientStream {
    stream: EndpointStream,
    has_waited: bool,
    watch: Option<Arc<Watch>>,
}

impl VirtualSocket for PatientStream {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => match self.stream.socket() {
                Some(socket) => socket.set_nodelay(true),
                None => Ok(()),
            },
            // Nothing here asks for keep-alive probes.
            _ => Ok(()),
        }
    }
}

impl AsyncRead for PatientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.has_waited {
            self.has_waited = true;
            ctx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let is_over = |watch: &Arc<Watch>| watch.poll_over(ctx).is_ready();
        if self.watch.as_ref().is_some_and(is_over) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(ctx, buffer)
    }
}

impl AsyncWrite for PatientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(ctx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(ctx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(ctx)
    }
}
