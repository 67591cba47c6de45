//! Keys of health checks. Never holds a rule that concerns two keys.

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::{Default, Optional, TIMEOUT, count, key, text};

pub(super) static HEALTH: Table = Table {
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

static AUTHORITY: Text = Text { what: "a host, with or without port, such as `auth.example.com`", pattern: "^[^/ ]+$" };
static TARGET: Text = Text { what: "a path such as `/health/ready`", pattern: "^/[^#]*$" };
