//! A ClientHello of TLS 1.1 by hand, since no library of today speaks it. Never goes on after the first answer.

use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::client::Client;

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A ServerHello: it goes on from there.
    Accepted,
    /// An alert, or nothing more.
    Refused,
    /// Nobody said anything.
    Unknown,
}

/// Offers TLS 1.1 at most.
pub(super) async fn old_hello(client: &Client) -> Reply {
    let Ok(mut stream) = client.connect_tcp().await else {
        return Reply::Unknown;
    };
    let name = match client.target.server_name() {
        ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
        _ => None,
    };
    let hello = client_hello(name.as_deref());
    let exchange = async {
        stream.write_all(&hello).await?;
        let mut head = [0; 6];
        stream.read_exact(&mut head).await?;
        Ok::<_, std::io::Error>(head)
    };
    match timeout(REPLY_TIMEOUT, exchange).await {
        Ok(Ok(head)) => reply(head),
        Ok(Err(_)) => Reply::Refused,
        Err(_) => Reply::Unknown,
    }
}

/// Record type, version, length, and the type of the handshake message.
fn reply(head: [u8; 6]) -> Reply {
    match head {
        [RECORD_HANDSHAKE, _, _, _, _, SERVER_HELLO] => Reply::Accepted,
        _ => Reply::Refused,
    }
}

/// RFC 4346 section 7.4.1.2, with the ciphers that everybody had then.
fn client_hello(name: Option<&str>) -> Vec<u8> {
    let ciphers: [u16; 6] = [0xc013, 0xc014, 0xc009, 0xc00a, 0x002f, 0x0035];
    let ciphers: Vec<u8> = ciphers
        .iter()
        .flat_map(|cipher| cipher.to_be_bytes())
        .collect();
    let mut extensions = Vec::new();
    if let Some(name) = name {
        let name = [&[0][..], &sized(name.as_bytes())].concat();
        extensions.extend(extension(0, &sized(&name)));
    }
    // Curves x25519 and secp256r1, uncompressed points.
    extensions.extend(extension(10, &sized(&[0, 29, 0, 23])));
    extensions.extend(extension(11, &[1, 0]));
    let body = [
        &[3, 2][..],
        &[0x5a; 32],
        &[0],
        &sized(&ciphers),
        &[1, 0],
        &sized(&extensions),
    ]
    .concat();
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[CLIENT_HELLO][..], &length[1..], &body].concat();
    [&[RECORD_HANDSHAKE, 3, 1][..], &sized(&message)].concat()
}

/// With its length in two bytes in front. Everything here is short.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(content)].concat()
}

const RECORD_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use rustls::server::Acceptor;

    use super::*;

    #[test]
    fn the_hello_is_well_formed_and_offers_nothing_newer() {
        let mut acceptor = Acceptor::default();
        let hello = client_hello(Some("auth.example.com"));
        acceptor.read_tls(&mut &hello[..]).unwrap();
        let refusal = acceptor.accept().err();
        // Read to its end, then refused for what is in it rather than for its form.
        let (error, _alert) = refusal.expect("nobody accepts it");
        let text = format!("{error:?}");
        assert!(text.contains("PeerIncompatible"), "{text}");
    }

    #[test]
    fn only_a_server_hello_is_acceptance() {
        assert_eq!(reply([22, 3, 2, 0, 50, 2]), Reply::Accepted);
        assert_eq!(reply([21, 3, 2, 0, 2, 2]), Reply::Refused);
        assert_eq!(reply(*b"HTTP/1"), Reply::Refused);
    }
}
