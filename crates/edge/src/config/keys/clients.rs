//! Keys by which a listener knows clients and bounds them. Never holds a rule that concerns two keys.

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::{CONNECTIONS, Default, NETWORK, Optional, Required, TIMEOUT, count, key, text};

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

pub(super) static FORWARDED: Table = Table {
    keys: &[
        key("send", Kind::Scalar(Scalar::Word(&["x-forwarded", "rfc7239", "both"])), Default("x-forwarded"), "What endpoints are told by: X-Forwarded-* (x-forwarded), Forwarded (rfc7239) or both; what is not sent is removed."),
        key("believe", Kind::Scalar(Scalar::Word(&["x-forwarded", "rfc7239"])), Default("x-forwarded"), "Which of them trusted_proxies are believed in; the other is never read."),
        key("by", text(&OBFUSCATED), Optional("_edge-1"), "What this edge calls itself in Forwarded; its address by default."),
    ],
};

pub(super) static CLIENTS: Table = Table {
    keys: &[
        key("allow", Kind::List(&ENTRIES), Optional(""), "Only these, and those of `allow_file`."),
        key("deny", Kind::List(&ENTRIES), Optional(""), "Not these, whatever is allowed."),
        key("allow_file", text(&PATH), Optional("./allowed.txt"), "More of `allow`, one a line and perhaps until when; read again when it changes."),
        key("deny_file", text(&PATH), Optional("./denied.txt"), "More of `deny`, likewise."),
        key("dry_run", Kind::Scalar(Scalar::Flag), Default("false"), "Whether who may not come in is only counted."),
    ],
};

static ENTRIES: Kind = Kind::Short(&ENTRY);
static ENTRY: Table = Table {
    keys: &[
        key("network", text(&NETWORK_TEXT), Required("203.0.113.0/24"), "A network, or one address."),
        key("until", text(&INSTANT), Optional("2027-01-31T12:00:00Z"), "When it ends; never by default."),
    ],
};

static PATH: Text = Text { what: "a path of a file", pattern: "" };
static NETWORK_TEXT: Text = Text { what: "a network such as `10.0.0.0/8`, or one address", pattern: "^[0-9a-fA-F:.]+(/[0-9]+)?$" };
static INSTANT: Text = Text { what: "an instant such as `2027-01-31T12:00:00Z`", pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9:]+)$" };
static OBFUSCATED: Text = Text { what: "a name that begins with _ such as `_edge-1`", pattern: "^_[A-Za-z0-9._-]+$" };
