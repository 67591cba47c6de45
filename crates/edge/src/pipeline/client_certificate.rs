//! Who the client is by its certificate, told to endpoints. Never lets a client say so itself.

use http::{HeaderName, HeaderValue};

use super::forward::same_name;
use super::head::HeaderEdit;
use crate::connection::Connection;

/// The certificate (RFC 9440).
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
/// Those above it.
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
const SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");
const SAN: HeaderName = HeaderName::from_static("x-client-cert-san");
const FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");
const SERIAL: HeaderName = HeaderName::from_static("x-client-cert-serial");

/// All fields of ours begin so, also those that a later version will write.
const PREFIX: &str = "x-client-cert-";
const OF_RFC_9440: [&str; 2] = ["client-cert", "client-cert-chain"];

/// Whether only we may write a field of this name, however it is spelt.
pub(super) fn is_reserved(name: &[u8]) -> bool {
    let begins = name
        .get(..PREFIX.len())
        .is_some_and(|head| same_name(head, PREFIX));
    begins || OF_RFC_9440.iter().any(|other| same_name(name, other))
}

/// The fields of a client that showed a certificate.
pub(super) fn tell(connection: &Connection, edits: &mut Vec<HeaderEdit>) {
    let Some(client) = connection.tls.as_ref().and_then(|tls| tls.client.as_ref()) else {
        return;
    };
    let mut set = |name, value: &HeaderValue| edits.push(HeaderEdit::Set(name, value.clone()));
    set(SUBJECT, &client.subject);
    if let Some(names) = &client.names {
        set(SAN, names);
    }
    set(FINGERPRINT, &client.fingerprint);
    set(SERIAL, &client.serial);
    set(CLIENT_CERT, &client.certificate);
    if let Some(chain) = &client.chain {
        set(CLIENT_CERT_CHAIN, chain);
    }
}
