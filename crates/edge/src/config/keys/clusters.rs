//! Keys of clusters. Never holds a rule that concerns two keys.

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::affinity::AFFINITY;
use super::health::HEALTH;
use super::retries::RETRIES;
use super::{Default, Optional, Required, TIMEOUT, count, key, text};

pub(super) static CLUSTER: Table = Table {
    keys: &[
        key("balance", Kind::Scalar(Scalar::Word(&["round_robin", "least_conn"])), Default("least_conn"), "How to choose an endpoint: least_conn or round_robin."),
        key("endpoints", Kind::List(&ENDPOINTS), Required(""), "Interchangeable servers; instead of a mapping just the address will do."),
        key("health", Kind::Switches(&HEALTH), Optional(""), "Active check, or a list of several that must all pass; without any (or `off`) every endpoint counts as healthy."),
        key("ejection", Kind::Switch(&EJECTION), Default(""), "Puts endpoints aside after failures of real requests, or `off`."),
        key("retries", Kind::Short(&RETRIES), Default(""), "Further attempts on other endpoints; instead of a mapping just their number will do."),
        key("timeouts", Kind::Table(&UPSTREAM_TIMEOUTS), Default(""), "Patience with endpoints."),
        key("affinity", Kind::Switch(&AFFINITY), Optional(""), "Keeps a client at one endpoint; off by default."),
    ],
};

static ENDPOINTS: Kind = Kind::Short(&ENDPOINT);
static ENDPOINT: Table = Table {
    keys: &[
        key("address", text(&HOST_PORT), Required("10.0.1.10:8000"), "IP address or host name, and port; names are resolved when the file is read."),
        key("weight", count(1, 1000), Default("1"), "Share of the traffic."),
    ],
};

static EJECTION: Table = Table {
    keys: &[
        key("failures", count(1, 1000), Default("3"), "Failures in a row that eject an endpoint."),
        key("window", TIMEOUT, Default("30s"), "Time within which they must happen."),
        key("duration", TIMEOUT, Default("30s"), "How long the endpoint stays out."),
        key("max_percent", count(0, 100), Default("50"), "Most endpoints of a cluster out at once, in percent; never the last one."),
    ],
};

static UPSTREAM_TIMEOUTS: Table = Table {
    keys: &[
        key("connect", TIMEOUT, Default("5s"), "Until a connection stands."),
        key("read", TIMEOUT, Default("60s"), "Silence while a response is awaited or read; beyond it 504."),
        key("write", TIMEOUT, Default("60s"), "Stall while a request is sent."),
        key("idle", TIMEOUT, Default("60s"), "How long an unused connection is kept."),
    ],
};

static HOST_PORT: Text = Text { what: "an address such as `10.0.1.10:8000`", pattern: "^.+:[0-9]+$" };
