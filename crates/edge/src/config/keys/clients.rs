//! Keys by which a listener knows clients and bounds them. Never holds a rule that concerns two keys.

use portcullis_ops::decode::{Kind, Scalar, Table};

use super::{CONNECTIONS, Default, NETWORK, Optional, Required, TIMEOUT, count, key};

pub(super) static PROXY_PROTOCOL: Table = Table {
    keys: &[
        key("from", Kind::List(&NETWORK), Required("[10.0.0.0/8]"), "Networks that may send a PROXY header (version 1 or 2); its address is the client's from then on."),
        key("required", Kind::Scalar(Scalar::Flag), Default("true"), "Whether connections without one, and from other networks, are closed; else they are served as what they are."),
        key("timeout", TIMEOUT, Default("5s"), "Until the PROXY header is complete."),
    ],
};

pub(super) static CONNECTIONS_PER_ADDRESS: Table = Table {
    keys: &[
        key("most", CONNECTIONS, Required("200"), "So many at once; further ones get 429, or are closed where TLS would have to come first."),
        key("ipv6_prefix", count(16, 128), Default("64"), "IPv6 addresses that have so many bits in common are one client."),
        key("exempt", Kind::List(&NETWORK), Optional("[192.0.2.0/24]"), "Networks whose connections are not counted; those of trusted_proxies never are."),
    ],
};
