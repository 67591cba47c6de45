//! Keys of clusters. Never holds a rule that concerns two keys.

use std::time::Duration;

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::affinity::AFFINITY;
use super::discovery::SOURCES;
use super::health::HEALTH;
use super::retries::RETRIES;
use super::upstream::TLS;
use super::{Default, HOUR, NAME, Optional, Required, TIMEOUT, Usual, count, key, text};

pub(super) static CLUSTER: Table = Table {
    keys: &[
        key("balance", Kind::Scalar(Scalar::Word(&BALANCES)), Default("least_conn"), "How to choose an endpoint: round_robin, least_conn, p2c, peak_ewma, hash or ip_hash."),
        key("hash", Kind::Table(&HASH), Optional(""), "What `balance: hash` looks at."),
        key("endpoints", Kind::List(&ENDPOINTS), Usual(""), "Interchangeable servers; instead of a mapping just the address will do. Needed unless there is `discover`."),
        key("discover", Kind::List(&SOURCES), Optional(""), "Where more of them are found while the edge runs (docs/discovery.md). A source that fails keeps what it said last."),
        key("discover_timeout", TIMEOUT, Default("10s"), "How long readiness waits for the first answer of every source of a cluster that has no `endpoints`."),
        key("max_endpoints", count(1, 10_000), Default("1000"), "Most endpoints of the cluster; what is found beyond is left out."),
        key("health", Kind::Switches(&HEALTH), Optional(""), "Active check, or a list of several that must all pass; without any (or `off`) every endpoint counts as healthy."),
        key("ejection", Kind::Switch(&EJECTION), Default(""), "Puts endpoints aside after failures of real requests, or `off`."),
        key("breaker", Kind::Switch(&BREAKER), Optional(""), "Breaks the circuit to an endpoint that fails and closes it step by step; off by default."),
        key("slow_start", Kind::Scalar(Scalar::Duration(Duration::ZERO, HOUR)), Default("30s"), "Time in which an endpoint that comes back grows into its share; 0s for none."),
        key("max_requests", count(1, 1_000_000), Default("1024"), "Requests in flight at one endpoint; further ones go elsewhere or wait."),
        key("queue", Kind::Switch(&QUEUE), Default(""), "Where requests wait while every endpoint has all it may have, or `off`."),
        key("retries", Kind::Short(&RETRIES), Default(""), "Further attempts on other endpoints; instead of a mapping just their number will do."),
        key("timeouts", Kind::Table(&UPSTREAM_TIMEOUTS), Default(""), "Patience with endpoints."),
        key("tls", Kind::Switch(&TLS), Optional(""), "Speaks TLS to the endpoints and verifies their certificates; `tls: {}` trusts the system's authorities. Plain by default."),
        key("protocol", Kind::Scalar(Scalar::Word(&["http1", "h2", "h2c"])), Default("http1"), "What endpoints speak: HTTP/1.1, HTTP/2 over TLS (with `tls`), or HTTP/2 in the clear. Over HTTP/2 many requests share a connection."),
        key("proxy_protocol", Kind::Scalar(Scalar::Word(&["off", "v1", "v2"])), Default("off"), "Begins every connection with a PROXY header that says whose it is; then no two clients share one."),
        key("affinity", Kind::Switch(&AFFINITY), Optional(""), "Keeps a client at one endpoint; off by default."),
    ],
};

pub(super) static ENDPOINTS: Kind = Kind::Short(&ENDPOINT);
static ENDPOINT: Table = Table {
    keys: &[
        key("address", text(&HOST_PORT), Required("10.0.1.10:8000"), "IP address or host name, and port; names are resolved when the file is read."),
        key("weight", count(0, 1000), Default("1"), "Share of the traffic; 0 takes none."),
        key("priority", count(0, 255), Default("0"), "Tier: higher numbers get traffic only when the tiers before fall short."),
        key("zone", text(&NAME), Optional("eu-1a"), "Where it is; an edge prefers endpoints of its own zone."),
        key("max_requests", count(1, 1_000_000), Optional("100"), "Requests in flight at this endpoint; that of the cluster by default."),
    ],
};

static BALANCES: [&str; 6] = ["round_robin", "least_conn", "p2c", "peak_ewma", "hash", "ip_hash"];

static HASH: Table = Table {
    keys: &[
        key("key", text(&HASH_KEY), Required("source"), "What decides: source, path, host, header:NAME, cookie:NAME or query:NAME."),
        key("bounded_load", count(100, 10_000), Optional("150"), "Most requests of one endpoint, in percent of the mean; what is beyond goes to the next on the ring. No bound by default: every key stays at its endpoint."),
    ],
};

static QUEUE: Table = Table {
    keys: &[
        key("length", count(1, 100_000), Default("256"), "Requests that wait at once; beyond it 503."),
        key("timeout", TIMEOUT, Default("5s"), "How long one waits; beyond it 503."),
    ],
};

static EJECTION: Table = Table {
    keys: &[
        key("failures", count(1, 1000), Default("3"), "Failures in a row that eject an endpoint."),
        key("window", TIMEOUT, Default("30s"), "Time within which they must happen."),
        key("duration", TIMEOUT, Default("30s"), "How long the endpoint stays out the first time; each further time so much longer."),
        key("max_duration", TIMEOUT, Default("300s"), "The longest it stays out."),
        key("gateway_errors", count(0, 1000), Default("5"), "Answers 502, 503 or 504 in a row that eject an endpoint; 0 for never."),
        key("error_percent", count(0, 100), Default("50"), "Share of failed requests in 10 s that ejects an endpoint; 0 for never."),
        key("error_requests", count(1, 100_000), Default("10"), "Requests there must be in those 10 s before the share counts."),
        key("max_percent", count(0, 100), Default("50"), "Most endpoints of a cluster out at once, in percent; never the last one."),
    ],
};

static BREAKER: Table = Table {
    keys: &[
        key("failures", count(1, 1000), Default("5"), "Failures in a row that open it."),
        key("error_percent", count(0, 100), Default("50"), "Share of failed requests within the window that opens it; 0 for never."),
        key("error_requests", count(1, 100_000), Default("10"), "Requests there must be within the window before the share counts."),
        key("window", TIMEOUT, Default("10s"), "Time over which that share is taken."),
        key("duration", TIMEOUT, Default("60s"), "How long it stays open before single requests try the endpoint again."),
        key("successes", count(1, 1000), Default("5"), "Successes of those that close it."),
        key("mode", Kind::Scalar(Scalar::Word(&["enforce", "monitor"])), Default("enforce"), "`monitor` only tells when it would open."),
    ],
};

static UPSTREAM_TIMEOUTS: Table = Table {
    keys: &[
        key("connect", TIMEOUT, Default("5s"), "Until a connection stands, TLS included."),
        key("read", TIMEOUT, Default("60s"), "Silence while a response is awaited or read; beyond it 504."),
        key("write", TIMEOUT, Default("60s"), "Stall while a request is sent."),
        key("idle", TIMEOUT, Default("60s"), "How long an unused connection is kept."),
    ],
};

pub(super) static HOST_PORT: Text = Text { what: "an address such as `10.0.1.10:8000`", pattern: "^.+:[0-9]+$" };
static HASH_KEY: Text = Text { what: "what to hash, such as `source` or `header:x-user`", pattern: "^(source|path|host|(header|cookie|query):.+)$" };
