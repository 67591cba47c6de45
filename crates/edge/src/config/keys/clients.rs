//! Keys by which a listener knows clients and bounds them. Never holds a rule that concerns two keys.

use portcullis_ops::decode::{Kind, Scalar, Table};

use super::{Default, NETWORK, Required, TIMEOUT, key};

pub(super) static PROXY_PROTOCOL: Table = Table {
    keys: &[
        key("from", Kind::List(&NETWORK), Required("[10.0.0.0/8]"), "Networks that may send a PROXY header (version 1 or 2); its address is the client's from then on."),
        key("required", Kind::Scalar(Scalar::Flag), Default("true"), "Whether connections without one, and from other networks, are closed; else they are served as what they are."),
        key("timeout", TIMEOUT, Default("5s"), "Until the PROXY header is complete."),
    ],
};
