//! Parcels between two processes of the same edge: a document, with a descriptor or without. Never
//! interprets them, and never shows them: some hold keys.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde_json::Value;

/// The longest document: many times what all bans and thousands of endpoints need.
const WORDS_BYTES_MAX: usize = 16 * 1024 * 1024;
const LENGTH_BYTES: usize = 4;

/// What arrives at once.
pub(super) struct Parcel {
    pub(super) words: Value,
    pub(super) descriptor: Option<OwnedFd>,
}

/// Sends one parcel; the other side gets a descriptor of its own.
pub(super) fn send(
    mut stream: &UnixStream,
    words: &Value,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let words = words.to_string();
    let length = u32::try_from(words.len()).ok();
    let length = length.filter(|_| words.len() <= WORDS_BYTES_MAX);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?.to_be_bytes();
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let with = SendAncillaryMessage::ScmRights(&descriptors);
    if !descriptors.is_empty() && !control.push(with) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let head = [IoSlice::new(&length)];
    let sent = sendmsg(stream, &head, &mut control, SendFlags::NOSIGNAL)?;
    stream.write_all(length.get(sent..).unwrap_or_default())?;
    stream.write_all(words.as_bytes())
}

/// The next parcel; `None` when the other side has closed between two.
pub(super) fn receive(mut stream: &UnixStream) -> io::Result<Option<Parcel>> {
    let mut length = [0; LENGTH_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let head = &mut [IoSliceMut::new(&mut length)];
    let received = recvmsg(stream, head, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            descriptor = descriptors.next();
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    stream.read_exact(length.get_mut(received.bytes..).unwrap_or_default())?;
    let bytes = u32::from_be_bytes(length) as usize;
    if bytes > WORDS_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut words = vec![0; bytes];
    stream.read_exact(&mut words)?;
    let words = serde_json::from_slice(&words)?;
    Ok(Some(Parcel { words, descriptor }))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_socket_goes_over_and_accepts_on_the_other_side() {
        let (one, other) = UnixStream::pair().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        send(&one, &json!({ "listener": "http" }), Some(socket.as_fd())).unwrap();
        send(&one, &json!({ "end": true }), None).unwrap();
        drop((one, socket));
        let first = receive(&other).unwrap().unwrap();
        assert_eq!(first.words["listener"], "http");
        let (_, peer) = TcpListener::from(first.descriptor.unwrap())
            .accept()
            .unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        let second = receive(&other).unwrap().unwrap();
        assert!(second.descriptor.is_none() && second.words["end"] == true);
        assert!(receive(&other).unwrap().is_none());
    }

    #[test]
    fn what_is_no_parcel_is_an_error() {
        for bytes in [
            &b"\xff\xff\xff\xff"[..],
            b"\0\0",
            b"\0\0\0\x05{}",
            b"\0\0\0\x02{]",
        ] {
            let (mut one, other) = UnixStream::pair().unwrap();
            one.write_all(bytes).unwrap();
            drop(one);
            assert!(receive(&other).is_err(), "{bytes:?}");
        }
        let (one, _other) = UnixStream::pair().unwrap();
        let long = json!("x".repeat(WORDS_BYTES_MAX));
        assert!(send(&one, &long, None).is_err());
    }
}
