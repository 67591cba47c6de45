//! What HTTP/2 does with fields besides carrying them. Never changes a value.

use http::header::{CONNECTION, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName};

use crate::pipeline::{TRACEPARENT, X_REQUEST_ID};

/// Fields that say something else in every message. In the table that both sides keep (RFC 7541, 2.3.2)
/// they drive out those that come again, and all their earlier values are looked through for each:
/// a twentieth of what a small request costs.
const NEVER_TWICE: [HeaderName; 2] = [X_REQUEST_ID, TRACEPARENT];

/// RFC 9113, 8.2.2.
pub(super) fn is_of_connection(name: &HeaderName) -> bool {
    [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE].contains(name)
        || ["keep-alive", "proxy-connection", "http2-settings"].contains(&name.as_str())
}

/// Marks what shall go into no table, here or further on (RFC 7541, 6.2.3).
pub(super) fn keep_out_of_tables(fields: &mut HeaderMap) {
    for name in NEVER_TWICE {
        if let Some(value) = fields.get_mut(&name) {
            value.set_sensitive(true);
        }
    }
}
