//! Keys of routes. Never holds a rule that concerns two keys.

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::{Default, NAME, Optional, Required, key, text};

pub(super) static ROUTES: Kind = Kind::Table(&ROUTE);
static ROUTE: Table = Table {
    keys: &[
        key("name", text(&NAME), Optional("auth"), "Label in logs and metrics; host and path by default."),
        key("host", text(&HOST), Optional("auth.example.com"), "Host name, or \"*.example.com\" for everything below it; every host by default."),
        key("path", text(&PREFIX), Optional("/"), "This path and everything below it (/api takes /api/x, not /apix); every path by default."),
        key("exact", text(&PREFIX), Optional("/health"), "Exactly this path; instead of `path`."),
        key("cluster", text(&NAME), Required("auth"), "Where the requests go."),
        key("idempotency_key", Kind::Scalar(Scalar::Flag), Default("false"), "Whether a request with an Idempotency-Key field may be repeated whatever its method; its endpoints must recognise the key."),
        key("access_log", Kind::Scalar(Scalar::Flag), Default("true"), "Whether these requests are written to the access log."),
    ],
};

static HOST: Text = Text { what: "a host name such as `auth.example.com`", pattern: "^[^/:]+$|^\\[[0-9a-fA-F:.]+\\]$" };
static PREFIX: Text = Text { what: "a path such as `/api`", pattern: "^/[^?#]*$" };
