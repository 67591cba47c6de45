//! Keys of the operator's listener and of the audit. Never holds a rule that concerns two keys.

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::{ADDRESS, Default, NAME, Optional, Required, key, text};

pub(super) static ADMIN: Table = Table {
    keys: &[
        key("address", ADDRESS, Default("127.0.0.1:2019"), "Where /livez, /readyz, /metrics and /v1 answer (docs/admin.md). Beyond this machine only with a token."),
        key("token", Kind::Scalar(Scalar::Secret), Optional("${ADMIN_TOKEN}"), "At least 32 characters; who sends it may change everything. With a token, reading needs one, too; without any, nothing can be changed."),
        key("tokens", Kind::List(&TOKENS), Optional(""), "Tokens by name, so that the audit can tell who changed what."),
        key("hosts", Kind::List(&HOST), Optional("[edge.example.com]"), "Names beside IP addresses and localhost that /v1 answers to; others are refused, since a page may have pointed its own name here."),
        key("open_metrics", Kind::Scalar(Scalar::Flag), Default("true"), "Whether /metrics answers without a token where there are tokens."),
    ],
};

static TOKENS: Kind = Kind::Table(&TOKEN);
static TOKEN: Table = Table {
    keys: &[
        key("name", text(&NAME), Required("ada"), "What the audit calls whoever sends it."),
        key("role", Kind::Scalar(Scalar::Word(&["read", "operate"])), Default("read"), "`read` sees everything, `operate` changes everything, too."),
        key("token", Kind::Scalar(Scalar::Secret), Optional("${ADA_TOKEN}"), "At least 32 characters: openssl rand -hex 32."),
        key("token_file", text(&FILE), Optional("ada.token"), "File that holds it; instead of `token`. Read with the configuration."),
    ],
};

pub(super) static AUDIT_LOG: Text = Text { what: "`log` or a file such as `./audit.log`", pattern: "^(log|.*/.*)$" };

static FILE: Text = Text { what: "a file such as `ada.token`", pattern: "" };
static HOST: Kind = text(&HOST_TEXT);
static HOST_TEXT: Text = Text { what: "a host name such as `edge.example.com`", pattern: "" };
