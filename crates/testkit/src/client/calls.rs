//! Calls over HTTP/2 in the clear, piece by piece both ways, as clients of gRPC make them. Never reads
//! more than a test asks for.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest, handshake};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::net::TcpStream;

use super::within;
use crate::wait::DEADLINE;

/// A connection with prior knowledge; clones share it.
#[derive(Clone)]
pub struct Calls {
    sender: SendRequest<Bytes>,
    authority: String,
}

/// One call on it. Dropped before its end, it is cancelled.
pub struct Call {
    stream: SendStream<Bytes>,
    answer: Option<ResponseFuture>,
    body: Option<RecvStream>,
}

impl Calls {
    /// Connects.
    pub async fn open(address: SocketAddr) -> io::Result<Calls> {
        let (sender, connection) = handshake(TcpStream::connect(address).await?)
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Calls {
            sender,
            authority: address.to_string(),
        })
    }

    /// Sends the head of a `POST`.
    pub async fn start(&self, path: &str, fields: &[(&str, &str)]) -> io::Result<Call> {
        let uri = format!("http://{}{path}", self.authority);
        let mut request = Request::post(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).map_err(io::Error::other)?;
        let ready = self.sender.clone().ready().await;
        let sent = ready.map_err(io::Error::other)?;
        let (answer, stream) = { sent }
            .send_request(request, false)
            .map_err(io::Error::other)?;
        Ok(Call {
            stream,
            answer: Some(answer),
            body: None,
        })
    }
}

impl Call {
    /// Sends a piece as fast as windows allow.
    pub async fn send(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut rest = Bytes::copy_from_slice(piece);
        while !rest.is_empty() {
            self.stream.reserve_capacity(rest.len());
            let room = poll_fn(|cx| self.stream.poll_capacity(cx)).await;
            let room = room.ok_or(io::ErrorKind::BrokenPipe)?;
            let now = rest.split_to(room.map_err(io::Error::other)?.min(rest.len()));
            self.stream
                .send_data(now, false)
                .map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Ends the request.
    pub fn end(&mut self) -> io::Result<()> {
        let end = self.stream.send_data(Bytes::new(), true);
        end.map_err(io::Error::other)
    }

    /// Ends it with a trailer.
    pub fn end_with(&mut self, name: &'static str, value: &'static str) -> io::Result<()> {
        let mut trailers = HeaderMap::new();
        let name = HeaderName::from_static(name);
        trailers.insert(name, HeaderValue::from_static(value));
        let end = self.stream.send_trailers(trailers);
        end.map_err(io::Error::other)
    }

    /// Gives the call up.
    pub fn cancel(&mut self) {
        self.stream.send_reset(Reason::CANCEL);
    }

    /// Status and fields of the answer.
    pub async fn head(&mut self) -> io::Result<(u16, HeaderMap)> {
        let answer = self.answer.take().ok_or(io::ErrorKind::NotFound)?;
        let answered = async { answer.await.map_err(io::Error::other) };
        let (head, body) = within(DEADLINE, "the head of the answer", answered)
            .await?
            .into_parts();
        self.body = Some(body);
        Ok((head.status.as_u16(), head.headers))
    }

    /// Whether its end has come with what was read last.
    pub fn is_over(&self) -> bool {
        self.body.as_ref().is_some_and(RecvStream::is_end_stream)
    }

    /// The next piece of the answer, `None` at its end.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let body = self.body.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let read = async { body.data().await.transpose().map_err(io::Error::other) };
        let piece = within(DEADLINE, "a piece of the answer", read).await?;
        if let Some(piece) = &piece {
            let released = body.flow_control().release_capacity(piece.len());
            released.map_err(io::Error::other)?;
        }
        Ok(piece)
    }

    /// What came behind it.
    pub async fn trailers(&mut self) -> io::Result<HeaderMap> {
        let body = self.body.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let read = async { body.trailers().await.map_err(io::Error::other) };
        let trailers = within(DEADLINE, "the trailers", read).await?;
        Ok(trailers.unwrap_or_default())
    }
}
