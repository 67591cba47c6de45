//! Health checks as written. Never compares two values.

use portcullis_ops::decode::Fields;
use portcullis_ops::diagnostic::Span;

use super::super::{HealthCheck, names};
use super::positive;

#[derive(Debug)]
pub(in crate::config) struct FileHealth {
    pub(in crate::config) timeout_span: Span,
    pub(in crate::config) check: HealthCheck,
}

pub(super) fn health(fields: &Fields<'_>) -> FileHealth {
    FileHealth {
        timeout_span: fields.span_of("timeout"),
        check: HealthCheck {
            path: fields
                .text("path", names::target)
                .map_or_else(String::new, |path| path.value),
            host: fields.text("host", names::authority).map(|host| host.value),
            interval: fields.duration("interval").value,
            timeout: fields.duration("timeout").value,
            rise: positive(fields, "rise"),
            fall: positive(fields, "fall"),
            expect: fields.statuses("expect").value,
        },
    }
}
