//! The table of all keys of the edge's file: the one place for names, defaults, ranges and meanings.
//! Never holds a rule that concerns two keys.

use std::time::Duration;

use portcullis_ops::decode::{Key, Kind, Presence, Scalar, Table, Text};

use Presence::{Default, Optional, Required, Usual};

mod admin;
mod affinity;
mod clients;
mod clusters;
mod discovery;
mod flags;
mod health;
mod issuers;
mod lifecycle;
mod listeners;
mod pages;
mod policies;
mod rate_limits;
mod retries;
mod revocations;
mod routes;
mod upstream;

use admin::{ADMIN, AUDIT_LOG};
use clients::FORWARDED;
use clusters::CLUSTER;
use flags::FLAG;
pub(super) use discovery::ENDPOINT_FILE;
use issuers::ISSUER;
use lifecycle::SHUTDOWN;
use listeners::LISTENERS;
use pages::PAGES;
use rate_limits::RATE_LIMIT;
use routes::ROUTES;

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);
const SEVEN_DAYS: Duration = Duration::from_secs(7 * 24 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

const TIMEOUT: Kind = Kind::Scalar(Scalar::Duration(MILLISECOND, DAY));
const ADDRESS: Kind = Kind::Scalar(Scalar::Address);
const CONNECTIONS: Kind = count(1, 1_000_000);

/// The root.
pub(super) static FILE: Table = Table {
    keys: &[
        key("listeners", Kind::List(&LISTENERS), Required(""), "Addresses to listen on."),
        key("clusters", Kind::Named(&CLUSTER, "auth"), Required(""), "Sets of endpoints, by names of your choice."),
        key("routes", Kind::List(&ROUTES), Usual(""), "What goes where; the most specific host, then path, wins in any order."),
        key("issuers", Kind::Named(&ISSUER, "main"), Optional(""), "Whose access tokens routes may ask for under `auth`, by names of your choice."),
        key("rate_limits", Kind::Named(&RATE_LIMIT, "per_client"), Optional(""), "How often clients may come and how many of their requests may run at once (docs/limits.md), by names of your choice that listeners and routes use."),
        key("flags", Kind::Named(&FLAG, "new_search"), Optional(""), "Features that are on for some of the clients (docs/flags.md), by names of your choice that routes ask for; FF_NEW_SEARCH=on, off or a percentage in the environment goes before the file."),
        key("zone", text(&NAME), Optional("eu-1a"), "Where this edge is; endpoints of the same zone come first."),
        key("errors", Kind::List(&PAGES), Optional(""), "What the edge says with its own answers, instead of problem documents (RFC 9457); the first match wins."),
        key("trusted_proxies", Kind::List(&NETWORK), Optional("[10.0.0.0/8]"), "Networks whose forwarding headers are believed; none by default."),
        key("forwarded", Kind::Short(&FORWARDED), Default(""), "Header fields that tell of clients; instead of a mapping what is sent will do."),
        key("admin", Kind::Switch(&ADMIN), Default(""), "The operator's listener: health, metrics, status and changes while it runs; or `off`."),
        key("audit_log", text(&AUDIT_LOG), Default("log"), "Changes made while the edge runs, who asked for them, and those that were refused: `log` (the log of the process) or a file (./audit.log) that gets one JSON object a line."),
        key("access_log", Kind::Short(&ACCESS_LOG), Default(""), "Finished requests as JSON lines; instead of a mapping just the destination will do."),
        key("shutdown", Kind::Table(&SHUTDOWN), Default(""), "How the process leaves after SIGTERM."),
        key("reload", Kind::Table(&RELOAD), Default(""), "When this file is read again while the edge runs; SIGHUP and the operator can always have it."),
        key("max_connections", CONNECTIONS, Default("50000"), "Client connections of all listeners together."),
        key("workers", count(1, 1_024), Optional("4"), "Threads that carry requests; one per processor core by default."),
    ],
};

static NETWORK: Kind = Kind::Scalar(Scalar::Network);

static ACCESS_LOG: Table = Table {
    keys: &[
        key("to", text(&DESTINATION), Default("stdout"), "`stdout`, `off` or a file (./access.log)."),
        key("sample", count(1, 100), Default("100"), "Percent of the requests that are written: always the same for a request id, so that all edges on its way agree. Errors (outcomes other than served, redirected and responded, and statuses from 400) are all written."),
        key("slow", TIMEOUT, Default("1s"), "Requests that took this long are written whatever `sample` says."),
        key("truncate_addresses", Kind::Scalar(Scalar::Flag), Default("false"), "Whether only the network of a client is written: 24 bits of an IPv4 address, 48 of IPv6."),
        key("hash", Kind::List(&PRIVATE_FIELD), Optional("[client, user_agent]"), "Fields written as hashes under a salt of the process: client, host, path, server_name, user_agent."),
        key("drop", Kind::List(&PRIVATE_FIELD), Optional("[user_agent]"), "Those of them that are left out. Queries, cookies and tokens are never written."),
        key("salt_rotation", Kind::Scalar(Scalar::Duration(SECOND, SEVEN_DAYS)), Default("24h"), "How long a salt is used before another is drawn and it is forgotten; after that nobody can tell whose a hash was."),
        key("health_checks", Kind::Scalar(Scalar::Flag), Default("false"), "Whether GET and HEAD requests are written that were served below 400 on a path that a health check of this file asks for; metrics always count them."),
    ],
};

static RELOAD: Table = Table {
    keys: &[
        key("watch", Kind::Scalar(Scalar::Flag), Default("false"), "Whether it is read whenever it changes: looked at every second, taken once it has been the same for one. Put a finished file in its place (mv), or a link to one."),
    ],
};

static NAME: Text = Text { what: "a name of letters, digits and . _ : - such as `auth`", pattern: "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$" };
static PRIVATE_FIELD: Kind = text(&PRIVATE);
static PRIVATE: Text = Text { what: "a field such as `client`", pattern: "^(client|host|path|server_name|user_agent)$" };
static DESTINATION: Text = Text { what: "`stdout`, `off` or a file such as `./access.log`", pattern: "^(stdout|off|.*/.*)$" };

const fn key(name: &'static str, kind: Kind, presence: Presence, doc: &'static str) -> Key {
    Key { name, kind, presence, doc }
}

const fn text(text: &'static Text) -> Kind {
    Kind::Scalar(Scalar::Text(text))
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Scalar(Scalar::Count(min, max))
}

const fn size(min: u64, max: u64) -> Kind {
    Kind::Scalar(Scalar::Size(min, max))
}
