//! The table of all keys of the edge's file: the one place for names, defaults, ranges and meanings.
//! Never holds a rule that concerns two keys.

use std::time::Duration;

use portcullis_ops::decode::{Key, Kind, Presence, Scalar, Table, Text};

use Presence::{Default, Optional, Required, Usual};

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

const TIMEOUT: Kind = Kind::Scalar(Scalar::Duration(MILLISECOND, DAY));
const ADDRESS: Kind = Kind::Scalar(Scalar::Address);
const CONNECTIONS: Kind = count(1, 1_000_000);

/// The root.
pub(super) static FILE: Table = Table {
    keys: &[
        key("listeners", Kind::List(&LISTENERS), Required(""), "Addresses to listen on."),
        key("clusters", Kind::Named(&CLUSTER, "auth"), Required(""), "Sets of endpoints, by names of your choice."),
        key("routes", Kind::List(&ROUTES), Usual(""), "What goes where; the most specific host, then path, wins in any order."),
        key("trusted_proxies", Kind::List(&NETWORK), Optional("[10.0.0.0/8]"), "Networks whose X-Forwarded-* headers are believed; none by default."),
        key("admin", Kind::Switch(&ADMIN), Default(""), "Health, readiness and metrics of the edge itself, or `off`."),
        key("access_log", text(&ACCESS_LOG), Default("stdout"), "Finished requests as JSON lines: `stdout`, `off` or a file (./access.log)."),
        key("shutdown", Kind::Table(&SHUTDOWN), Default(""), "How the process leaves after SIGTERM."),
        key("max_connections", CONNECTIONS, Default("50000"), "Client connections of all listeners together."),
        key("workers", count(1, 1_024), Optional("4"), "Threads that carry requests; one per processor core by default."),
    ],
};

static LISTENERS: Kind = Kind::Table(&LISTENER);
static LISTENER: Table = Table {
    keys: &[
        key("name", text(&NAME), Optional("public"), "Label in logs and metrics; the address by default."),
        key("address", ADDRESS, Required("0.0.0.0:8080"), "IP address and port; port 0 takes any free one."),
        key("tls", Kind::Table(&TLS), Optional(""), "Terminates TLS; without it the listener speaks plain HTTP (or only passes TLS through)."),
        key("engine", Kind::Scalar(Scalar::Word(&["native", "pingora"])), Default("native"), "What carries HTTP/1.1: native or pingora; HTTP/2 is always pingora's."),
        key("passthrough", Kind::List(&PASSTHROUGHS), Optional(""), "TLS connections that go to a cluster unopened; the first match wins."),
        key("max_connections", CONNECTIONS, Default("10000"), "Connections of this listener; further ones are refused."),
        key("limits", Kind::Table(&LIMITS), Default(""), "Sizes and counts that bound one client."),
        key("timeouts", Kind::Table(&CLIENT_TIMEOUTS), Default(""), "Patience with clients."),
        key("http2", Kind::Table(&HTTP2), Default(""), "HTTP/2 limits; HTTP/2 is offered on TLS."),
    ],
};

static TLS: Table = Table {
    keys: &[
        key("certificates", Kind::List(&CERTIFICATES), Required(""), "Chosen by server name; the first answers all other names."),
        key("min_version", Kind::Scalar(Scalar::Word(&["1.2", "1.3"])), Default("1.2"), "Oldest TLS version: 1.2 or 1.3."),
    ],
};

static CERTIFICATES: Kind = Kind::Table(&CERTIFICATE);
static CERTIFICATE: Table = Table {
    keys: &[
        key("cert", text(&PATH), Required("certs/auth.pem"), "PEM file with the chain, leaf first; relative to this file."),
        key("key", text(&PATH), Required("certs/auth.key"), "PEM file with the private key of the leaf."),
    ],
};

static PASSTHROUGHS: Kind = Kind::Table(&PASSTHROUGH);
static PASSTHROUGH: Table = Table {
    keys: &[
        key("sni", text(&SERVER_NAME), Required("legacy.example.com"), "Server name, or \"*.example.com\" for one label in front."),
        key("cluster", text(&NAME), Required("auth"), "Where its bytes go."),
    ],
};

static LIMITS: Table = Table {
    keys: &[
        key("header_bytes", size(1 << 10, 1 << 20), Default("32KiB"), "Request line and headers together; beyond it 431."),
        key("header_count", count(1, 256), Default("100"), "Header fields; beyond it 431."),
        key("target_bytes", size(64, 1 << 20), Default("8KiB"), "Path and query; beyond it 414."),
        key("body_bytes", size(0, 1 << 40), Default("1MiB"), "Request body; beyond it 413."),
        key("body_rate", size(0, 1 << 30), Default("240"), "Bytes a second of a request body, on average after 10s (or timeouts.body, if shorter) of waiting for it; below it 408, 0 allows any."),
        key("requests_per_connection", count(1, 1_000_000_000), Default("1000"), "Then the connection is closed politely."),
        key("connection_age", Kind::Scalar(Scalar::Duration(Duration::from_secs(1), DAY)), Default("1h"), "Then the connection is closed politely."),
    ],
};

static CLIENT_TIMEOUTS: Table = Table {
    keys: &[
        key("handshake", TIMEOUT, Default("10s"), "TLS handshake."),
        key("header", TIMEOUT, Default("10s"), "Until the request header is complete; beyond it 408."),
        key("body", TIMEOUT, Default("30s"), "Silence inside a request body; beyond it 408."),
        key("write", TIMEOUT, Default("60s"), "Stall while a response is sent."),
        key("keep_alive", TIMEOUT, Default("75s"), "Idle time between requests."),
    ],
};

static HTTP2: Table = Table {
    keys: &[
        key("max_streams", count(1, 10_000), Default("100"), "Concurrent requests of one connection."),
        key("stream_window", size(16 << 10, 16 << 20), Default("64KiB"), "Flow-control window of one request."),
        key("connection_window", size(64 << 10, 1 << 30), Default("1MiB"), "Flow-control window of one connection."),
    ],
};

static CLUSTER: Table = Table {
    keys: &[
        key("balance", Kind::Scalar(Scalar::Word(&["round_robin", "least_conn"])), Default("least_conn"), "How to choose an endpoint: least_conn or round_robin."),
        key("endpoints", Kind::List(&ENDPOINTS), Required(""), "Interchangeable servers; instead of a mapping just the address will do."),
        key("health", Kind::Switch(&HEALTH), Optional(""), "Active HTTP check; without it (or `off`) every endpoint counts as healthy."),
        key("ejection", Kind::Switch(&EJECTION), Default(""), "Puts endpoints aside after failures of real requests, or `off`."),
        key("retries", count(0, 10), Default("1"), "Further attempts on other endpoints; only what is safe to repeat is repeated."),
        key("timeouts", Kind::Table(&UPSTREAM_TIMEOUTS), Default(""), "Patience with endpoints."),
        key("affinity", Kind::Switch(&AFFINITY), Optional(""), "Keeps a client at one endpoint by an authenticated cookie; off by default."),
    ],
};

static ENDPOINTS: Kind = Kind::Short(&ENDPOINT);
static ENDPOINT: Table = Table {
    keys: &[
        key("address", text(&HOST_PORT), Required("10.0.1.10:8000"), "IP address or host name, and port; names are resolved when the file is read."),
        key("weight", count(1, 1000), Default("1"), "Share of the traffic."),
    ],
};

static HEALTH: Table = Table {
    keys: &[
        key("path", text(&TARGET), Default("/health/ready"), "What to GET."),
        key("host", text(&AUTHORITY), Optional("auth.example.com"), "Host header to send; the endpoint's address by default."),
        key("interval", TIMEOUT, Default("10s"), "Time between two checks of an endpoint."),
        key("timeout", TIMEOUT, Default("5s"), "Patience with one check; at most the interval."),
        key("rise", count(1, 100), Default("2"), "Successes in a row that bring an endpoint back."),
        key("fall", count(1, 100), Default("3"), "Failures in a row that take an endpoint out."),
        key("expect", Kind::Scalar(Scalar::StatusRange), Default("200-299"), "Status codes that count as success."),
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

static AFFINITY: Table = Table {
    keys: &[
        key("cookie", text(&COOKIE_NAME), Default("_portcullis_affinity"), "Name of the cookie."),
        key("ttl", Kind::Scalar(Scalar::Duration(Duration::from_secs(1), Duration::from_secs(400 * 24 * 3600))), Default("1h"), "How long a client is kept."),
        key("secret", Kind::Scalar(Scalar::Secret), Optional("${AFFINITY_SECRET}"), "At least 32 characters, the same on every edge; drawn anew at each start by default."),
    ],
};

static ROUTES: Kind = Kind::Table(&ROUTE);
static ROUTE: Table = Table {
    keys: &[
        key("name", text(&NAME), Optional("auth"), "Label in logs and metrics; host and path by default."),
        key("host", text(&HOST), Optional("auth.example.com"), "Host name, or \"*.example.com\" for everything below it; every host by default."),
        key("path", text(&PREFIX), Optional("/"), "This path and everything below it (/api takes /api/x, not /apix); every path by default."),
        key("exact", text(&PREFIX), Optional("/health"), "Exactly this path; instead of `path`."),
        key("cluster", text(&NAME), Required("auth"), "Where the requests go."),
        key("access_log", Kind::Scalar(Scalar::Flag), Default("true"), "Whether these requests are written to the access log."),
    ],
};

static NETWORK: Kind = Kind::Scalar(Scalar::Network);

static ADMIN: Table = Table {
    keys: &[key("address", ADDRESS, Default("127.0.0.1:2019"), "Where /livez, /readyz and /metrics answer.")],
};

static SHUTDOWN: Table = Table {
    keys: &[
        key("delay", Kind::Scalar(Scalar::Duration(Duration::ZERO, HOUR)), Default("15s"), "Readiness fails and everything is still served, so that others stop sending; 0s on a laptop."),
        key("drain", Kind::Scalar(Scalar::Duration(Duration::ZERO, HOUR)), Default("30s"), "Then no new connections, and what runs may finish."),
    ],
};

static NAME: Text = Text { what: "a name of letters, digits and . _ : - such as `auth`", pattern: "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$" };
static PATH: Text = Text { what: "a path of a file", pattern: "" };
static ACCESS_LOG: Text = Text { what: "`stdout`, `off` or a file such as `./access.log`", pattern: "^(stdout|off|.*/.*)$" };
static HOST: Text = Text { what: "a host name such as `auth.example.com`", pattern: "^[^/:]+$|^\\[[0-9a-fA-F:.]+\\]$" };
static SERVER_NAME: Text = Text { what: "a server name such as `legacy.example.com`", pattern: "^(\\*\\.)?[A-Za-z0-9_.-]+$" };
static AUTHORITY: Text = Text { what: "a host, with or without port, such as `auth.example.com`", pattern: "^[^/ ]+$" };
static HOST_PORT: Text = Text { what: "an address such as `10.0.1.10:8000`", pattern: "^.+:[0-9]+$" };
static PREFIX: Text = Text { what: "a path such as `/api`", pattern: "^/[^?#]*$" };
static TARGET: Text = Text { what: "a path such as `/health/ready`", pattern: "^/[^#]*$" };
static COOKIE_NAME: Text = Text { what: "a cookie name such as `_portcullis_affinity`", pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" };

const fn key(name: &'static str, kind: Kind, presence: Presence, doc: &'static str) -> Key {
    Key { name, kind, presence, doc }
}

const fn text(text: &'static Text) -> Kind {
    Kind::Scalar(Scalar::Text(text))
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Scalar(Scalar::Count(min, max))
}

const fn size(min: u64, max: u64) -> Kind {
    Kind::Scalar(Scalar::Size(min, max))
}
