//! Keys of limits of how often and how many at once. Never holds a rule that concerns two keys.

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::{Default, NETWORK, Optional, Required, count, key, text};

const FLAG: Kind = Kind::Scalar(Scalar::Flag);

pub(super) static RATE_LIMIT: Table = Table {
    keys: &[
        key("key", Kind::List(&KEY_PART), Optional("[client_address]"), "What requests have in common that share the limit, all of it together: client_address (by default), route, host, path, \"header:NAME\", \"query:NAME\", \"cookie:NAME\", \"claim:NAME\" (of a verified token, such as claim:sub), or `all` for one limit for everybody. A request without one of these is known by its client's address there."),
        key("rate", text(&RATE), Optional("100/s"), "How often: a number for each s, m, h or d; beyond it 429."),
        key("burst", count(1, 1_000_000), Optional("200"), "How many at once, after a while without any; the number of `rate` by default."),
        key("concurrent", count(1, 1_000_000), Optional("20"), "How many at the same time; beyond it 429."),
        key("tier", text(&TIER), Optional("\"claim:plan\""), "What a tier is known by: \"claim:NAME\", or \"header:NAME\", which clients can choose as they like."),
        key("tiers", Kind::Map(&ANY_RATE), Optional("{ gold: 1000/s }"), "Other rates for some values of it; the burst grows with the rate."),
        key("costs", Kind::List(&COSTS), Optional(""), "Requests that count as several; the first match wins."),
        key("reserve", count(0, 45), Default("0"), "Percent of rate and `concurrent` that routes leave for those with `criticality: critical`; routes with `criticality: low` leave twice as much."),
        key("ipv6_prefix", count(32, 128), Default("64"), "Bits of an IPv6 address that make one client: whoever has one address usually has all those of its network."),
        key("max_keys", count(16, 10_000_000), Default("100000"), "Keys remembered at once, 32 bytes each; where there are more, those are forgotten first that have come least."),
        key("exempt", Kind::List(&NETWORK), Optional("[10.0.0.0/8]"), "Networks of clients that are not limited."),
        key("exempt_health_checks", FLAG, Default("true"), "Whether GET and HEAD requests are not limited on a path that a health check of this file asks for."),
        key("fields", Kind::Scalar(Scalar::Word(&["both", "draft", "classic", "off"])), Default("both"), "What answers say of the limit: `draft` is RateLimit and RateLimit-Policy, `classic` RateLimit-Limit, -Remaining and -Reset. Retry-After is in every refusal."),
        key("dry_run", FLAG, Default("false"), "Whether nobody is refused, only counted and logged."),
    ],
};

static KEY_PART: Kind = text(&PART);
static ANY_RATE: Scalar = Scalar::Text(&RATE);

static COSTS: Kind = Kind::Table(&COST);
static COST: Table = Table {
    keys: &[
        key("path", text(&PREFIX), Optional("/search"), "This path and everything below it; every path by default."),
        key("methods", Kind::List(&METHOD), Optional("[POST]"), "Only requests with one of these methods."),
        key("cost", count(1, 1_000_000), Required("10"), "So many requests."),
    ],
};

static METHOD: Kind = text(&METHOD_TEXT);
static RATE: Text = Text { what: "a rate such as `100/s`", pattern: "^[0-9]+/[smhd]$" };
static PART: Text = Text { what: "part of a key such as `client_address`", pattern: "^(all|client_address|route|host|path|(header|query|cookie|claim):.+)$" };
static TIER: Text = Text { what: "`claim:NAME` or `header:NAME`", pattern: "^(header|claim):.+$" };
static PREFIX: Text = Text { what: "a path such as `/api`", pattern: "^/[^?#]*$" };
static METHOD_TEXT: Text = Text { what: "a method such as `GET`", pattern: "^[A-Z][A-Z0-9-]*$" };
