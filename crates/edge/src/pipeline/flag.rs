//! What a client is known by where a feature is on for some of them. Never decides for whom.

use std::net::IpAddr;

use super::head::Fields;
use super::split;
use crate::affinity::claim;
use crate::config::FlagKey;

/// `None` if the request has nothing of the kind.
pub(super) fn key(
    by: &FlagKey,
    fields: &impl Fields,
    client: impl FnOnce() -> Option<IpAddr>,
) -> Option<Vec<u8>> {
    match by {
        FlagKey::ClientAddress => Some(client()?.to_canonical().to_string().into_bytes()),
        FlagKey::Header(name) => split::field(fields, name).map(<[u8]>::to_vec),
        FlagKey::Cookie(name) => split::cookie(fields, name).map(<[u8]>::to_vec),
        FlagKey::Claim(name) => claim::read(fields, name),
    }
}
