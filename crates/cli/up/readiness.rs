//! Asks an HTTP address once whether it is ready. Only for start-up on this machine:
//! the edge's own health checks take over from there.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A local answer takes milliseconds; a stuck process must not hold up the next question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// `HTTP/1.1 200`
const STATUS_BYTES: usize = 12;

/// Whether `GET path` answers 200.
pub(super) async fn is_ready(address: SocketAddr, path: &str) -> bool {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, status_line(address, path)).await;
    matches!(answer, Ok(Ok(line)) if is_ok(&line))
}

async fn status_line(address: SocketAddr, path: &str) -> io::Result<[u8; STATUS_BYTES]> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; STATUS_BYTES];
    stream.read_exact(&mut line).await?;
    Ok(line)
}

fn is_ok(line: &[u8; STATUS_BYTES]) -> bool {
    line.starts_with(b"HTTP/1.") && line.ends_with(b" 200")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn ready_when_answered(answer: &'static [u8]) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /health/ready HTTP/1.1\r\n"));
            stream.write_all(answer).await.unwrap();
        };
        tokio::join!(is_ready(address, "/health/ready"), server).0
    }

    #[tokio::test]
    async fn only_status_200_is_ready() {
        assert!(ready_when_answered(b"HTTP/1.1 200 OK\r\n\r\n").await);
        assert!(!ready_when_answered(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").await);
        assert!(!ready_when_answered(b"HTTP/1.1 20").await);
        assert!(!ready_when_answered(b"SSH-2.0-OpenSSH_9.2 200").await);
    }

    #[tokio::test]
    async fn closed_port_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(!is_ready(address, "/").await);
    }
}
