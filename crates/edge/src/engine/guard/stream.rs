//! What pingora asks of a stream besides reading and writing. Never holds state of its own beyond
//! the identity handed to the request hooks.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::Guard;
use crate::connection::Connection;
use crate::engine::Control;
use crate::engine::linger::discard;

/// What request hooks find behind a session's digest.
pub(crate) struct ConnectionHandle {
    /// The facts of the connection.
    pub(crate) connection: Arc<Connection>,
    /// Its signals.
    pub(crate) control: Arc<Control>,
}

pub(super) struct Identity {
    raw_fd: RawFd,
    socket: Arc<SocketDigest>,
    proxy: Arc<ProxyDigest>,
    established: SystemTime,
}

impl Identity {
    pub(super) fn new(raw_fd: RawFd, connection: &Arc<Connection>, control: &Arc<Control>) -> Self {
        let socket = SocketDigest::from_raw_fd(raw_fd);
        // Fresh cells: setting them cannot fail.
        let _ = socket
            .peer_addr
            .set(Some(SocketAddr::Inet(connection.client)));
        let _ = socket
            .local_addr
            .set(Some(SocketAddr::Inet(connection.local)));
        let handle = ConnectionHandle {
            connection: Arc::clone(connection),
            control: Arc::clone(control),
        };
        let response = ResponseHeader::build(http::StatusCode::OK, Some(0))
            .expect("a bare status line is valid");
        Self {
            raw_fd,
            socket: Arc::new(socket),
            proxy: Arc::new(ProxyDigest::new(Box::new(response), Some(Box::new(handle)))),
            established: SystemTime::now(),
        }
    }
}

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> Shutdown for Guard<S> {
    async fn shutdown(&mut self) {
        if AsyncWriteExt::shutdown(self).await.is_err() {
            return;
        }
        discard(&mut self.io).await;
    }
}

impl<S> UniqueID for Guard<S> {
    fn id(&self) -> UniqueIDType {
        self.identity.raw_fd
    }
}

impl<S> Ssl for Guard<S> {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        // HTTP/2 never comes this way.
        Some(ALPN::H1)
    }
}

impl<S> GetTimingDigest for Guard<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(TimingDigest {
            established_ts: self.identity.established,
            ..Default::default()
        })]
    }
}

impl<S> GetProxyDigest for Guard<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.identity.proxy))
    }
}

impl<S> GetSocketDigest for Guard<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.identity.socket))
    }
}

impl<S> Peek for Guard<S> {}
