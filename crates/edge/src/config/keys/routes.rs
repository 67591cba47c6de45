//! Keys of routes. Never holds a rule that concerns two keys.

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::clients::CLIENTS;
use super::issuers::AUTH;
use super::pages::{MAINTENANCE, PAGES};
use super::policies::{CORS, SECURITY_HEADERS};
use super::{Default, NAME, NETWORK, Optional, Required, Usual, count, key, text};

const FLAG: Kind = Kind::Scalar(Scalar::Flag);

pub(super) static ROUTES: Kind = Kind::Table(&ROUTE);
static ROUTE: Table = Table {
    keys: &[
        key("name", text(&NAME), Optional("auth"), "Label in logs and metrics; host and path by default."),
        key("host", text(&HOST), Optional("auth.example.com"), "Host name, or \"*.example.com\" for everything below it; every host by default."),
        key("path", text(&PREFIX), Optional("/"), "This path and everything below it (/api takes /api/x, not /apix); every path by default."),
        key("exact", text(&PREFIX), Optional("/health"), "Exactly this path; instead of `path`."),
        key("regex", text(&REGEX), Optional("/users/[0-9]+/orders"), "Paths that this expression matches as a whole; instead of `path`."),
        key("methods", Kind::List(&METHOD), Optional("[GET, HEAD]"), "Only requests with one of these methods."),
        key("headers", Kind::List(&HEADERS), Optional(""), "Only requests with all of these header fields."),
        key("query", Kind::List(&PARAMETERS), Optional(""), "Only requests with all of these parameters in the query, compared after decoding."),
        key("cookies", Kind::List(&COOKIES), Optional(""), "Only requests with all of these cookies."),
        key("source", Kind::List(&NETWORK), Optional("[10.0.0.0/8]"), "Only clients in one of these networks, as seen behind trusted proxies."),
        key("flags", Kind::List(&FLAGS), Optional("[new_search]"), "Only clients that have all of these features, names under `flags`."),
        key("cluster", text(&NAME), Usual("auth"), "Where the requests go; instead of it one of `split`, `redirect` or `respond`."),
        key("split", Kind::List(&SPLIT), Optional(""), "Several clusters by weight; a user stays with one as long as the weights allow."),
        key("split_by", text(&SPLIT_BY), Optional("cookie"), "What a user of `split` is known by: `cookie` (one of ours, the default), \"cookie:NAME\" or \"header:NAME\"."),
        key("redirect", Kind::Table(&REDIRECT), Optional(""), "Sends the client elsewhere."),
        key("respond", Kind::Table(&RESPOND), Optional(""), "Answers without an endpoint."),
        key("auth", Kind::Short(&AUTH), Optional(""), "Lets only requests with a valid access token pass; instead of a mapping the name of the issuer will do."),
        key("clients", Kind::Table(&CLIENTS), Optional(""), "Which clients may ask for it; others get 403."),
        key("rate_limits", Kind::List(&LIMIT_NAMES), Optional("[per_client]"), "Names under `rate_limits`, beside those of the listener; the strictest answers."),
        key("criticality", Kind::Scalar(Scalar::Word(&["critical", "normal", "low"])), Default("normal"), "How much the route matters when a limit with `reserve` runs short: critical, normal or low."),
        key("cors", Kind::Table(&CORS), Optional(""), "Which pages of other origins may read answers (docs/policies.md)."),
        key("security_headers", Kind::Short(&SECURITY_HEADERS), Optional(""), "Fields that make browsers careful, instead of those of the listener; instead of a mapping the preset will do."),
        key("rewrite", Kind::Table(&REWRITE), Optional(""), "What the endpoint is asked for instead; the query stays."),
        key("request_headers", Kind::Table(&CHANGES), Optional(""), "Changes of the request's header fields on the way to the endpoint."),
        key("response_headers", Kind::Table(&CHANGES), Optional(""), "Changes of the response's header fields on the way to the client."),
        key("idempotency_key", FLAG, Default("false"), "Whether a request with an Idempotency-Key field may be repeated whatever its method; its endpoints must recognise the key."),
        key("errors", Kind::List(&PAGES), Optional(""), "What the edge says on this route; before those for all routes."),
        key("maintenance", Kind::Short(&MAINTENANCE), Optional(""), "Closes the route: 503 for everybody but the networks under `allow`; instead of a mapping `true` will do."),
        key("access_log", FLAG, Default("true"), "Whether these requests are written to the access log."),
    ],
};

static LIMIT_NAMES: Kind = text(&NAME);
static FLAGS: Kind = text(&NAME);
static METHOD: Kind = text(&METHOD_TEXT);
static HEADERS: Kind = Kind::Short(&HEADER);
static HEADER: Table = Table {
    keys: &[
        key("name", text(&FIELD), Required("X-Version"), "Name of the field; alone it asks for any value."),
        key("value", text(&ANY), Optional("green"), "Exactly this value."),
        key("regex", text(&REGEX), Optional("v[0-9]+"), "A value that this expression matches as a whole; instead of `value`."),
    ],
};

static PARAMETERS: Kind = Kind::Short(&PARAMETER);
static PARAMETER: Table = Table {
    keys: &[
        key("name", text(&ANY), Required("version"), "Name of the parameter; alone it asks for any value."),
        key("value", text(&ANY), Optional("2"), "Exactly this value."),
    ],
};

static COOKIES: Kind = Kind::Short(&COOKIE);
static COOKIE: Table = Table {
    keys: &[
        key("name", text(&ANY), Required("beta"), "Name of the cookie; alone it asks for any value."),
        key("value", text(&ANY), Optional("yes"), "Exactly this value."),
    ],
};

static SPLIT: Kind = Kind::Table(&MEMBER);
static MEMBER: Table = Table {
    keys: &[
        key("cluster", text(&NAME), Required("auth"), "Where this share goes."),
        key("weight", count(0, 1_000), Required("95"), "Its size beside the other weights; 0 takes none."),
    ],
};

static REDIRECT: Table = Table {
    keys: &[
        key("to", text(&LOCATION), Optional("https://example.com/new"), "Exactly this address or path; instead of the keys below."),
        key("scheme", text(&SCHEME), Optional("https"), "This scheme, `http` or `https`."),
        key("host", text(&HOST), Optional("www.example.com"), "This host."),
        key("port", count(1, 65_535), Optional("8443"), "This port; that of the scheme by default."),
        key("path", text(&PREFIX), Optional("/new"), "This path."),
        key("prefix", text(&PREFIX), Optional("/v2"), "This in place of the route's `path`, what follows it stays; instead of `path`."),
        key("status", Kind::Scalar(Scalar::Word(&["301", "302", "303", "307", "308"])), Default("307"), "307 and 308 keep the method; 301 and 308 are remembered."),
        key("keep_query", FLAG, Default("true"), "Whether the query goes along."),
    ],
};

static RESPOND: Table = Table {
    keys: &[
        key("status", count(200, 599), Default("200"), "Status of the answer."),
        key("body", text(&ANY), Optional("gone fishing"), "What it says; nothing by default."),
        key("content_type", text(&ANY), Default("text/plain; charset=utf-8"), "What the body is."),
    ],
};

static REWRITE: Table = Table {
    keys: &[
        key("prefix", text(&PREFIX), Optional("/v2"), "This in place of the route's `path` or `exact`; what follows it stays."),
        key("regex", text(&REGEX), Optional("/users/([0-9]+)/.*"), "Paths that match as a whole become `to`, others stay; instead of `prefix`."),
        key("to", text(&ANY), Optional("/people/{1}"), "The new path, with groups of the expression by number or name."),
        key("host", text(&ANY), Optional("internal.example.com"), "Host that the endpoint is told: a name, or `endpoint` for its own address."),
    ],
};

static CHANGES: Table = Table {
    keys: &[
        key("set", Kind::Map(&ANY_TEXT), Optional("{ X-Tenant: blue }"), "Fields in place of those of the same name; values may hold {client_address}, {request_id}, {host}, {scheme}, {route} and {cluster}."),
        key("add", Kind::Map(&ANY_TEXT), Optional("{ X-Via: \"{route}\" }"), "Fields beside those of the same name."),
        key("remove", Kind::List(&FIELDS), Optional("[X-Debug]"), "Fields that are taken away."),
    ],
};

static FIELDS: Kind = text(&FIELD);
static ANY_TEXT: Scalar = Scalar::Text(&ANY);

static ANY: Text = Text { what: "a text", pattern: "" };
static HOST: Text = Text { what: "a host name such as `auth.example.com`", pattern: "^[^/:]+$|^\\[[0-9a-fA-F:.]+\\]$" };
static PREFIX: Text = Text { what: "a path such as `/api`", pattern: "^/[^?#]*$" };
static REGEX: Text = Text { what: "a regular expression such as `/users/[0-9]+`", pattern: "" };
static METHOD_TEXT: Text = Text { what: "a method such as `GET`", pattern: "^[A-Z][A-Z0-9-]*$" };
static FIELD: Text = Text { what: "the name of a header field such as `X-Version`", pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" };
static SPLIT_BY: Text = Text { what: "`cookie`, `cookie:NAME` or `header:NAME`", pattern: "^cookie$|^(cookie|header):.+$" };
static SCHEME: Text = Text { what: "`http` or `https`", pattern: "^https?$" };
static LOCATION: Text = Text { what: "an address such as `https://example.com/new`, or a path", pattern: "^https?://|^/" };
