//! Places where endpoints are found, and files of endpoints, as written. Never compares two values.

use std::num::NonZeroU32;

use portcullis_ops::decode::{Fields, Located};
use portcullis_ops::diagnostic::{Report, Span};
use portcullis_ops::yaml::{Entry, Node, Value};

use super::super::{keys, names};
use super::clusters::{FileEndpoint, endpoint};

#[derive(Debug)]
pub(in crate::config) struct FileSource {
    pub(in crate::config) span: Span,
    pub(in crate::config) places: Vec<Located<FilePlace>>,
    pub(in crate::config) weight: u16,
    pub(in crate::config) priority: u8,
    pub(in crate::config) zone: Option<String>,
    pub(in crate::config) max_requests: Option<NonZeroU32>,
}

/// What kind of place it is: exactly one should be written.
#[derive(Debug)]
pub(in crate::config) enum FilePlace {
    File(String),
}

pub(super) fn source(fields: &Fields<'_>) -> FileSource {
    let file = fields.text("file", names::file);
    let file = file.map(|file| Located {
        value: FilePlace::File(file.value),
        span: file.span,
        is_written: true,
    });
    FileSource {
        span: fields.span(),
        places: file.into_iter().collect(),
        weight: fields.number("weight").value,
        priority: fields.number("priority").value,
        zone: fields.text("zone", names::label).map(|zone| zone.value),
        max_requests: fields
            .optional_number("max_requests")
            .and_then(|most| NonZeroU32::new(most.value)),
    }
}

/// The endpoints of a file of its own: a list, or a mapping with nothing but `endpoints`.
pub(in crate::config) fn endpoint_file(root: Node, report: &Report<'_>) -> Vec<FileEndpoint> {
    let span = root.span;
    let root = match root.value {
        Value::Sequence(_) => Node {
            span,
            value: Value::Mapping(vec![Entry {
                key: "endpoints".to_owned(),
                key_span: span,
                node: root,
            }]),
        },
        _ => root,
    };
    let file = Fields::root(&keys::ENDPOINT_FILE, &root, report);
    file.tables("endpoints").iter().map(endpoint).collect()
}
