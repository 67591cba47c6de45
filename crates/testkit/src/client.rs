//! A raw HTTP/1.1 client: sends exactly the bytes a test wrote, reads exactly what came back.
//! Never follows, retries, decodes or repairs anything on its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::wait::DEADLINE;
use crate::wire::{Head, Reader, malformed};

pub use calls::{Call, Calls};
pub use http2::Http2Connection;
use pieces::Pieces;

mod calls;
mod http2;
mod pieces;

/// A connection to the process under test.
pub struct Connection {
    reader: Reader<Box<dyn Stream>>,
    host: String,
    tls: Option<TlsSeen>,
    deadline: Duration,
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug)]
pub struct TlsSeen {
    /// DER of the leaf the server showed.
    pub leaf: Vec<u8>,
    /// Protocol chosen by ALPN.
    pub alpn: Option<String>,
    /// `TLSv1_2` or `TLSv1_3`.
    pub version: String,
    /// Group that keys were agreed on in, such as `X25519MLKEM768`.
    pub group: Option<String>,
    /// Whether an earlier session goes on.
    pub is_resumed: bool,
}

/// One response.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Fields in order, names as sent (lower case over HTTP/2).
    pub fields: Vec<(String, String)>,
    /// The body, chunking removed.
    pub body: Vec<u8>,
    /// Fields behind a chunked body.
    pub trailers: Vec<(String, String)>,
}

impl Response {
    /// The first field called `name`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("body is not JSON ({error}): {self:?}"))
    }

    /// What an echoing endpoint received in the fields called `name`.
    pub fn echoed(&self, name: &str) -> Vec<String> {
        let json = self.json();
        let fields = json["headers"]
            .as_array()
            .unwrap_or_else(|| panic!("no echo: {json}"));
        let named = fields.iter().filter(|pair| pair[0] == name);
        named
            .filter_map(|pair| pair[1].as_str().map(str::to_owned))
            .collect()
    }

    /// Name of the echoing endpoint.
    pub fn endpoint(&self) -> String {
        self.json()["endpoint"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for Pieces {
    fn tcp(&self) -> &TcpStream {
        self.tcp()
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0.tcp()
    }
}

impl Connection {
    /// Connects over TCP. `Host` is the address unless [`Connection::with_host`] changes it.
    pub async fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = within(DEADLINE, "connecting", TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(Connection::over(
            Box::new(stream),
            address.to_string(),
            None,
        ))
    }

    /// Connects from a chosen loopback address, to be a second client.
    pub async fn open_from(source: IpAddr, address: SocketAddr) -> io::Result<Connection> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        let stream = within(DEADLINE, "connecting", socket.connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(Connection::over(
            Box::new(stream),
            address.to_string(),
            None,
        ))
    }

    /// Connects with room for about `bytes` unread ones, so that the peer soon notices when
    /// this client stops reading.
    pub async fn open_narrow(address: SocketAddr, bytes: u32) -> io::Result<Connection> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(bytes)?;
        let stream = within(DEADLINE, "connecting", socket.connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(Connection::over(
            Box::new(stream),
            address.to_string(),
            None,
        ))
    }

    /// Connects and shakes hands as TLS client for `server_name`, which also becomes `Host`.
    pub async fn open_tls(
        address: SocketAddr,
        server_name: &str,
        config: ClientConfig,
    ) -> io::Result<Connection> {
        let (stream, seen) = tls_stream(address, server_name, config).await?;
        Ok(Connection::over(
            Box::new(stream),
            server_name.to_owned(),
            Some(seen),
        ))
    }

    /// As [`Connection::open_tls`], with bytes in front of the handshake.
    pub async fn open_tls_behind(
        address: SocketAddr,
        bytes: &[u8],
        server_name: &str,
        config: ClientConfig,
    ) -> io::Result<Connection> {
        let connecting = async {
            let mut tcp = TcpStream::connect(address).await?;
            tcp.write_all(bytes).await?;
            Ok(tcp)
        };
        Connection::open_tls_over(connecting, server_name, config).await
    }

    /// As [`Connection::open_tls`], with every write cut into pieces of `largest` bytes, each
    /// a TCP segment of its own.
    pub async fn open_tls_in_pieces(
        address: SocketAddr,
        server_name: &str,
        config: ClientConfig,
        largest: usize,
    ) -> io::Result<Connection> {
        let connecting = async {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            Ok(Pieces::new(tcp, largest))
        };
        Connection::open_tls_over(connecting, server_name, config).await
    }

    /// Shakes hands over what `connecting` comes to.
    async fn open_tls_over<S: Stream + 'static>(
        connecting: impl Future<Output = io::Result<S>>,
        server_name: &str,
        config: ClientConfig,
    ) -> io::Result<Connection> {
        let name = ServerName::try_from(server_name.to_owned()).map_err(io::Error::other)?;
        let shaking = async {
            let connector = TlsConnector::from(Arc::new(config));
            connector.connect(name, connecting.await?).await
        };
        let stream = within(DEADLINE, "the TLS handshake", shaking).await?;
        Ok(Connection::over(
            Box::new(stream),
            server_name.to_owned(),
            None,
        ))
    }

    fn over(stream: Box<dyn Stream>, host: String, tls: Option<TlsSeen>) -> Connection {
        Connection {
            reader: Reader::new(stream),
            host,
            tls,
            deadline: DEADLINE,
        }
    }

    /// Changes the `Host` that [`Connection::request`] sends.
    #[must_use]
    pub fn with_host(mut self, host: &str) -> Connection {
        host.clone_into(&mut self.host);
        self
    }

    /// Changes how long any one step may take.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Connection {
        self.deadline = deadline;
        self
    }

    /// What the TLS handshake agreed on.
    pub fn tls(&self) -> Option<&TlsSeen> {
        self.tls.as_ref()
    }

    /// Our own end.
    ///
    /// # Panics
    /// When the system does not know it.
    pub fn local_address(&self) -> SocketAddr {
        let address = self.reader.stream.tcp().local_addr();
        address.expect("a connected socket has an address")
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sending = async {
            self.reader.stream.write_all(bytes).await?;
            self.reader.stream.flush().await
        };
        within(self.deadline, "sending", sending).await
    }

    /// Sends bytes one by one, with a pause after each.
    pub async fn send_bytewise(&mut self, bytes: &[u8], pause: Duration) -> io::Result<()> {
        for &byte in bytes {
            self.send(&[byte]).await?;
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Closes the sending half.
    pub async fn finish_sending(&mut self) -> io::Result<()> {
        within(self.deadline, "closing", self.reader.stream.shutdown()).await
    }

    /// Ends the connection by a reset instead of an orderly close.
    pub fn reset(self) -> io::Result<()> {
        self.reader.stream.tcp().set_zero_linger()
    }

    /// Reads the next response, informational ones skipped.
    pub async fn response(&mut self) -> io::Result<Response> {
        self.response_to("GET").await
    }

    /// As [`Connection::response`]; what belongs to a response depends on the method.
    pub async fn response_to(&mut self, method: &str) -> io::Result<Response> {
        let reading = read_response(&mut self.reader, method == "HEAD");
        within(self.deadline, "a response", reading).await
    }

    /// Reads the next response head and nothing behind it, informational ones too.
    pub async fn head(&mut self) -> io::Result<Response> {
        let reading = async {
            let (status, head) = read_head(&mut self.reader).await?;
            Ok(Response {
                status,
                fields: head.fields,
                body: Vec::new(),
                trailers: Vec::new(),
            })
        };
        within(self.deadline, "a response head", reading).await
    }

    /// `GET path` and its response.
    pub async fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request("GET", path, &[], b"").await
    }

    /// Sends a well-formed request with `Host` and reads its response. A body gets a
    /// `Content-Length`.
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" || method == "PUT" {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes).await?;
        let reading = read_response(&mut self.reader, method == "HEAD");
        within(
            self.deadline,
            &format!("the response to {method} {path}"),
            reading,
        )
        .await
    }

    /// Sends JSON with POST and reads the response.
    pub async fn post_json(&mut self, path: &str, body: &Value) -> io::Result<Response> {
        let fields = [("Content-Type", "application/json")];
        self.request("POST", path, &fields, body.to_string().as_bytes())
            .await
    }

    /// Everything the peer sends until it closes; what came before a reset counts too.
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let reading = async {
            loop {
                match self.reader.some().await {
                    Ok(bytes) if bytes.is_empty() => return Ok(()),
                    Ok(bytes) => all.extend(bytes),
                    Err(error) if is_close(&error) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        };
        within(self.deadline, "the peer to close", reading).await?;
        Ok(all)
    }

    /// The next bytes as they come; empty when the peer has closed.
    pub async fn read_some(&mut self) -> io::Result<Vec<u8>> {
        within(self.deadline, "bytes", self.reader.some()).await
    }

    /// Waits until the peer closes without another byte.
    ///
    /// # Panics
    /// When it sends something or keeps the connection past the deadline.
    pub async fn expect_close(&mut self) {
        let rest = self
            .read_to_end()
            .await
            .expect("the peer closes the connection");
        assert!(
            rest.is_empty(),
            "closed after {:?}",
            String::from_utf8_lossy(&rest)
        );
    }
}

/// One request on a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    Connection::open(address)
        .await?
        .request("GET", path, &[("Connection", "close")], b"")
        .await
}

/// A TLS stream and what its handshake agreed on.
pub async fn tls_stream(
    address: SocketAddr,
    server_name: &str,
    config: ClientConfig,
) -> io::Result<(TlsStream<TcpStream>, TlsSeen)> {
    let name = ServerName::try_from(server_name.to_owned()).map_err(io::Error::other)?;
    let connecting = async {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
    };
    let stream = within(DEADLINE, "the TLS handshake", connecting).await?;
    let session = stream.get_ref().1;
    let seen = TlsSeen {
        leaf: session
            .peer_certificates()
            .and_then(<[_]>::first)
            .map_or(vec![], |c| c.to_vec()),
        alpn: session
            .alpn_protocol()
            .map(|p| String::from_utf8_lossy(p).into_owned()),
        version: session
            .protocol_version()
            .map_or(String::new(), |v| format!("{v:?}")),
        group: session
            .negotiated_key_exchange_group()
            .map(|group| format!("{:?}", group.name())),
        is_resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
    };
    Ok((stream, seen))
}

async fn read_response(
    reader: &mut Reader<Box<dyn Stream>>,
    is_answer_to_head: bool,
) -> io::Result<Response> {
    loop {
        let (status, head) = read_head(reader).await?;
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let mut trailers = Vec::new();
        let body = if is_answer_to_head || matches!(status, 101 | 204 | 304) {
            Vec::new()
        } else if head.is_chunked() {
            let body;
            (body, trailers) = reader.chunked().await?;
            body
        } else if let Some(length) = head.content_length() {
            reader.exact(length).await?
        } else {
            reader.rest().await?
        };
        return Ok(Response {
            status,
            fields: head.fields,
            body,
            trailers,
        });
    }
}

async fn read_head(reader: &mut Reader<Box<dyn Stream>>) -> io::Result<(u16, Head)> {
    let head = reader.head().await?.ok_or_else(|| {
        io::Error::new(io::ErrorKind::UnexpectedEof, "closed instead of a response")
    })?;
    let status = head
        .start_line
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse::<u16>().ok())
        .filter(|_| head.start_line.starts_with("HTTP/1.1 "))
        .ok_or_else(|| malformed(&format!("status line {:?}", head.start_line)))?;
    Ok((status, head))
}

pub(crate) async fn within<T>(
    deadline: Duration,
    what: &str,
    step: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    tokio::time::timeout(deadline, step)
        .await
        .unwrap_or_else(|_| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{what}: nothing within {deadline:?}"),
            ))
        })
}

/// A peer that closes with unread bytes resets; over TLS it may also skip its close_notify.
fn is_close(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
    )
}
