//! Dials endpoints. Never chooses one, and never waits longer than it is told.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::outcome::Cause;

/// A new connection to an endpoint; the error says what stood in the way.
pub(crate) async fn connect(address: SocketAddr, timeout: Duration) -> Result<TcpStream, Cause> {
    let connecting = TcpStream::connect(address);
    let connected = tokio::time::timeout(timeout, connecting).await;
    let stream = connected
        .map_err(|_elapsed| Cause::ConnectTimeout)?
        .map_err(|error| cause(&error))?;
    // Only a hint to the kernel; a socket that refuses it still works.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn cause(error: &io::Error) -> Cause {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Cause::ConnectRefused,
        io::ErrorKind::TimedOut => Cause::ConnectTimeout,
        _ => Cause::ConnectFailed,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_testkit::fault::FullBacklog;
    use portcullis_testkit::free_port;

    use super::*;

    const SOON: Duration = Duration::from_millis(200);
    const LATE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn each_obstacle_has_its_own_cause() {
        let nobody = free_port();
        let refused = connect(nobody.address(), LATE).await.unwrap_err();
        assert_eq!(refused, Cause::ConnectRefused);
        let silent = FullBacklog::start().await;
        let late = connect(silent.address(), SOON).await.unwrap_err();
        assert_eq!(late, Cause::ConnectTimeout);
        // Multicast addresses cannot be connected to.
        let nowhere = "224.0.0.1:9".parse().unwrap();
        let failed = connect(nowhere, LATE).await.unwrap_err();
        assert_eq!(failed, Cause::ConnectFailed);
    }
}
