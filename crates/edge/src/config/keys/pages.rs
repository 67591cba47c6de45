//! Keys of answers in the operator's words. Never holds a rule that concerns two keys.

use std::time::Duration;

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::{DAY, Default, NETWORK, Optional, key, text};

pub(super) static PAGES: Kind = Kind::Table(&PAGE);
static PAGE: Table = Table {
    keys: &[
        key("status", Kind::Scalar(Scalar::StatusRange), Default("500-599"), "Of answers by the edge itself, 400 and above; one code or a range."),
        key("also_from_endpoints", Kind::Scalar(Scalar::Flag), Default("false"), "Whether answers of endpoints with this status say it, too, instead of what they say; their Retry-After, WWW-Authenticate, Proxy-Authenticate and Allow stay."),
        key("body", text(&ANYTHING), Optional("Back soon."), "What to say."),
        key("file", text(&PATH), Optional("pages/sorry.html"), "A file that says it, at most 256 KiB, read at start; relative to this file, instead of `body`."),
        key("content_type", text(&CONTENT_TYPE), Default("text/html; charset=utf-8"), "What it is."),
    ],
};

pub(super) static MAINTENANCE: Table = Table {
    keys: &[
        key("on", Kind::Scalar(Scalar::Flag), Default("true"), "Whether the route is closed."),
        key("body", text(&ANYTHING), Optional("Back at noon."), "What to say; what is said with any other 503 by default."),
        key("file", text(&PATH), Optional("pages/sorry.html"), "A file that says it, instead of `body`."),
        key("content_type", text(&CONTENT_TYPE), Default("text/html; charset=utf-8"), "What it is."),
        key("retry_after", Kind::Scalar(Scalar::Duration(Duration::from_secs(1), DAY)), Default("5m"), "When clients may come back."),
        key("allow", Kind::List(&NETWORK), Optional("[192.0.2.0/24]"), "Networks of clients that are served all the same."),
    ],
};

static ANYTHING: Text = Text { what: "text", pattern: "" };
static PATH: Text = Text { what: "a path of a file", pattern: "" };
static CONTENT_TYPE: Text = Text { what: "a content type such as `text/html`", pattern: "^[!-~ ]+$" };
