//! Keys of connections to endpoints. Never holds a rule that concerns two keys.

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::{Default, Optional, key, text};

pub(super) static TLS: Table = Table {
    keys: &[
        key("ca", text(&AUTHORITIES), Optional("certs/ca.pem"), "PEM file of the authorities to trust, relative to this file; `system`, the default, for those of the system. Watched."),
        key("server_name", text(&SERVER_NAME), Optional("auth.internal"), "Name to ask for and to verify; by default the endpoint's host name, else its address."),
        key("cert", text(&FILE), Optional("certs/edge.pem"), "PEM file with the edge's own chain, leaf first, for endpoints that ask for one (mutual TLS). Watched."),
        key("key", text(&FILE), Optional("certs/edge.key"), "PEM file with its private key. Watched."),
        key("verify", Kind::Scalar(Scalar::Flag), Default("true"), "Whether certificates must be valid; false takes any, and whoever is between can read and change everything."),
        key("min_version", Kind::Scalar(Scalar::Word(&["1.2", "1.3"])), Default("1.2"), "Oldest TLS version spoken."),
    ],
};

static AUTHORITIES: Text = Text { what: "a file such as `certs/ca.pem`, or `system`", pattern: "" };
static SERVER_NAME: Text = Text { what: "a host name such as `auth.internal`, or an address", pattern: "^[^/ ]+$" };
static FILE: Text = Text { what: "a file such as `certs/edge.pem`", pattern: "" };
