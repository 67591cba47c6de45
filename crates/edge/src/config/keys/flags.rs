//! Keys of feature flags. Never holds a rule that concerns two keys.

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::{Default, Optional, Required, key, text};

pub(super) static FLAG: Table = Table {
    keys: &[
        key("percent", Kind::Scalar(Scalar::Percent), Required("20"), "For how many of them it is on, in steps of 0.01; a greater number only adds to those who have it."),
        key("key", text(&KEY), Default("client_address"), "What clients are known by: client_address, \"header:NAME\", \"cookie:NAME\" or \"claim:NAME\" (of the bearer token, not verified). Who shows none has the feature only at 100."),
        key("on", Kind::List(&VALUE), Optional("[\"192.0.2.7\"]"), "Values of `key` that have it at every percentage, even 0."),
        key("off", Kind::List(&VALUE), Optional("[\"192.0.2.8\"]"), "Values of `key` that have it at none, even 100."),
    ],
};

static VALUE: Kind = text(&ANY);
static ANY: Text = Text { what: "a text", pattern: "" };
static KEY: Text = Text { what: "what to know clients by, such as `cookie:user`", pattern: "^(client_address|(header|cookie|claim):.+)$" };
