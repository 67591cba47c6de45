//! An HTTP/2 client over TLS or with prior knowledge. Never negotiates down to HTTP/1.1.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;

use super::{Response, TlsSeen, tls_stream, within};
use crate::wait::DEADLINE;

/// One HTTP/2 connection; clones share it, so that requests can run side by side.
#[derive(Clone)]
pub struct Http2Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    tls: TlsSeen,
}

impl Http2Connection {
    /// Connects and agrees on `h2` with ALPN, as a client for `server_name`.
    pub async fn open(
        address: SocketAddr,
        server_name: &str,
        mut config: ClientConfig,
    ) -> io::Result<Http2Connection> {
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (stream, tls) = tls_stream(address, server_name, config).await?;
        if tls.alpn.as_deref() != Some("h2") {
            return Err(io::Error::other(format!(
                "the peer chose {:?}, not h2",
                tls.alpn
            )));
        }
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Http2Connection {
            sender,
            authority: server_name.to_owned(),
            tls,
        })
    }

    /// Asks for another host on the same connection, as browsers do that join connections.
    #[must_use]
    pub fn with_authority(mut self, authority: &str) -> Http2Connection {
        authority.clone_into(&mut self.authority);
        self
    }

    /// What the TLS handshake agreed on.
    pub fn tls(&self) -> &TlsSeen {
        &self.tls
    }

    /// Whether the peer has closed the connection or asked to leave it.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// `GET path` and its response.
    pub async fn get(&self, path: &str) -> io::Result<Response> {
        self.request("GET", path, &[], b"").await
    }

    /// Sends a request and reads the whole response.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let uri: Uri = format!("https://{}{path}", self.authority)
            .parse()
            .map_err(io::Error::other)?;
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::copy_from_slice(body));
        let request = request.body(body).map_err(io::Error::other)?;
        let mut sender = self.sender.clone();
        let exchange = async {
            sender.ready().await.map_err(io::Error::other)?;
            let response = sender
                .send_request(request)
                .await
                .map_err(io::Error::other)?;
            let (head, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .map_err(io::Error::other)?
                .to_bytes()
                .to_vec();
            let fields = head.headers.iter();
            let fields = fields
                .map(|(name, value)| {
                    (
                        name.to_string(),
                        String::from_utf8_lossy(value.as_bytes()).into_owned(),
                    )
                })
                .collect();
            Ok(Response {
                status: head.status.as_u16(),
                fields,
                body,
                trailers: Vec::new(),
            })
        };
        within(
            DEADLINE,
            &format!("the response to {method} {path}"),
            exchange,
        )
        .await
    }
}
