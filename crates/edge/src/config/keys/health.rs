//! Keys of health checks. Never holds a rule that concerns two keys.

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::{Default, Optional, TIMEOUT, count, key, text};

pub(super) static HEALTH: Table = Table {
    keys: &[
        key("type", Kind::Scalar(Scalar::Word(&["http", "tcp", "grpc"])), Default("http"), "http asks and judges the answer; grpc asks over HTTP/2 by the gRPC health protocol whether a service is SERVING; tcp only connects (with `tls` it shakes hands too)."),
        key("service", text(&SERVICE), Optional("shop.v1.Orders"), "With `type: grpc`, the service to ask for; by default the endpoint as a whole."),
        key("path", text(&TARGET), Default("/health/ready"), "What to ask for."),
        key("method", Kind::Scalar(Scalar::Word(&["GET", "HEAD"])), Default("GET"), "GET or HEAD; the answer to HEAD has no body."),
        key("host", text(&AUTHORITY), Optional("auth.example.com"), "Host header to send; the endpoint's address by default."),
        key("port", count(1, 65_535), Optional("9000"), "Port to check; the endpoint's own by default."),
        key("request_headers", Kind::Map(&HEADER_VALUE), Optional("{X-Purpose: check}"), "Further headers to send, at most 16; User-Agent is always portcullis-health-check."),
        key("interval", TIMEOUT, Default("10s"), "Time from one check of an endpoint to the next, passing or failing."),
        key("fast_interval", TIMEOUT, Default("2s"), "The same while a verdict is about to change, and while no endpoint of the cluster is eligible; at most the interval."),
        key("jitter", count(0, 50), Default("15"), "How much both vary, in percent, so that checks never come in step."),
        key("timeout", TIMEOUT, Default("5s"), "Patience with one whole check; at most the interval."),
        key("rise", count(1, 100), Default("2"), "Successes in a row that make it pass again."),
        key("fall", count(1, 100), Default("3"), "Failures in a row that make it fail."),
        key("expect", Kind::Scalar(Scalar::StatusRange), Default("200-299"), "Status codes that pass."),
        key("headers", Kind::Map(&HEADER_VALUE), Optional("{X-Ready: \"yes\"}"), "Headers that the answer must have with exactly these values, at most 16; \"*\" takes any value."),
        key("body", text(&TEXT), Optional("\"ready\""), "Text (no pattern) that must occur in the first 64 KiB of the answer's body."),
        key("role", Kind::Scalar(Scalar::Word(&["eject", "degrade"])), Default("eject"), "What failing means: eject takes the endpoint out, degrade lowers its share."),
        key("share", count(1, 99), Default("25"), "Percent of its weight that a degraded endpoint keeps."),
        key("tls", Kind::Switch(&TLS), Optional(""), "Checks over TLS 1.2 or newer; by default as the cluster's requests go, `off` for plain."),
    ],
};

static TLS: Table = Table {
    keys: &[
        key("server_name", text(&SERVER_NAME), Optional("auth.internal"), "Name to ask for and to verify; by default the check's host, else the endpoint's address."),
        key("ca", text(&FILE), Optional("certs/ca.pem"), "PEM file of the authorities to trust; the system's by default. Watched."),
        key("verify", Kind::Scalar(Scalar::Flag), Default("true"), "Whether the certificate must be valid; false takes any."),
    ],
};

static AUTHORITY: Text = Text { what: "a host, with or without port, such as `auth.example.com`", pattern: "^[^/ ]+$" };
static TARGET: Text = Text { what: "a path such as `/health/ready`", pattern: "^/[^#]*$" };
static SERVICE: Text = Text { what: "the name of a gRPC service such as `shop.v1.Orders`", pattern: "^[!-~]*$" };
static SERVER_NAME: Text = Text { what: "a host name such as `auth.internal`, or an address", pattern: "^[^/ ]+$" };
static FILE: Text = Text { what: "a file such as `certs/ca.pem`", pattern: "" };
static TEXT: Text = Text { what: "a text such as `ready`", pattern: "" };
static HEADER_VALUE: Scalar = Scalar::Text(&HEADER_TEXT);
static HEADER_TEXT: Text = Text { what: "a value of a header", pattern: "" };
