//! Keys of a cluster's affinity. Never holds a rule that concerns two keys.

use std::time::Duration;

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::{DAY, Default, Optional, key, text};

/// As long as browsers keep a cookie.
const LONGEST: Duration = Duration::from_secs(400 * DAY.as_secs());
const SECOND: Duration = Duration::from_secs(1);

pub(super) static AFFINITY: Table = Table {
    keys: &[
        key("by", text(&BY), Default("cookie"), "What tells clients apart: cookie (set by the edge), header:NAME, query:NAME or claim:NAME (of the bearer token, not verified)."),
        key("cookie", text(&COOKIE_NAME), Default("_portcullis_affinity"), "Name of the cookie."),
        key("ttl", Kind::Scalar(Scalar::Duration(SECOND, LONGEST)), Default("1h"), "A client that stays away longer is placed anew."),
        key("max_age", Kind::Scalar(Scalar::Duration(Duration::ZERO, LONGEST)), Default("24h"), "A client is placed anew after this time even if it never pauses; 0s for never. A longer ttl raises the default."),
        key("same_site", Kind::Scalar(Scalar::Word(&["lax", "strict", "none"])), Default("lax"), "Requests from other sites that carry the cookie: lax, strict or none."),
        key("secure", Kind::Scalar(Scalar::Word(&["auto", "always"])), Default("auto"), "Secure cookie: auto (when the request came by HTTPS) or always."),
        key("path", text(&COOKIE_PATH), Default("/"), "Path of the cookie."),
        key("domain", text(&COOKIE_DOMAIN), Optional("example.com"), "Sends the cookie to all hosts below this name; by default to the very host."),
        key("partitioned", Kind::Scalar(Scalar::Flag), Default("false"), "A cookie of its own for each site that embeds yours; needs `secure: always`."),
        key("accept", Kind::List(&COOKIE), Optional("[_fly_affinity]"), "Further names under which cookies of this edge are read, such as an earlier one."),
        key("secret", Kind::Scalar(Scalar::Secret), Optional("${AFFINITY_SECRET}"), "At least 32 characters, the same on every edge; drawn anew at each start by default."),
        key("previous_secrets", Kind::List(&SECRET), Optional("[\"${AFFINITY_SECRET_BEFORE}\"]"), "Secrets whose cookies are still read, and replaced by new ones."),
    ],
};

static COOKIE: Kind = text(&COOKIE_NAME);
static SECRET: Kind = Kind::Scalar(Scalar::Secret);

static BY: Text = Text { what: "`cookie`, or what to look at, such as `header:X-Tenant`", pattern: "^(cookie|(header|query|claim):.+)$" };
static COOKIE_NAME: Text = Text { what: "a cookie name such as `_portcullis_affinity`", pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" };
static COOKIE_PATH: Text = Text { what: "a path such as `/`", pattern: "^/[^?#;]*$" };
static COOKIE_DOMAIN: Text = Text { what: "a host name such as `example.com`", pattern: "^[A-Za-z0-9._-]+$" };
