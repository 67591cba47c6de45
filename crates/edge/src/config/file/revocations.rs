//! Where revocations are told, as written. Never compares two values.

use portcullis_ops::Secret;
use portcullis_ops::decode::{Fields, Located};

use super::super::address::{self, HttpAddress};
use super::super::{WhenLost, names};

#[derive(Debug)]
pub(in crate::config) struct FileRevocations {
    pub(in crate::config) feeds: Vec<Located<HttpAddress>>,
    pub(in crate::config) token: Option<Located<Secret<String>>>,
    pub(in crate::config) token_file: Option<Located<String>>,
    pub(in crate::config) when_lost: WhenLost,
}

/// `None` where nobody tells any.
pub(super) fn revocations(issuer: &Fields<'_>) -> Option<FileRevocations> {
    let fields = issuer.optional_table("revocations")?;
    Some(FileRevocations {
        feeds: fields.texts("feeds", address::http),
        token: fields.secret("token"),
        token_file: fields.text("token_file", names::file),
        when_lost: when_lost(&fields).unwrap_or(WhenLost::Closed),
    })
}

/// `None` where nothing is written.
pub(super) fn when_lost(parent: &Fields<'_>) -> Option<WhenLost> {
    if !parent.is_written("when_lost") {
        return None;
    }
    let fields = parent.short("when_lost");
    // There is one word, which the table checks.
    let policy = fields.word("policy");
    let Some(stale) = fields.optional_duration("stale") else {
        return Some(WhenLost::Closed);
    };
    if policy.is_written {
        let message = "`when_lost` says two things";
        let hint = "write `when_lost: closed` or `when_lost: { stale: 60s }`";
        fields.report().error_with_hint(stale.span, message, hint);
    }
    Some(WhenLost::Stale(stale.value))
}
