//! Keys of listeners. Never holds a rule that concerns two keys.

use std::time::Duration;

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::clients::{CLIENTS, CONNECTIONS_PER_ADDRESS, PROXY_PROTOCOL};
use super::policies::{PATHS, REDIRECT_TO_HTTPS, SECURITY_HEADERS};
use super::{ADDRESS, CONNECTIONS, DAY, Default, NAME, Optional, Required, TIMEOUT, count, key, size, text};

pub(super) static LISTENERS: Kind = Kind::Table(&LISTENER);
static LISTENER: Table = Table {
    keys: &[
        key("name", text(&NAME), Optional("public"), "Label in logs and metrics; the address by default."),
        key("address", ADDRESS, Required("0.0.0.0:8080"), "IP address and port; port 0 takes any free one."),
        key("tls", Kind::Table(&TLS), Optional(""), "Terminates TLS; without it the listener speaks plain HTTP (or only passes TLS through)."),
        key("engine", Kind::Scalar(Scalar::Word(&["native", "pingora"])), Default("native"), "What carries HTTP/1.1: native or pingora; HTTP/2 is always native."),
        key("passthrough", Kind::List(&PASSTHROUGHS), Optional(""), "TLS connections that go to a cluster unopened; the first match wins."),
        key("max_connections", CONNECTIONS, Default("10000"), "Connections of this listener; further ones are refused."),
        key("connections_per_address", Kind::Table(&CONNECTIONS_PER_ADDRESS), Optional(""), "Connections that one client may have here; as many as there are by default."),
        key("clients", Kind::Table(&CLIENTS), Optional(""), "Which clients may come in; others get 403, or are closed where TLS would have to come first."),
        key("proxy_protocol", Kind::Table(&PROXY_PROTOCOL), Optional(""), "Connections begin with a PROXY header, before TLS, that says whose they are."),
        key("rate_limits", Kind::List(&LIMIT_NAMES), Optional("[per_client]"), "Names under `rate_limits` that hold for all requests here."),
        key("security_headers", Kind::Short(&SECURITY_HEADERS), Optional(""), "Fields that make browsers careful, on routes that say nothing of them; instead of a mapping the preset will do (docs/policies.md)."),
        key("redirect_to_https", Kind::Short(&REDIRECT_TO_HTTPS), Optional(""), "Sends everybody to https; instead of a mapping `true` will do."),
        key("paths", Kind::Table(&PATHS), Default(""), "What becomes of paths that servers read differently (docs/policies.md)."),
        key("limits", Kind::Table(&LIMITS), Default(""), "Sizes and counts that bound one client."),
        key("timeouts", Kind::Table(&CLIENT_TIMEOUTS), Default(""), "Patience with clients."),
        key("http2", Kind::Table(&HTTP2), Default(""), "HTTP/2, which is offered on TLS, and its limits."),
    ],
};

static LIMIT_NAMES: Kind = text(&NAME);
static TLS: Table = Table {
    keys: &[
        key("certificates", Kind::List(&CERTIFICATES), Required(""), "Chosen by server name; the first answers all other names. Files are watched and replaced without a restart."),
        key("unknown_name", Kind::Scalar(Scalar::Word(&["default", "refuse"])), Default("default"), "Clients that name no server, or one without a certificate: the first certificate (default) or a TLS alert (refuse)."),
        key("min_version", Kind::Scalar(Scalar::Word(&["1.2", "1.3"])), Default("1.2"), "Oldest TLS version: 1.2 or 1.3."),
        key("client_auth", Kind::List(&CLIENT_AUTHS), Optional(""), "Certificates of clients (mutual TLS); who they are is told to endpoints in X-Client-Cert-* and Client-Cert. The first entry for a name counts; a request whose Host belongs to another entry than its TLS server name gets 421."),
        key("ticket_key_file", text(&PATH), Optional("certs/tickets.key"), "Secrets that several edges share, so that sessions resume at any of them: one a line, the first makes tickets; keys of 12 hours are derived. Without it each process draws its own. Watched."),
    ],
};

static CLIENT_AUTHS: Kind = Kind::Table(&CLIENT_AUTH);
static CLIENT_AUTH: Table = Table {
    keys: &[
        key("mode", Kind::Scalar(Scalar::Word(&["required", "optional"])), Default("required"), "required: no handshake without a certificate; optional: who shows one must show a good one."),
        key("ca", text(&PATH), Required("certs/ca.pem"), "PEM file with the authorities whose certificates are good. Watched."),
        key("crl", text(&PATH), Optional("certs/ca.crl"), "File with their revocation lists (PEM or DER). Watched; once it is out of date nobody is let in."),
        key("names", Kind::List(&SERVER_NAME_ITEM), Optional("[auth.example.com]"), "Server names that ask for it, \"*.example.com\" for one label in front; without it all that earlier entries leave, and clients that name none."),
        key("send_chain", Kind::Scalar(Scalar::Flag), Default("false"), "Whether endpoints get the certificates that the client showed above its own in Client-Cert-Chain (RFC 9440), up to 16 KiB."),
    ],
};
static SERVER_NAME_ITEM: Kind = text(&SERVER_NAME);

static CERTIFICATES: Kind = Kind::Table(&CERTIFICATE);
static CERTIFICATE: Table = Table {
    keys: &[
        key("cert", text(&PATH), Required("certs/auth.pem"), "PEM file with the chain, leaf first; relative to this file."),
        key("key", text(&PATH), Required("certs/auth.key"), "PEM file with the private key of the leaf."),
        key("ocsp", text(&PATH), Optional("certs/auth.ocsp"), "File with the authority's OCSP response for the leaf (DER), stapled to handshakes until it is out of date. Watched."),
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
        key("tunnel", Kind::Scalar(Scalar::Duration(Duration::from_millis(100), DAY)), Default("1h"), "Silence of both sides of an upgraded connection (WebSocket)."),
    ],
};

static HTTP2: Table = Table {
    keys: &[
        key("cleartext", Kind::Scalar(Scalar::Flag), Default("false"), "Whether clients that know it beforehand may speak HTTP/2 without TLS (h2c)."),
        key("max_streams", count(1, 10_000), Default("100"), "Concurrent requests of one connection."),
        key("stream_window", size(16 << 10, 16 << 20), Default("64KiB"), "Flow-control window of one request."),
        key("connection_window", size(64 << 10, 1 << 30), Default("1MiB"), "Flow-control window of one connection."),
        key("max_resets", count(1, 1_000_000), Default("100"), "Requests that one connection may give up (RST_STREAM) in 10s; beyond it GOAWAY."),
        key("max_stream_errors", count(1, 1_000_000), Default("100"), "Requests of one connection that may break the protocol in 10s; beyond it GOAWAY. One whose header list is too large counts as 10."),
        key("max_pings", count(1, 1_000_000), Default("100"), "PING frames in 10s; beyond it GOAWAY."),
        key("max_settings", count(1, 1_000_000), Default("50"), "SETTINGS frames in 10s; beyond it GOAWAY."),
        key("max_continuations", count(1, 1_000), Default("5"), "CONTINUATION frames of one request's header, each of up to 16KiB; beyond it GOAWAY."),
        key("max_idle_frames", count(1, 1_000_000), Default("1000"), "Frames that carry nothing in 10s (PRIORITY, empty DATA, unknown types, needless WINDOW_UPDATE); beyond it GOAWAY."),
    ],
};

static PATH: Text = Text { what: "a path of a file", pattern: "" };
static SERVER_NAME: Text = Text { what: "a server name such as `legacy.example.com`", pattern: "^(\\*\\.)?[A-Za-z0-9_.-]+$" };
