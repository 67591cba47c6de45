//! Keys of what is added to answers and made of paths. Never holds a rule that concerns two keys.

use std::time::Duration;

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::{DAY, Default, Optional, count, key, text};

const FLAG: Kind = Kind::Scalar(Scalar::Flag);
const KEEP_OR_REFUSE: Kind = Kind::Scalar(Scalar::Word(&["keep", "refuse"]));

pub(super) static CORS: Table = Table {
    keys: &[
        key("origins", Kind::List(&ORIGIN), Optional("[\"https://app.example.com\", \"https://*.example.org\"]"), "Whose pages may read answers: origins, \"https://*.example.org\" for every name below it, `null`, or \"*\" for all but `null`."),
        key("methods", Kind::List(&METHOD), Optional("[GET, HEAD, POST]"), "Methods that preflights allow; GET, HEAD, POST, PUT, PATCH and DELETE by default."),
        key("headers", Kind::List(&FIELD_OR_STAR), Optional("[Content-Type, Authorization]"), "Request fields that preflights allow, or [\"*\"] for whichever are asked for; Content-Type and Authorization by default."),
        key("expose", Kind::List(&FIELD), Optional("[X-Request-Id]"), "Response fields that pages may read beside the usual ones."),
        key("credentials", FLAG, Default("false"), "Whether requests may carry cookies and the like; then every origin must be named."),
        key("max_age", Kind::Scalar(Scalar::Duration(Duration::ZERO, DAY)), Default("10m"), "How long browsers may remember a preflight."),
        key("owner", Kind::Scalar(Scalar::Word(&["edge", "endpoint"])), Default("edge"), "Who answers preflights and says who may read: the edge, which removes what endpoints say of it, or the endpoint, whose preflights then need no token."),
    ],
};

pub(super) static SECURITY_HEADERS: Table = Table {
    keys: &[
        key("preset", Kind::Scalar(Scalar::Word(&["strict", "api", "off"])), Default("strict"), "`strict` for pages, `api` for answers that no browser shows, or `off` (docs/policies.md)."),
        key("set", Kind::Map(&ANY_TEXT), Optional("{ X-Frame-Options: DENY }"), "Other values for fields of the preset, or further ones; `off` leaves one out."),
        key("hsts", FLAG, Default("true"), "Whether Strict-Transport-Security goes along, over TLS only."),
        key("hsts_max_age", Kind::Scalar(Scalar::Duration(Duration::ZERO, TWO_YEARS)), Default("8760h"), "How long browsers remember to use TLS only."),
        key("hsts_subdomains", FLAG, Default("true"), "Whether that holds for all names below, too."),
        key("hsts_preload", FLAG, Default("false"), "Whether browsers may know it before the first visit; asks for `hsts_subdomains` and a year at least."),
        key("overwrite", FLAG, Default("false"), "Whether they replace what endpoints say under these names."),
    ],
};

pub(super) static REDIRECT_TO_HTTPS: Table = Table {
    keys: &[
        key("on", FLAG, Default("true"), "Whether requests over plain HTTP are sent to https (308), but for /.well-known/acme-challenge/."),
        key("port", count(1, 65_535), Default("443"), "The port there."),
    ],
};

pub(super) static PATHS: Table = Table {
    keys: &[
        key("encoded_slash", Kind::Scalar(Scalar::Word(&["keep", "refuse", "decode"])), Default("keep"), "What becomes of %2F: it stays and is no slash, the request is refused (400), or it becomes a slash."),
        key("dot_segments", Kind::Scalar(Scalar::Word(&["refuse", "resolve"])), Default("refuse"), "What becomes of `.` and `..` as segments; with parameters or behind encoded slashes they are always refused."),
        key("double_slash", Kind::Scalar(Scalar::Word(&["keep", "merge", "refuse"])), Default("keep"), "What becomes of //."),
        key("backslash", KEEP_OR_REFUSE, Default("refuse"), "What becomes of \\ and %5C, which some servers take for a slash."),
        key("parameters", KEEP_OR_REFUSE, Default("keep"), "What becomes of ; and what follows it in a segment, which some servers take off."),
        key("bad_encoding", KEEP_OR_REFUSE, Default("refuse"), "What becomes of % without two hexadecimal digits."),
        key("ambiguous", KEEP_OR_REFUSE, Default("refuse"), "What becomes of a path that would take another route if its endpoint read it in one of these other ways."),
    ],
};

const TWO_YEARS: Duration = Duration::from_secs(2 * 365 * 24 * 3600);

static ORIGIN: Kind = text(&ORIGIN_TEXT);
static METHOD: Kind = text(&METHOD_TEXT);
static FIELD: Kind = text(&FIELD_TEXT);
static FIELD_OR_STAR: Kind = text(&FIELD_OR_STAR_TEXT);
static ANY_TEXT: Scalar = Scalar::Text(&ANY);

static ANY: Text = Text { what: "a text", pattern: "" };
static ORIGIN_TEXT: Text = Text { what: "an origin such as `https://app.example.com`", pattern: "^(\\*|null|[A-Za-z][A-Za-z0-9+.-]*://[^/?#@]+)$" };
static METHOD_TEXT: Text = Text { what: "a method such as `GET`", pattern: "^[A-Z][A-Z0-9-]*$" };
static FIELD_TEXT: Text = Text { what: "the name of a header field such as `X-Version`", pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" };
static FIELD_OR_STAR_TEXT: Text = Text { what: "the name of a header field such as `X-Version`, or `*`", pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" };
