//! Keys of where revocations are told. Never holds a rule that concerns two keys.

use std::time::Duration;

use portcullis_ops::decode::{Kind, Scalar, Table, Text};

use super::{DAY, Default, Optional, Required, key, text};

pub(super) static REVOCATIONS: Table = Table {
    keys: &[
        key("feeds", Kind::List(&FEED), Required("[\"http://127.0.0.1:8100\"]"), "Internal listeners of auth instances (INTERNAL_ADDRESS); each knows all, and the next one is asked when one fails."),
        key("token", Kind::Scalar(Scalar::Secret), Optional("${INTERNAL_TOKEN}"), "What they want to be sent (INTERNAL_TOKEN), at least 32 characters."),
        key("token_file", text(&FILE), Optional("internal.token"), "File that holds it; instead of `token`. Read with the configuration."),
        key("when_lost", Kind::Short(&WHEN_LOST), Default(""), "What becomes of tokens when no feed has said for 2 s what is revoked; a route may say otherwise."),
    ],
};

pub(super) static WHEN_LOST: Table = Table {
    keys: &[
        key("policy", Kind::Scalar(Scalar::Word(&["closed"])), Default("closed"), "`closed`: they are refused with 503."),
        key("stale", Kind::Scalar(Scalar::Duration(Duration::from_secs(2), DAY)), Optional("60s"), "They are accepted for so long after the last news, never before the first: what is revoked meanwhile passes, too."),
    ],
};

static FILE: Text = Text { what: "a file such as `internal.token`", pattern: "" };
static FEED: Kind = text(&FEED_TEXT);
static FEED_TEXT: Text = Text { what: "an address such as `http://127.0.0.1:8100`", pattern: "^https?://[^#@]+$" };
