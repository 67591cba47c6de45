//! Keys of the places where endpoints are found. Never holds a rule that concerns two keys.

use std::time::Duration;

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::clusters::{ENDPOINTS, HOST_PORT};
use super::{Default, HOUR, NAME, Optional, Required, SECOND, Usual, count, key, text};

pub(super) static SOURCES: Kind = Kind::Table(&SOURCE);

static SOURCE: Table = Table {
    keys: &[
        key("file", text(&FILE), Optional("endpoints.yaml"), "YAML or JSON file with a list of endpoints as above, or a directory of such files. Watched."),
        key("dns", text(&HOST_PORT), Optional("app.internal:8000"), "Host name and port: each of its addresses is an endpoint, asked for again when the TTL is over."),
        key("srv", text(&SERVICE), Optional("_http._tcp.app.internal"), "Name of a service: its SRV records say targets, ports, tiers and weights, asked for again when the TTL is over."),
        key("family", Kind::Scalar(Scalar::Word(&["all", "ipv4", "ipv6"])), Default("all"), "With `dns` and `srv`: which addresses count."),
        key("resolver", Kind::Scalar(Scalar::Address), Optional("10.0.0.53:53"), "With `dns` and `srv`: the name server to ask; those of /etc/resolv.conf by default."),
        key("min_ttl", Kind::Scalar(Scalar::Duration(SECOND, HOUR)), Default("1s"), "With `dns` and `srv`: least time between two looks, whatever the TTL."),
        key("max_ttl", Kind::Scalar(Scalar::Duration(SECOND, HOUR)), Default("5m"), "With `dns` and `srv`: most time between two looks."),
        key("redis", Kind::Table(&REDIS), Optional(""), "Registry in Redis in which instances say that they live, as those of auth do."),
        key("weight", count(0, 1000), Default("1"), "Share of the traffic of endpoints of which the source says none."),
        key("priority", count(0, 255), Default("0"), "Tier of endpoints of which the source says none."),
        key("zone", text(&NAME), Optional("eu-1a"), "Where endpoints are of which the source does not say it."),
        key("max_requests", count(1, 1_000_000), Optional("100"), "Requests in flight at an endpoint of which the source says nothing; that of the cluster by default."),
    ],
};

static REDIS: Table = Table {
    keys: &[
        key("url", Kind::Scalar(Scalar::Secret), Required("rediss://edge:${REDIS_PASSWORD}@redis.internal:6379/0"), "Where it is: redis://, or rediss:// for TLS. An account that may read the registry alone is enough."),
        key("registry", text(&NAME), Default("inst"), "Key of its index, a sorted set; what an instance says lies under that key, a colon and its id. Those of auth are under `inst`."),
        key("ca", text(&AUTHORITIES), Optional("certs/redis-ca.pem"), "PEM file of the authorities to trust with rediss://; those of the system by default. Read with every new connection."),
        key("interval", Kind::Scalar(Scalar::Duration(POLL_MIN, HOUR)), Default("1s"), "Between two looks."),
    ],
};

/// Redis takes a look in some ten microseconds.
const POLL_MIN: Duration = Duration::from_millis(100);

static AUTHORITIES: Text = Text { what: "a file such as `certs/redis-ca.pem`", pattern: "" };

/// A file of endpoints.
pub(in crate::config) static ENDPOINT_FILE: Table = Table {
    keys: &[
        key("endpoints", Kind::List(&ENDPOINTS), Usual(""), "What the file adds to the cluster."),
    ],
};

static SERVICE: Text = Text { what: "a service such as `_http._tcp.app.internal`", pattern: "^_.+\\._(tcp|udp)\\..+$" };
static FILE: Text = Text { what: "a file such as `endpoints.yaml`, or a directory", pattern: "" };
