//! How a listener knows clients, as written. Never compares two values.

use std::num::NonZeroU32;

use ipnet::IpNet;
use portcullis_ops::decode::{Fields, Located, Mistake, parse_network};

use super::super::names;
use super::super::{ConnectionsPerAddress, Forwarded, ForwardedBy, ProxyProtocol};
use crate::gate::{NEVER, NetworkSet, parse_until};
use crate::pipeline::is_obfuscated;

/// Lists as written: files are not read yet.
#[derive(Debug)]
pub(in crate::config) struct FileClients {
    pub(in crate::config) allow: NetworkSet,
    pub(in crate::config) deny: NetworkSet,
    pub(in crate::config) allow_file: Option<Located<String>>,
    pub(in crate::config) deny_file: Option<Located<String>>,
    pub(in crate::config) is_dry_run: bool,
}

/// `None` where there are none.
pub(super) fn clients(fields: &Fields<'_>) -> Option<FileClients> {
    let fields = fields.optional_table("clients")?;
    Some(FileClients {
        allow: entries(&fields, "allow"),
        deny: entries(&fields, "deny"),
        allow_file: fields.text("allow_file", names::file),
        deny_file: fields.text("deny_file", names::file),
        is_dry_run: fields.flag("dry_run").value,
    })
}

fn entries(fields: &Fields<'_>, name: &str) -> NetworkSet {
    let mut networks = NetworkSet::default();
    for entry in fields.tables(name) {
        let until = entry.text("until", |text| {
            parse_until(text).ok_or_else(|| {
                let hint = "with its offset from UTC: 2027-01-31T12:00:00Z";
                Mistake::new("is not an instant", hint)
            })
        });
        if let Some(network) = entry.text("network", parse_network) {
            networks.insert(network.value, until.map_or(NEVER, |until| until.value));
        }
    }
    networks
}

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

pub(super) fn forwarded(fields: &Fields<'_>) -> Forwarded {
    let by = fields.text("by", |text| {
        let hint = "an underscore, then letters, digits and . _ -: _edge-1";
        match is_obfuscated(text) {
            true => Ok(text.to_owned()),
            false => Err(Mistake::new("is not an obfuscated name", hint)),
        }
    });
    Forwarded {
        send: match fields.word("send").value {
            "rfc7239" => ForwardedBy::Rfc7239,
            "both" => ForwardedBy::Both,
            _ => ForwardedBy::XForwarded,
        },
        is_rfc7239_believed: fields.word("believe").value == "rfc7239",
        by: by.map(|by| by.value),
    }
}
