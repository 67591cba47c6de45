//! What is measured, as data. Never how.

use crate::floor::FLOOR;
use crate::growth::{GROWTH, SERIES};
use crate::load::Work;

/// One kind of load, measured for processor time and throughput, and for system calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// How `--only` calls it.
    pub(crate) key: &'static str,
    /// How results call it.
    pub(crate) title: &'static str,
    pub(crate) is_tls: bool,
    pub(crate) work: Work,
    /// Whether it is measured again with a JSON access log.
    pub(crate) logged: Logged,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Logged {
    /// Also by `--quick`, which traces system calls of these alone.
    Always,
    /// Not by `--quick`.
    Thoroughly,
    /// One line a connection, if any, says nothing about the log.
    Never,
}

pub(crate) const CASES: &[Case] = &[
    Case {
        key: "h1-128",
        title: "HTTP/1.1 keep-alive, 128 B",
        is_tls: false,
        work: Work::Kept {
            path: "/small",
            has_body: false,
        },
        logged: Logged::Always,
    },
    Case {
        key: "h1-16k",
        title: "HTTP/1.1 keep-alive, 16 KB",
        is_tls: false,
        work: Work::Kept {
            path: "/big",
            has_body: false,
        },
        logged: Logged::Thoroughly,
    },
    Case {
        key: "post-1k",
        title: "HTTP/1.1 keep-alive, POST 1 KB",
        is_tls: false,
        work: Work::Kept {
            path: "/sink",
            has_body: true,
        },
        logged: Logged::Thoroughly,
    },
    Case {
        key: "close",
        title: "HTTP/1.1, connection per request",
        is_tls: false,
        work: Work::Close,
        logged: Logged::Thoroughly,
    },
    Case {
        key: "tls-128",
        title: "TLS keep-alive, 128 B",
        is_tls: true,
        work: Work::Kept {
            path: "/small",
            has_body: false,
        },
        logged: Logged::Always,
    },
    Case {
        key: "tls-full",
        title: "TLS full handshake and request",
        is_tls: true,
        work: Work::Handshake { is_resumed: false },
        logged: Logged::Thoroughly,
    },
    Case {
        key: "tls-resumed",
        title: "TLS resumed handshake and request",
        is_tls: true,
        work: Work::Handshake { is_resumed: true },
        logged: Logged::Thoroughly,
    },
    Case {
        key: "h2-128",
        title: "HTTP/2 over TLS, 128 B",
        is_tls: true,
        work: Work::Http2 { path: "/small" },
        logged: Logged::Thoroughly,
    },
    Case {
        key: "h2-16k",
        title: "HTTP/2 over TLS, 16 KB",
        is_tls: true,
        work: Work::Http2 { path: "/big" },
        logged: Logged::Thoroughly,
    },
    Case {
        key: "websocket",
        title: "WebSocket echo, 100 B",
        is_tls: false,
        work: Work::WebSocket,
        logged: Logged::Never,
    },
];

/// Requests a second at which latency is measured.
pub(crate) const RATES: [u32; 2] = [2_000, 6_000];

/// Idle connections at which memory is measured.
pub(crate) const IDLE: [usize; 2] = [2_000, 10_000];

/// The measurements besides [`CASES`], for `--only`.
pub(crate) const LATENCY: &str = "latency";
/// As above.
pub(crate) const SYSTEM_CALLS: &str = "syscalls";
/// As above.
pub(crate) const MEMORY: &str = "idle";

/// Everything `--only` may name.
pub(crate) fn keys() -> Vec<&'static str> {
    let cases = CASES.iter().map(|case| case.key);
    let series = SERIES.iter().map(|series| series.key);
    cases
        .chain([LATENCY, SYSTEM_CALLS, MEMORY, FLOOR, GROWTH])
        .chain(series)
        .collect()
}
