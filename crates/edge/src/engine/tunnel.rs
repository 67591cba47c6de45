//! Bytes both ways until both sides have ended, or nothing has moved for too long. Never looks at
//! one.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::ReadBuf;

use super::buffer::Buffer;
use super::deadline::Deadline;
use super::stream::Stream;

/// What went through a tunnel.
#[derive(Debug)]
pub(crate) struct Tunnelled {
    /// Bytes from the client to the endpoint.
    pub(crate) to_endpoint: u64,
    /// Bytes from the endpoint to the client.
    pub(crate) to_client: u64,
    /// `Err` when a side failed, both were silent for too long ([`io::ErrorKind::TimedOut`]), or it was
    /// to end ([`io::ErrorKind::PermissionDenied`]).
    pub(crate) ended: io::Result<()>,
}

/// Joins two streams. A side that ends has its end passed on while the other may go on. A silent
/// tunnel holds no buffers. It ends when `over` resolves, whatever is under way.
pub(crate) async fn tunnel<C: Stream, E: Stream>(
    client: &mut C,
    endpoint: &mut E,
    idle: Duration,
    over: impl Future<Output = ()>,
) -> Tunnelled {
    let mut over = pin!(over);
    let (mut out, mut back) = (OneWay::default(), OneWay::default());
    let mut deadline = Deadline::default();
    deadline.set(Some(now() + idle));
    let ended = poll_fn(|cx| {
        if over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::PermissionDenied.into()));
        }
        let moved = out.bytes + back.bytes;
        let out_polled = out.poll(cx, client, endpoint)?;
        let back_polled = back.poll(cx, endpoint, client)?;
        if out_polled.is_ready() && back_polled.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if out.bytes + back.bytes > moved {
            deadline.set(Some(now() + idle));
        }
        let is_late = deadline.poll(cx);
        is_late.map(|()| Err(io::ErrorKind::TimedOut.into()))
    })
    .await;
    Tunnelled {
        to_endpoint: out.bytes,
        to_client: back.bytes,
        ended,
    }
}

/// The runtime's clock, which tests may hold.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Bytes from one side to the other.
#[derive(Debug, Default)]
struct OneWay {
    buffer: Option<Buffer>,
    bytes: u64,
    has_ended: bool,
    is_closed: bool,
}

impl OneWay {
    /// Ready when the source has ended and the sink knows it.
    fn poll<A: Stream, B: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut A,
        sink: &mut B,
    ) -> Poll<io::Result<()>> {
        while !self.is_closed {
            if let Some(buffer) = &mut self.buffer {
                while !buffer.is_empty() {
                    let count = ready!(Pin::new(&mut *sink).poll_write(cx, buffer.filled()))?;
                    if count == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    buffer.consume(count);
                    self.bytes += count as u64;
                }
                ready!(Pin::new(&mut *sink).poll_flush(cx))?;
                self.buffer = None;
            } else if self.has_ended {
                ready!(Pin::new(&mut *sink).poll_shutdown(cx))?;
                self.is_closed = true;
            } else {
                ready!(self.poll_read(cx, source))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read<A: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut A,
    ) -> Poll<io::Result<()>> {
        ready!(source.poll_readable(cx))?;
        let mut buffer = Buffer::large();
        let mut into = ReadBuf::new(buffer.spare_mut());
        ready!(Pin::new(source).poll_read(cx, &mut into))?;
        let count = into.filled().len();
        buffer.advance_filled(count);
        self.has_ended = count == 0;
        self.buffer = (count > 0).then_some(buffer);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinHandle;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// The far ends of a tunnel.
    struct Far {
        client: TcpStream,
        endpoint: TcpStream,
        tunnelled: JoinHandle<Tunnelled>,
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await;
        (far.unwrap(), listener.accept().await.unwrap().0)
    }

    async fn start(idle: Duration) -> Far {
        let (client, mut downstream) = pair().await;
        let (endpoint, mut upstream) = pair().await;
        let tunnelled =
            tokio::spawn(
                async move { tunnel(&mut downstream, &mut upstream, idle, pending()).await },
            );
        Far {
            client,
            endpoint,
            tunnelled,
        }
    }

    #[tokio::test]
    async fn end_of_one_side_is_passed_on_while_the_other_goes_on() {
        let mut far = start(HOUR).await;
        far.client.write_all(b"question").await.unwrap();
        far.client.shutdown().await.unwrap();
        let mut question = Vec::new();
        far.endpoint.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        far.endpoint.write_all(b"late answer").await.unwrap();
        drop(far.endpoint);
        let mut answer = Vec::new();
        far.client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"late answer");
        let tunnelled = far.tunnelled.await.unwrap();
        assert_eq!((tunnelled.to_endpoint, tunnelled.to_client), (8, 11));
        tunnelled.ended.unwrap();
    }

    #[tokio::test]
    async fn more_than_all_buffers_hold_arrives_both_ways_at_once() {
        let far = start(HOUR).await;
        let bytes: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
        let exchange = |mut stream: TcpStream, bytes: Vec<u8>| {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let sent = async {
                    write.write_all(&bytes).await.unwrap();
                    write.shutdown().await.unwrap();
                };
                let mut received = Vec::new();
                let ((), read) = tokio::join!(sent, read.read_to_end(&mut received));
                read.unwrap();
                received
            })
        };
        let client = exchange(far.client, bytes.clone());
        let endpoint = exchange(far.endpoint, bytes[..5_000_000].to_vec());
        assert!(endpoint.await.unwrap() == bytes);
        assert!(client.await.unwrap() == bytes[..5_000_000]);
        let tunnelled = far.tunnelled.await.unwrap();
        assert_eq!(tunnelled.to_endpoint, 8_000_000);
        assert_eq!(tunnelled.to_client, 5_000_000);
    }

    #[tokio::test]
    async fn a_side_that_resets_ends_the_other() {
        let mut far = start(HOUR).await;
        far.endpoint.reset_on_close();
        drop(far.endpoint);
        let error = far.tunnelled.await.unwrap().ended.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(far.client.read(&mut [0]).await.unwrap(), 0);
    }

    /// Both far ends in memory: a clock that runs ahead while nothing is ready must not outrun the
    /// kernel.
    fn start_in_memory(idle: Duration) -> (DuplexStream, DuplexStream, JoinHandle<Tunnelled>) {
        let (client, downstream) = tokio::io::duplex(1024);
        let (endpoint, upstream) = tokio::io::duplex(1024);
        let (mut downstream, mut upstream) = (BufReader::new(downstream), BufReader::new(upstream));
        let tunnelled =
            tokio::spawn(
                async move { tunnel(&mut downstream, &mut upstream, idle, pending()).await },
            );
        (client, endpoint, tunnelled)
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_the_last_byte_of_either_side() {
        let (mut client, mut endpoint, tunnelled) = start_in_memory(HOUR);
        let begun = tokio::time::Instant::now();
        for _ in 0..3 {
            tokio::time::sleep(HOUR / 2).await;
            endpoint.write_all(b"!").await.unwrap();
            client.read_exact(&mut [0]).await.unwrap();
        }
        let tunnelled = tunnelled.await.unwrap();
        assert_eq!(tunnelled.ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!((tunnelled.to_endpoint, tunnelled.to_client), (0, 3));
        // The timer counts whole milliseconds.
        assert_eq!(begun.elapsed().as_secs(), (HOUR * 3 / 2 + HOUR).as_secs());
    }

    #[tokio::test]
    async fn a_tunnel_that_is_over_ends_at_both_sides_in_the_middle_of_a_flood() {
        let (mut client, mut downstream) = pair().await;
        let (mut endpoint, mut upstream) = pair().await;
        let (end, over) = tokio::sync::oneshot::channel::<()>();
        let tunnelled = tokio::spawn(async move {
            let over = async {
                let _ = over.await;
            };
            tunnel(&mut downstream, &mut upstream, HOUR, over).await
        });
        client.write_all(b"flood").await.unwrap();
        endpoint.read_exact(&mut [0; 5]).await.unwrap();
        let flood =
            tokio::spawn(async move { while client.write_all(&[0; 4096]).await.is_ok() {} });
        end.send(()).unwrap();
        let error = tunnelled.await.unwrap().ended.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        flood.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_never_reads_does_not_hold_the_tunnel_open() {
        let (mut client, _endpoint, tunnelled) = start_in_memory(HOUR);
        let flood = vec![0; 64 * 1024];
        let cut = client.write_all(&flood).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::BrokenPipe);
        let error = tunnelled.await.unwrap().ended.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn silent_tunnel_holds_no_buffer() {
        let (mut far, mut source) = pair().await;
        let (mut sink_far, mut sink) = pair().await;
        let mut way = OneWay::default();
        far.write_all(b"hello").await.unwrap();
        let moved = poll_fn(|cx| match way.poll(cx, &mut source, &mut sink) {
            Poll::Pending if way.bytes == 5 => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
            Poll::Ready(ended) => panic!("ended early: {ended:?}"),
        });
        moved.await;
        assert!(way.buffer.is_none());
        sink_far.read_exact(&mut [0; 5]).await.unwrap();
    }
}
