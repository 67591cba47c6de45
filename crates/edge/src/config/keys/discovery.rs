//! Keys of the places where endpoints are found. Never holds a rule that concerns two keys.

use portcullis_ops::decode::{Kind, Table, Text};

use super::clusters::ENDPOINTS;
use super::{Default, NAME, Optional, Usual, count, key, text};

pub(super) static SOURCES: Kind = Kind::Table(&SOURCE);

static SOURCE: Table = Table {
    keys: &[
        key("file", text(&FILE), Optional("endpoints.yaml"), "YAML or JSON file with a list of endpoints as above, or a directory of such files. Watched."),
        key("weight", count(0, 1000), Default("1"), "Share of the traffic of endpoints of which the source says none."),
        key("priority", count(0, 255), Default("0"), "Tier of endpoints of which the source says none."),
        key("zone", text(&NAME), Optional("eu-1a"), "Where endpoints are of which the source does not say it."),
        key("max_requests", count(1, 1_000_000), Optional("100"), "Requests in flight at an endpoint of which the source says nothing; that of the cluster by default."),
    ],
};

/// A file of endpoints.
pub(in crate::config) static ENDPOINT_FILE: Table = Table {
    keys: &[
        key("endpoints", Kind::List(&ENDPOINTS), Usual(""), "What the file adds to the cluster."),
    ],
};

static FILE: Text = Text { what: "a file such as `endpoints.yaml`, or a directory", pattern: "" };
