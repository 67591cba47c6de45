//! How a listener knows clients, as written. Never compares two values.

use portcullis_ops::decode::Fields;

use super::super::ProxyProtocol;

pub(super) fn proxy_protocol(fields: &Fields<'_>) -> ProxyProtocol {
    let from = fields.networks("from");
    ProxyProtocol {
        from: from.into_iter().map(|network| network.value).collect(),
        required: fields.flag("required").value,
        timeout: fields.duration("timeout").value,
    }
}
