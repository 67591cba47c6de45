//! Answers in the operator's words as written. Never reads a file.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;
use portcullis_ops::decode::{Fields, Located, Mistake};
use portcullis_ops::diagnostic::Span;

#[derive(Debug)]
pub(in crate::config) struct FileWords {
    pub(in crate::config) span: Span,
    pub(in crate::config) body: Option<Located<String>>,
    pub(in crate::config) file: Option<Located<String>>,
    pub(in crate::config) content_type: Option<HeaderValue>,
}

#[derive(Debug)]
pub(in crate::config) struct FilePage {
    pub(in crate::config) statuses: Located<RangeInclusive<u16>>,
    pub(in crate::config) also_from_endpoints: bool,
    pub(in crate::config) words: FileWords,
}

#[derive(Debug)]
pub(in crate::config) struct FileMaintenance {
    pub(in crate::config) words: FileWords,
    pub(in crate::config) retry_after: Duration,
    pub(in crate::config) allow: Vec<IpNet>,
}

pub(super) fn pages(fields: &Fields<'_>) -> Vec<FilePage> {
    let page = |fields: &Fields<'_>| FilePage {
        statuses: fields.statuses("status"),
        also_from_endpoints: fields.flag("also_from_endpoints").value,
        words: words(fields),
    };
    fields.tables("errors").iter().map(page).collect()
}

/// `None` where it is off.
pub(super) fn maintenance(fields: &Fields<'_>) -> Option<FileMaintenance> {
    if !fields.is_written("maintenance") {
        return None;
    }
    let fields = fields.short("maintenance");
    let networks = fields.networks("allow");
    let file = FileMaintenance {
        words: words(&fields),
        retry_after: fields.duration("retry_after").value,
        allow: networks.iter().map(|network| network.value).collect(),
    };
    fields.flag("on").value.then_some(file)
}

fn words(fields: &Fields<'_>) -> FileWords {
    let content_type = fields.text("content_type", |text| {
        HeaderValue::from_str(text).map_err(|_| Mistake {
            message: "is no content type".to_owned(),
            hint: "write one such as `text/html; charset=utf-8`".to_owned(),
        })
    });
    let as_written = |text: &str| Ok(text.to_owned());
    FileWords {
        span: fields.span(),
        body: fields.text("body", as_written),
        file: fields.text("file", as_written),
        content_type: content_type.map(|located| located.value),
    }
}
