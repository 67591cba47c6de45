//! How a listener knows clients, as written. Never compares two values.

use std::num::NonZeroU32;

use ipnet::IpNet;
use portcullis_ops::decode::Fields;

use super::super::{ConnectionsPerAddress, ProxyProtocol};

pub(super) fn proxy_protocol(fields: &Fields<'_>) -> ProxyProtocol {
    ProxyProtocol {
        from: networks(fields, "from"),
        required: fields.flag("required").value,
        timeout: fields.duration("timeout").value,
    }
}

pub(super) fn connections_per_address(fields: &Fields<'_>) -> Option<ConnectionsPerAddress> {
    let most = fields.optional_number("most")?;
    Some(ConnectionsPerAddress {
        most: NonZeroU32::new(most.value)?,
        ipv6_prefix: fields.number("ipv6_prefix").value,
        exempt: networks(fields, "exempt"),
    })
}

fn networks(fields: &Fields<'_>, name: &str) -> Vec<IpNet> {
    let networks = fields.networks(name);
    networks.into_iter().map(|network| network.value).collect()
}
