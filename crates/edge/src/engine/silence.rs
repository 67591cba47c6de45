//! Asks the kernel about an idle connection. Never waits and never takes a byte.

use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

/// Whether nothing has arrived on a socket: no byte, no end, no reset. What the runtime has heard of
/// is a moment old; this is what the kernel knows now.
pub(super) fn is_silent(socket: RawFd) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(socket, &mut [0], flags) == Err(Errno::EAGAIN)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn byte_end_and_reset_are_known_at_once_and_left_where_they_are() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (near, listener.accept().unwrap().0)
        };
        let (near, mut far) = connect();
        assert!(is_silent(near.as_raw_fd()));
        far.write_all(b"x").unwrap();
        assert!(!is_silent(near.as_raw_fd()));
        assert!(!is_silent(near.as_raw_fd()), "the byte is still there");
        let (near, far) = connect();
        drop(far);
        assert!(!is_silent(near.as_raw_fd()), "end");
        let (mut near, far) = connect();
        near.write_all(b"unread").unwrap();
        drop(far);
        assert!(!is_silent(near.as_raw_fd()), "reset");
    }
}
